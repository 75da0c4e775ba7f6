"""`shadow_copy`: snapshots are seen, and nothing in them changes."""

import os
import struct
import time

import pytest

from lamina.vfs_modules.extensions import OpenedFile
from lamina.vfs_modules.operations import OPERATIONS, Access, Capability, OpenHow, Times
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.shadow_copy import FSCTL_SRV_ENUMERATE_SNAPSHOTS, ShadowCopyModule, ShadowCopyOptions
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.hand import Hand
from lamina.vfs_modules.token import SERVER_TOKEN

TOKEN = make_token()
FIRST, SECOND = "@GMT-2026.11.20-08.30.00", "@GMT-2026.11.21-08.30.00"
READ, WRITE = OpenHow(Access.READ), OpenHow(Access.READ_WRITE)


def hand_over(names: tuple[str, ...] = (FIRST, SECOND), **options) -> Hand:
    """A share with a file, and snapshots with what it was."""
    backend = MemoryBackend()
    module = ShadowCopyModule(ShadowCopyOptions(**options))
    chain = local_chain("/nowhere", module, backend)
    below = Hand(chain, SERVER_TOKEN)
    root = backend.open_root(SERVER_TOKEN)
    for path in (".snapshots", *(f".snapshots/{name}" for name in names)):
        backend.mkdir(SERVER_TOKEN, root, path, 0o755)
    for name in names:
        backend.mkdir(SERVER_TOKEN, root, f".snapshots/{name}/folder", 0o755)
        how = OpenHow(Access.READ_WRITE, create=True)
        handle = backend.open(SERVER_TOKEN, root, f".snapshots/{name}/folder/file", how)
        backend.pwrite(SERVER_TOKEN, handle, memoryview(name.encode()), 0)
    below.mkdir("folder")
    below.make("folder/file", b"now")
    return Hand(chain, TOKEN)


def content(hand: Hand, path: str) -> bytes:
    return hand.read(hand.open(path, READ), 100)


def enumerate_(hand: Hand, room: int = 65536) -> tuple[tuple[int, int, int], list[str]]:
    opened = OpenedFile(hand.root, "", "", 1)
    answer = hand.chain.extensions.controls[FSCTL_SRV_ENUMERATE_SNAPSHOTS].call(TOKEN, opened, b"", room)
    assert len(answer) <= room
    return struct.unpack_from("<III", answer), [text for text in answer[12:].decode("utf-16-le").split("\0") if text]


@pytest.mark.parametrize("path", ["{}/folder/file", "folder/{}/file", "folder/file/{}"])
def test_the_token_may_stand_anywhere(path: str) -> None:
    hand = hand_over()
    for label in (FIRST, SECOND):
        assert content(hand, path.format(label)) == label.encode()
        assert hand.chain.stat(TOKEN, hand.root, path.format(label)).size == len(label)
    assert content(hand, "folder/file") == b"now"


def test_what_is_opened_beneath_a_snapshot_is_of_it() -> None:
    hand = hand_over()
    folder = hand.open(f"{FIRST}/folder")
    assert hand.read(hand.open("file", READ, folder), 100) == FIRST.encode()
    with pytest.raises(OSError, match="Read-only"):
        hand.open("new", OpenHow(Access.READ, create=True), folder)
    assert hand.names(FIRST) == {"folder"}


def test_times_are_listed_from_the_newest_on() -> None:
    hand = hand_over(("nothing", FIRST, SECOND))
    assert enumerate_(hand) == ((2, 2, 102), [SECOND, FIRST])
    assert enumerate_(hand, 16) == ((2, 0, 102), [])
    with pytest.raises(OSError):
        enumerate_(hand, 15)
    assert enumerate_(hand_over(()))[0] == (0, 0, 2)


def test_names_are_read_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    hand = hand_over(("daily-2026-11-20_0830",), format="daily-%Y-%m-%d_%H%M")
    assert enumerate_(hand)[1] == [FIRST]
    monkeypatch.setenv("TZ", "Etc/GMT-2")
    time.tzset()
    try:
        hand = hand_over(("2026-11-20_1030",), format="%Y-%m-%d_%H%M", localtime=True)
        assert enumerate_(hand)[1] == [FIRST]
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


def test_a_snapshot_that_is_made_later_is_found_and_one_that_is_not_there_is_not() -> None:
    hand = hand_over((FIRST,))
    with pytest.raises(FileNotFoundError):
        hand.open(f"{SECOND}/folder")
    backend = hand.chain.modules[-1]
    backend.mkdir(SERVER_TOKEN, backend.open_root(SERVER_TOKEN), f".snapshots/{SECOND}", 0o755)
    assert hand.open(SECOND).is_directory


@pytest.mark.parametrize("base", [FIRST, f".snapshots/{FIRST}"])
def test_nothing_in_a_snapshot_changes(base: str) -> None:
    hand = hand_over()
    chain, root = hand.chain, hand.root
    old, new = hand.open(f"{base}/folder/file", READ), hand.open("folder/file", OpenHow(Access.READ_WRITE))
    attempts = {
        "write": lambda: chain.pwrite(TOKEN, hand.open(f"{base}/folder/file", WRITE), memoryview(b"x"), 0),
        "create anew": lambda: hand.open(f"{base}/folder/file", OpenHow(Access.READ, create=True, exclusive=True)),
        "create": lambda: hand.open(f"{base}/new", OpenHow(Access.READ, create=True)),
        "mkdir": lambda: hand.mkdir(f"{base}/new"),
        "unlink": lambda: chain.unlink(TOKEN, root, f"{base}/folder/file"),
        "rmdir": lambda: chain.rmdir(TOKEN, root, f"{base}/folder"),
        "rename from": lambda: hand.rename(f"{base}/folder/file", "moved"),
        "rename to": lambda: hand.rename("folder/file", f"{base}/folder/file", replace=True),
        "link from": lambda: chain.link(TOKEN, old, root, "second"),
        "link to": lambda: chain.link(TOKEN, new, root, f"{base}/second"),
        "pwrite": lambda: chain.pwrite(TOKEN, old, memoryview(b"x"), 0),
        "ftruncate": lambda: chain.ftruncate(TOKEN, old, 0),
        "set_times": lambda: chain.set_times(TOKEN, old, Times(1, 1)),
        "setxattr": lambda: chain.setxattr(TOKEN, old, "user.a", b""),
        "copy_range": lambda: chain.copy_range(TOKEN, new, 0, old, 0, 1),
        "open_stream": lambda: chain.open_stream(TOKEN, old, "s", OpenHow(Access.READ, create=True)),
    }
    for name, attempt in attempts.items():
        with pytest.raises(OSError, match=os.strerror(30)):
            attempt()
            pytest.fail(name)
    assert hand.read(old, 100) == FIRST.encode()


def test_what_reads_is_not_in_its_way() -> None:
    backend = MemoryBackend()
    chain = local_chain("/nowhere", ShadowCopyModule(), backend)
    for name in ("pread", "fstat", "close", "readdir"):
        assert name in OPERATIONS
        assert getattr(chain, name) == getattr(backend, name)
    assert Capability.SNAPSHOTS in chain.capabilities
