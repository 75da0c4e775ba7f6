"""`quota` in several processes: one ledger, whoever books, counts, or is killed."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lamina.vfs_modules.operations import FileStat
from lamina.vfs_modules.processes import Place
from lamina.vfs_modules.quotas import QuotaKind
from lamina.vfs_modules.services.shared import MemoryStore, SharedValues
from lamina.vfs_modules.stock.accounting.books import BookKeeping, LocalBooks
from lamina.vfs_modules.stock.accounting.census import ToldCensus
from lamina.vfs_modules.stock.accounting.ledger import Ledger, Limits, Rules
from lamina.vfs_modules.stock.accounting.shared_books import SharedBooks
from lamina.vfs_modules.testing import local_chain, make_token

DEVICE = 5
UNLIMITED = Limits()
RULES = Rules({}, {QuotaKind.USER: Limits(20, 30), QuotaKind.GROUP: UNLIMITED}, Limits(None, 80), 5.0)


def stat_of(number: int, size: int = 0, uid: int = 1) -> FileStat:
    return FileStat(DEVICE, number, 0o100644, 1, uid, 1, size, size, 0, 0, 0, None)


def crew(values: SharedValues, clock: "Clock") -> list[SharedBooks]:
    return [SharedBooks(RULES, clock, values, Place("", number)) for number in (1, 2)]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def result(books: BookKeeping, step: str, number: int, amount: int, handles: dict[int, list[object]]) -> object:
    """What comes of a step of a history; `handles` are those that these books' files have."""
    try:
        if step == "open":
            handles.setdefault(number, []).append(books.opened(stat_of(number, 0, number)))
        elif step == "close" and handles.get(number):
            books.closed(handles[number].pop())  # type: ignore[arg-type]
        elif step == "grow" and handles.get(number):
            books.grow(handles[number][0], amount, False, amount % 2 == 0)  # type: ignore[arg-type]
        elif step == "settle" and handles.get(number):
            books.settle(handles[number][0], amount)  # type: ignore[arg-type]
        elif step == "given":
            books.given(stat_of(number, 3, number), 1 + amount % 2, 1)
    except OSError as error:
        return error.errno
    with books.ledger() as ledger:
        known = [ledger.quota((QuotaKind.USER, uid)) for uid in (1, 2)]
        return known, ledger.total, ledger.room(1, 1), ledger.entries(QuotaKind.USER, 0, 9)


STEPS = some.sampled_from(["open", "close", "grow", "settle", "given"])


@given(some.lists(some.tuples(STEPS, some.integers(1, 2), some.integers(0, 40), some.booleans(), some.floats(0, 4))))
def test_two_processes_book_as_one_does(steps: list[tuple[str, int, int, bool, float]]) -> None:
    clock, handles = Clock(), [{}, {}, {}]  # type: ignore[var-annotated]
    alone, both = LocalBooks(Ledger(RULES), clock), crew(SharedValues(MemoryStore(), "quota"), clock)
    for step, number, amount, which, later in steps:
        clock.now += later
        # The file of a handle is the same, whichever process has opened it.
        mine = handles[1 + which]
        whole = {key: [*handles[0].get(key, [])][: 99 if mine.get(key) else 0] for key in (1, 2)}
        expected = result(alone, step, number, amount, handles[0] if step == "open" else whole)
        if step == "close" and mine.get(number):
            handles[0][number].pop()
        assert result(both[which], step, number, amount, mine) == expected


def test_what_is_deleted_is_free_with_its_last_handle_in_any_process() -> None:
    one, other = crew(SharedValues(MemoryStore(), "quota"), Clock())
    mine, theirs = one.opened(stat_of(1)), other.opened(stat_of(1))
    one.grow(mine, 10, False)
    assert theirs.size == 10
    other.gone(stat_of(1, 10))
    one.closed(mine)
    with other.ledger() as ledger:
        assert ledger.used((QuotaKind.USER, 1)) == 10
    other.closed(theirs)
    with one.ledger() as ledger:
        assert (ledger.used((QuotaKind.USER, 1)), ledger.total.used) == (0, 0)


def test_one_counts_and_what_is_kept_is_exact_when_the_last_has_ended() -> None:
    values, clock = SharedValues(MemoryStore(), "quota"), Clock()
    kept = Ledger(RULES)
    kept.book(1, 1, 7, 0.0)
    one, other = crew(values, clock)
    assert [one.begin(kept, True, False), other.begin(None, False, False)] == [False, False]
    assert Ledger(RULES).unpack(one.end()) is False
    again = Ledger(RULES)
    assert again.unpack(other.end()) is True
    assert again.used((QuotaKind.USER, 1)) == 7
    one, other = crew(values, clock)
    assert [one.begin(again, True, True), other.begin(None, False, True)] == [True, False]


def test_the_next_process_ends_what_a_killed_one_had_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    values, clock = SharedValues(MemoryStore(), "quota"), Clock()
    killed, other = crew(values, clock)
    assert killed.begin(None, False, True)
    assert not other.begin(None, False, True)
    theirs = killed.opened(stat_of(1))
    killed.grow(theirs, 10, False)
    other.gone(stat_of(1, 10))
    monkeypatch.setattr(os, "getpid", lambda: 1)
    again = SharedBooks(RULES, clock, values, Place("", 1))
    assert again.begin(None, False, True), "the count is left to it"
    with other.ledger() as ledger:
        assert ledger.total.used == 0


def test_a_count_is_right_in_whatever_order_it_comes_to_files_and_to_word_of_them(tmp_path: Path) -> None:
    values = SharedValues(MemoryStore(), "quota")
    one, other = crew(values, Clock())
    assert one.begin(None, False, True)
    uid, gid = os.geteuid(), os.getegid()
    sizes = {"before": 5, "after": 6, "gone": 7, "untouched": 8}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(bytes(size))
    chain = local_chain(tmp_path)
    root = chain.open_root(make_token())
    stats = {name: chain.stat(make_token(), root, name) for name in sizes}
    census = one.make_census(chain, root, ())
    assert isinstance(census, ToldCensus)
    grown = other.opened(stats["before"])
    other.grow(grown, 50, True)  # and the file is as it was when it is come to
    assert census.count()
    late = other.opened(stats["after"])
    other.grow(late, 60, True)
    (tmp_path / "gone").unlink()
    other.gone(stats["gone"])
    one.counted(census)
    one.count_ended()
    with other.ledger() as ledger:
        assert (ledger.used((QuotaKind.USER, uid)), ledger.total.used) == (50 + 60 + 8, 50 + 60 + 8)
        assert ledger.used((QuotaKind.GROUP, gid)) == 118
    assert not other.is_counting
    chain.close(make_token(), root)
    chain.disconnect()
