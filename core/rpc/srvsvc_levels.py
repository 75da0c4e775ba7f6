"""The information levels of MS-SRVS 2.2.4: which fields, in which order, and where their values come from.

Levels that show paths or other people's doings are for administrators (MS-SRVS 3.1.4, "access rights").
"""

from typing import Final

from lamina.core.rpc.levels import Level
from lamina.core.rpc.ndr import Kind, Value
from lamina.core.rpc.view import ConnectionView, OpenFileView, ServerView, SessionView, ShareView

_U32: Final = Kind.U32
_STRING: Final = Kind.STRING
_BYTES: Final = Kind.BYTES

_STYPE_DISKTREE: Final = 0x00000000
_STYPE_IPC: Final = 0x00000003
_STYPE_SPECIAL: Final = 0x80000000
_UNLIMITED: Final = 0xFFFFFFFF
_SHI1005_FLAGS_ACCESS_BASED_DIRECTORY_ENUM: Final = 0x00000800
_SHI1005_FLAGS_ENCRYPT_DATA: Final = 0x00008000
_SESS_GUEST: Final = 0x00000001
_PLATFORM_ID_NT: Final = 500
# SV_TYPE_WORKSTATION, SV_TYPE_SERVER, SV_TYPE_NT, SV_TYPE_SERVER_NT
_SERVER_TYPE: Final = 0x00000001 | 0x00000002 | 0x00001000 | 0x00008000
_NEVER_DISCONNECT: Final = 0xFFFFFFFF
_ANNOUNCE_SECONDS: Final = 240
_ANNOUNCE_DELTA: Final = 3000


def share_type(share: ShareView) -> int:
    """STYPE_* of a share (MS-SRVS 2.2.2.4)."""
    return _STYPE_IPC | _STYPE_SPECIAL if share.is_ipc else _STYPE_DISKTREE


def share_path(share: ShareView) -> str:
    """The path that is shown for a share: in the form clients expect, and telling nothing about this machine."""
    return f"C:\\{share.name}"


def _share_1(share: ShareView) -> tuple[Value, ...]:
    return share.name, share_type(share), share.comment


def _share_2(share: ShareView) -> tuple[Value, ...]:
    return *_share_1(share), 0, _UNLIMITED, share.current_uses, share_path(share), None


def _share_flags(share: ShareView) -> tuple[Value, ...]:
    flags = _SHI1005_FLAGS_ENCRYPT_DATA if share.encrypt else 0
    return (flags | (_SHI1005_FLAGS_ACCESS_BASED_DIRECTORY_ENUM if share.access_based_enumeration else 0),)


def _share_security(share: ShareView) -> tuple[Value, ...]:
    return len(share.security or b""), share.security


_SHARE_1: Final = (_STRING, _U32, _STRING)
_SHARE_2: Final = (*_SHARE_1, _U32, _U32, _U32, _STRING, _STRING)

SHARE_LEVELS: Final = {
    0: Level((_STRING,), lambda share: (share.name,)),
    1: Level(_SHARE_1, _share_1),
    2: Level(_SHARE_2, _share_2, administrators=True),
    501: Level((*_SHARE_1, _U32), lambda share: (*_share_1(share), 0), administrators=True),
    502: Level(
        (*_SHARE_2, _U32, _BYTES), lambda share: (*_share_2(share), *_share_security(share)), administrators=True
    ),
    503: Level(
        (*_SHARE_2, _STRING, _U32, _BYTES),
        lambda share: (*_share_2(share), "*", *_share_security(share)),
        administrators=True,
    ),
}
"""SHARE_ENUM_UNION (2.2.3.4): SHARE_INFO_0, 1, 2, 501_I, 502_I, 503_I."""

SHARE_INFORMATION_LEVELS: Final = {
    **SHARE_LEVELS,
    501: Level((*_SHARE_1, _U32), lambda share: (*_share_1(share), 0)),
    1004: Level((_STRING,), lambda share: (share.comment,)),
    1005: Level((_U32,), _share_flags),
    1006: Level((_U32,), lambda share: (_UNLIMITED,)),
    1501: Level((_U32, _BYTES), _share_security, administrators=True),
}
"""SHARE_INFO (2.2.3.6)."""

SHARE_INFORMATION_ARMS: Final = frozenset(SHARE_INFORMATION_LEVELS)
"""All levels of SHARE_INFO (2.2.3.6)."""


def _connection_1(connection: ConnectionView) -> tuple[Value, ...]:
    kind = _STYPE_IPC if connection.is_ipc else _STYPE_DISKTREE
    seconds, user, share = connection.active_seconds, connection.user, connection.share
    return connection.connection_id, kind, connection.opens, 1, seconds, user, share


CONNECTION_LEVELS: Final = {
    0: Level((_U32,), lambda connection: (connection.connection_id,), administrators=True),
    1: Level((_U32, _U32, _U32, _U32, _U32, _STRING, _STRING), _connection_1, administrators=True),
}
"""CONNECT_ENUM_UNION (2.2.3.1)."""


def _file_3(file: OpenFileView) -> tuple[Value, ...]:
    return file.file_id, file.permissions, file.locks, file.path, file.user


FILE_LEVELS: Final = {
    2: Level((_U32,), lambda file: (file.file_id,), administrators=True),
    3: Level((_U32, _U32, _U32, _STRING, _STRING), _file_3, administrators=True),
}
"""FILE_ENUM_UNION (2.2.3.2)."""


def _session_1(session: SessionView) -> tuple[Value, ...]:
    flags = _SESS_GUEST if session.is_guest else 0
    times = session.active_seconds, session.idle_seconds
    return _unc(session), session.user, session.opens, *times, flags


def _session_10(session: SessionView) -> tuple[Value, ...]:
    return _unc(session), session.user, session.active_seconds, session.idle_seconds


def _unc(session: SessionView) -> str:
    return "\\\\" + session.client


_SESSION_1: Final = (_STRING, _STRING, _U32, _U32, _U32, _U32)

SESSION_LEVELS: Final = {
    0: Level((_STRING,), lambda session: (_unc(session),), administrators=True),
    1: Level(_SESSION_1, _session_1, administrators=True),
    2: Level((*_SESSION_1, _STRING), lambda s: (*_session_1(s), s.client_type), administrators=True),
    10: Level((_STRING, _STRING, _U32, _U32), _session_10, administrators=True),
    502: Level((*_SESSION_1, _STRING, _STRING), lambda s: (*_session_1(s), s.client_type, ""), administrators=True),
}
"""SESSION_ENUM_UNION (2.2.3.3)."""


def _server_101(view: ServerView) -> tuple[Value, ...]:
    return _PLATFORM_ID_NT, view.name, *view.version, _SERVER_TYPE, view.comment


def _server_102(view: ServerView) -> tuple[Value, ...]:
    announcing = 0, _ANNOUNCE_SECONDS, _ANNOUNCE_DELTA
    return *_server_101(view), _UNLIMITED, _NEVER_DISCONNECT, *announcing, 0, "C:\\"


_SERVER_101: Final = (_U32, _STRING, _U32, _U32, _U32, _STRING)
_SERVER_102: Final = (*_SERVER_101, _U32, _U32, _U32, _U32, _U32, _U32, _STRING)

SERVER_LEVELS: Final = {
    100: Level((_U32, _STRING), lambda view: (_PLATFORM_ID_NT, view.name)),
    101: Level(_SERVER_101, _server_101),
    102: Level(_SERVER_102, _server_102, administrators=True),
    103: Level((*_SERVER_102, _U32), lambda view: (*_server_102(view), 0), administrators=True),
}
"""SERVER_INFO (2.2.3.7), those of its levels that clients ask for."""

SERVER_ARMS: Final = frozenset(
    {100, 101, 102, 103, 502, 503, 599, 1005, 1010, 1016, 1017, 1018, 1107}
    | {1501, 1502, 1503, 1506, 1510, 1511, 1512, 1513, 1514, 1515, 1516, 1518, 1523, 1528, 1529, 1530}
    | {1533, 1534, 1535, 1536, 1538, 1539, 1540, 1541, 1542, 1543, 1544, 1545, 1546, 1547, 1548, 1549}
    | {1550, 1552, 1553, 1554, 1555, 1556}
)
"""All levels of SERVER_INFO (2.2.3.7)."""
