"""The running server as remote procedure calls see it (`rpc.view.ServerView`), made from live objects at each call.

Of several workers each is asked for what it has; so whoever looks is a request that may wait.
"""

import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from lamina.core.rpc.view import ConnectionView, OpenFileView, SessionView, ShareView
from lamina.core.session import SessionState, SmbOpen, SmbSession
from lamina.core.share import Share
from lamina.ntfsa.constants import FILE_APPEND_DATA, FILE_READ_DATA, FILE_WRITE_DATA
from lamina.ntfsa.security.security_descriptor import pack_security_descriptor

if TYPE_CHECKING:
    from lamina.core.server_core import SmbServer

_PERM_FILE_READ = 0x1
_PERM_FILE_WRITE = 0x2


USES: Final = "uses"
SESSIONS: Final = "sessions"
CONNECTIONS: Final = "connections"
OPEN_FILES: Final = "open files"
"""What there are lists of."""


class LiveView:
    """`ServerView` over a running `SmbServer`."""

    __slots__ = ("_server",)

    def __init__(self, server: "SmbServer") -> None:
        self._server = server

    @property
    def name(self) -> str:
        """The server's name."""
        return self._server.settings.name

    @property
    def comment(self) -> str:
        """The server's comment."""
        return self._server.settings.comment

    @property
    def domain(self) -> str:
        """The workgroup shown to clients."""
        return "WORKGROUP"

    @property
    def version(self) -> tuple[int, int]:
        """The version shown to clients: that of Windows 10 and Server 2016, whose protocol level this is."""
        return 10, 0

    def now(self) -> float:
        """The time, in seconds since 1970 in UTC."""
        return time.time()

    def uptime(self) -> float:
        """Seconds that the server has been running."""
        return time.time() - self._server.started_at

    def shares(self) -> list[ShareView]:
        """All shares by name, IPC$ last."""
        uses: Counter[str] = Counter()
        for name, count in self._all(USES):
            uses[name] += count
        shares = sorted(self._server.shares, key=lambda share: (share.is_pipe, share.name.lower()))
        return [_share(share, uses[share.name]) for share in shares]

    def sessions(self) -> list[SessionView]:
        """All sessions with an authenticated user."""
        return [SessionView(*fields) for fields in self._all(SESSIONS)]

    def connections(self) -> list[ConnectionView]:
        """All tree connects."""
        return [ConnectionView(*fields) for fields in self._all(CONNECTIONS)]

    def open_files(self) -> list[OpenFileView]:
        """All open files and pipes."""
        return [OpenFileView(*fields) for fields in self._all(OPEN_FILES)]

    def _all(self, what: str) -> list[tuple[Any, ...]]:
        elsewhere = self._server.elsewhere
        here = list(self.here(what))
        return here if elsewhere is None else here + elsewhere.listed(what)

    # -- of this process ----------------------------------------------------------------------------------------

    def here(self, what: str) -> Iterable[tuple[Any, ...]]:
        """The fields of what there is in this process."""
        match what:
            case "uses":
                trees = (tree for session in self._sessions() for tree in session.trees.values())
                return Counter(tree.share.name for tree in trees).items()
            case "sessions":
                return self._sessions_here()
            case "connections":
                return self._connections_here()
            case _:
                return self._open_files_here()

    def _sessions_here(self) -> list[SessionView]:
        return [
            SessionView(
                client=_client(session),
                user=session.token.user_name,
                opens=len(session.opens),
                active_seconds=int(time.time() - session.started_at),
                is_guest=session.is_guest,
            )
            for session in self._sessions()
        ]

    def _connections_here(self) -> list[ConnectionView]:
        return [
            ConnectionView(
                connection_id=tree.tree_id,
                share=tree.share.name,
                client=_client(session),
                user=session.token.user_name,
                opens=sum(1 for open_ in session.opens.values() if open_.tree is tree),
                active_seconds=int(time.time() - tree.connected_at),
                is_ipc=tree.share.is_pipe,
            )
            for session in self._sessions()
            for tree in session.trees.values()
        ]

    def _open_files_here(self) -> list[OpenFileView]:
        # Those that wait for their clients last.
        opens = [open_ for session in self._sessions() for open_ in session.opens.values()]
        return [_open_file(open_.tree.session, open_) for open_ in (*opens, *self._server.durables.waiting())]

    def _sessions(self) -> list[SmbSession]:
        return [session for session in self._server.sessions.values() if session.state is SessionState.VALID]


def _share(share: Share, uses: int) -> ShareView:
    is_ipc = share.is_pipe
    return ShareView(
        share.name,
        share.comment,
        is_ipc,
        share.hidden,
        share.encrypt,
        uses,
        share.volume is not None and share.volume.settings.access_based_enumeration,
        None if is_ipc else pack_security_descriptor(share.security.descriptor()),
    )


def _client(session: SmbSession) -> str:
    return next((connection.peer_address for connection in session.channels), "")


def _open_file(session: SmbSession, open_: SmbOpen) -> OpenFileView:
    user = session.token.user_name
    if open_.nt is None:
        name = open_.pipe.name if open_.pipe is not None else ""
        return OpenFileView(open_.file_id, f"\\PIPE\\{name}", user, _PERM_FILE_READ | _PERM_FILE_WRITE)
    access = open_.nt.granted_access
    permissions = _PERM_FILE_READ if access & FILE_READ_DATA else 0
    if access & (FILE_WRITE_DATA | FILE_APPEND_DATA):
        permissions |= _PERM_FILE_WRITE
    path = f"C:\\{open_.tree.share.name}\\{open_.nt.path}"
    locks = open_.nt.volume.registry.read(open_.nt.file_key).locks
    return OpenFileView(open_.file_id, path, user, permissions, len(locks) if locks else 0)
