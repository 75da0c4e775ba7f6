"""A durable or persistent open goes to the worker that its client has come back to (MS-SMB2 3.3.5.9.7, 3.3.5.9.12).

Usually that is the worker it is in, for a client comes back as who it was. One that calls itself otherwise, by another
ClientGuid, may be anywhere. What it holds stays in the file's record without a gap, under other numbers. Leases go
nowhere: they are a client's by its guid.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from lamina.core.durable_state import kept_as as rules_of
from lamina.core.persistent_opens import record_of
from lamina.core.workers.kept import begin_waiting, kept_as, put_in_place
from lamina.ntfsa.durability.keeping import let_go
from lamina.ntfsa.durability.open_record import decode, encode
from lamina.ntfsa.durability.reconnect_rules import Claim, refusal
from lamina.ntfsa.durability.resuming import is_still_held, resume
from lamina.ntfsa.durability.rules import Kind
from lamina.ntfsa.grants.grant_holders import forget_grants
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.workers.kept_opens import KeptOpen, adopt, forget_open, intent_of
from lamina.ntfsa.workers.peers import Peers
from lamina.ntfsa.workers.renumbering import Numbers
from lamina.ntfsa.workers.shared_state import SharedState
from lamina.vfs_modules import engine
from lamina.vfs_modules.engine import Task

if TYPE_CHECKING:
    from lamina.core.server_core import SmbServer
    from lamina.core.session import SmbOpen
    from lamina.core.share import Share

log = logging.getLogger(__name__)

_GIVE: Final = "give a durable open"
_SECONDS_TO_TAKE: Final = 10.0
_ROUNDS: Final = 5

Given = tuple[int, int, tuple[object, ...] | None]
"""A worker, a status, and with SUCCESS the fields of a KeptOpen."""


class Handover:
    """Gives such opens to other workers, and takes them."""

    def __init__(self, server: "SmbServer", peers: Peers, state: SharedState) -> None:
        self._server = server
        self._peers = peers
        self._state = state
        peers.handle(_GIVE, self._give)

    def take(self, share: "Share", open_id: int, claim: Claim) -> "SmbOpen | None":
        """An open that waits on another worker, waiting here; None where there is none.

        Raises NtStatusError where it is refused to who claims it.
        """
        for giver, status, fields in self._peers.ask(_GIVE, open_id, share.name, tuple(claim)):
            if status != NtStatus.SUCCESS:
                raise NtStatusError(NtStatus(status), "an open that waits for another client, or otherwise")
            return self._taken(share, giver, KeptOpen(*fields))
        return None

    def _taken(self, share: "Share", giver: int, given: KeptOpen) -> "SmbOpen | None":
        assert share.volume is not None
        registry = share.volume.registry
        new = Numbers(registry.new_owner(), registry.new_owner())
        given = given._replace(key=(given.key[0], given.key[1], given.key[2]))
        kept = adopt(self._state, given, giver, self._peers.number, new)
        return None if kept is None else self._put_in_place(share, kept)

    def _put_in_place(self, share: "Share", kept: KeptOpen) -> "SmbOpen | None":
        assert share.volume is not None
        record = decode(kept.form)
        nt = None
        try:
            nt = resume(share.volume, kept.key, kept.owner, record.state, record.promise.kind)
        except (OSError, NtStatusError) as error:
            log.info("the durable open of %r is lost: %s", record.state.path, error)
        if nt is None:
            forget_open(self._state, kept.open_id)
            return None
        open_ = put_in_place(self._server, share, nt, record, intent_of(self._state, kept.open_id))
        begin_waiting(self._server, open_)
        if record.promise.kind is Kind.DURABLE and not is_still_held(nt):
            self._server.durables.end_now(open_)
            return None
        return open_

    def _give(self, open_id: int, share: str, claim: tuple[object, ...]) -> Given | None:
        open_ = self._server.durables.find(open_id)
        known = rules_of(open_) if open_ is not None else None
        for _ in range(_ROUNDS):
            if open_ is None or known is None or not known.connected:
                break
            # Its client has closed the connection before it came back elsewhere; that may be the next to be heard here.
            engine.wait(asyncio.sleep(0))
            known = rules_of(open_)
        if open_ is None or known is None or open_.tree.share.name != share:
            return None
        refused = refusal(known, Claim(*claim))  # type: ignore[arg-type]
        if refused is not None:
            return self._peers.number, int(refused), None
        return self._given(open_)

    def _given(self, open_: "SmbOpen") -> Given | None:
        nt = open_.nt
        assert nt is not None
        if nt.lease is not None:
            return self._peers.number, int(NtStatus.OBJECT_NAME_NOT_FOUND), None
        open_.wait_until_idle(0)
        given = kept_as(open_, nt, encode(record_of(open_, nt)))
        if given is None or not self._server.durables.hand_out(open_):
            return None
        forget_grants(nt)
        let_go(nt)
        # Whoever asked may be gone by now.
        asyncio.get_running_loop().call_later(_SECONDS_TO_TAKE, self._take_again_soon, open_.tree.share, given)
        return self._peers.number, int(NtStatus.SUCCESS), tuple(given)

    def _take_again_soon(self, share: "Share", given: KeptOpen) -> None:
        engine_ = self._server.engine
        if not engine_.closed:
            engine_.spawn(Task(), self._take_again, share, given)

    def _take_again(self, share: "Share", given: KeptOpen) -> None:
        """Have an open wait here on, if nobody has taken it: of one that is another's by now this finds nothing."""
        if self._server.durables.find(given.open_id) is None:
            self._taken(share, self._peers.number, given)
