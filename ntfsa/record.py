"""The record of an open file: everything that opens of one stream must agree on, as one immutable value.

A *rule* is a pure function `rule(record, …) -> Outcome`; the registry runs it atomically and may run it more than
once. Rules stand in `sharing`, `delete` and `byte_range`; here are only the values they work on. `record_form` has the
plain form in which a record can be stored or sent elsewhere.
"""

from bisect import bisect_left
from typing import Any, Final, Generic, NamedTuple, TypeVar

from lamina.ntfsa.locks.lock_table import NO_LOCKS, LockTable

OPEN_DELETE_ON_CLOSE: Final = 0x1
"""Flag of an open: its close marks the file for deletion (MS-FSA 2.1.5.5, FILE_DELETE_ON_CLOSE)."""

OPEN_POSIX: Final = 0x2
"""Flag of an open: it has POSIX semantics, and holds up nobody's deletion (see `NtOpen.posix`)."""

FileKey = tuple[int, int, str]
"""What a record is kept under: device, inode, and the stream's folded name.

"" is for the file's own data, ":" for all its named streams together (see `stream_opens`).
"""


class OpenEntry(NamedTuple):
    """One open in a record. `owner` is unique per open in the server; `flags` are OPEN_*."""

    owner: int
    granted_access: int
    share_access: int
    flags: int


class LockRange(NamedTuple):
    """A range that somebody asks to lock: offset and length in bytes."""

    offset: int
    length: int
    exclusive: bool


class Waiter(NamedTuple):
    """A lock request that waits. `ticket` is the asker's own number for it, unique per owner."""

    owner: int
    ticket: int
    ranges: tuple[LockRange, ...]


class Message(NamedTuple):
    """What a rule has to tell the owner of an open, who may be elsewhere: `kind` (a constant below), `detail`."""

    owner: int
    kind: str
    detail: tuple[Any, ...] = ()


LOCK_GRANTED: Final = "lock-granted"
"""The waiting lock whose ticket is `detail[0]` is now held."""


class WriteTime(NamedTuple):
    """The last write time of a file that is being written (see `write_time`), in nanoseconds since 1970.

    `before` is shown until `due`, or until `settled` is known, which is shown then. `writers` counts the opens that
    have written.
    """

    before: int
    due: int
    settled: int | None
    writers: int


STABLE: Final = -1
"""`Grant.breaking_to` while no answer is awaited."""


class Grant(NamedTuple):
    """Caching rights that opens hold (see `caching`). Messages about them go to `address`.

    `owners` are the opens: one for an oplock, all that share it for a lease. `state` are *_CACHING. `lease` is the
    client's guid and its lease key, b"" for an oplock; `epoch` counts the changes of a lease. While an answer is
    awaited `breaking_to` is what is left after it, `required` what must be left in the end, `deadline` is when the
    answer is due in seconds, and `waiters` are told when the break is over.
    """

    owners: tuple[int, ...]
    address: int
    state: int
    lease: bytes = b""
    epoch: int = 0
    breaking_to: int = STABLE
    required: int = 0
    deadline: float = 0.0
    waiters: tuple[int, ...] = ()


class FileRecord(NamedTuple):
    """The state of one open stream.

    `opens` are sorted by owner. `share_counts` summarises their sharing (see `sharing`). `waiters` are in the order
    they came. `grants` are the caching grants (oplocks and leases). `version` counts the changes.
    `write_time` is there while opens are that have written.
    """

    opens: tuple[OpenEntry, ...] = ()
    share_counts: int = 0
    locks: LockTable = NO_LOCKS
    waiters: tuple[Waiter, ...] = ()
    delete_pending: bool = False
    grants: tuple[Grant, ...] = ()
    version: int = 0
    write_time: WriteTime | None = None

    def find_open(self, owner: int) -> OpenEntry | None:
        """The open of `owner`, or None."""
        index = bisect_left(self.opens, (owner,))
        if index < len(self.opens) and self.opens[index].owner == owner:
            return self.opens[index]
        return None


EMPTY_RECORD: Final = FileRecord()
"""The record of a stream that nobody has open."""

_T = TypeVar("_T")


class Outcome(NamedTuple, Generic[_T]):
    """What a rule comes to: the new record (the same object if nothing changed), its answer, and messages to send."""

    record: FileRecord
    result: _T
    messages: tuple[Message, ...] = ()
