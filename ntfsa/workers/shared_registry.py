"""The registry of open files that the workers of a server share (see `registry`, `shared_state`).

An update is one write transaction: read the record, run the rule, write what it comes to. Rules are pure and short,
so that nobody waits for long. Of a record that has not changed since it was last read only the bytes are compared.
"""

import marshal
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar, TypeVarTuple

from lamina.ntfsa.grants.granting import with_grants
from lamina.ntfsa.opening.sharing import close_file
from lamina.ntfsa.record import EMPTY_RECORD, FileKey, FileRecord, Message, Outcome
from lamina.ntfsa.record_form import from_plain, to_plain
from lamina.ntfsa.registry import Callback
from lamina.ntfsa.workers.kept_opens import lose_clients
from lamina.ntfsa.workers.numbers import WORKER_BITS, worker_of
from lamina.ntfsa.workers.shared_state import Letter, SharedState, Step, packed_key

_A = TypeVarTuple("_A")
_T = TypeVar("_T")

MESSAGE: Final = "message"
"""The kind of a letter that is a message of the registry: owner, kind, detail."""

_MAX_CACHED: Final = 20_000


class SharedRegistry:
    """One worker's registry. Its owners have the worker's number in them, and no other run of it has the same ones."""

    __slots__ = ("_cache", "_callbacks", "_next", "_number", "_state")

    def __init__(self, state: SharedState) -> None:
        self._state = state
        self._number = state.number
        self._callbacks: dict[int, Callback] = {}
        self._cache: dict[FileKey, tuple[bytes, FileRecord]] = {}
        # A worker that is started again must not meet its own dead: one makes far fewer than 1,000 opens in a ms.
        self._next = time.monotonic_ns() // 1000

    def new_owner(self) -> int:
        """A number for a new open, never used again."""
        self._next += 1
        return self._next << WORKER_BITS | self._number

    def new_owner_for(self, worker: int) -> int:
        """The same for an open that is to be another worker's; that one's own numbers are far smaller."""
        return self.new_owner() << WORKER_BITS | worker

    def update(self, key: FileKey, rule: Callable[[FileRecord, *_A], Outcome[_T]], *args: *_A) -> Outcome[_T]:
        """Run `rule(record, *args)` on the record of `key`, keep the new record, deliver the messages."""
        state, packed = self._state, packed_key(key)
        with state.changing(state.records) as step:
            before = self._decoded(key, step.transaction.get(packed))
            outcome = rule(before, *args)
            after, _, messages = outcome
            if after is not before:
                self._keep(step, key, packed, after)
            own = self._send(step, messages) if messages else ()
        for message in own:
            self._deliver(message)
        return outcome

    def _decoded(self, key: FileKey, raw: bytes | None) -> FileRecord:
        if raw is None:
            self._cache.pop(key, None)
            return EMPTY_RECORD
        known = self._cache.get(key)
        if known is not None and known[0] == raw:
            return known[1]
        record = _loaded(raw)
        self._remember(key, raw, record)
        return record

    def _remember(self, key: FileKey, raw: bytes, record: FileRecord) -> None:
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        self._cache[key] = raw, record

    def _keep(self, step: Step, key: FileKey, packed: bytes, record: FileRecord) -> None:
        if not record.opens:
            step.transaction.delete(packed)
            self._cache.pop(key, None)
            return
        raw = marshal.dumps(to_plain(record))
        step.transaction.put(packed, raw)
        self._remember(key, raw, record)

    def _send(self, step: Step, messages: tuple[Message, ...]) -> list[Message]:
        own = []
        for message in messages:
            worker = worker_of(message.owner)
            if worker == self._number:
                own.append(message)
            else:
                self._state.put_letter(step, worker, (MESSAGE, *message))
        return own

    def read(self, key: FileKey) -> FileRecord:
        """The record of `key` as it is now; the empty record where nobody has it open."""
        with self._state.reading(self._state.records) as transaction:
            raw = transaction.get(packed_key(key))
        return self._decoded(key, raw)

    def subscribe(self, owner: int, callback: Callback) -> None:
        """Have messages for `owner` delivered to `callback`, which must not raise and must not wait."""
        self._callbacks[owner] = callback

    def unsubscribe(self, owner: int) -> None:
        """Stop delivering for `owner`; nothing happens if it never subscribed."""
        self._callbacks.pop(owner, None)

    def _deliver(self, message: Message) -> None:
        callback = self._callbacks.get(message.owner)
        if callback is not None:
            callback(message)

    def receive(self, letter: Letter) -> None:
        """Deliver a letter that is a message."""
        _, owner, kind, detail = letter
        self._deliver(Message(owner, kind, tuple(detail)))


def _loaded(raw: bytes) -> FileRecord:
    return from_plain(marshal.loads(raw))  # noqa: S302 - what this server's own workers have written


def bury(state: SharedState, worker: int) -> int:
    """A worker has ended without closing what it had open: close that, and tell who waits; how many files it was.

    Whoever else has such a file open keeps it. One that was to be deleted at its close by the dead alone stays. What is
    kept for its client (`kept_opens`) stays as it is, until the worker that comes next takes it over.
    """
    spared = frozenset(kept.owner for kept in lose_clients(state, worker))
    with state.reading(state.records) as transaction:
        keys = [bytes(key) for key, raw in transaction.cursor() if _is_concerned(_loaded(raw), worker)]
    for packed in keys:
        _bury_in(state, packed, worker, spared)
    return len(keys)


def _is_concerned(record: FileRecord, worker: int) -> bool:
    return any(worker_of(entry.owner) == worker for entry in record.opens) or any(
        worker_of(waiter) == worker for grant in record.grants for waiter in grant.waiters
    )


def _bury_in(state: SharedState, packed: bytes, worker: int, spared: frozenset[int]) -> None:
    with state.changing(state.records) as step:
        raw = step.transaction.get(packed)
        if raw is None:
            return
        record, messages = without_worker(_loaded(raw), worker, spared)
        if record.opens:
            step.transaction.put(packed, marshal.dumps(to_plain(record)))
        else:
            step.transaction.delete(packed)
            _forget_doomed(state, step, packed)
        for message in messages:
            if worker_of(message.owner) != worker:
                state.put_letter(step, worker_of(message.owner), (MESSAGE, *message))


def _forget_doomed(state: SharedState, step: Step, packed: bytes) -> None:
    cursor = step.transaction.cursor(db=state.doomed)
    there: Any = cursor.set_range(packed)
    while there and cursor.key().startswith(packed):
        there = cursor.delete() and bool(cursor.key())


def without_worker(
    record: FileRecord, worker: int, spared: frozenset[int] = frozenset()
) -> tuple[FileRecord, tuple[Message, ...]]:
    """The record without the opens of a worker but those `spared`, and with nobody in it waiting for anything."""
    messages: tuple[Message, ...] = ()
    waiters = tuple(waiter for waiter in record.waiters if worker_of(waiter.owner) != worker)
    if len(waiters) != len(record.waiters):
        record = record._replace(waiters=waiters, version=record.version + 1)
    for entry in record.opens:
        if worker_of(entry.owner) == worker and entry.owner not in spared:
            outcome = close_file(record, entry.owner)
            record, messages = outcome.record, messages + outcome.messages
    grants = tuple(
        grant._replace(waiters=tuple(w for w in grant.waiters if worker_of(w) != worker)) for grant in record.grants
    )
    return (with_grants(record, grants) if grants != record.grants else record), messages
