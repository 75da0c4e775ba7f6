"""Local programs and what clients cache: whoever opens a file beside the server waits until it is given up.

Where the chain can lease files (the capability LEASES) a client is given rights only beside a lease of the chain's, and
when the chain says that somebody outside wants the file all the rights on it are broken, to none: what is left of a
lease of the chain's after that, if anything, could not protect them. Samba's `kernel oplocks` do the same. The times
fit: clients have 35 seconds to answer (MS-SMB2 3.3.2.1), Linux lets others wait for 45.

A named stream is nothing that a program opens by itself, and there is no lease for it: its first open may have all
rights, and others, as with Samba, none.
"""

import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from lamina.ntfsa.constants import FILE_APPEND_DATA, FILE_WRITE_DATA
from lamina.ntfsa.grants.breaking import Break, break_and_wait, break_one
from lamina.ntfsa.grants.caching import OUTSIDE_OPEN, WRITE_CACHING
from lamina.vfs_modules.operations import Capability, Operations
from lamina.vfs_modules.outside import FileLease
from lamina.vfs_modules.token import SERVER_TOKEN

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.record import FileKey, Message
    from lamina.ntfsa.registry import Registry
    from lamina.vfs_modules.chain import Chain

log = logging.getLogger(__name__)

_WRITES = FILE_WRITE_DATA | FILE_APPEND_DATA


class OutsideAccess:
    """The leases that a volume's chain has taken for clients' caching rights, each for the open that has them."""

    def __init__(self, chain: Operations, registry: "Registry") -> None:
        self._chain = chain
        self._registry = registry
        self._guarding: dict[int, NtOpen] = {}

    def guard(self, open_: "NtOpen", state: int) -> int:
        """What of the rights `state` may be given to this open, a lease being taken for them."""
        if open_.file_key[2]:
            return state if len(self._registry.read(open_.file_key).opens) == 1 else 0
        reads_only = not open_.granted_access & _WRITES
        # Readers are in no reader's way, outside either; but only who reads alone can be told of writers alone.
        if (state & WRITE_CACHING or not reads_only) and self._lease(open_, FileLease.WRITE):
            return state
        return state & ~WRITE_CACHING if reads_only and self._lease(open_, FileLease.READ) else 0

    def _lease(self, open_: "NtOpen", kind: FileLease) -> bool:
        try:
            self._chain.set_lease(SERVER_TOKEN, open_.handle, kind, partial(self._asked, open_))
        except OSError as error:
            log.debug("no lease for %r: %s", open_, error)
            return False
        self._guarding[open_.owner] = open_
        return True

    def give_back(self, open_: "NtOpen") -> None:
        """Nothing is cached through this open."""
        if self._guarding.pop(open_.owner, None) is None:
            return
        try:
            self._chain.set_lease(SERVER_TOKEN, open_.handle, FileLease.NONE, partial(self._asked, open_))
        except OSError as error:
            log.warning("the lease of %r cannot be given back: %s", open_, error)

    def closing(self, open_: "NtOpen") -> None:
        """The open is about to close, and its lease ends; what others share with it is protected no more."""
        if self._guarding.pop(open_.owner, None) is None or open_.lease is None:
            return
        lease = open_.lease
        if any(owner in self._guarding for owner in lease.opens):
            return
        self._registry.update(open_.file_key, break_one, lease.identity, OUTSIDE_OPEN, time.monotonic())

    def _asked(self, open_: "NtOpen", to: FileLease) -> None:
        """Somebody outside waits."""
        if open_.owner in self._guarding:
            _Break(self._registry, open_.file_key, partial(self.give_back, open_)).go_on()


class _Break:
    """Breaks all the rights on a file for nobody among the clients; `done` is called when they are gone."""

    def __init__(self, registry: "Registry", key: "FileKey", done: "partial[None]") -> None:
        self._registry = registry
        self._key = key
        self._done = done
        self._address = registry.new_owner()
        registry.subscribe(self._address, self._ended)

    def _ended(self, message: "Message") -> None:
        self.go_on()

    def go_on(self) -> None:
        """Break what there is; as often as one break ends there may be another."""
        wanted = Break(OUTSIDE_OPEN, 0, b"", self._address, time.monotonic())
        if self._registry.update(self._key, break_and_wait, wanted).result is None:
            self._registry.unsubscribe(self._address)
            self._done()


def outside_access(chain: "Chain", registry: "Registry") -> OutsideAccess | None:
    """For a new volume: None where its chain cannot lease files."""
    return OutsideAccess(chain.files, registry) if Capability.LEASES in chain.capabilities else None
