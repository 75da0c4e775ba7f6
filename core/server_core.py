"""The SMB server: listening sockets, connections, sessions and shares (MS-SMB2 3.3.1.5), on one event loop.

It knows nothing of configuration or of folders: shares come with their volumes, users with their authenticator.
"""

import asyncio
import logging
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Final

from lamina.core import dispatch
from lamina.core.accepted_transport import AcceptedTransport
from lamina.core.auth.authenticator import Authenticator
from lamina.core.buffers import BufferPool
from lamina.core.connection import Connection
from lamina.core.durable_opens import DurableOpens
from lamina.core.events import ServerEvents
from lamina.core.persistent_opens import forget_record
from lamina.core.request import CancelledByClient, Exchange, Reply, Request
from lamina.core.rpc.pipes import RpcPipe
from lamina.core.rpc.view import ServerView
from lamina.core.server_view import LiveView
from lamina.core.session import SessionState, SmbOpen, SmbSession, SmbTree
from lamina.core.settings import ServerSettings
from lamina.core.share import Share
from lamina.core.stalls import give_up_stalled
from lamina.core.transport import TcpTransport
from lamina.core.wire.constants import Command
from lamina.ntfsa.information import NetworkOpenInformation
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.opening.close import close as nt_close
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.volume import NtVolume
from lamina.ntfsa.workers.numbers import FILE_ID_BITS, WORKER_BITS
from lamina.vfs_modules.engine import Engine, RequestCancelled, Task, current_task

if TYPE_CHECKING:
    from lamina.core.workers.elsewhere import Elsewhere

log = logging.getLogger(__name__)

SIGNING_ENABLED: Final = 0x01
SIGNING_REQUIRED: Final = 0x02
_SWEEP_SECONDS: Final = 5.0
_LAST_REQUESTS_SECONDS: Final = 0.01
_ENDS_OF_WAITS: Final[dict[int, NtStatus]] = {
    Command.CHANGE_NOTIFY: NtStatus.NOTIFY_CLEANUP,
    Command.LOCK: NtStatus.RANGE_NOT_LOCKED,
}


class SmbServer:
    """One server. All methods belong to the thread of the engine's event loop."""

    def __init__(
        self,
        engine: Engine,
        settings: ServerSettings,
        authenticator: Authenticator,
        shares: Mapping[str, Share],
        events: ServerEvents | None = None,
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.authenticator = authenticator
        self.events = events or ServerEvents()
        self.execute: Callable[[Request], Reply] = dispatch.execute
        self.buffers = BufferPool()
        self.connections: set[Connection] = set()
        self._from_address: Counter[str] = Counter()
        self._clients: dict[bytes, list[Connection]] = {}
        self.sessions: dict[int, SmbSession] = {}
        self.durables = DurableOpens(engine)
        self.started_at = time.time()
        self.statistics: Counter[str] = Counter()
        self._listeners: dict[tuple[str, int], asyncio.Server] = {}
        self._shares: dict[str, Share] = {}
        # Ids of handles outlive a restart in the memory of clients: those of the next run should be others.
        self._next_file_id = 1 + secrets.randbits(30)
        self._sweeper: asyncio.TimerHandle | None = None
        self._closing = False
        self.elsewhere: Elsewhere | None = None
        self._ending: set[asyncio.Future[None]] = set()
        self.set_shares(shares)

    # -- settings and shares ------------------------------------------------------------------------------------

    @property
    def security_mode(self) -> int:
        """SecurityMode of NEGOTIATE (MS-SMB2 2.2.4)."""
        return SIGNING_ENABLED | (SIGNING_REQUIRED if self.settings.require_signing else 0)

    def apply(self, settings: ServerSettings) -> None:
        """Use other settings for what is negotiated and connected from now on."""
        self.settings = settings

    def execute_by(self, execute: Callable[[Request], Reply]) -> None:
        """Let requests be executed by this function from now on; `dispatch.execute` does it unless somebody looks."""
        self.execute = execute
        for connection in self.connections:
            connection.execute = execute

    def set_shares(self, shares: Mapping[str, Share]) -> None:
        """Serve these shares to new tree connects; IPC$ is always there. Connected trees keep what they have."""
        self._shares = {share.name.lower(): share for share in shares.values()}
        self._shares["ipc$"] = Share("IPC$", None, comment="Remote IPC", guest=True)

    @property
    def shares(self) -> Collection[Share]:
        """The shares served to new tree connects."""
        return self._shares.values()

    def find_share(self, name: str) -> Share | None:
        """The share of that name, whatever its case."""
        return self._shares.get(name.lower())

    def volumes_in_use(self) -> set[NtVolume]:
        """The volumes that some session is connected to, or has something open in."""
        held = chain(self.durables.waiting(), *(session.opens.values() for session in self.sessions.values()))
        opened = (open_.nt for open_ in held)
        connected = {share.volume for share in self._connected_shares() if share.volume is not None}
        return connected | {nt.volume for nt in opened if nt is not None}

    def replace_volumes(self, successors: Mapping[NtVolume, NtVolume]) -> None:
        """Let those who are connected to a volume open in its successor from now on; what is open stays where it is."""
        for share in self._connected_shares():
            if share.volume is not None:
                share.volume = successors.get(share.volume, share.volume)

    def exchanges(self) -> set[Exchange]:
        """The messages whose requests are being worked on."""
        return {exchange for connection in self.connections for exchange in connection.running}

    def _connected_shares(self) -> list[Share]:
        return [tree.share for session in self.sessions.values() for tree in session.trees.values()]

    # -- sockets ------------------------------------------------------------------------------------------------

    async def listen(self, address: str, port: int) -> int:
        """Accept connections on `address` ("" is every address of the machine); the port that was bound.

        Raises OSError where the address or port cannot be had.
        """
        loop = self.engine.loop
        server = await loop.create_server(lambda: AcceptedTransport(self), address or None, port, backlog=1024)
        bound = int(server.sockets[0].getsockname()[1])
        self._listeners[address, bound] = server
        self._begin_sweeping()
        return bound

    def _begin_sweeping(self) -> None:
        if self._sweeper is None:
            self._sweeper = self.engine.loop.call_later(_SWEEP_SECONDS, self._sweep)

    def be_worker(self, elsewhere: "Elsewhere") -> None:
        """Be one of several processes that are one server; its ids are no other's."""
        self.elsewhere = elsewhere
        # Of all that a worker before this one has made, some may live in others.
        self._next_file_id = elsewhere.number << FILE_ID_BITS | secrets.randbits(FILE_ID_BITS - 1)

    async def adopt(self, connection: socket.socket, transport: AcceptedTransport) -> None:
        """Serve a connection that somebody else has accepted. Raises OSError."""
        self._begin_sweeping()
        await self.engine.loop.connect_accepted_socket(lambda: transport, connection)

    def stop_listening(self, address: str, port: int) -> None:
        """Accept no more connections where `listen` bound this port; those that are open stay."""
        self._listeners.pop((address, port)).close()

    def listens_on(self, address: str, port: int) -> bool:
        """Whether a client that connects to an address of this machine, at that port, comes here."""
        every = "::" if ":" in address else "0.0.0.0"  # noqa: S104 - compared, not bound
        own = (listening.getsockname() for server in self._listeners.values() for listening in server.sockets)
        others = self.elsewhere.listening if self.elsewhere is not None else ()
        return any(name[0] in (address, every) and name[1] == port for name in chain(own, others))

    def accepted(self, transport: TcpTransport) -> None:
        """A client has connected."""
        limits = self.settings.limits
        peer = transport.peer[0]
        from_there = self._from_address[peer]
        if self._closing or len(self.connections) >= limits.connections or from_there >= limits.connections_per_address:
            log.warning("refusing a connection from %s: %d connections are open", peer, len(self.connections))
            transport.abort()
            return
        connection = Connection(self, transport)
        transport.attach(connection)
        self.connections.add(connection)
        self._from_address[peer] += 1
        self.statistics["connections"] += 1
        self.events.connection_opened(connection)

    def connection_lost(self, connection: Connection) -> None:
        """A connection is gone: sessions that have no other channel end with it."""
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        self._from_address[connection.peer_address] -= 1
        if not self._from_address[connection.peer_address]:
            del self._from_address[connection.peer_address]
        self._forget_client(connection)
        for channel in list(connection.channels.values()):
            session = channel.session
            session.channels.pop(connection, None)
            if not session.channels and not channel.binding:
                self._end_soon(session)
        connection.channels.clear()
        self.statistics["bytes_received"] += connection.transport.bytes_received
        self.statistics["bytes_sent"] += connection.transport.bytes_sent
        self.statistics["requests"] += connection.requests
        self.events.connection_closed(connection)

    def _end_soon(self, session: SmbSession) -> None:
        """End a session in a request of its own; `close` waits for it."""
        ended = self.engine.loop.create_future()
        self._ending.add(ended)

        def end() -> None:
            try:
                self.end_session(session)
            finally:
                self._ending.discard(ended)
                ended.set_result(None)

        self.engine.spawn(Task(), end)

    def _sweep(self) -> None:
        """Close connections that have not authenticated in time, and give up requests that wait for too long.

        Connections that are idle give back what they need no more.
        """
        self._sweeper = self.engine.loop.call_later(_SWEEP_SECONDS, self._sweep)
        now = time.monotonic()
        give_up_stalled(self.connections, self.settings.limits.seconds_in_chain, now)
        oldest = now - self.settings.limits.seconds_to_authenticate
        for connection in list(self.connections):
            connection.transport.rest()
            connection.out.rest()
            # Larger messages are taken from the first logon on: who has logged off may log on again when he likes.
            authenticated = connection.message_limit > self.settings.limits.unauthenticated_message
            if connection.opened_at < oldest and not authenticated:
                log.info("closing the connection from %s: nobody has logged on", connection.peer_address)
                connection.transport.abort()

    async def close(self) -> None:
        """Stop accepting, end every connection and session, and wait until their files are closed."""
        self._closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for server in self._listeners.values():
            server.close()
        connections = list(self.connections)
        for connection in connections:
            connection.transport.abort()
        for connection in connections:
            connection.lost()
        for session in list(self.sessions.values()):
            await self.engine.run(self.end_session, session)
        await self.durables.close()
        # A system call on a worker thread is not to be stopped; what it opens is closed when it returns.
        while self._ending or any(connection.running for connection in connections):
            await asyncio.sleep(_LAST_REQUESTS_SECONDS)
        for server in self._listeners.values():
            await server.wait_closed()
        self._listeners.clear()

    # -- sessions -----------------------------------------------------------------------------------------------

    def new_session(self, connection: Connection) -> SmbSession:
        """A session that is not authenticated yet, under an id that cannot be guessed."""
        session_id = 0
        while not session_id or session_id in self.sessions:
            session_id = secrets.randbits(63)
            if self.elsewhere is not None:
                session_id = session_id >> WORKER_BITS << WORKER_BITS | self.elsewhere.number
        session = self.sessions[session_id] = SmbSession(session_id, connection)
        self.statistics["sessions"] += 1
        return session

    def end_session(self, session: SmbSession, keep: Exchange | None = None) -> None:
        """End a session on all its connections: cancel its requests (but `keep`), close its opens (3.3.4.17)."""
        channels = self._delete(session, keep)
        for connection in channels:
            connection.channels.pop(session.session_id, None)

    def fail_session(self, session: SmbSession, keep: Exchange) -> None:
        """End a session whose user could not prove himself anew (3.3.5.5.3); refusals are still signed with its key."""
        if session.state is SessionState.IN_PROGRESS:
            self.end_session(session, keep)
        else:
            self._delete(session, keep)

    def _delete(self, session: SmbSession, keep: Exchange | None) -> list[Connection]:
        """Take a session out of the table and close all it has; the connections it was on."""
        if self.sessions.pop(session.session_id, None) is None:
            return []
        session.state = SessionState.DELETED
        trees = list(session.trees.values())
        for tree in trees:
            self._cancel_in(tree, keep)
        # Their client may be back at once, and what is closed beside them may take its time.
        for open_ in [open_ for open_ in session.opens.values() if open_.durable is not None]:
            self.durables.keep(open_, self.settings.limits.opens_without_client)
        for tree in trees:
            self.end_tree(tree, keep)
        connections = list(session.channels)
        session.channels.clear()
        return connections

    def end_previous_session(self, previous_id: int, session: SmbSession) -> None:
        """A client that has logged on anew names the session it lost (3.3.5.5.3): end that if it is the same user's."""
        previous = self.sessions.get(previous_id)
        if previous is not None and previous.token.user_sid == session.token.user_sid:
            self.end_session(previous)
        elif previous is None and self.elsewhere is not None:
            self.elsewhere.end_session(previous_id, session.token.user_sid)

    # -- trees and opens ----------------------------------------------------------------------------------------

    def connect_tree(self, session: SmbSession, share: Share) -> SmbTree:
        """Enter a share in a session."""
        tree_id = session.next_tree_id
        session.next_tree_id += 1
        # What the user may do there can take a question to a name service, meanwhile others connect.
        tree = session.trees[tree_id] = SmbTree(tree_id, session, share)
        return tree

    def end_tree(self, tree: SmbTree, keep: Exchange | None = None) -> None:
        """Leave a share: cancel what waits in it, close its opens (3.3.5.8)."""
        session = tree.session
        session.trees.pop(tree.tree_id, None)
        self._cancel_in(tree, keep)
        for open_ in [open_ for open_ in session.opens.values() if open_.tree is tree]:
            self.close_for_certain(open_)

    def close_for_certain(self, open_: SmbOpen) -> None:
        """Close an open nobody will ask for again, whatever happens to the request that does it meanwhile."""
        while open_.file_id in open_.tree.session.opens:
            try:
                self.close_open(open_, post_query=False)
            except NtStatusError as error:
                log.debug("closing an open of a disconnected tree: %s", error)
            except RequestCancelled:
                log.debug("the client of a request that closes opens is gone")

    def _cancel_in(self, tree: SmbTree, keep: Exchange | None) -> None:
        for connection in list(tree.session.channels):
            for exchange in list(connection.running):
                current = exchange.current
                if exchange is not keep and current is not None and current.tree is tree:
                    exchange.task.cancel(CancelledByClient(_end_of_wait(current)))

    def client_known(self, connection: Connection) -> None:
        """The client of a connection has said who it is (Connection.ClientGuid)."""
        self._clients.setdefault(connection.client_guid, []).append(connection)

    def _forget_client(self, connection: Connection) -> None:
        others = self._clients.get(connection.client_guid, [])
        if connection in others:
            others.remove(connection)
            if not others:
                del self._clients[connection.client_guid]

    def connections_of_client(self, client_guid: bytes) -> list[Connection]:
        """The connections of one client, the oldest first."""
        return list(self._clients.get(client_guid, ()))

    def add_open(self, tree: SmbTree, nt: NtOpen | None = None, pipe: RpcPipe | None = None) -> SmbOpen:
        """Enter a file or pipe that was just opened. Raises NETWORK_NAME_DELETED where its tree ended meanwhile."""
        open_ = SmbOpen(self._next_file_id, tree, nt, pipe)
        self._next_file_id += 1
        session = tree.session
        session.opens[open_.file_id] = open_
        if session.trees.get(tree.tree_id) is not tree or session.session_id not in self.sessions:
            self.close_for_certain(open_)
            raise NtStatusError(NtStatus.NETWORK_NAME_DELETED, "the tree ended while a file was being opened in it")
        self.statistics["opens"] += 1
        return open_

    def reserve_file_id(self, file_id: int) -> None:
        """Give no new open the id of one that was there before the server's start."""
        if file_id >> FILE_ID_BITS == self._next_file_id >> FILE_ID_BITS:
            self._next_file_id = max(self._next_file_id, file_id + 1)

    def close_open(self, open_: SmbOpen, post_query: bool, own_uses: int = 0) -> NetworkOpenInformation | None:
        """Close an open once nobody else uses it; `own_uses` of its uses are the caller's. Raises NtStatusError.

        Who waits for somebody (a lock, a change, a break) does so no longer; what else is being done comes to its end.
        """
        open_.closing = True
        session = open_.tree.session
        if open_.busy > own_uses:
            self._cancel_on(open_)
            try:
                open_.wait_until_idle(own_uses)
            except BaseException:
                # A CLOSE that was cancelled has not closed: the open must not stay half dead.
                open_.closing = False
                raise
        if session.opens.pop(open_.file_id, None) is None:
            return None
        session.lock_count -= open_.lock_count
        if open_.durable is not None:
            self.durables.forget(open_)
        if open_.pipe is not None:
            open_.pipe.close()
            return None
        assert open_.nt is not None
        try:
            return nt_close(open_.tree.context, open_.nt, post_query)
        finally:
            if open_.durable is not None:
                forget_record(open_)

    def _cancel_on(self, open_: SmbOpen) -> None:
        for connection in list(open_.tree.session.channels):
            for exchange in list(connection.running):
                current = exchange.current
                if current is not None and current.open is open_ and exchange.task is not current_task():
                    exchange.task.end_waiting(CancelledByClient(_end_of_wait(current)))

    def counts(self) -> dict[str, int]:
        """What is held right now: connections, sessions, trees, opens, requests running or parked, idle greenlets."""
        sessions = self.sessions.values()
        return {
            "connections": len(self.connections),
            "sessions": len(self.sessions),
            "trees": sum(len(session.trees) for session in sessions),
            "opens": sum(len(session.opens) for session in sessions),
            "requests": self.engine.running,
            "idle_greenlets": self.engine.statistics()["idle_greenlets"],
        }

    def view(self) -> ServerView:
        """What RPC may tell about this server."""
        return LiveView(self)


def _end_of_wait(request: Request) -> NtStatus:
    """What a request that waits is answered when its open goes away."""
    return _ENDS_OF_WAITS.get(request.header.command, NtStatus.CANCELLED)
