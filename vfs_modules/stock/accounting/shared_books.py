"""The books of a share that several processes serve: rows of what they share, changed in steps.

What is done to the ledger and to a file's entry is done in one step. One process counts at a time; the others leave
word of what they do meanwhile, as the sizes that files have from then on: it does not matter in which order the count
comes to a file and to the word about it.
"""

import json
import os
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from struct import Struct
from typing import Final, Generic, TypeVar

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import FileStat, Operations
from lamina.vfs_modules.processes import Place
from lamina.vfs_modules.quotas import QuotaKind
from lamina.vfs_modules.services.shared import SharedValues, Values
from lamina.vfs_modules.stock.accounting.books import Booked, Clock
from lamina.vfs_modules.stock.accounting.census import MOVED, Census, FileKey, ToldCensus, Word
from lamina.vfs_modules.stock.accounting.ledger import Account, Ledger, Limits, Owner, Rules

_ACCOUNT, _CHOSEN, _FILE, _HANDLES, _WORD = b"a", b"c", b"f", b"h", b"w"
_TOTAL, _IS_THERE, _COUNTS, _SERVES = b"t", b"i", b"n", b"s"
_OWNER: Final = Struct(">BQ")
_KEY: Final = Struct(">QQ")
_PROCESS: Final = Struct(">BI")
_BOOKED: Final = Struct(">QQQ?")
_NUMBER: Final = Struct(">Q")
_MASK: Final = (1 << 64) - 1
_KINDS: Final = list(QuotaKind)

_K = TypeVar("_K")
_V = TypeVar("_V")


def _file_key(key: FileKey) -> bytes:
    return _KEY.pack(key[0] & _MASK, key[1] & _MASK)


class _Form(Generic[_V]):
    """How something is a row, or a part of its key."""

    def __init__(self, pack: Callable[[_V], bytes], unpack: Callable[[bytes], _V]) -> None:
        self.pack, self.unpack = pack, unpack


class _Rows(MutableMapping[_K, _V]):
    """Rows of one kind as a mapping, while a step is made: what was looked at is stored at its end."""

    def __init__(self, step: Values, prefix: bytes, keys: _Form[_K], values: _Form[_V]) -> None:
        self._step, self._prefix, self._keys, self._values = step, prefix, keys, values
        self._loaded: dict[_K, _V] = {}

    def _raw(self, key: _K) -> bytes:
        return self._prefix + self._keys.pack(key)

    def __getitem__(self, key: _K) -> _V:
        if key in self._loaded:
            return self._loaded[key]
        raw = self._step.get(self._raw(key))
        if raw is None:
            raise KeyError(key)
        value = self._loaded[key] = self._values.unpack(raw)
        return value

    def __setitem__(self, key: _K, value: _V) -> None:
        self._loaded[key] = value
        self._step.put(self._raw(key), self._values.pack(value))

    def __delitem__(self, key: _K) -> None:
        self._loaded.pop(key, None)
        self._step.delete(self._raw(key))

    def __iter__(self) -> Iterator[_K]:
        return iter([self._keys.unpack(raw[len(self._prefix) :]) for raw, _ in self._step.items(self._prefix)])

    def __len__(self) -> int:
        return len(self._step.items(self._prefix))

    def store(self) -> None:
        """Store what may have been changed in place."""
        for key, value in self._loaded.items():
            self._step.put(self._raw(key), self._values.pack(value))


def _account(raw: bytes) -> Account:
    used, since = json.loads(raw)
    return Account(used, since)


def _owner(raw: bytes) -> Owner:
    kind, number = _OWNER.unpack(raw)
    return _KINDS[kind], number


_OWNERS: Final[_Form[Owner]] = _Form(lambda owner: _OWNER.pack(_KINDS.index(owner[0]), owner[1]), _owner)
_ACCOUNTS: Final[_Form[Account]] = _Form(lambda held: json.dumps([held.used, held.over_since]).encode(), _account)
_LIMITS: Final[_Form[Limits]] = _Form(lambda limits: json.dumps(limits).encode(), lambda raw: Limits(*json.loads(raw)))


class SharedFile:
    """A file that is open to be written to, in whatever process."""

    __slots__ = ("_values", "key")

    def __init__(self, values: SharedValues, key: FileKey) -> None:
        self._values = values
        self.key = key

    @property
    def size(self) -> int:
        """The bytes that are booked."""
        raw = self._values.get(_FILE + _file_key(self.key))
        return 0 if raw is None else int(_BOOKED.unpack(raw)[2])


class SharedBooks:
    """The books of one of several processes."""

    def __init__(self, rules: Rules, clock: Clock, values: SharedValues, where: Place) -> None:
        self._rules = rules
        self._clock = clock
        self._values = values
        self._me = _PROCESS.pack(where.number, os.getpid())
        self.census: Census | None = None

    # Who is there.

    def begin(self, kept: Ledger | None, is_exact: bool, always: bool) -> bool:
        """Serve from now on, with what was kept if nobody does yet; whether to count, which one process does."""
        with self._values.step() as step:
            is_left = self._forget_dead(step)
            self._serve(step, 1)
            if step.get(_IS_THERE) is not None:
                counts = is_left
            else:
                step.put(_IS_THERE, b"")
                with self._in(step) as ledger:
                    ledger.become(kept or Ledger(self._rules))
                counts = always or not is_exact
            if counts:
                step.put(_COUNTS, self._me)
        return counts

    def _serve(self, step: Values, change: int) -> None:
        """So many chains more of this process have these books."""
        mine = _SERVES + self._me
        left = int(step.get(mine) or b"0") + change
        if left > 0:
            step.put(mine, b"%d" % left)
        else:
            step.delete(mine)

    def _forget_dead(self, step: Values) -> bool:
        """Forget what a killed process in this one's place has left; whether it has left a count."""
        number = self._me[:1]
        for key, _ in step.items(_SERVES + number):
            if key != _SERVES + self._me:
                step.delete(key)
        for key, _ in step.items(_HANDLES):
            file, process = key[1 : 1 + _KEY.size], key[1 + _KEY.size :]
            if process[:1] == number and process != self._me:
                step.delete(key)
                self._let_go(step, file)
        counting = step.get(_COUNTS)
        return counting is not None and counting[:1] == number and counting != self._me

    def end(self) -> bytes:
        """Serve no longer; what is to be kept is exact where nobody changes it any more."""
        with self._values.step() as step:
            self._serve(step, -1)
            was_counting = step.get(_COUNTS) is not None
            if self.census is not None:
                self._end_count(step)
            is_last = not step.items(_SERVES)
            if is_last:
                step.delete(_IS_THERE)
            with self._in(step) as ledger:
                return ledger.pack(is_last and not was_counting)

    # The ledger.

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The ledger, in a step."""
        with self._values.step() as step, self._in(step) as ledger:
            yield ledger

    @contextmanager
    def _in(self, step: Values) -> Iterator[Ledger]:
        accounts = _Rows(step, _ACCOUNT, _OWNERS, _ACCOUNTS)
        chosen = _Rows(step, _CHOSEN, _OWNERS, _LIMITS)
        total = step.get(_TOTAL)
        ledger = Ledger(self._rules, accounts, chosen, Account() if total is None else _account(total))
        yield ledger
        accounts.store()
        step.put(_TOTAL, _ACCOUNTS.pack(ledger.total))

    # Files.

    def _book(self, step: Values, raw: bytes, uid: int, gid: int, change: int, size: int) -> None:
        with self._in(step) as ledger:
            ledger.book(uid, gid, change, self._clock())
        self._leave_word(step, raw, uid, gid, size)

    def _get(self, step: Values, raw: bytes) -> tuple[int, int, int, bool] | None:
        row = step.get(_FILE + raw)
        return None if row is None else _BOOKED.unpack(row)

    def opened(self, stat: FileStat) -> SharedFile:
        """One more handle."""
        key = (stat.dev, stat.ino)
        raw = _file_key(key)
        with self._values.step() as step:
            if step.get(_FILE + raw) is None:
                step.put(_FILE + raw, _BOOKED.pack(stat.uid, stat.gid, stat.size, False))
            mine = _HANDLES + raw + self._me
            step.put(mine, b"%d" % (int(step.get(mine) or b"0") + 1))
        return SharedFile(self._values, key)

    def closed(self, file: Booked) -> None:
        """One less."""
        raw = _file_key(file.key)
        mine = _HANDLES + raw + self._me
        with self._values.step() as step:
            left = int(step.get(mine) or b"1") - 1
            if left:
                step.put(mine, b"%d" % left)
                return
            step.delete(mine)
            self._let_go(step, raw)

    def _let_go(self, step: Values, raw: bytes) -> None:
        found = self._get(step, raw)
        if found is None or step.items(_HANDLES + raw):
            return
        uid, gid, size, nameless = found
        step.delete(_FILE + raw)
        if nameless:
            self._book(step, raw, uid, gid, -size, 0)

    def grow(self, file: Booked, size: int, is_free: bool, at_least: bool = False) -> None:
        """Let a file have a size, or at least that: another process may have made it larger meanwhile."""
        raw = _file_key(file.key)
        with self._values.step() as step:
            uid, gid, before, nameless = self._get(step, raw) or (0, 0, size, False)
            change = size - before
            if not change or (at_least and change < 0):
                return
            with self._in(step) as ledger:
                refusal = 0 if is_free else ledger.refusal(uid, gid, change, self._clock())
            if refusal:
                raise OSError(refusal, os.strerror(refusal))
            step.put(_FILE + raw, _BOOKED.pack(uid, gid, size, nameless))
            self._book(step, raw, uid, gid, change, size)

    def settle(self, file: Booked, size: int) -> None:
        """Book the size that a file has."""
        self.grow(file, size, True)

    def gone(self, stat: FileStat) -> None:
        """A file has lost its last name."""
        raw = _file_key((stat.dev, stat.ino))
        with self._values.step() as step:
            found = self._get(step, raw)
            if found is None:
                self._book(step, raw, stat.uid, stat.gid, -stat.size, 0)
            else:
                step.put(_FILE + raw, _BOOKED.pack(*found[:3], True))

    def given(self, stat: FileStat, uid: int, gid: int) -> None:
        """A file has another owner."""
        raw = _file_key((stat.dev, stat.ino))
        with self._values.step() as step:
            found = self._get(step, raw)
            size = stat.size if found is None else found[2]
            self._book(step, raw, stat.uid, stat.gid, -size, 0)
            self._book(step, raw, uid, gid, size, size)
            if found is not None:
                step.put(_FILE + raw, _BOOKED.pack(uid, gid, size, found[3]))

    # Counting.

    @property
    def is_counting(self) -> bool:
        """Whether a process counts."""
        return self._values.get(_COUNTS) is not None

    def make_census(self, below: Operations, root: VfsHandle, exclude: Sequence[str]) -> Census:
        """A count to which all processes leave word."""
        self.census = ToldCensus(below, root, exclude, self._words)
        return self.census

    def _words(self) -> list[tuple[FileKey, Word]]:
        with self._values.step() as step:
            return self._taken(step)

    def counted(self, census: Census) -> None:
        """What was counted is what there is, with all that was left word of."""
        assert isinstance(census, ToldCensus)
        with self._values.step() as step:
            census.hear(self._taken(step))
            with self._in(step) as ledger:
                ledger.count_as(census.result(), max(census.total, 0), self._clock())
            self._end_count(step)

    def count_ended(self) -> None:
        """No count goes on in this process."""
        self.census = None
        with self._values.step() as step:
            if step.get(_COUNTS) == self._me:
                self._end_count(step)

    def _end_count(self, step: Values) -> None:
        self._taken(step)
        step.delete(_COUNTS)

    def _leave_word(self, step: Values, raw: bytes, uid: int, gid: int, size: int) -> None:
        if step.get(_COUNTS) is not None:
            step.put(_WORD + raw, json.dumps([uid, gid, size]).encode())

    def met(self, stat: FileStat) -> None:
        """Something may be new, of which nothing better is known."""
        raw = _file_key((stat.dev, stat.ino))
        with self._values.step() as step:
            if step.get(_WORD + raw) is None:
                self._leave_word(step, raw, stat.uid, stat.gid, stat.size)

    def folder_moved(self) -> None:
        """A folder has another place."""
        with self._values.step() as step:
            if step.get(_COUNTS) is not None:
                step.put(_WORD, b"")

    def _taken(self, step: Values) -> list[tuple[FileKey, Word]]:
        found: list[tuple[FileKey, Word]] = []
        for key, value in step.items(_WORD):
            step.delete(key)
            if value:
                uid, gid, size = json.loads(value)
                found.append((_KEY.unpack(key[1:]), (uid, gid, size)))
            else:
                found.append((MOVED, (0, 0, 0)))
        return found
