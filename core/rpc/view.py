"""What the remote procedure calls may know of the running server: plain values behind one protocol.

The SMB engine implements `ServerView`; nothing in this package looks further. Terms are those of MS-SRVS 2.2.4 and
3.1.1.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class ShareView(NamedTuple):
    """One share (MS-SRVS 3.1.1.3). `current_uses` counts the tree connects to it now.

    `security` is the share's descriptor, self-relative, None where there is none.
    """

    name: str
    comment: str = ""
    is_ipc: bool = False
    hidden: bool = False
    encrypt: bool = False
    current_uses: int = 0
    access_based_enumeration: bool = False
    security: bytes | None = None


class SessionView(NamedTuple):
    """One session (MS-SRVS 2.2.4.15). `client` is the computer's name or address; times are in seconds."""

    client: str
    user: str
    opens: int = 0
    active_seconds: int = 0
    idle_seconds: int = 0
    is_guest: bool = False
    client_type: str = ""


class ConnectionView(NamedTuple):
    """One tree connect (MS-SRVS 2.2.4.2). `client` and `share` are what an enumeration may ask for."""

    connection_id: int
    share: str
    client: str
    user: str
    opens: int = 0
    active_seconds: int = 0
    is_ipc: bool = False


class OpenFileView(NamedTuple):
    """One open file or pipe (MS-SRVS 2.2.4.7). `path` is the NT path in its share, `permissions` PERM_FILE_* bits."""

    file_id: int
    path: str
    user: str
    permissions: int = 0
    locks: int = 0


class ServerView(Protocol):
    """The server, as the procedures see it at the moment of a call."""

    @property
    def name(self) -> str:
        """The NetBIOS-like name, without backslashes."""

    @property
    def comment(self) -> str:
        """A remark for people."""

    @property
    def domain(self) -> str:
        """The domain or workgroup."""

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor version of the operating system that is shown to clients."""

    def now(self) -> float:
        """The time, in seconds since 1970 in UTC."""

    def uptime(self) -> float:
        """Seconds that the server has been running."""

    def shares(self) -> Sequence[ShareView]:
        """All shares, IPC$ among them, in the order to show them in."""

    def sessions(self) -> Sequence[SessionView]:
        """All sessions with an authenticated user."""

    def connections(self) -> Sequence[ConnectionView]:
        """All tree connects."""

    def open_files(self) -> Sequence[OpenFileView]:
        """All open files and pipes."""
