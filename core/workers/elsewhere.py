"""What the server of one worker has of the others at the level of the protocol: sessions, instances of applications.

Who asks is a request that waits for the answers.
"""

import logging
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from lamina.core.crypto.signing import make_signer
from lamina.core.server_view import LiveView
from lamina.core.session import Absent, SessionState, SmbSession
from lamina.core.workers.handover import Handover
from lamina.core.workers.moving import Mover
from lamina.ntfsa.naming.names import fold
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.workers.numbers import worker_of
from lamina.ntfsa.workers.peers import Peers

if TYPE_CHECKING:
    from lamina.core.server_core import SmbServer
    from lamina.core.wire.durable_contexts import AppInstanceVersion
    from lamina.core.workers.crew import Crew

log = logging.getLogger(__name__)

_END_SESSION: Final = "end session"
_CLOSE_INSTANCE: Final = "close instance"
_SESSION: Final = "session"
_LIST: Final = "list"
_LOGON: Final = "logon"

_LONGEST_LIST: Final = 20_000
"""Of what another worker has no more is asked for at a time: it goes through the memory that all share."""

Version = tuple[int, int] | None


class Elsewhere:
    """The other workers. `listening`: addresses and ports at which connections are accepted for all of them."""

    def __init__(self, server: "SmbServer", crew: "Crew") -> None:
        self.number = crew.number
        self.listening: tuple[tuple[str, int], ...] = ()
        self.mover = Mover()
        self._server = server
        self._peers: Peers = crew.peers
        self._peers.handle(_END_SESSION, self._end_session)
        self._peers.handle(_CLOSE_INSTANCE, self._close_instance)
        self._peers.handle(_SESSION, self._session)
        self._peers.handle(_LIST, self._list)
        self._peers.handle(_LOGON, self._logon)
        server.authenticator.throttle.tell = partial(self._peers.tell, _LOGON)
        self.handover = Handover(server, self._peers, crew.state)

    def expect_clients(self) -> None:
        """Have the supervisor send the clients here that have something open here without being connected."""
        guids = {open_.durable.client_guid for open_ in self._server.durables.waiting() if open_.durable is not None}
        self.mover.expect(sorted(guids))

    def session(self, session_id: int) -> SmbSession | None:
        """A likeness of a session of another worker, with its key, for refusing what is asked of it here (3.3.5.5)."""
        worker = worker_of(session_id)
        if worker == self.number:
            return None
        for agreed, key, is_guest, is_anonymous, state, expires_at in self._peers.ask(
            _SESSION, session_id, to=(worker,)
        ):
            session = SmbSession(session_id, Absent(*agreed))
            session.signer = make_signer(session.signing_algorithm, key) if key else None
            session.is_guest, session.is_anonymous = is_guest, is_anonymous
            session.state, session.expires_at = SessionState(state), expires_at
            return session
        return None

    def _session(self, session_id: int) -> tuple[object, ...] | None:
        session = self._server.sessions.get(session_id)
        if session is None:
            return None
        agreed = session.client_guid, int(session.dialect), session.cipher_id, session.signing_algorithm
        key, state = session.signing_key, session.state.value
        return agreed, key, session.is_guest, session.is_anonymous, state, session.expires_at

    def listed(self, what: str) -> list[tuple[Any, ...]]:
        """What the other workers have of something that `LiveView` has lists of."""
        return [tuple(fields) for answer in self._peers.ask(_LIST, what) for fields in answer]

    def _list(self, what: str) -> list[tuple[Any, ...]]:
        return [tuple(fields) for fields in islice(LiveView(self._server).here(what), _LONGEST_LIST)]

    def _logon(self, address: str, account: str, succeeded: bool) -> None:
        self._server.authenticator.throttle.hear(address, account, succeeded)

    def end_session(self, session_id: int, user_sid: str) -> None:
        """End a session of another worker, if it is that user's (MS-SMB2 3.3.5.5.3)."""
        worker = worker_of(session_id)
        if worker != self.number:
            self._peers.ask(_END_SESSION, session_id, user_sid, to=(worker,))

    def _end_session(self, session_id: int, user_sid: str) -> None:
        session = self._server.sessions.get(session_id)
        if session is not None and session.token.user_sid == user_sid:
            self._server.end_session(session)

    def close_instance(
        self, instance: bytes, version: "AppInstanceVersion | None", share: str, path: str, client_guid: bytes
    ) -> None:
        """Close what older instances of an application have open of a file on other workers (3.3.5.9.13).

        Raises FILE_FORCED_CLOSED where one of them is newer.
        """
        known = None if version is None else (version.high, version.low)
        answers = self._peers.ask(_CLOSE_INSTANCE, instance, known, share, path, client_guid)
        if False in answers:
            raise NtStatusError(NtStatus.FILE_FORCED_CLOSED, "a newer instance has the file open")

    def _close_instance(self, instance: bytes, version: Version, share: str, path: str, client_guid: bytes) -> bool:
        durables = self._server.durables
        for open_ in durables.of_instance(instance):
            state, nt = open_.durable, open_.nt
            assert state is not None
            if nt is None or open_.tree.share.name != share or state.client_guid == client_guid:
                continue
            if fold(nt.path) != path:
                continue
            theirs = state.app_version
            if version is not None and theirs is not None and (theirs.high, theirs.low) >= version:
                return False
            if not durables.end_now(open_):
                self._server.close_for_certain(open_)
        return True
