"""`readonly` and the periods that it understands."""

from datetime import datetime, timedelta

import pytest
from pydantic import ValidationError

from lamina.vfs_modules.operations import OPERATIONS, Access, DosAttributes, OpenHow, Times
from lamina.vfs_modules.period import parse_period
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.readonly import ReadonlyModule, ReadonlyOptions
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.hand import Hand

TOKEN = make_token()
NOON = datetime(2026, 3, 10, 12, 0)


@pytest.mark.parametrize(
    ("begin", "end", "inside", "outside"),
    [
        ("today 0:0", "tomorrow 0:0", ["2026-03-10 00:00", "2026-03-10 23:59:59"], []),
        ("today 8:00", "today 17:30", ["2026-03-10 08:00"], ["2026-03-10 07:59", "2026-03-10 17:30"]),
        ("yesterday 12:00", "today", [], ["2026-03-10 00:00", "2026-03-10 13:00"]),
        ("22:00", "6:00", ["2026-03-10 22:00", "2026-03-11 05:59"], ["2026-03-10 06:00", "2026-03-10 21:59"]),
        ("8:00", "17:00", ["2026-03-10 08:00"], ["2026-03-10 17:00", "2026-03-11 07:59"]),
        ("2026-03-01", "2026-03-31 18:00", ["2026-03-10 00:00"], ["2026-02-28 23:59", "2026-03-31 18:00"]),
    ],
)  # fmt: skip
def test_a_period_has_the_moments_between_its_ends(begin: str, end: str, inside: list[str], outside: list[str]) -> None:
    period = parse_period(begin, end)
    assert all(period.contains(datetime.fromisoformat(moment)) for moment in inside)
    assert not any(period.contains(datetime.fromisoformat(moment)) for moment in outside)


@pytest.mark.parametrize("words", ["later", "today 25:00", "today noon", "", "12", "2026-13-01"])
def test_what_is_no_moment_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match="is no moment"):
        parse_period(words, "tomorrow")


def test_a_day_and_a_time_of_every_day_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="either both"):
        parse_period("8:00", "tomorrow")


def test_the_option_may_be_written_as_sambas() -> None:
    assert ReadonlyOptions(period="today 8:00,today 17:00").period == ("today 8:00", "today 17:00")
    with pytest.raises(ValidationError, match="is no moment"):
        ReadonlyOptions(period="sometimes,never")


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hand(clock: Clock) -> Hand:
    module = ReadonlyModule(ReadonlyOptions(period=("18:00", "20:00")), clock)
    hand = Hand(local_chain("/nowhere", module, DosAttributesModule(), MemoryBackend()), TOKEN)
    hand.make("file", b"data")
    hand.mkdir("folder")
    return hand


EVENING = NOON.replace(hour=19)


def test_nothing_is_changed_in_the_period(hand: Hand, clock: Clock) -> None:
    writing = hand.open("file", OpenHow(Access.READ_WRITE))
    clock.now = EVENING
    chain, root = hand.chain, hand.root
    attempts = {
        "mkdir": lambda: hand.mkdir("new"),
        "unlink": lambda: chain.unlink(TOKEN, root, "file"),
        "rmdir": lambda: chain.rmdir(TOKEN, root, "folder"),
        "rename": lambda: hand.rename("file", "other"),
        "link": lambda: chain.link(TOKEN, writing, root, "other"),
        "symlink": lambda: chain.symlink(TOKEN, "file", root, "other"),
        "open": lambda: hand.open("file", OpenHow(Access.WRITE)),
        "create": lambda: hand.open("new", OpenHow(Access.READ, create=True)),
        "create exclusively": lambda: hand.open("new", OpenHow(Access.PATH, create=True, exclusive=True)),
        "create stream": lambda: chain.open_stream(TOKEN, writing, "s", OpenHow(Access.READ, create=True)),
        "write stream": lambda: chain.open_stream(TOKEN, writing, "s", OpenHow(Access.WRITE)),
        "pwrite": lambda: chain.pwrite(TOKEN, writing, memoryview(b"x"), 0),
        "ftruncate": lambda: chain.ftruncate(TOKEN, writing, 0),
        "set_times": lambda: chain.set_times(TOKEN, writing, Times(1, 1)),
        "setxattr": lambda: chain.setxattr(TOKEN, writing, "user.a", b""),
        "set_dos_attributes": lambda: chain.set_dos_attributes(TOKEN, writing, DosAttributes(2, None)),
        "set_security": lambda: chain.set_security(TOKEN, writing, b""),
    }
    for name, attempt in attempts.items():
        with pytest.raises(OSError, match="Read-only file system"):
            attempt()
            pytest.fail(name)
    assert hand.names() == {"file", "folder"}
    assert hand.read(writing, 10) == b"data"


def test_every_operation_that_changes_something_is_guarded() -> None:
    backend = MemoryBackend()
    chain = local_chain("/nowhere", ReadonlyModule(), backend)
    for name, operation in OPERATIONS.items():
        if operation.mutates:
            assert getattr(chain, name) != getattr(backend, name), name


def test_what_is_there_may_be_opened_as_if_to_create_it(hand: Hand, clock: Clock) -> None:
    clock.now = EVENING
    assert hand.read(hand.open("file", OpenHow(Access.READ, create=True)), 4) == b"data"
    with pytest.raises(FileNotFoundError):
        hand.open("missing", OpenHow(Access.READ))


def test_after_the_period_all_is_as_before(hand: Hand, clock: Clock) -> None:
    writing = hand.open("file", OpenHow(Access.READ_WRITE))
    clock.now = EVENING
    with pytest.raises(OSError):
        hand.chain.pwrite(TOKEN, writing, memoryview(b"x"), 0)
    clock.now = EVENING + timedelta(hours=2)
    assert hand.chain.pwrite(TOKEN, writing, memoryview(b"x"), 0) == 1
    hand.rename("file", "other")


def test_files_show_the_attribute_in_the_period(hand: Hand, clock: Clock) -> None:
    def attributes() -> list[int]:
        found = []
        for name in ("file", "folder"):
            handle = hand.open(name)
            stat = hand.chain.fstat(TOKEN, handle)
            found.append(hand.chain.get_dos_attributes(TOKEN, handle, stat).attributes & 1)
        return found

    assert attributes() == [0, 0]
    clock.now = EVENING
    assert attributes() == [1, 0]
