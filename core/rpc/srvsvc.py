"""The Server Service Remote Protocol (MS-SRVS): shares, sessions, open files and the server itself, for reading.

Each operation is a decoder, a handler and a line in `SRVSVC`. Procedures that change something are not there: shares
and sessions are the administrator's, through the configuration. ServerName is ignored everywhere, as 3.1.4 says.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, TypeVar
from uuid import UUID

from lamina.core.rpc.errors import (
    ERROR_INVALID_LEVEL,
    ERROR_INVALID_NAME,
    ERROR_INVALID_PARAMETER,
    NERR_CLIENT_NAME_NOT_FOUND,
    NERR_DEVICE_NOT_SHARED,
    NERR_NET_NAME_NOT_FOUND,
    NERR_SUCCESS,
    NERR_USER_NOT_FOUND,
)
from lamina.core.rpc.interface import Caller, Interface, Operation, Syntax
from lamina.core.rpc.levels import (
    EnumArguments,
    Levels,
    answer_enumeration,
    answer_information,
    decode_enumeration,
    refusal,
    refuse_enumeration,
    refuse_information,
)
from lamina.core.rpc.ndr import NdrReader, NdrWriter
from lamina.core.rpc.srvsvc_levels import (
    CONNECTION_LEVELS,
    FILE_LEVELS,
    SERVER_ARMS,
    SERVER_LEVELS,
    SESSION_LEVELS,
    SHARE_INFORMATION_ARMS,
    SHARE_INFORMATION_LEVELS,
    SHARE_LEVELS,
    share_path,
    share_type,
)
from lamina.core.rpc.view import ConnectionView, OpenFileView, SessionView, ShareView

_Item = TypeVar("_Item")

_STICKY_REFUSED: Final = frozenset({501})
_CLOCK_INTERVAL: Final = 310
_LM20_NAMES: Final = 0x80000000
_NOT_IN_NAMES: Final = frozenset('"/\\[]:|<>+=;,*?') | frozenset(map(chr, range(32)))
# NAMETYPE_* (MS-SRVS 2.2.2.8) with the longest name of each, and of each in LAN Manager 2.0's shorter terms.
_NAME_LENGTHS: Final = {
    1: (256, 20),  # NAMETYPE_USER
    2: (256, 14),  # NAMETYPE_PASSWORD
    3: (256, 20),  # NAMETYPE_GROUP
    4: (259, 15),  # NAMETYPE_COMPUTER
    5: (16, 16),  # NAMETYPE_EVENT
    6: (15, 15),  # NAMETYPE_DOMAIN
    7: (80, 15),  # NAMETYPE_SERVICE
    8: (259, 259),  # NAMETYPE_NET
    9: (80, 12),  # NAMETYPE_SHARE
    10: (259, 259),  # NAMETYPE_MESSAGE
    11: (259, 259),  # NAMETYPE_MESSAGEDEST
    12: (8, 8),  # NAMETYPE_SHAREPASSWORD
    13: (15, 15),  # NAMETYPE_WORKGROUP
}


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


def _enumerate(
    asked: EnumArguments, levels: Levels[_Item], caller: Caller, items: Callable[[], Sequence[_Item]]
) -> bytes:
    error = refusal(asked.level, levels, caller)
    if error:
        return refuse_enumeration(asked, levels, error)
    return answer_enumeration(asked, levels, items())


# Shares: 3.1.4.8 NetrShareEnum, 3.1.4.9 NetrShareEnumSticky, 3.1.4.10 NetrShareGetInfo, 3.1.4.6 NetrShareCheck


def _visible(caller: Caller) -> list[ShareView]:
    """Hidden shares are shown to administrators only."""
    return [share for share in caller.view.shares() if caller.is_administrator or not share.hidden]


def _decode_share_enum(reader: NdrReader) -> EnumArguments:
    reader.unique_string()
    return decode_enumeration(reader, SHARE_LEVELS)


def _share_enum(asked: EnumArguments, caller: Caller) -> bytes:
    return _enumerate(asked, SHARE_LEVELS, caller, lambda: _visible(caller))


def _share_enum_sticky(asked: EnumArguments, caller: Caller) -> bytes:
    """Shares that outlive a restart, which here are all of them; one level less is defined than for NetrShareEnum."""
    if asked.level in _STICKY_REFUSED:
        return refuse_enumeration(asked, SHARE_LEVELS, ERROR_INVALID_LEVEL)
    return _share_enum(asked, caller)


class _InfoArguments(NamedTuple):
    name: str
    level: int


def _decode_share_info(reader: NdrReader) -> _InfoArguments:
    reader.unique_string()
    return _InfoArguments(reader.string(), reader.u32())


def _share_get_info(asked: _InfoArguments, caller: Caller) -> bytes:
    error = refusal(asked.level, SHARE_INFORMATION_LEVELS, caller)
    found = next((share for share in caller.view.shares() if _same(share.name, asked.name)), None)
    if error or found is None:
        return refuse_information(asked.level, SHARE_INFORMATION_ARMS, error or NERR_NET_NAME_NOT_FOUND)
    return answer_information(asked.level, SHARE_INFORMATION_LEVELS, found)


def _decode_share_check(reader: NdrReader) -> str:
    reader.unique_string()
    return reader.string()


def _share_check(device: str, caller: Caller) -> bytes:
    found = next((share for share in caller.view.shares() if _same(share_path(share), device)), None)
    writer = NdrWriter()
    writer.u32(share_type(found) if found else 0)
    writer.u32(NERR_SUCCESS if found else NERR_DEVICE_NOT_SHARED)
    return writer.finish()


# Users of the server: 3.1.4.1 NetrConnectionEnum, 3.1.4.2 NetrFileEnum, 3.1.4.5 NetrSessionEnum


class _FilteredEnum(NamedTuple):
    """An enumeration of those entries that two strings select; None or an empty string selects all."""

    first: str
    second: str
    asked: EnumArguments


def _decode_connection_enum(reader: NdrReader) -> _FilteredEnum:
    reader.unique_string()
    qualifier = reader.unique_string() or ""
    return _FilteredEnum(qualifier, "", decode_enumeration(reader, CONNECTION_LEVELS))


def _connection_enum(filtered: _FilteredEnum, caller: Caller) -> bytes:
    asked, qualifier = filtered.asked, filtered.first
    error = refusal(asked.level, CONNECTION_LEVELS, caller) or (0 if qualifier else ERROR_INVALID_PARAMETER)
    if error:
        return refuse_enumeration(asked, CONNECTION_LEVELS, error)
    found = [connection for connection in caller.view.connections() if _concerns(connection, qualifier)]
    shares = caller.view.shares()
    if not found and not any(_same(share.name, qualifier) for share in shares):
        return refuse_enumeration(asked, CONNECTION_LEVELS, NERR_NET_NAME_NOT_FOUND)
    return answer_enumeration(asked, CONNECTION_LEVELS, found)


def _concerns(connection: ConnectionView, qualifier: str) -> bool:
    if qualifier.startswith("\\\\"):
        return _same(connection.client, qualifier[2:])
    return _same(connection.share, qualifier)


def _decode_file_enum(reader: NdrReader) -> _FilteredEnum:
    reader.unique_string()
    base, user = reader.unique_string() or "", reader.unique_string() or ""
    return _FilteredEnum(base, user, decode_enumeration(reader, FILE_LEVELS))


def _file_enum(filtered: _FilteredEnum, caller: Caller) -> bytes:
    def selected() -> list[OpenFileView]:
        base, user = filtered.first.casefold(), filtered.second
        return [
            file
            for file in caller.view.open_files()
            if file.path.casefold().startswith(base) and (not user or _same(file.user, user))
        ]

    return _enumerate(filtered.asked, FILE_LEVELS, caller, selected)


def _decode_session_enum(reader: NdrReader) -> _FilteredEnum:
    reader.unique_string()
    client, user = reader.unique_string() or "", reader.unique_string() or ""
    return _FilteredEnum(client, user, decode_enumeration(reader, SESSION_LEVELS))


def _session_enum(filtered: _FilteredEnum, caller: Caller) -> bytes:
    asked, client, user = filtered.asked, filtered.first, filtered.second
    error = refusal(asked.level, SESSION_LEVELS, caller)
    if error:
        return refuse_enumeration(asked, SESSION_LEVELS, error)
    of_client = _of_client(caller.view.sessions(), client)
    of_user = [session for session in of_client if not user or _same(session.user, user)]
    if client and not of_client:
        return refuse_enumeration(asked, SESSION_LEVELS, NERR_CLIENT_NAME_NOT_FOUND)
    if user and not of_user:
        return refuse_enumeration(asked, SESSION_LEVELS, NERR_USER_NOT_FOUND)
    return answer_enumeration(asked, SESSION_LEVELS, of_user)


def _of_client(sessions: Iterable[SessionView], client: str) -> list[SessionView]:
    # ClientName without its two backslashes names nobody (3.1.4.5).
    return [s for s in sessions if not client or (client[:2] == "\\\\" and _same(s.client, client[2:]))]


# The server: 3.1.4.17 NetrServerGetInfo, 3.1.4.19 NetrServerDiskEnum, 3.1.4.21 NetrRemoteTOD


def _decode_server_info(reader: NdrReader) -> int:
    reader.unique_string()
    return reader.u32()


def _server_get_info(level: int, caller: Caller) -> bytes:
    error = refusal(level, SERVER_LEVELS, caller)
    if error:
        return refuse_information(level, SERVER_ARMS, error)
    return answer_information(level, SERVER_LEVELS, caller.view)


class _DiskEnum(NamedTuple):
    level: int
    resume: int | None


def _decode_disk_enum(reader: NdrReader) -> _DiskEnum:
    reader.unique_string()
    level = reader.u32()
    _skip_disks(reader)
    reader.u32()
    return _DiskEnum(level, reader.unique_u32())


def _skip_disks(reader: NdrReader) -> None:
    """Step over a DISK_ENUM_CONTAINER: a conformant varying array of strings that are varying only."""
    reader.u32()
    if not reader.u32():
        return
    reader.u32()
    reader.u32()
    for _ in range(reader.u32()):
        reader.u32()
        for _ in range(reader.u32()):
            reader.u16()


def _disk_enum(asked: _DiskEnum, caller: Caller) -> bytes:
    """One disk is shown, as the paths of shares need one.

    Windows answers administrators only. Here the answer is the same on every machine, so anybody may have it.
    """
    error = ERROR_INVALID_LEVEL if asked.level else NERR_SUCCESS
    disks = [] if error else ["C:"]
    writer = NdrWriter()
    writer.u32(len(disks))
    writer.pointer(bool(disks))
    if disks:
        for count in (len(disks), 0, len(disks)):
            writer.u32(count)
    for disk in disks:
        writer.varying_string(disk)
    writer.u32(len(disks))
    writer.unique_u32(None if asked.resume is None else 0)
    writer.u32(error)
    return writer.finish()


def _decode_server_name(reader: NdrReader) -> None:
    reader.unique_string()


def _remote_time_of_day(asked: None, caller: Caller) -> bytes:
    """TIME_OF_DAY_INFO (2.2.4.105), all of it in UTC, as tod_timezone 0 says."""
    now = caller.view.now()
    utc = time.gmtime(now)
    sunday_first = (utc.tm_wday + 1) % 7
    clock = utc.tm_hour, utc.tm_min, utc.tm_sec, int(now % 1 * 100)
    date = utc.tm_mday, utc.tm_mon, utc.tm_year, sunday_first
    writer = NdrWriter()
    writer.pointer(True)
    for value in (int(now), int(caller.view.uptime() * 1000), *clock, 0, _CLOCK_INTERVAL, *date):
        writer.u32(value)
    writer.u32(NERR_SUCCESS)
    return writer.finish()


class _NameArguments(NamedTuple):
    name: str
    name_type: int
    flags: int


def _decode_name_validate(reader: NdrReader) -> _NameArguments:
    reader.unique_string()
    return _NameArguments(reader.string(), reader.u32(), reader.u32())


def _name_validate(asked: _NameArguments, caller: Caller) -> bytes:
    """3.1.4.32 NetprNameValidate."""
    writer = NdrWriter()
    writer.u32(_name_error(asked))
    return writer.finish()


def _name_error(asked: _NameArguments) -> int:
    lengths = _NAME_LENGTHS.get(asked.name_type)
    if lengths is None or asked.flags not in (0, _LM20_NAMES):
        return ERROR_INVALID_PARAMETER
    longest = lengths[1 if asked.flags else 0]
    valid = 0 < len(asked.name) <= longest and _NOT_IN_NAMES.isdisjoint(asked.name)
    return NERR_SUCCESS if valid else ERROR_INVALID_NAME


SRVSVC: Final = Interface(
    Syntax(UUID("4b324fc8-1670-01d3-1278-5a47bf6ee188"), 3),
    {
        8: Operation("NetrConnectionEnum", _decode_connection_enum, _connection_enum),
        9: Operation("NetrFileEnum", _decode_file_enum, _file_enum),
        12: Operation("NetrSessionEnum", _decode_session_enum, _session_enum),
        15: Operation("NetrShareEnum", _decode_share_enum, _share_enum),
        16: Operation("NetrShareGetInfo", _decode_share_info, _share_get_info),
        20: Operation("NetrShareCheck", _decode_share_check, _share_check),
        21: Operation("NetrServerGetInfo", _decode_server_info, _server_get_info),
        23: Operation("NetrServerDiskEnum", _decode_disk_enum, _disk_enum),
        28: Operation("NetrRemoteTOD", _decode_server_name, _remote_time_of_day),
        33: Operation("NetprNameValidate", _decode_name_validate, _name_validate),
        36: Operation("NetrShareEnumSticky", _decode_share_enum, _share_enum_sticky),
    },
)
"""The srvsvc interface (MS-SRVS 2.1, 3.1.4)."""
