"""Streams in a depot: where they are, that they are hidden, and whose they are."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_ISREG

import pytest

from lamina.vfs_modules.engine import RequestCancelled
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Access, Capability, FileStat, OpenHow
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.stock.streams_depot import MARKER, StreamsDepotModule, StreamsDepotOptions, depot_path
from lamina.vfs_modules.testing import local_chain
from lamina.vfs_modules.testing.hand import NEEDS
from lamina.vfs_modules.testing.suite import Check, checks
from lamina.vfs_modules.token import ImpersonationToken
from tests.support.vfs_streams import TOKEN, Streams


@pytest.fixture
def over(tmp_path: Path) -> Iterator[Callable[..., Streams]]:
    """A function that makes a file in a chain over this test's folder."""
    made: list[Streams] = []

    def make(*modules: VfsModule) -> Streams:
        made.append(Streams(local_chain(tmp_path, *modules)))
        return made[-1]

    yield make
    for streams in made:
        streams.close()


def test_a_stream_is_a_file_of_the_depot(over: Callable[..., Streams], tmp_path: Path) -> None:
    streams = over(StreamsDepotModule())
    streams.write("stream", b"data")
    stat = streams.chain.fstat(TOKEN, streams.file)
    folder = tmp_path / ".streams" / depot_path(stat.dev, stat.ino)
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [(":stream:$DATA", b"data")]
    assert os.getxattr(tmp_path / "file", MARKER) == b"1"


def test_the_place_in_the_depot_is_a_hash() -> None:
    # As a real smbd has made it for st_dev 0xfe00, which is major 254 and minor 0, and inode 0x23c365.
    assert depot_path(254 << 32, 0x23C365) == "4D/9A/00FE00000000000065C3230000000000"
    assert [len(part) for part in depot_path(1, 2).split("/")] == [2, 2, 32]


def test_the_depot_is_hidden(over: Callable[..., Streams]) -> None:
    streams = over(StreamsDepotModule())
    streams.write("stream", b"data")
    chain, root = streams.chain, streams.root
    assert [entry.name for entry in chain.readdir(TOKEN, root)] == ["file"]
    for path in (".streams", ".STREAMS", ".streams/00"):
        with pytest.raises(FileNotFoundError):
            chain.open(TOKEN, root, path, OpenHow())
        with pytest.raises(FileNotFoundError):
            chain.stat(TOKEN, root, path)
    chain.mkdir(TOKEN, root, ".streamsx", 0o755)
    for name in (".Streams", ".streams/00"):
        for take in (
            lambda name=name: chain.mkdir(TOKEN, root, name, 0o755),
            lambda name=name: chain.rename(TOKEN, root, ".streamsx", root, name, True),
            lambda name=name: chain.link(TOKEN, streams.file, root, name),
            lambda name=name: chain.symlink(TOKEN, "/etc", root, name),
        ):
            with pytest.raises(PermissionError):
                take()
        for remove in (
            lambda name=name: chain.unlink(TOKEN, root, name),
            lambda name=name: chain.rmdir(TOKEN, root, name),
            lambda name=name: chain.rename(TOKEN, root, name, root, "moved", False),
        ):
            with pytest.raises(FileNotFoundError):
                remove()
    assert streams.read("stream") == b"data"


@pytest.mark.parametrize("delete", [False, True])
def test_streams_of_a_file_that_others_removed_are_not_those_of_a_new_one(tmp_path: Path, delete: bool) -> None:
    streams = Streams(local_chain(tmp_path, StreamsDepotModule(StreamsDepotOptions(delete_lost=delete))))
    streams.write("stream", b"secret")
    os.removexattr(tmp_path / "file", MARKER)  # what a new file of the same number would be
    assert streams.sizes() == {}
    streams.write("stream", b"own")
    assert streams.read("stream") == b"own"
    assert (tmp_path / ".streams" / "lost-0").exists() is not delete
    streams.close()


class _Reused(VfsModule):
    """A file system that gives the number of the last file to the next, and where removals fail when they are to."""

    name = "reused"
    _breaks: BaseException | None = None

    def fstat(self, token: ImpersonationToken, handle: VfsHandle) -> FileStat:
        """With one number for all files."""
        return self._numbered(self.next.fstat(token, handle))

    def stat(self, token: ImpersonationToken, directory: VfsHandle, path: str, follow: bool = False) -> FileStat:
        """With one number for all files."""
        return self._numbered(self.next.stat(token, directory, path, follow))

    def _numbered(self, stat: FileStat) -> FileStat:
        return stat._replace(ino=7) if S_ISREG(stat.mode) else stat

    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove files, and streams unless that is to end otherwise."""
        if self._breaks is not None and ".streams" in path:
            raise self._breaks
        self.next.unlink(token, directory, path)


@pytest.mark.parametrize("end", [OSError(errno.EIO, "broken"), RequestCancelled()], ids=["failed", "cancelled"])
def test_streams_that_could_not_be_removed_are_not_those_of_the_next_file(
    over: Callable[..., Streams], end: BaseException
) -> None:
    below = _Reused()
    streams = over(StreamsDepotModule(StreamsDepotOptions(check_valid=False)), below, PosixBackend())
    streams.write("stream", b"secret")
    below._breaks = end
    with contextlib.suppress(RequestCancelled):
        streams.chain.unlink(TOKEN, streams.root, "file")
    below._breaks = None
    streams.chain.close(TOKEN, streams.file)
    streams.file = streams.chain.open(TOKEN, streams.root, "next", OpenHow(Access.READ, create=True))
    assert streams.sizes() == {}
    streams.write("stream", b"own")
    assert streams.read("stream") == b"own"


def test_a_file_with_two_names_keeps_its_streams_until_the_last_goes(over: Callable[..., Streams]) -> None:
    streams = over(StreamsDepotModule())
    streams.write("stream", b"data")
    streams.chain.link(TOKEN, streams.file, streams.root, "second")
    streams.chain.rename(TOKEN, streams.root, "file", streams.root, "second", True)
    streams.chain.unlink(TOKEN, streams.root, "second")
    assert streams.read("stream") == b"data"


@pytest.mark.parametrize("check", [check for check in checks() if Capability.STREAMS in NEEDS[check]])
def test_the_depot_may_be_elsewhere(check: Check, tmp_path: Path) -> None:
    for name in ("share", "depot"):
        (tmp_path / name).mkdir()
    options = StreamsDepotOptions(directory=str(tmp_path / "depot"))
    chain = local_chain(tmp_path / "share", StreamsDepotModule(options), PosixBackend())
    before = len(os.listdir("/proc/self/fd"))
    check(chain, TOKEN)
    assert len(os.listdir("/proc/self/fd")) <= before, "the check left descriptors open"
    chain.disconnect()
    assert ".streams" not in os.listdir(tmp_path / "share")


def test_a_depot_elsewhere_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        local_chain(tmp_path, StreamsDepotModule(StreamsDepotOptions(directory=str(tmp_path / "none"))))
    for name in ("", ".", "..", "a/b", "../x"):
        with pytest.raises(ValueError, match="directory"):
            StreamsDepotOptions(directory=name)
