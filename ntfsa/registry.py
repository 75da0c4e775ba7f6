"""The registry of open files: keeps their records and runs the rules on them atomically.

`Registry` is the interface; `MemoryRegistry` keeps the records in a dictionary of this process. It is made for
engines that share records between processes and machines: a rule may be run twice and must be pure, what it has to
tell others is a message to the owner of an open, who may be elsewhere.
"""

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar, TypeVarTuple

from lamina.ntfsa.record import EMPTY_RECORD, FileKey, FileRecord, Message, Outcome

_A = TypeVarTuple("_A")
_T = TypeVar("_T")

Callback = Callable[[Message], None]


class Registry(Protocol):
    """Where the records of open files are kept."""

    def new_owner(self) -> int:
        """A number for a new open, greater than all before, never used again."""
        ...

    def update(self, key: FileKey, rule: Callable[[FileRecord, *_A], Outcome[_T]], *args: *_A) -> Outcome[_T]:
        """Run `rule(record, *args)` on the record of `key` atomically, keep the new record, deliver the messages."""
        ...

    def read(self, key: FileKey) -> FileRecord:
        """The record of `key` as it is now; the empty record where nobody has it open."""
        ...

    def subscribe(self, owner: int, callback: Callback) -> None:
        """Have messages for `owner` delivered to `callback`, which must not raise and must not wait."""
        ...

    def unsubscribe(self, owner: int) -> None:
        """Stop delivering for `owner`; nothing happens if it never subscribed."""
        ...


class MemoryRegistry:
    """A registry in one process, for one event loop: `update` is atomic because a rule never waits."""

    __slots__ = ("_callbacks", "_next_owner", "_records")

    def __init__(self) -> None:
        self._records: dict[FileKey, FileRecord] = {}
        self._callbacks: dict[int, Callback] = {}
        self._next_owner = 0

    def new_owner(self) -> int:
        """A number for a new open, greater than all before, never used again."""
        self._next_owner += 1
        return self._next_owner

    def update(self, key: FileKey, rule: Callable[[FileRecord, *_A], Outcome[_T]], *args: *_A) -> Outcome[_T]:
        """Run `rule(record, *args)` on the record of `key`, keep the new record, deliver the messages.

        A record without opens is given up.
        """
        before = self._records.get(key, EMPTY_RECORD)
        outcome = rule(before, *args)
        after, _, messages = outcome
        if after is not before:
            if after.opens:
                self._records[key] = after
            else:
                self._records.pop(key, None)
        if messages:
            self._deliver(messages)
        return outcome

    def read(self, key: FileKey) -> FileRecord:
        """The record of `key` as it is now; the empty record where nobody has it open."""
        return self._records.get(key, EMPTY_RECORD)

    def subscribe(self, owner: int, callback: Callback) -> None:
        """Have messages for `owner` delivered to `callback`, which must not raise and must not wait."""
        self._callbacks[owner] = callback

    def unsubscribe(self, owner: int) -> None:
        """Stop delivering for `owner`; nothing happens if it never subscribed."""
        self._callbacks.pop(owner, None)

    def __len__(self) -> int:
        return len(self._records)

    def items(self) -> Iterator[tuple[FileKey, FileRecord]]:
        """Keys and records of all open files, as they are now; for status displays."""
        return iter(list(self._records.items()))

    def _deliver(self, messages: tuple[Message, ...]) -> None:
        for message in messages:
            callback = self._callbacks.get(message.owner)
            if callback is not None:
                callback(message)
