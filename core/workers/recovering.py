"""Persistent opens from before the server's start come back once, and then each is one worker's (see `recovery`).

Whoever connects a share first puts all of them back, as one process would: every file with its sharing and its locks,
then what is cached. After that each open goes to the worker that its client is to come to, and the next waits until
all that is done. A worker that comes later, in the place of one that has ended, finds its own as `kept` has them.
"""

import asyncio
from hashlib import blake2b
from typing import TYPE_CHECKING, Final
from zlib import crc32

from lamina.core.persistent_opens import record_of
from lamina.core.recovery import recover
from lamina.core.workers.kept import kept_as
from lamina.ntfsa.durability.keeping import keeps_opens, let_go
from lamina.ntfsa.durability.open_record import encode
from lamina.ntfsa.grants.grant_holders import forget_grants
from lamina.ntfsa.workers.kept_opens import adopt, is_recovered, kept_ids, note_recovered
from lamina.ntfsa.workers.renumbering import Numbers
from lamina.vfs_modules import engine
from lamina.vfs_modules.syscalls.lock_file import LockFile

if TYPE_CHECKING:
    from lamina.core.server_core import SmbServer
    from lamina.core.session import SmbOpen
    from lamina.core.share import Share
    from lamina.ntfsa.workers.shared_registry import SharedRegistry
    from lamina.ntfsa.workers.shared_state import SharedState

_PAUSE: Final = 0.01
_SLOTS: Final = 1 << 30


def home_of(client_guid: bytes, count: int) -> int:
    """Which of so many workers a client is to come to that was there before the server's start. Pure."""
    return int.from_bytes(blake2b(client_guid, digest_size=8).digest()) % count + 1


class Recovery:
    """The part of one worker. `count`: how many workers there are; `turns`: the file by which they take turns."""

    def __init__(self, state: "SharedState", registry: "SharedRegistry", count: int, turns: str) -> None:
        self._state = state
        self._registry = registry
        self._count = count
        self._turns = LockFile(turns)

    def recover(self, server: "SmbServer", share: "Share") -> None:
        """Return when the persistent opens of a share are back, on whatever worker. Runs as a request.

        Raises `keeping.StoreError` where what is kept of them cannot be used.
        """
        if share.volume is None or not keeps_opens(share.volume):
            return
        slot = crc32(share.name.encode()) % _SLOTS
        while not self._turns.take(slot):
            engine.wait(asyncio.sleep(_PAUSE))
        try:
            if not is_recovered(self._state, share.name):
                recover(server, share, kept_ids(self._state))
                self._distribute(server, share)
                note_recovered(self._state, share.name)
        finally:
            self._turns.give(slot)

    def _distribute(self, server: "SmbServer", share: "Share") -> None:
        for open_ in server.durables.waiting():
            assert open_.durable is not None
            if open_.tree.share.name != share.name:
                continue
            home = home_of(open_.durable.client_guid, self._count)
            if home != self._state.number:
                self._give(server, open_, home)
            elif server.durables.kept is not None:
                # It was entered before it had its rights to cache again.
                server.durables.kept.enter(open_)

    def _give(self, server: "SmbServer", open_: "SmbOpen", home: int) -> None:
        nt = open_.nt
        assert nt is not None
        kept = kept_as(open_, nt, encode(record_of(open_, nt)))
        if kept is None or not server.durables.hand_out(open_):
            return
        new = Numbers(self._registry.new_owner_for(home), self._registry.new_owner_for(home))
        adopt(self._state, kept, self._state.number, home, new)
        forget_grants(nt)
        let_go(nt)
