"""A durable open goes to the worker that its client has come back to (MS-SMB2 3.3.5.9.7, 3.3.5.9.12).

Usually that is the worker it is in, for a client comes back as who it was. One that calls itself otherwise, by another
ClientGuid, may be anywhere. What it holds stays in the file's record without a gap, under other numbers. Leases go
nowhere: they are a client's by its guid.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from lamina.core.durable_opens import kept_as
from lamina.core.persistent_opens import record_of
from lamina.core.workers.kept import put_in_place
from lamina.ntfsa.durability.keeping import let_go
from lamina.ntfsa.durability.open_record import decode, encode
from lamina.ntfsa.durability.reconnect_rules import Claim, refusal
from lamina.ntfsa.durability.resuming import is_still_held, resume
from lamina.ntfsa.opening.sharing import close_file
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.workers.kept_opens import KeptOpen
from lamina.ntfsa.workers.peers import Peers
from lamina.ntfsa.workers.renumbering import Numbers, renumber
from lamina.vfs_modules import engine

if TYPE_CHECKING:
    from lamina.core.server_core import SmbServer
    from lamina.core.session import SmbOpen
    from lamina.core.share import Share

log = logging.getLogger(__name__)

_GIVE: Final = "give a durable open"
_SECONDS_TO_TAKE: Final = 10.0
_ROUNDS: Final = 5

Given = tuple[int, tuple[object, ...] | None]
"""A status, and with SUCCESS the fields of a KeptOpen."""


class Handover:
    """Gives durable opens to other workers, and takes them."""

    def __init__(self, server: "SmbServer", peers: Peers) -> None:
        self._server = server
        self._peers = peers
        peers.handle(_GIVE, self._give)

    def take(self, share: "Share", open_id: int, claim: Claim) -> "SmbOpen | None":
        """An open that waits on another worker, waiting here; None where there is none.

        Raises NtStatusError where it is refused to who claims it.
        """
        assert share.volume is not None
        for status, fields in self._peers.ask(_GIVE, open_id, share.name, tuple(claim)):
            if status != NtStatus.SUCCESS:
                raise NtStatusError(NtStatus(status), "an open that waits for another client, or otherwise")
            return self._taken(share, KeptOpen(*fields))
        return None

    def _taken(self, share: "Share", kept: KeptOpen) -> "SmbOpen | None":
        assert share.volume is not None
        registry, key = share.volume.registry, (kept.key[0], kept.key[1], kept.key[2])
        new = Numbers(registry.new_owner(), registry.new_owner())
        if not registry.update(key, renumber, Numbers(kept.owner, kept.address), new).result:
            return None
        record = decode(kept.form)
        try:
            nt = resume(share.volume, key, new.owner, record.state)
        except OSError as error:
            log.info("the durable open of %r is lost: %s", record.state.path, error.strerror)
            return None
        if nt is None:
            return None
        open_ = put_in_place(self._server, share, nt, record)
        self._server.durables.begin_waiting(open_)
        if not is_still_held(nt):
            self._server.durables.end_now(open_)
            return None
        return open_

    def _give(self, open_id: int, share: str, claim: tuple[object, ...]) -> Given | None:
        open_ = self._server.durables.find(open_id)
        kept = kept_as(open_) if open_ is not None else None
        for _ in range(_ROUNDS):
            if open_ is None or kept is None or not kept.connected:
                break
            # Its client has closed the connection before it came back elsewhere; that may be the next to be heard here.
            engine.wait(asyncio.sleep(0))
            kept = kept_as(open_)
        if open_ is None or kept is None or open_.tree.share.name != share:
            return None
        nt = open_.nt
        assert nt is not None
        refused = refusal(kept, Claim(*claim))  # type: ignore[arg-type]
        if refused is not None:
            return int(refused), None
        if nt.oplock is None or nt.stream:
            return int(NtStatus.OBJECT_NAME_NOT_FOUND), None
        open_.wait_until_idle(0)
        if not self._server.durables.take_out(open_):
            return None
        given = KeptOpen(open_id, nt.owner, nt.file_key, nt.oplock.address, encode(record_of(open_, nt)))
        nt.oplock.patience.end()
        nt.volume.registry.unsubscribe(nt.oplock.address)
        let_go(nt)
        # Whoever asked may be gone by now; of what he has taken this finds nothing.
        asyncio.get_running_loop().call_later(
            _SECONDS_TO_TAKE, nt.volume.registry.update, nt.file_key, close_file, nt.owner
        )
        return int(NtStatus.SUCCESS), tuple(given)
