"""Checks of requests that are worked on at the same time: several handles of one file, one handle, one name."""

import errno
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.engine import breathe
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.testing.hand import CREATE, LIST, READ, READ_WRITE, Hand, hand_of
from lamina.vfs_modules.testing.trial import Trial, trial

_MANY = 8
_PIECE = 1000
_ROUNDS = 5


def _raise_first(results: list[Any]) -> None:
    for result in results:
        if isinstance(result, BaseException):
            raise result


def _won(results: list[Any], number: int) -> int:
    """How many have not failed; the others must have failed with this error."""
    failed = [result for result in results if isinstance(result, BaseException)]
    for error in failed:
        assert isinstance(error, OSError), f"{type(error).__name__}: {error}"
        assert error.errno == number, f"expected {errno.errorcode[number]}, got {error}"
    return len(results) - len(failed)


@trial()
def one_of_many_makes_a_file(subject: Trial) -> None:
    """Of requests that create the same name exclusively one succeeds, the others get EEXIST."""
    with subject.chain() as chain, hand_of(chain, subject.token) as hand:
        assert _won(subject.at_once(*[partial(hand.open, "file", CREATE)] * _MANY), errno.EEXIST) == 1
        assert _won(subject.at_once(*[partial(hand.mkdir, "directory")] * _MANY), errno.EEXIST) == 1
        assert hand.names() == {"file", "directory"}


@trial()
def one_of_many_renames_to_a_name(subject: Trial) -> None:
    """Without `replace` one wins and no file is lost; of those who rename one file, one finds it."""
    with subject.chain() as chain, hand_of(chain, subject.token) as hand:
        sources = [f"file{number}" for number in range(_MANY)]
        for name in sources:
            hand.make(name, name.encode())
        assert _won(subject.at_once(*(partial(hand.rename, name, "one") for name in sources)), errno.EEXIST) == 1
        (moved,) = set(sources) - hand.names()
        assert hand.names() == {*sources, "one"} - {moved}
        assert hand.read(hand.open("one", READ), 99) == moved.encode()
        moves = [partial(hand.rename, "one", f"moved{number}") for number in range(_MANY)]
        assert _won(subject.at_once(*moves), errno.ENOENT) == 1
        assert len(hand.names()) == _MANY


@trial()
def writes_to_different_places_are_all_kept(subject: Trial) -> None:
    """Through several handles of a file, and through one."""
    with subject.chain() as chain, hand_of(chain, subject.token) as hand:
        hand.make("file")
        several = [hand.open("file", READ_WRITE) for _ in range(_MANY)]
        for handles in (several, several[:1] * _MANY):
            writers = [partial(_write_piece, chain, hand, handle, n) for n, handle in enumerate(handles)]
            _raise_first(subject.at_once(*writers))
            whole = hand.read(several[-1], _MANY * _PIECE + 1)
            assert len(whole) == _MANY * _PIECE
            # Not compared as a whole: to tell how two such long strings differ takes pytest a minute.
            lost = [n for n in range(_MANY) if whole[n * _PIECE : (n + 1) * _PIECE].count(n + 1) != _PIECE]
            assert not lost, f"what was written to these pieces is not all there: {lost}"
            chain.ftruncate(hand.token, several[0], 0)


def _write_piece(chain: Chain, hand: Hand, handle: VfsHandle, number: int) -> None:
    """Every few bytes somebody else's turn."""
    part = _PIECE // _ROUNDS
    for turn in range(_ROUNDS):
        data = memoryview(bytes([number + 1]) * part)
        assert chain.pwrite(hand.token, handle, data, number * _PIECE + turn * part) == part
        breathe()


@trial()
def one_handle_is_read_by_many_at_once(subject: Trial) -> None:
    """Each gets what it asked for, whatever the others ask for."""
    data = b"".join(bytes([n + 1]) * _PIECE for n in range(_MANY))

    def reader(hand: Hand, handle: VfsHandle, number: int) -> None:
        for _ in range(_ROUNDS):
            assert hand.read(handle, _PIECE, number * _PIECE) == bytes([number + 1]) * _PIECE
            breathe()

    with subject.chain() as chain, hand_of(chain, subject.token) as hand:
        hand.make("file", data)
        handle = hand.open("file", READ)
        _raise_first(subject.at_once(*(partial(reader, hand, handle, n) for n in range(_MANY))))


@trial()
def what_is_written_is_seen_at_once_by_others(subject: Trial) -> None:
    """A read that begins when a write has ended sees all of it, through any handle, and so does the size."""
    with subject.chain() as chain, hand_of(chain, subject.token) as hand:
        first = hand.make("file")
        second = hand.open("file", READ)
        turns: list[int] = []

        def write() -> None:
            for turn in range(_ROUNDS):
                chain.pwrite(subject.token, first, memoryview(bytes([turn]) * _PIECE), turn * _PIECE)
                turns.append(turn)
                breathe()

        def read() -> None:
            while len(turns) < _ROUNDS:
                seen = len(turns)
                assert chain.fstat(subject.token, second).size >= seen * _PIECE
                if seen:
                    assert hand.read(second, _PIECE, (seen - 1) * _PIECE) == bytes([seen - 1]) * _PIECE
                breathe()

        _raise_first(subject.at_once(write, read, read))


@trial()
def a_listing_goes_on_while_the_directory_changes(subject: Trial) -> None:
    """What is there all the time is told exactly once; what comes and goes at most once under each name."""
    stay = {f"stay{number}" for number in range(50)}
    with subject.chain() as chain, hand_of(chain, subject.token) as hand:
        hand.mkdir("directory")
        for name in stay:
            hand.make(f"directory/{name}")
        handle = hand.open("directory", LIST)
        told: list[str] = []

        def list_slowly() -> None:
            for entry in chain.readdir(subject.token, handle, True):
                told.append(entry.name)
                breathe()

        def change(number: int) -> None:
            for turn in range(10):
                path = f"directory/go{number}-{turn}"
                chain.close(subject.token, chain.open(subject.token, hand.root, path, CREATE))
                breathe()
                chain.unlink(subject.token, hand.root, path)

        _raise_first(subject.at_once(list_slowly, *(partial(change, number) for number in range(3))))
        counts = Counter(told)
        assert {name for name in counts if name.startswith("stay")} == stay
        assert max(counts.values()) == 1, counts.most_common(1)


@trial()
def handles_are_closed_apart_from_each_other(subject: Trial) -> None:
    """While one handle of a file is closed, others of it go on; names go while the file is open."""
    with subject.chain() as chain, hand_of(chain, subject.token) as hand:
        kept = hand.make("file", b"0123456789")

        def come_and_go() -> None:
            for _ in range(_ROUNDS):
                handle = chain.open(subject.token, hand.root, "file", READ_WRITE)
                breathe()
                chain.close(subject.token, handle)

        def use() -> None:
            for _ in range(_ROUNDS):
                assert hand.read(kept, 99) == b"0123456789"
                breathe()

        users: list[Callable[[], None]] = [come_and_go] * 3 + [use] * 3
        _raise_first(subject.at_once(*users))
        assert chain.fstat(subject.token, kept).nlink == 1


__all__ = [
    "a_listing_goes_on_while_the_directory_changes",
    "handles_are_closed_apart_from_each_other",
    "one_handle_is_read_by_many_at_once",
    "one_of_many_makes_a_file",
    "one_of_many_renames_to_a_name",
    "what_is_written_is_seen_at_once_by_others",
    "writes_to_different_places_are_all_kept",
]
