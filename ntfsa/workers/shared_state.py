"""The state that the workers of one server share: an LMDB environment in memory that all of them map.

One write transaction is one step that all workers see whole or not at all, whoever is killed in the middle of it. What
a step has to tell another worker is part of it: a letter in that worker's box. So letters come in the order of the
steps, none is lost, and none tells of what did not happen. A bell (eventfd(2)) says that there is one.

Worker 0 is the supervisor, which has no box.
"""

import asyncio
import contextlib
import marshal
import mmap
import os
import struct
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import lmdb

from lamina.ntfsa.record import FileKey
from lamina.ntfsa.status import NtStatus, NtStatusError

_LARGEST_MAP: Final = 1 << 32
_SMALLEST_MAP: Final = 1 << 24
_MAX_READERS: Final = 1024
_NAME_IN_KEY: Final = 300
_FILE: Final = struct.Struct(">QQ")
_LETTER: Final = struct.Struct(">BQI")
_MASK: Final = (1 << 64) - 1

Letter = tuple[Any, ...]
"""What one worker tells another: plain values that marshal knows."""


def _map_size(folder: Path) -> int:
    """That of whoever comes first, which LMDB writes down for the others (0).

    What is not used takes no memory.
    """
    if (folder / "data.mdb").exists():
        return 0
    room = os.statvfs(folder)
    return max(_SMALLEST_MAP, min(_LARGEST_MAP, room.f_bavail * room.f_frsize // 2) // mmap.PAGESIZE * mmap.PAGESIZE)


def packed_key(key: FileKey) -> bytes:
    """The key of a record in the environment, which takes no more than 511 bytes."""
    dev, ino, stream = key
    name = stream.encode("utf-8", "surrogatepass")
    if len(name) > _NAME_IN_KEY:
        name = b"\0" + blake2b(name, digest_size=32).digest()
    return _FILE.pack(dev & _MASK, ino & _MASK) + name


class SharedState:
    """One worker's hold on the environment in `folder`. `bells`: the descriptors of all bells, by worker number."""

    def __init__(self, folder: Path, number: int, bells: Mapping[int, int]) -> None:
        self.number = number
        self._bells = bells
        self._env = lmdb.open(
            str(folder),
            map_size=_map_size(folder),
            max_dbs=8,
            max_readers=_MAX_READERS,
            sync=False,
            metasync=False,
            # Written in place it would cost half; but where others have filled the file system, who writes is killed.
            writemap=False,
            meminit=False,
            mode=0o600,
        )
        # Who was killed while it read would keep the room of all that has changed since.
        self._env.reader_check()
        self.records = self._env.open_db(b"records")
        self.doomed = self._env.open_db(b"doomed")
        self.kept = self._env.open_db(b"kept")
        self.awaited = self._env.open_db(b"awaited")
        self.changes = self._env.open_db(b"changes")
        self._letters = self._env.open_db(b"letters")

    def reading(self, db: Any) -> Any:
        """A transaction that reads."""
        return self._env.begin(db=db)

    def changing(self, db: Any) -> "Step":
        """A step, for a with block. Raises INSUFFICIENT_RESOURCES where there is no memory for it."""
        return Step(self, self._env.begin(write=True, db=db))

    def put_letter(self, step: "Step", worker: int, letter: Letter, box: Any = None, ring: bool = True) -> None:
        """Have a letter in a worker's box as part of a step. `box`: `changes`, for those that are about changes."""
        key = _LETTER.pack(worker, step.transaction.id(), step.letters)
        step.transaction.put(key, marshal.dumps(letter), db=self._letters if box is None else box)
        step.letters += 1
        if ring:
            step.rung.add(worker)

    def has_letters(self, transaction: Any, box: Any) -> bool:
        """Whether there is something in this worker's box."""
        cursor = transaction.cursor(db=box)
        return bool(cursor.set_range(bytes((self.number,)))) and cursor.key()[0] == self.number

    def post(self, workers: Iterable[int], letter: Letter) -> None:
        """Put a letter into the boxes of workers."""
        with self.changing(self._letters) as step:
            for worker in workers:
                self.put_letter(step, worker, letter)

    def ring(self, worker: int) -> None:
        """Say that there are letters."""
        bell = self._bells.get(worker)
        if bell is not None:
            with contextlib.suppress(OSError):
                os.eventfd_write(bell, 1)

    def collect(self, box: Any = None) -> list[Letter]:
        """Take the letters out of this worker's box, the oldest first."""
        found = []
        prefix = bytes((self.number,))
        with self._env.begin(write=True, db=self._letters if box is None else box) as transaction:
            cursor = transaction.cursor()
            there = cursor.set_range(prefix)
            while there and cursor.key()[:1] == prefix:
                found.append(marshal.loads(cursor.value()))  # noqa: S302 - what this server's workers wrote
                there = cursor.delete() and bool(cursor.key())
        return found

    def answer_bell(
        self, loop: asyncio.AbstractEventLoop, read: Callable[[Letter], None], read_changes: Callable[[], object]
    ) -> None:
        """Have each letter read on the loop from now on, and before them those that are about changes."""
        bell = self._bells[self.number]

        def rung() -> None:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(bell)
            read_changes()
            for letter in self.collect():
                read(letter)

        loop.add_reader(bell, rung)
        loop.call_soon(rung)

    def leave_bell(self, loop: asyncio.AbstractEventLoop) -> None:
        """Letters stay in the box."""
        loop.remove_reader(self._bells[self.number])

    def close(self) -> None:
        """Let go of the environment."""
        self._env.close()


class Step:
    """One write transaction while it is being made, and whom it has letters for.

    It is committed at the end of its with block, or nothing has changed where that raises.
    """

    __slots__ = ("_state", "letters", "rung", "transaction")

    def __init__(self, state: SharedState, transaction: Any) -> None:
        self._state = state
        self.transaction = transaction
        self.letters = 0
        self.rung: set[int] = set()

    def __enter__(self) -> "Step":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            try:
                self.transaction.commit()
            except lmdb.Error as failure:
                raise _no_memory() from failure
            for worker in self.rung:
                self._state.ring(worker)
            return
        self.transaction.abort()
        if isinstance(error, lmdb.Error):
            raise _no_memory() from error


def _no_memory() -> NtStatusError:
    return NtStatusError(NtStatus.INSUFFICIENT_RESOURCES, "no memory for what workers share")
