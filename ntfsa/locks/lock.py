"""Locking and unlocking byte ranges (MS-FSA 2.1.5.8, 2.1.5.9; MS-SMB2 3.3.5.14)."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from lamina.ntfsa import constants as c
from lamina.ntfsa.errors import nt_error
from lamina.ntfsa.grants.caching import LOCK
from lamina.ntfsa.grants.grant_breaks import data_changes
from lamina.ntfsa.locks import byte_range
from lamina.ntfsa.locks.local_locks import show_locks, shows_locks
from lamina.ntfsa.record import LOCK_GRANTED, LockRange, Message
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules import engine

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.token import ImpersonationToken


class LockElement(NamedTuple):
    """One element of a LOCK request: a range in bytes and SMB2_LOCKFLAG_* (MS-SMB2 2.2.26.1)."""

    offset: int
    length: int
    flags: int


_LOCKS: Final = frozenset({c.SMB2_LOCKFLAG_SHARED_LOCK, c.SMB2_LOCKFLAG_EXCLUSIVE_LOCK})
_ACCESS: Final = c.FILE_READ_DATA | c.FILE_WRITE_DATA
MAX_ELEMENTS: Final = 4096
"""Elements of one request, which is done in one step while everybody waits. Linux' clients send at most 700."""

_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.5
"""Seconds after which a range is tried again that a local program has locked."""


def lock(context: "NtContext", open_: "NtOpen", elements: Sequence[LockElement]) -> None:
    """Take or let go of ranges; the first element says which, and all must.

    Locks are all taken or none; a single one without FAIL_IMMEDIATELY waits. Unlocks are done in order, and stay done
    when a later one fails. Raises INVALID_PARAMETER, LOCK_NOT_GRANTED, RANGE_NOT_LOCKED, INVALID_LOCK_RANGE,
    ACCESS_DENIED, INSUFFICIENT_RESOURCES.
    """
    if not elements or open_.is_directory:
        raise NtStatusError(NtStatus.INVALID_PARAMETER)
    if len(elements) > MAX_ELEMENTS:
        raise NtStatusError(NtStatus.INSUFFICIENT_RESOURCES, "too many elements for one LOCK request")
    if not open_.granted_access & _ACCESS:
        raise NtStatusError(NtStatus.ACCESS_DENIED)
    if elements[0].flags & c.SMB2_LOCKFLAG_UNLOCK:
        _unlock(context.token, open_, elements)
    else:
        _lock(context.token, open_, elements)


def _unlock(token: "ImpersonationToken", open_: "NtOpen", elements: Sequence[LockElement]) -> None:
    """MS-SMB2 3.3.5.14.1 Processing Unlocks."""
    registry = open_.volume.registry
    for offset, length, flags in elements:
        if flags != c.SMB2_LOCKFLAG_UNLOCK:
            raise NtStatusError(NtStatus.INVALID_PARAMETER)
        status = registry.update(open_.file_key, byte_range.unlock, open_.owner, offset, length).result
        if status is not NtStatus.SUCCESS:
            raise NtStatusError(status)
        if shows_locks(open_):
            _show(token, open_, (LockRange(offset, length, False),))


def _lock(token: "ImpersonationToken", open_: "NtOpen", elements: Sequence[LockElement]) -> None:
    """MS-SMB2 3.3.5.14.2 Processing Locks."""
    immediate = bool(elements[0].flags & c.SMB2_LOCKFLAG_FAIL_IMMEDIATELY)
    ranges = []
    for offset, length, flags in elements:
        kind = flags & ~c.SMB2_LOCKFLAG_FAIL_IMMEDIATELY
        waits = not flags & c.SMB2_LOCKFLAG_FAIL_IMMEDIATELY
        if kind not in _LOCKS or (waits and len(elements) > 1):
            raise NtStatusError(NtStatus.INVALID_PARAMETER)
        ranges.append(LockRange(offset, length, kind == c.SMB2_LOCKFLAG_EXCLUSIVE_LOCK))
    if open_.volume.registry.read(open_.file_key).grants:
        data_changes(open_, LOCK)
    (_try if immediate else _wait)(open_, ranges)
    pause = _FIRST_PAUSE
    while shows_locks(open_) and not _show_or_take_back(token, open_, ranges):
        if immediate:
            raise NtStatusError(NtStatus.LOCK_NOT_GRANTED)
        # The kernel would tell a thread that waits, but nobody could make that thread give up.
        _sleep(open_, pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
        _wait(open_, ranges)


def _try(open_: "NtOpen", ranges: Sequence[LockRange]) -> None:
    status = open_.volume.registry.update(open_.file_key, byte_range.lock, open_.owner, ranges).result
    if status is not NtStatus.SUCCESS:
        raise NtStatusError(status)


def _new_ticket(open_: "NtOpen") -> int:
    open_.volume.lock_ticket += 1
    return open_.volume.lock_ticket


def _wait(open_: "NtOpen", ranges: Sequence[LockRange]) -> None:
    ticket = _new_ticket(open_)
    status = open_.volume.registry.update(open_.file_key, byte_range.lock, open_.owner, ranges, ticket).result
    if status is NtStatus.SUCCESS:
        return
    if status is not NtStatus.PENDING:
        raise NtStatusError(status)
    try:
        _park(open_, ticket)
    except BaseException:
        _give_up(open_, ticket, ranges)
        raise


def _sleep(open_: "NtOpen", seconds: float) -> None:
    ticket = _new_ticket(open_)
    timer = asyncio.get_running_loop().call_later(seconds, _grant, open_, ticket)
    try:
        _park(open_, ticket)
    finally:
        timer.cancel()


def _park(open_: "NtOpen", ticket: int) -> None:
    """Wait until the ticket is granted. Raises RequestCancelled, or RANGE_NOT_LOCKED if the file is closed."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    _expect(open_, ticket, future)
    try:
        engine.wait(future, indefinite=True)
    finally:
        _forget(open_, ticket)


def _show_or_take_back(token: "ImpersonationToken", open_: "NtOpen", ranges: Sequence[LockRange]) -> bool:
    try:
        shown = _show(token, open_, ranges)
    except NtStatusError:
        _take_back(open_, ranges)
        raise
    if not shown:
        _take_back(open_, ranges)
        _show(token, open_, ranges)
    return shown


def _show(token: "ImpersonationToken", open_: "NtOpen", ranges: Sequence[LockRange]) -> bool:
    try:
        return show_locks(token, open_, ranges)
    except OSError as error:
        raise nt_error(error) from error


def _take_back(open_: "NtOpen", ranges: Sequence[LockRange]) -> None:
    open_.volume.registry.update(open_.file_key, byte_range.take_back, open_.owner, ranges)


def _expect(open_: "NtOpen", ticket: int, future: "asyncio.Future[None]") -> None:
    if open_.waiting_locks is None:
        open_.waiting_locks = {}

        def granted(message: Message) -> None:
            if message.kind == LOCK_GRANTED:
                _grant(open_, message.detail[0])

        open_.volume.registry.subscribe(open_.owner, granted)
    open_.waiting_locks[ticket] = future


def _grant(open_: "NtOpen", ticket: int) -> None:
    future = open_.waiting_locks.get(ticket) if open_.waiting_locks is not None else None
    if future is not None and not future.done():
        future.set_result(None)


def _give_up(open_: "NtOpen", ticket: int, ranges: Sequence[LockRange]) -> None:
    registry, key = open_.volume.registry, open_.file_key
    if open_.closed or registry.update(key, byte_range.cancel_wait, open_.owner, ticket).result:
        return
    # It was granted in the moment the client gave up: nobody will use it.
    _take_back(open_, ranges)


def _forget(open_: "NtOpen", ticket: int) -> None:
    waiting = open_.waiting_locks
    if waiting is None:
        return
    waiting.pop(ticket, None)
    if not waiting:
        open_.waiting_locks = None
        open_.volume.registry.unsubscribe(open_.owner)
