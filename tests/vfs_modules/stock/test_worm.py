"""`worm`: what is older than its time of grace stays as it is."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import OPERATIONS, Access, DosAttributes, OpenHow, Times
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.stock.worm import _BETWEEN, _ON_HANDLES, WormModule, WormOptions
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.hand import Hand

TOKEN = make_token()
SECOND = 1_000_000_000


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1_000 * SECOND

    def __call__(self) -> int:
        self.now += 1
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hand(clock: Clock) -> Hand:
    module = WormModule(WormOptions(grace_period=60), clock)
    return Hand(local_chain("/nowhere", module, DosAttributesModule(), MemoryBackend(clock=clock)), TOKEN)


def pass_grace(clock: Clock) -> None:
    clock.now += 61 * SECOND


def on_a_handle(hand: Hand, handle: VfsHandle) -> dict[str, Callable[[], object]]:
    """Every change that is made with the handle of a file."""
    chain = hand.chain
    other = hand.open("new", OpenHow(Access.READ_WRITE, create=True))
    return {
        "pwrite": lambda: chain.pwrite(TOKEN, handle, memoryview(b"x"), 0),
        "append": lambda: chain.pwrite(TOKEN, handle, memoryview(b"x"), 4),
        "ftruncate": lambda: chain.ftruncate(TOKEN, handle, 0),
        "fallocate": lambda: chain.fallocate(TOKEN, handle, 0, 100),
        "zero_range": lambda: chain.zero_range(TOKEN, handle, 0, 2, True),
        "copy_range": lambda: chain.copy_range(TOKEN, other, 0, handle, 0, 1),
        "clone_range": lambda: chain.clone_range(TOKEN, other, 0, handle, 0, 1),
        "set_times": lambda: chain.set_times(TOKEN, handle, Times(1, 1)),
        "fchmod": lambda: chain.fchmod(TOKEN, handle, 0o777),
        "fchown": lambda: chain.fchown(TOKEN, handle, -1, -1),
        "setxattr": lambda: chain.setxattr(TOKEN, handle, "user.a", b""),
        "removexattr": lambda: chain.removexattr(TOKEN, handle, "user.a"),
        "set_dos_attributes": lambda: chain.set_dos_attributes(TOKEN, handle, DosAttributes(0, None)),
        "set_security": lambda: chain.set_security(TOKEN, handle, b""),
        "set_compressed": lambda: chain.set_compressed(TOKEN, handle, True),
        "link": lambda: chain.link(TOKEN, handle, hand.root, "second name"),
        "open_stream to make": lambda: chain.open_stream(TOKEN, handle, "new", OpenHow(Access.READ, create=True)),
        "open_stream to write": lambda: chain.open_stream(TOKEN, handle, "stream", OpenHow(Access.WRITE)),
        "remove_stream": lambda: chain.remove_stream(TOKEN, handle, "stream"),
        "rename_stream": lambda: chain.rename_stream(TOKEN, handle, "stream", "other", False),
    }


def test_within_its_grace_a_file_is_free(hand: Hand, clock: Clock) -> None:
    handle = hand.make("file", b"data")
    clock.now += 30 * SECOND
    hand.chain.pwrite(TOKEN, handle, memoryview(b"more"), 0)
    clock.now += 45 * SECOND
    hand.chain.ftruncate(TOKEN, handle, 1)
    hand.rename("file", "other")
    hand.chain.unlink(TOKEN, hand.root, "other")


def test_after_it_no_open_handle_changes_it(hand: Hand, clock: Clock) -> None:
    handle = hand.make("file", b"data")
    stream = hand.keep(hand.chain.open_stream(TOKEN, handle, "stream", OpenHow(Access.READ_WRITE, create=True)))
    pass_grace(clock)
    for name, attempt in on_a_handle(hand, handle).items():
        with pytest.raises(PermissionError):
            attempt()
            pytest.fail(name)
    with pytest.raises(PermissionError):
        hand.chain.pwrite(TOKEN, stream, memoryview(b"x"), 0)
    assert hand.read(handle, 10) == b"data"


def test_each_operation_that_changes_is_tried_here(hand: Hand) -> None:
    by_name = {"mkdir", "unlink", "rmdir", "rename", "symlink", "open", "open_stream"}
    of_files = {name for name, operation in OPERATIONS.items() if operation.mutates} - {"set_quota"}
    assert of_files == _ON_HANDLES | _BETWEEN | by_name


def test_its_data_is_not_opened_for_writing(hand: Hand, clock: Clock) -> None:
    hand.make("file", b"data")
    pass_grace(clock)
    for how in (OpenHow(Access.WRITE), OpenHow(Access.READ_WRITE), OpenHow(Access.READ_WRITE, create=True)):
        with pytest.raises(PermissionError):
            hand.open("file", how)
    assert hand.read(hand.open("file", OpenHow(Access.READ)), 4) == b"data"


def test_its_name_stays(hand: Hand, clock: Clock) -> None:
    hand.make("file", b"data")
    hand.mkdir("folder")
    hand.make("folder/inner")
    pass_grace(clock)
    for attempt in (
        lambda: hand.chain.unlink(TOKEN, hand.root, "file"),
        lambda: hand.rename("file", "other"),
        lambda: hand.rename("file", "FILE"),
        lambda: hand.rename("folder", "other"),
        lambda: hand.chain.rmdir(TOKEN, hand.root, "folder"),
    ):
        with pytest.raises(PermissionError):
            attempt()
    assert hand.names() == {"file", "folder"}


def test_a_new_file_is_not_renamed_over_it(hand: Hand, clock: Clock) -> None:
    """CVE-2026-2340: Samba's module looked at what was renamed, and not at what was there."""
    hand.make("kept", b"evidence")
    pass_grace(clock)
    hand.make("new", b"forgery")
    with pytest.raises(PermissionError):
        hand.rename("new", "kept", replace=True)
    assert hand.read(hand.open("kept", OpenHow(Access.READ)), 10) == b"evidence"


def test_what_is_young_may_be_replaced(hand: Hand, clock: Clock) -> None:
    hand.make("young", b"draft")
    hand.make("new", b"final")
    hand.rename("new", "young", replace=True)
    hand.rename("young", "elsewhere", replace=True)
    assert hand.read(hand.open("elsewhere", OpenHow(Access.READ)), 10) == b"final"


def test_a_folder_that_got_a_new_file_is_as_old_as_it_was(hand: Hand, clock: Clock) -> None:
    hand.mkdir("folder")
    hand.make("folder/kept")
    pass_grace(clock)
    hand.make("folder/new")
    with pytest.raises(PermissionError):
        hand.rename("folder", "elsewhere")
    hand.chain.unlink(TOKEN, hand.root, "folder/new")


def test_no_change_that_is_refused_begins_a_new_grace(hand: Hand, clock: Clock) -> None:
    handle = hand.make("file", b"data")
    pass_grace(clock)
    for attempt in on_a_handle(hand, handle).values():
        with pytest.raises(PermissionError):
            attempt()
    assert hand.chain.fstat(TOKEN, handle).ctime_ns < clock.now - 60 * SECOND


def test_what_is_kept_is_shown_read_only(hand: Hand, clock: Clock) -> None:
    handle = hand.make("file")

    def shown() -> int:
        return hand.chain.get_dos_attributes(TOKEN, handle, hand.chain.fstat(TOKEN, handle)).attributes & 1

    assert shown() == 0
    pass_grace(clock)
    assert shown() == 1


def test_a_young_files_stream_is_written(tmp_path: Path) -> None:
    chain = local_chain(tmp_path, WormModule(), StreamsXattrModule(), PosixBackend())
    hand = Hand(chain, TOKEN)
    handle = hand.make("file")
    stream = hand.keep(chain.open_stream(TOKEN, handle, "stream", OpenHow(Access.READ_WRITE, create=True)))
    assert chain.pwrite(TOKEN, stream, memoryview(b"data"), 0) == 4
    hand.close()
