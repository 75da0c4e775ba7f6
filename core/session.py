"""Sessions, channels, tree connects and opens (MS-SMB2 3.3.1.8, 3.3.1.9, 3.3.1.10, 3.3.1.14): the SMB level's state."""

import asyncio
import time
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple, Protocol

from lamina.core.auth.authenticator import Authenticated, AuthExchange
from lamina.core.channel_sequence import ChannelSequence
from lamina.core.crypto.kdf import SessionKeys
from lamina.core.crypto.sealing import Cipher
from lamina.core.crypto.signing import Signer
from lamina.core.settings import Dialect
from lamina.core.share import Share
from lamina.ntfsa.context import NtContext
from lamina.ntfsa.open_state import NtOpen
from lamina.vfs_modules import engine
from lamina.vfs_modules.extensions import Client
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

if TYPE_CHECKING:
    from lamina.core.connection import Connection
    from lamina.core.durable_state import DurableState
    from lamina.core.rpc.pipes import RpcPipe


class SessionState(Enum):
    """Session.State of MS-SMB2 3.3.1.8. DELETED: gone, but its connections still know how to sign the refusals."""

    IN_PROGRESS = auto()
    VALID = auto()
    EXPIRED = auto()
    DELETED = auto()


class Channel:
    """A session on one connection (3.3.1.14): its signing key, and the authentication under way on it."""

    __slots__ = ("authenticating", "binding", "connection", "exchange", "preauth_hash", "session", "signer")

    def __init__(self, session: "SmbSession", connection: "Connection") -> None:
        self.session = session
        self.connection = connection
        self.signer: Signer | None = None
        self.exchange: AuthExchange | None = None
        self.authenticating = False
        self.preauth_hash = b""
        # A binding that has not succeeded yet gives the connection no right to use the session.
        self.binding = False


class Agreed(Protocol):
    """What a session is made with: what its first connection has negotiated."""

    @property
    def dialect(self) -> int:
        """The dialect's number."""

    @property
    def client_guid(self) -> bytes:
        """ClientGuid of the client's NEGOTIATE."""

    @property
    def cipher_id(self) -> int:
        """The cipher, 0 for none."""

    @property
    def signing_algorithm(self) -> int:
        """The signing algorithm."""


class Absent(NamedTuple):
    """Instead of a connection, for the session of opens whose client has not come back since the server's start."""

    client_guid: bytes
    dialect: int = Dialect.SMB_3_1_1
    cipher_id: int = 0
    signing_algorithm: int = 0


class SmbSession:
    """An authenticated user, over one or more connections."""

    __slots__ = (
        "application_key",
        "channels",
        "cipher",
        "cipher_id",
        "client_guid",
        "dialect",
        "encrypt_data",
        "expires_at",
        "is_anonymous",
        "is_guest",
        "lock_count",
        "next_tree_id",
        "opener",
        "opens",
        "sealer",
        "session_id",
        "signer",
        "signing_algorithm",
        "signing_key",
        "signing_required",
        "started_at",
        "state",
        "token",
        "trees",
        "user",
    )

    def __init__(self, session_id: int, connection: Agreed) -> None:
        self.session_id = session_id
        self.state = SessionState.IN_PROGRESS
        self.started_at = time.time()
        self.dialect = connection.dialect
        self.client_guid = connection.client_guid
        self.cipher_id = connection.cipher_id
        self.signing_algorithm = connection.signing_algorithm
        self.channels: dict[Connection, Channel] = {}
        self.trees: dict[int, SmbTree] = {}
        self.opens: dict[int, SmbOpen] = {}
        # The sum of those of its opens.
        self.lock_count = 0
        self.next_tree_id = 1
        self.token: ImpersonationToken = SERVER_TOKEN
        self.user = ""
        self.is_guest = False
        self.is_anonymous = False
        self.signing_required = False
        self.encrypt_data = False
        self.expires_at: float | None = None
        self.application_key = b""
        # The key of the session itself, which the first channel signs with and bindings are made with.
        self.signer: Signer | None = None
        self.signing_key = b""
        self.sealer: Cipher | None = None
        self.opener: Cipher | None = None

    def authenticated_as(self, who: Authenticated) -> None:
        """Take on an identity: at the first authentication, and again at each later one (3.3.5.5.2)."""
        self.token = who.token
        self.user = f"{who.domain}\\{who.user}" if who.domain else who.user
        self.is_guest = who.is_guest
        self.is_anonymous = who.is_anonymous
        self.expires_at = who.expires_at
        self.state = SessionState.VALID
        # What he may do can take a question to a name service, meanwhile others connect.
        for tree in list(self.trees.values()):
            tree.remake_context()

    def check_expiry(self) -> None:
        """Notice that the session's time is over: its user must prove himself again (3.3.5.2.9)."""
        if self.expires_at is not None and time.time() >= self.expires_at and self.state is SessionState.VALID:
            self.state = SessionState.EXPIRED

    def set_keys(self, keys: SessionKeys, sealer: Cipher | None, opener: Cipher | None) -> None:
        """Keep what the session's own authentication derived; later ones change nothing here."""
        self.application_key = keys.application
        self.sealer = sealer
        self.opener = opener


class SmbTree:
    """A share connected in a session (3.3.1.9)."""

    __slots__ = ("client", "connected_at", "context", "maximal_access", "session", "share", "tree_id")

    def __init__(self, tree_id: int, session: SmbSession, share: Share) -> None:
        self.tree_id = tree_id
        self.session = session
        self.share = share
        self.connected_at = time.time()
        self.client = Client()
        self.remake_context()

    def _make_context(self) -> NtContext:
        session = self.session
        address = next((c.peer_address for c in session.channels), "")
        return NtContext(
            session.token, session.client_guid, session.session_id, address, self.maximal_access, self.client
        )

    def remake_context(self) -> None:
        """The session's identity changed: what is done from now on is done for the new one, with its rights."""
        session, share = self.session, self.share
        admitted = share.admits(session.is_guest, session.is_anonymous)
        self.maximal_access = share.maximal_access(session.token) if admitted else 0
        self.context = self._make_context()


class SmbOpen:
    """A file or pipe opened by a client (3.3.1.10). Exactly one of `nt` and `pipe` is set.

    `durable`: what it was promised beyond its connection; None for nothing. `opened_at`: seconds of time.monotonic.
    """

    __slots__ = (
        "busy",
        "closing",
        "durable",
        "file_id",
        "lock_count",
        "lock_sequences",
        "nt",
        "opened_at",
        "pipe",
        "sequence",
        "tree",
        "waiting_for_idle",
    )

    def __init__(self, file_id: int, tree: SmbTree, nt: NtOpen | None, pipe: "RpcPipe | None" = None) -> None:
        self.file_id = file_id
        self.tree = tree
        self.nt = nt
        self.pipe = pipe
        self.sequence = ChannelSequence()
        self.busy = 0
        self.closing = False
        self.durable: DurableState | None = None
        self.opened_at = time.monotonic()
        self.lock_count = 0
        self.lock_sequences: dict[int, int] = {}
        self.waiting_for_idle: list[asyncio.Future[None]] = []

    def wait_until_idle(self, own: int) -> None:
        """Park until no other request uses this open (`own`: how many uses are the caller's)."""
        while self.busy > own:
            idle = asyncio.get_running_loop().create_future()
            self.waiting_for_idle.append(idle)
            engine.wait(idle)

    def release(self) -> None:
        """One request less uses this open."""
        self.busy -= 1
        if self.waiting_for_idle:
            waiting, self.waiting_for_idle = self.waiting_for_idle, []
            for idle in waiting:
                if not idle.done():
                    idle.set_result(None)
