"""Oplocks at work: the rules of `caching` given a clock, and whoever must wait for a break parked.

The holder is told through `NtOpen.oplock`, which whoever opened the file listens to (MS-SMB2 3.3.4.6).
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lamina.ntfsa.admission import Opening, admit
from lamina.ntfsa.caching import (
    OPLOCK_LEVEL_NONE,
    Answer,
    acknowledge,
    break_reading,
    end_overdue,
    request_grant,
    stop_waiting,
)
from lamina.ntfsa.record import FileKey, Message
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules import engine

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.registry import Registry

Listener = Callable[[int, bool], bool]
"""`listener(level, answer_awaited)`: tell the client that its oplock breaks; False if it cannot be told.

Called in the middle of somebody else's request: it must not wait and must not raise.
"""


class Oplock:
    """The oplock of one open, from its grant to the close. `address`: where the registry's messages for it go."""

    __slots__ = ("_open", "address", "listener")

    def __init__(self, open_: "NtOpen", address: int) -> None:
        self._open = open_
        self.address = address
        self.listener: Listener | None = None

    def broken(self, message: Message) -> None:
        """The registry says that the oplock breaks: a holder that cannot be told has given it up."""
        level, answer_awaited = message.detail
        told = self.listener is not None and self.listener(level, answer_awaited)
        open_ = self._open
        if answer_awaited and not told:
            open_.volume.registry.update(open_.file_key, acknowledge, open_.owner, OPLOCK_LEVEL_NONE)


def request_oplock(open_: "NtOpen", level: int) -> int:
    """Ask for an oplock on a new open; the level that is granted (MS-FSA 2.1.5.18). Directories have none."""
    if open_.is_directory:
        return OPLOCK_LEVEL_NONE
    registry = open_.volume.registry
    address = registry.new_owner()
    granted = registry.update(open_.file_key, request_grant, open_.owner, address, level).result
    if granted:
        open_.oplock = Oplock(open_, address)
        registry.subscribe(address, open_.oplock.broken)
    return granted


def acknowledge_break(open_: "NtOpen", level: int) -> int:
    """The client answers a break; the level it holds now (MS-FSA 2.1.5.19, MS-SMB2 3.3.5.22.1).

    Raises INVALID_DEVICE_STATE, INVALID_OPLOCK_PROTOCOL, INVALID_PARAMETER.
    """
    if open_.oplock is None:
        raise NtStatusError(NtStatus.INVALID_DEVICE_STATE, "this open has had no oplock")
    answer: Answer = open_.volume.registry.update(open_.file_key, acknowledge, open_.owner, level).result
    if answer.status is not NtStatus.SUCCESS:
        raise NtStatusError(answer.status)
    return answer.level


def forget_oplock(open_: "NtOpen") -> None:
    """The open is closed: nothing is delivered to it any more."""
    if open_.oplock is not None:
        open_.volume.registry.unsubscribe(open_.oplock.address)
        open_.oplock = None


def data_changes(open_: "NtOpen") -> None:
    """The data of the file is about to change or be locked: end what others cache of it."""
    open_.volume.registry.update(open_.file_key, break_reading)


class _Waiting:
    """Waits for BREAK_ENDED, which may come before the wait begins."""

    __slots__ = ("_future", "_over")

    def __init__(self) -> None:
        self._over = False
        self._future: asyncio.Future[None] | None = None

    def wake(self, message: Message) -> None:
        """The registry says that a break has ended."""
        self._over = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def wait(self, seconds: float, overdue: Callable[[], object]) -> None:
        """Park until woken; `overdue` is called after `seconds` to end the break."""
        if self._over:
            return
        loop = asyncio.get_running_loop()
        self._future = loop.create_future()
        timer = loop.call_later(max(seconds, 0.0), overdue)
        try:
            engine.wait(self._future, indefinite=True)
        finally:
            timer.cancel()


def open_beside_grants(registry: "Registry", key: FileKey, opening: Opening) -> NtStatus:
    """Let an open in beside the grants of others.

    SUCCESS, DELETE_PENDING, SHARING_VIOLATION; PENDING after it has waited for a break: then the file must be looked
    at anew. Raises RequestCancelled, the breaks going on.
    """
    waiting = _Waiting()
    registry.subscribe(opening.owner, waiting.wake)
    try:
        now = time.monotonic()
        status, deadline = registry.update(key, admit, opening, now).result
        if status is NtStatus.PENDING:
            try:
                waiting.wait(deadline - now, lambda: registry.update(key, end_overdue, deadline))
            finally:
                registry.update(key, stop_waiting, opening.owner)
        return status
    finally:
        registry.unsubscribe(opening.owner)
