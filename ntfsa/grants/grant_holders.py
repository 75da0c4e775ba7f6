"""Who holds caching rights, on the server's side: the oplock of an open, and the leases of the clients.

Messages of the registry about a grant arrive here and go on to whoever can tell the client (MS-SMB2 3.3.4.6 Object
Store Indicates an Oplock Break, 3.3.4.7 Object Store Indicates a Lease Break). A holder that cannot be told has given
up what was to break.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from lamina.ntfsa.file_state import end_of_file
from lamina.ntfsa.grants.breaking import Answer, acknowledge_lease, acknowledge_oplock, end_overdue
from lamina.ntfsa.grants.caching import LEVEL_OF_STATE, OPLOCK_LEVEL_II, OPLOCK_LEVEL_NONE, STATE_OF_LEVEL
from lamina.ntfsa.grants.directory_leases import may_lease_directories, stop_watching, watch_for_lease
from lamina.ntfsa.grants.granting import LeaseState, LeaseWish, grant_lease, grant_oplock
from lamina.ntfsa.record import FileKey, Grant, Message
from lamina.ntfsa.status import NtStatus, NtStatusError

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.grants.directory_leases import LeaseWatcher
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.registry import Registry
    from lamina.vfs_modules.token import ImpersonationToken


class BreakNotice(NamedTuple):
    """What a holder is told: the rights *_CACHING it has and is to keep, a lease's epoch, and when it must answer.

    `deadline`: seconds of time.monotonic; 0.0 where no answer is awaited.
    """

    held: int
    to: int
    epoch: int
    deadline: float

    @property
    def answer_awaited(self) -> bool:
        """Whether the rights are held until the holder has answered."""
        return self.deadline > 0.0


Listener = Callable[[BreakNotice], bool]
"""Tells the client of an open that its oplock or lease breaks; False if it cannot be told.

Called in the middle of somebody else's request: it must not wait and must not raise.
"""


class _Patience:
    """Ends a break that is not answered in time (MS-SMB2 3.3.6.1, 3.3.6.5)."""

    __slots__ = ("_timer",)

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, registry: "Registry", key: FileKey, deadline: float) -> None:
        """Wait for the answer until `deadline`; another wait that is under way is replaced."""
        self.end()
        loop = asyncio.get_running_loop()
        # Timers may be early by the loop's resolution: what is over then is what was due now.
        self._timer = loop.call_later(deadline - time.monotonic(), registry.update, key, end_overdue, deadline)

    def end(self) -> None:
        """It was answered, or there is nobody left to answer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _tell_in_turn(answering: bool, tell: Callable[[BreakNotice], None], notice: BreakNotice) -> None:
    # The next step of a break is told after the reply to the answer to the one before.
    if answering:
        asyncio.get_running_loop().call_soon(tell, notice)
    else:
        tell(notice)


class Oplock:
    """The oplock of one open, from its grant to the close. `address`: where the registry's messages for it go."""

    __slots__ = ("_answering", "_open", "address", "listener", "patience")

    def __init__(self, open_: "NtOpen", address: int) -> None:
        self._open = open_
        self._answering = False
        self.patience = _Patience()
        self.address = address
        self.listener: Listener | None = None

    def acknowledge(self, level: int) -> Answer:
        """The client answers a break and keeps the oplock `level`."""
        self._answering = True
        try:
            update, owner = self._open.volume.registry.update, self._open.owner
            answer: Answer = update(self._open.file_key, acknowledge_oplock, owner, level, time.monotonic()).result
        finally:
            self._answering = False
        return answer

    def broken(self, message: Message) -> None:
        """The registry says that the oplock breaks."""
        _tell_in_turn(self._answering, self._tell, BreakNotice(*message.detail))

    def _tell(self, notice: BreakNotice) -> None:
        if self._open.oplock is not self:
            return
        told = self.listener is not None and self.listener(notice)
        if not notice.answer_awaited:
            return
        if told:
            self.patience.begin(self._open.volume.registry, self._open.file_key, notice.deadline)
        else:
            self.acknowledge(OPLOCK_LEVEL_NONE)


def request_oplock(open_: "NtOpen", level: int) -> int:
    """Ask for an oplock on a new open; the level that is granted (MS-FSA 2.1.5.18). Directories have none."""
    if open_.is_directory or not open_.volume.settings.oplocks:
        return OPLOCK_LEVEL_NONE
    registry, outside = open_.volume.registry, open_.volume.outside
    if outside is not None:
        level = LEVEL_OF_STATE.get(outside.guard(open_, STATE_OF_LEVEL.get(level, 0)), OPLOCK_LEVEL_II)
    address = registry.new_owner()
    granted = registry.update(open_.file_key, grant_oplock, open_.owner, address, level).result
    if granted:
        open_.oplock = Oplock(open_, address)
        registry.subscribe(address, open_.oplock.broken)
    elif outside is not None:
        outside.give_back(open_)
    return granted


class LeaseRequest(NamedTuple):
    """A lease that a CREATE asks for (MS-SMB2 2.2.13.2.8, 2.2.13.2.10); `parent_key` None where it is not set."""

    key: bytes
    state: int
    version: int = 1
    epoch: int = 0
    parent_key: bytes | None = None


class LeaseGranted(NamedTuple):
    """The lease of a new open (MS-SMB2 2.2.14.2.10, 2.2.14.2.11). `version` is that of its first request."""

    state: int
    epoch: int
    breaking: bool
    version: int


class Lease:
    """A lease: a client's guid and lease key, and the opens that share it (MS-SMB2 3.3.1.12 Per Lease)."""

    __slots__ = (
        "_answering",
        "_registry",
        "address",
        "file_key",
        "identity",
        "listeners",
        "opens",
        "patience",
        "version",
        "watcher",
    )

    def __init__(self, identity: bytes, file_key: FileKey, version: int, registry: "Registry") -> None:
        self.identity = identity
        self.file_key = file_key
        self.version = version
        self.patience = _Patience()
        self.watcher: LeaseWatcher | None = None
        self.opens: dict[int, NtOpen] = {}
        self.listeners: dict[int, Listener] = {}
        self._answering = False
        self._registry = registry
        self.address = registry.new_owner()
        registry.subscribe(self.address, self._broken)

    def be_told_at(self, address: int) -> None:
        """The grant is there already, with this address."""
        self._registry.unsubscribe(self.address)
        self.address = address
        self._registry.subscribe(address, self._broken)

    @property
    def key(self) -> bytes:
        """The client's own key."""
        return self.identity[16:]

    def join(self, open_: "NtOpen", wish: LeaseWish) -> LeaseState:
        """Let an open share the lease, or grow it."""
        return self._registry.update(self.file_key, grant_lease, open_.owner, self.address, wish).result

    def leave(self, open_: "NtOpen") -> bool:
        """An open closes; whether it was the last, and the lease is over."""
        self.opens.pop(open_.owner, None)
        self.listeners.pop(open_.owner, None)
        if self.opens:
            return False
        self.patience.end()
        stop_watching(self)
        self._registry.unsubscribe(self.address)
        return True

    def acknowledge(self, state: int) -> Answer:
        """The client answers a break and keeps the rights `state`."""
        self._answering = True
        try:
            update = self._registry.update
            answer: Answer = update(self.file_key, acknowledge_lease, self.identity, state, time.monotonic()).result
        finally:
            self._answering = False
        return answer

    def _broken(self, message: Message) -> None:
        _tell_in_turn(self._answering, self._tell, BreakNotice(*message.detail))

    def _tell(self, notice: BreakNotice) -> None:
        if not self.opens:
            return
        if not notice.to:
            stop_watching(self)
        told = any(listener(notice) for listener in list(self.listeners.values()))
        if not notice.answer_awaited:
            return
        if told:
            self.patience.begin(self._registry, self.file_key, notice.deadline)
        else:
            self.acknowledge(notice.to)


class LeaseTable:
    """The leases of all clients of a server (GlobalLeaseTableList of MS-SMB2 3.3.1.1): one file for each key."""

    __slots__ = ("_leases",)

    def __init__(self) -> None:
        self._leases: dict[bytes, Lease] = {}

    def find(self, identity: bytes) -> Lease | None:
        """The lease of a client's guid and key, or None."""
        return self._leases.get(identity)

    def check(self, identity: bytes, file_key: FileKey | None) -> None:
        """INVALID_PARAMETER where the key is in use for another file (None: one that is not there yet)."""
        lease = self._leases.get(identity)
        if lease is not None and lease.file_key != file_key:
            raise NtStatusError(NtStatus.INVALID_PARAMETER, "the lease key belongs to another file")

    def request(
        self, token: "ImpersonationToken", open_: "NtOpen", identity: bytes, asked: LeaseRequest
    ) -> LeaseGranted | None:
        """Give a new open its lease; of the rights that are asked it may have none (MS-SMB2 3.3.5.9.8, 3.3.5.9.11).

        None for a directory where directories have no leases; may wait for one that has. `token`: who asks. Raises
        INVALID_PARAMETER where another file has got the key since it was checked.
        """
        if open_.is_directory and (asked.version == 1 or not may_lease_directories(open_.volume)):
            return None
        self.check(identity, open_.file_key)
        lease = self._leases.get(identity)
        if lease is None:
            lease = Lease(identity, open_.file_key, asked.version, open_.volume.registry)
            self._leases[identity] = lease
        lease.opens[open_.owner] = open_
        open_.lease = lease
        state = asked.state if open_.volume.settings.oplocks else 0
        if state and open_.is_directory and not watch_for_lease(token, open_, lease):
            state = 0
        outside = open_.volume.outside
        if state and outside is not None and not open_.is_directory:
            state = outside.guard(open_, state)
        granted = lease.join(open_, self._wish(token, open_, asked._replace(state=state)))
        if not granted.state:
            stop_watching(lease)
            if outside is not None:
                outside.give_back(open_)
        return LeaseGranted(*granted, lease.version)

    def resume(self, open_: "NtOpen", grant: Grant, version: int) -> None:
        """An open shares a lease that is granted already, to a process that is gone."""
        lease = self._leases.get(grant.lease)
        if lease is None:
            lease = self._leases[grant.lease] = Lease(grant.lease, open_.file_key, version, open_.volume.registry)
            lease.be_told_at(grant.address)
        lease.opens[open_.owner] = open_
        open_.lease = lease

    @staticmethod
    def _wish(token: "ImpersonationToken", open_: "NtOpen", asked: LeaseRequest) -> LeaseWish:
        lease, volume = open_.lease, open_.volume
        assert lease is not None
        wish = LeaseWish(lease.identity, asked.state, asked.epoch, open_.is_directory)
        if asked.state and volume.registry.read(open_.file_key).locks:
            return wish._replace(end_of_file=end_of_file(volume.chain.fstat(token, open_.handle)))
        return wish

    def leave(self, open_: "NtOpen") -> None:
        """The open closes, and with the last of its opens the lease ends."""
        lease, open_.lease = open_.lease, None
        if lease is not None and lease.leave(open_):
            self._leases.pop(lease.identity, None)

    def __len__(self) -> int:
        return len(self._leases)


def lease_identity(context: "NtContext", key: bytes) -> bytes:
    """How a client's lease is known among those of all clients: keys are the client's own choice."""
    return context.client_guid + key


def awaits_answer(registry: "Registry", key: FileKey, address: int, notice: BreakNotice) -> bool:
    """Whether the holder at `address` still has to answer the break of a grant of `key` that it was told of."""
    return any(grant.address == address and grant.deadline == notice.deadline for grant in registry.read(key).grants)


def acknowledge_oplock_break(open_: "NtOpen", level: int) -> int:
    """The client answers a break; the rights *_CACHING it holds now (MS-FSA 2.1.5.19, MS-SMB2 3.3.5.22.1).

    Raises INVALID_DEVICE_STATE, INVALID_OPLOCK_PROTOCOL, INVALID_PARAMETER.
    """
    if open_.oplock is None:
        raise NtStatusError(NtStatus.INVALID_DEVICE_STATE, "this open has had no oplock")
    open_.oplock.patience.end()
    answer = open_.oplock.acknowledge(level)
    if answer.status is not NtStatus.SUCCESS:
        raise NtStatusError(answer.status)
    return answer.state


def acknowledge_lease_break(table: LeaseTable, identity: bytes, state: int) -> int:
    """The client answers a lease's break; the rights it holds now (MS-SMB2 3.3.5.22.2).

    Raises OBJECT_NAME_NOT_FOUND, UNSUCCESSFUL, REQUEST_NOT_ACCEPTED.
    """
    lease = table.find(identity)
    if lease is None:
        raise NtStatusError(NtStatus.OBJECT_NAME_NOT_FOUND, "the client has no such lease")
    answer = lease.acknowledge(state)
    if answer.status is not NtStatus.SUCCESS:
        raise NtStatusError(answer.status)
    return answer.state


def forget_grants(open_: "NtOpen") -> None:
    """The open is closed: nothing is delivered to it any more."""
    if open_.volume.outside is not None:
        open_.volume.outside.closing(open_)
    if open_.oplock is not None:
        open_.oplock.patience.end()
        open_.volume.registry.unsubscribe(open_.oplock.address)
        open_.oplock = None
    if open_.lease is not None:
        open_.volume.leases.leave(open_)
