"""What posix and the system calls do that the conformance suite cannot ask of every backend."""

import asyncio
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lamina.vfs_modules import syscalls
from lamina.vfs_modules.chain import build_chain
from lamina.vfs_modules.engine import Engine
from lamina.vfs_modules.module import ShareInfo
from lamina.vfs_modules.operations import Access, Capability, NameEvent, OpenHow
from lamina.vfs_modules.stock.posix.backend import PosixBackend, PosixOptions
from lamina.vfs_modules.syscalls import inotify, libc, notify, paths, resolve, xattrs
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.suite import Hand

TOKEN = make_token()
READ = OpenHow(Access.READ)


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """A share with a secret beside it."""
    (tmp_path / "share").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    return tmp_path / "share"


@pytest.fixture
def hand(share: Path) -> Iterator[Hand]:
    chain = local_chain(share)
    hand = Hand(chain, TOKEN)
    yield hand
    hand.close()
    chain.disconnect()


@pytest.fixture(params=["openat2", "walk"])
def resolution(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of resolving: the kernel's, and ours for old kernels."""
    if request.param == "walk":
        monkeypatch.setattr(libc, "HAS_OPENAT2", False)
    elif not libc.HAS_OPENAT2:
        pytest.skip("the kernel has no openat2; run on Linux 5.6 or later")
    return str(request.param)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        local_chain(tmp_path / "missing")
    assert caught.value.filename == str(tmp_path / "missing")


def test_capabilities_are_what_the_file_system_has(share: Path) -> None:
    chain = local_chain(share, PosixBackend())
    has_birth = os.uname().release >= "5" and syscalls.fstatx(chain.open_root(TOKEN).fd).btime_ns is not None
    assert (Capability.CREATION_TIME in chain.capabilities) == has_birth
    assert Capability.DOS_ATTRIBUTES not in chain.capabilities


ESCAPES = ["../outside/secret", "up/secret", "absolute/secret", "deep/up/secret", "a/../../outside/secret", ".."]


@pytest.mark.usefixtures("resolution")
@pytest.mark.parametrize("path", ESCAPES)
def test_nothing_leads_out_of_the_share(path: str, share: Path, hand: Hand) -> None:
    (share / "a").mkdir()
    (share / "up").symlink_to("../outside")
    (share / "absolute").symlink_to(share.parent / "outside")
    (share / "deep").mkdir()
    (share / "deep" / "up").symlink_to("../up")
    chain, root = hand.chain, hand.root
    calls = [
        lambda: chain.open(TOKEN, root, path, READ),
        lambda: chain.open(TOKEN, root, path, OpenHow(Access.READ_WRITE, create=True)),
        lambda: chain.stat(TOKEN, root, path),
        lambda: chain.stat(TOKEN, root, path, True),
        lambda: chain.mkdir(TOKEN, root, path, 0o755),
        lambda: chain.unlink(TOKEN, root, path),
        lambda: chain.rmdir(TOKEN, root, path),
        lambda: chain.rename(TOKEN, root, path, root, "stolen", False),
        lambda: chain.rename(TOKEN, root, "a", root, path, True),
        lambda: chain.symlink(TOKEN, "x", root, path),
        lambda: chain.readlink(TOKEN, root, path),
        lambda: chain.link(TOKEN, root, root, path),
    ]
    for call in calls:
        with pytest.raises(OSError):
            call()
    assert (share.parent / "outside" / "secret").read_text() == "secret"
    assert os.listdir(share.parent / "outside") == ["secret"]


@pytest.mark.usefixtures("resolution")
def test_a_directory_swapped_for_a_link_does_not_lead_out(share: Path, hand: Hand) -> None:
    """One thread swaps a directory for a link out of the share, again and again, while another removes beneath it."""
    (share / "d").mkdir()
    (share / "evil").symlink_to("../outside")
    swapped = threading.Event()
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            libc.renameat2(-100, os.fsencode(share / "d"), -100, os.fsencode(share / "evil"), 2)  # RENAME_EXCHANGE
            swapped.set()

    attacker = threading.Thread(target=swap)
    attacker.start()
    try:
        assert swapped.wait(10)
        for _ in range(2000):
            with pytest.raises(OSError):
                hand.chain.unlink(TOKEN, hand.root, "d/secret")
    finally:
        stop.set()
        attacker.join()
    assert (share.parent / "outside" / "secret").exists()


def test_the_walk_gives_its_descriptors_back(share: Path, hand: Hand) -> None:
    (share / "a" / "b").mkdir(parents=True)
    (share / "a" / "b" / "file").write_text("x")
    (share / "a" / "link").symlink_to("b/../../a/b/file")
    before = sorted(os.listdir("/proc/self/fd"))
    os.close(resolve.walk(hand.root.fd, b"a/link", os.O_RDONLY))
    for path, number in ((b"a/no/x", errno.ENOENT), (b"a/b/file/x", errno.ENOTDIR), (b"a/../..", errno.EXDEV)):
        with pytest.raises(OSError) as caught:
            resolve.walk(hand.root.fd, path, os.O_RDONLY)
        assert (caught.value.errno, caught.value.filename) == (number, path)
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("access", [Access.READ, Access.WRITE, Access.READ_WRITE])
def test_what_is_no_file_is_refused_at_once(access: Access, share: Path, hand: Hand) -> None:
    import socket

    os.mkfifo(share / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(share, os.O_PATH)
        listener.bind(f"/proc/self/fd/{folder}/socket")
        os.close(folder)
        before = len(os.listdir("/proc/self/fd"))
        for name in ("fifo", "socket"):
            with pytest.raises(OSError) as caught:
                hand.chain.open(TOKEN, hand.root, name, OpenHow(access))
            assert caught.value.errno in {errno.EACCES, errno.ENXIO}
            assert not hand.open(name).is_directory
        assert len(os.listdir("/proc/self/fd")) == before + 2


def test_a_name_with_nul_is_refused_everywhere(hand: Hand) -> None:
    hand.make("a")
    for call in (hand.open, hand.mkdir, lambda name: hand.chain.stat(TOKEN, hand.root, name)):
        with pytest.raises(OSError) as caught:
            call("a\0b")
        assert caught.value.errno == errno.EINVAL


def test_space_is_reserved_beyond_the_end(hand: Hand) -> None:
    handle = hand.make("file", b"x")
    try:
        hand.chain.fallocate(TOKEN, handle, 0, 1 << 20)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        pytest.skip("this file system cannot reserve space; use ext4, xfs, btrfs or tmpfs for temporary files")
    status = hand.chain.fstat(TOKEN, handle)
    assert (status.size, status.allocated >= 1 << 20) == (1, True)


# Renaming where the kernel cannot refuse to replace.


def test_rename_without_noreplace_still_does_not_replace(
    share: Path, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: Any) -> int:
        import ctypes

        ctypes.set_errno(errno.EINVAL)
        return -1

    monkeypatch.setattr(libc, "renameat2", unsupported)
    hand.make("first", b"1")
    hand.make("second", b"2")
    hand.mkdir("directory")
    with pytest.raises(FileExistsError):
        hand.rename("first", "second")
    with pytest.raises(FileExistsError):
        hand.rename("directory", "second")
    hand.rename("first", "third")
    hand.rename("directory", "moved")
    assert hand.names() == {"second", "third", "moved"}
    assert (share / "third").read_text() == "1"


def test_rename_by_link_takes_no_other_failure_for_a_refusal(share: Path) -> None:
    directory = os.open(share, os.O_PATH)
    with pytest.raises(FileNotFoundError):
        paths.rename_by_link(directory, b"missing", directory, b"target")
    os.close(directory)


# Extended attributes through either library.


def libraries() -> list[xattrs.XattrCalls]:
    module = xattrs.find_pyxattr()
    return [xattrs.StandardXattrs()] + ([xattrs.PyxattrXattrs(module)] if module is not None else [])


@pytest.mark.parametrize("library", ["StandardXattrs", "PyxattrXattrs"])
def test_both_libraries_answer_alike(library: str, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {type(calls).__name__: calls for calls in libraries()}
    if library not in found:
        pytest.skip("pyxattr is not installed; install lamina[xattr]")
    monkeypatch.setattr(xattrs, "calls", found[library])
    hand.make("file")
    hand.chain.symlink(TOKEN, "file", hand.root, "link")
    for how in (OpenHow(Access.READ_WRITE), OpenHow()):
        handle = hand.open("file", how)
        with pytest.raises(OSError) as caught:
            hand.chain.getxattr(TOKEN, handle, "user.Grüße")
        assert caught.value.errno == errno.ENODATA
        hand.chain.setxattr(TOKEN, handle, "user.Grüße", b"\0value")
        assert hand.chain.getxattr(TOKEN, handle, "user.Grüße") == b"\0value"
        assert hand.chain.listxattr(TOKEN, handle) == ["user.Grüße"]
        of_file, of_link = syscalls.xattrs_in(TOKEN, hand.root.fd, ["file", "link"], ["user.Grüße"])
        assert of_file == (("user.Grüße",), (b"\0value",))
        assert of_link == ((), (errno.ENODATA,))
        hand.chain.removexattr(TOKEN, handle, "user.Grüße")
        assert hand.chain.listxattr(TOKEN, handle) == []


def test_the_other_package_of_that_name_is_not_taken_for_pyxattr(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    impostor = types.ModuleType("xattr")
    impostor.getxattr = lambda *_: b""  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "xattr", impostor)
    assert xattrs.find_pyxattr() is None
    monkeypatch.delattr(os, "getxattr")
    with pytest.raises(OSError, match=r"lamina\[xattr\]"):
        xattrs.choose().get(0, b"user.x", True)


# Where the calls run.


class Threads:
    """Notes which thread makes a call of `os`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, answer: Any = None) -> None:
        self.seen: list[str] = []
        original = getattr(os, name)

        def noting(*arguments: Any, **keywords: Any) -> Any:
            self.seen.append("loop" if threading.current_thread() is threading.main_thread() else "worker")
            return original(*arguments, **keywords) if answer is None else answer(original, *arguments)

        monkeypatch.setattr(os, name, noting)


def not_in_memory(original: Any, fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
    """A kernel that has the first three bytes in memory, and the rest on disk."""
    if flags and offset >= 3:
        raise BlockingIOError(errno.EAGAIN, "not in memory")
    if flags:
        return int(original(fd, [buffers[0][: 3 - offset]], offset))
    return int(original(fd, buffers, offset))


def read_in_engine(share: Path, options: PosixOptions, length: int = 10) -> bytes:
    async def main() -> bytes:
        engine = Engine(asyncio.get_running_loop(), threads=1)
        try:
            return await engine.run(read)
        finally:
            engine.close()

    def read() -> bytes:
        hand = Hand(chain, TOKEN)
        try:
            return hand.read(hand.open("file", READ), length)
        finally:
            hand.close()

    chain = local_chain(share, PosixBackend(options))
    try:
        return asyncio.run(main())
    finally:
        chain.disconnect()


def test_only_what_is_not_in_memory_is_read_by_a_worker(share: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (share / "file").write_bytes(b"0123456789")
    threads = Threads(monkeypatch, "preadv", not_in_memory)
    assert read_in_engine(share, PosixOptions()) == b"0123456789"
    assert threads.seen == ["loop", "worker"]
    threads.seen.clear()
    assert read_in_engine(share, PosixOptions(), 3) == b"012"
    assert threads.seen == ["loop"]
    threads.seen.clear()
    assert read_in_engine(share, PosixOptions(offload="never")) == b"0123456789"
    assert set(threads.seen) == {"loop"}


def cannot_tell(original: Any, fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
    if flags:
        raise OSError(errno.EOPNOTSUPP, "RWF_NOWAIT")
    return int(original(fd, buffers, offset))


@pytest.mark.parametrize(("in_memory", "where"), [(True, "loop"), (False, "worker")])
def test_a_file_system_without_nowait_is_asked_once(
    in_memory: bool, where: str, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (share / "file").write_bytes(b"0123456789")
    monkeypatch.setattr(syscalls, "is_memory", lambda fd: in_memory)
    threads = Threads(monkeypatch, "preadv", cannot_tell)
    chain = local_chain(share, PosixBackend())

    def read_twice() -> None:
        hand = Hand(chain, TOKEN)
        for _ in range(2):
            assert hand.read(hand.open("file", READ), 10) == b"0123456789"
        hand.close()

    async def main() -> None:
        engine = Engine(asyncio.get_running_loop(), threads=1)
        await engine.run(read_twice)
        engine.close()

    asyncio.run(main())
    chain.disconnect()
    assert threads.seen == ["loop", where, where]


@pytest.mark.parametrize(
    ("size", "in_memory", "where"), [(100, False, "loop"), (101, False, "worker"), (101, True, "loop")]
)
def test_large_writes_go_to_a_worker_unless_the_file_system_is_in_memory(
    size: int, in_memory: bool, where: str, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = Threads(monkeypatch, "pwrite")
    monkeypatch.setattr(syscalls, "is_memory", lambda fd: in_memory)
    chain = local_chain(share, PosixBackend(PosixOptions(inline_write=100)))

    def write() -> None:
        hand = Hand(chain, TOKEN)
        hand.make("file", bytes(size))
        hand.close()

    async def main() -> None:
        engine = Engine(asyncio.get_running_loop(), threads=1)
        await engine.run(write)
        engine.close()

    asyncio.run(main())
    chain.disconnect()
    assert threads.seen == [where]


def test_a_short_write_is_continued(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    Threads(monkeypatch, "pwrite", lambda original, fd, data, offset: original(fd, data[:3], offset))
    handle = hand.make("file")
    assert hand.chain.pwrite(TOKEN, handle, memoryview(b"0123456789"), 5) == 10
    assert hand.read(handle, 20) == bytes(5) + b"0123456789"


def test_metadata_of_a_network_file_system_waits_on_a_worker(share: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = PosixBackend()
    assert build_chain([local], ShareInfo("local", str(share))).stat == local.stat
    monkeypatch.setattr(syscalls, "is_network", lambda fd: True)
    remote, never = PosixBackend(), PosixBackend(PosixOptions(offload="never"))
    chain = build_chain([remote], ShareInfo("remote", str(share)))
    assert chain.stat != remote.stat
    assert chain.pread == remote.pread
    assert build_chain([never], ShareInfo("never", str(share))).stat == never.stat


# Watching.


def test_a_watch_sees_what_happens_behind_our_back_until_its_directory_is_gone(share: Path, hand: Hand) -> None:
    hand.mkdir("directory")
    handle = hand.chain.open(TOKEN, hand.root, "directory", OpenHow())
    watch = hand.chain.watch(TOKEN, handle)
    hand.chain.close(TOKEN, handle)
    assert watch.poll() == []
    (share / "directory" / "file").write_text("x")
    assert watch.poll() == [("added", "file")]
    (share / "directory" / "file").unlink()
    assert watch.poll() == [("removed", "file")]
    (share / "directory").rmdir()
    assert watch.poll() == [("lost", None)]
    watch.close()


def test_an_overflow_tells_every_watch_that_events_were_lost(hand: Hand) -> None:
    notifier = notify.Notifier()
    hand.mkdir("a")
    hand.mkdir("b")
    watches = [notifier.watch(TOKEN, hand.open(name).fd) for name in ("a", "b")]
    overflow = inotify._EVENT.pack(-1, 0x4000, 0, 0)
    notifier._inotify._deliver(overflow)
    assert [watch.poll() for watch in watches] == [[("lost", None)]] * 2
    notifier.close()
    assert [watch.poll() for watch in watches] == [[("lost", None)]] * 2


def test_a_watch_that_nobody_polls_does_not_grow(hand: Hand) -> None:
    notifier = notify.Notifier()
    watch = notifier.watch(TOKEN, hand.root.fd)
    for number in range(notify.MAX_QUEUED + 100):
        watch.put(NameEvent("added", str(number)))
    assert len(watch.queue) < notify.MAX_QUEUED
    assert watch.queue[0].name is None
    notifier.close()


def test_the_limit_of_watches_is_an_error_that_callers_can_see(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        import ctypes

        ctypes.set_errno(errno.ENOSPC)
        return -1

    monkeypatch.setattr(libc, "inotify_add_watch", full)
    with pytest.raises(OSError) as caught:
        hand.chain.watch(TOKEN, hand.root)
    assert caught.value.errno == errno.ENOSPC


def test_only_directories_are_watched(hand: Hand) -> None:
    with pytest.raises(NotADirectoryError):
        hand.chain.watch(TOKEN, hand.make("file"))


# Listings.


def entry_values(hand: Hand, *names: str) -> list[bytes | int]:
    return [values[0] for _, values in syscalls.xattrs_in(TOKEN, hand.root.fd, names, ["user.value"])]


@pytest.mark.parametrize("kernel", ["of today", "before 6.13"])
def test_attributes_of_many_entries_come_back_in_their_places(
    kernel: str, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libc, "HAS_GETXATTRAT", libc.HAS_GETXATTRAT and kernel == "of today")
    for name, value in {"long": b"x" * 1000, "none": b"", "Grüße": b"short"}.items():
        handle = hand.make(name)
        if value:
            hand.chain.setxattr(TOKEN, handle, "user.value", value)
    assert entry_values(hand, "long", "none", "gone", "Grüße") == [b"x" * 1000, errno.ENODATA, errno.ENOENT, b"short"]


def test_an_entry_that_goes_while_the_directory_is_read_is_left_out(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "three"):
        hand.make(name)
    fd = syscalls.open_component(TOKEN, hand.root.fd, b".", os.O_RDONLY | os.O_DIRECTORY, 0)
    statx = libc.statx

    def remove_first(*arguments: Any) -> Any:
        if arguments[1] == b"two":
            os.unlink(b"two", dir_fd=fd)
        return statx(*arguments)

    monkeypatch.setattr(libc, "statx", remove_first)
    assert {entry.name for entry in syscalls.list_entries(TOKEN, fd)} == {"one", "three"}
    os.close(fd)
