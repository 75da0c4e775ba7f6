"""The Workstation Service Remote Protocol (MS-WKST): what kind of computer this is, for reading."""

from typing import Final
from uuid import UUID

from lamina.core.rpc.interface import Caller, Interface, Operation, Syntax
from lamina.core.rpc.levels import (
    EnumArguments,
    Level,
    answer_enumeration,
    answer_information,
    decode_enumeration,
    refusal,
    refuse_enumeration,
    refuse_information,
)
from lamina.core.rpc.ndr import Kind, NdrReader, Value
from lamina.core.rpc.view import ServerView, SessionView

_U32: Final = Kind.U32
_STRING: Final = Kind.STRING
_PLATFORM_ID_NT: Final = 500


def _workstation_100(view: ServerView) -> tuple[Value, ...]:
    return _PLATFORM_ID_NT, view.name, view.domain, *view.version


def _workstation_102(view: ServerView) -> tuple[Value, ...]:
    return *_workstation_100(view), "", len(view.sessions())


_WORKSTATION_100: Final = (_U32, _STRING, _STRING, _U32, _U32)

_WORKSTATION_LEVELS: Final = {
    100: Level(_WORKSTATION_100, _workstation_100),
    101: Level((*_WORKSTATION_100, _STRING), lambda view: (*_workstation_100(view), "")),
    102: Level((*_WORKSTATION_100, _STRING, _U32), _workstation_102, administrators=True),
}
# All levels of WKSTA_INFO (2.2.5.1).
_WORKSTATION_ARMS: Final = frozenset({100, 101, 102, 502, 1013, 1018, 1046})


def _user_1(session: SessionView) -> tuple[Value, ...]:
    domain, _, user = session.user.rpartition("\\")
    return user, domain, "", ""


_USER_LEVELS: Final = {
    0: Level((_STRING,), lambda session: _user_1(session)[:1], administrators=True),
    1: Level((_STRING, _STRING, _STRING, _STRING), _user_1, administrators=True),
}


def _decode_get_info(reader: NdrReader) -> int:
    reader.unique_string()
    return reader.u32()


def _get_info(level: int, caller: Caller) -> bytes:
    """3.2.4.1 NetrWkstaGetInfo."""
    error = refusal(level, _WORKSTATION_LEVELS, caller)
    if error:
        return refuse_information(level, _WORKSTATION_ARMS, error)
    return answer_information(level, _WORKSTATION_LEVELS, caller.view)


def _decode_user_enum(reader: NdrReader) -> EnumArguments:
    reader.unique_string()
    return decode_enumeration(reader, _USER_LEVELS)


def _user_enum(asked: EnumArguments, caller: Caller) -> bytes:
    """3.2.4.3 NetrWkstaUserEnum."""
    error = refusal(asked.level, _USER_LEVELS, caller)
    if error:
        return refuse_enumeration(asked, _USER_LEVELS, error)
    return answer_enumeration(asked, _USER_LEVELS, caller.view.sessions())


WKSSVC: Final = Interface(
    Syntax(UUID("6bffd098-a112-3610-9833-46c3f87e345a"), 1),
    {
        0: Operation("NetrWkstaGetInfo", _decode_get_info, _get_info),
        2: Operation("NetrWkstaUserEnum", _decode_user_enum, _user_enum),
    },
)
"""The wkssvc interface (MS-WKST 2.1, 3.2.4)."""
