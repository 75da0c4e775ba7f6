"""Streams in a chain: who sees them, and what files pay."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Access, Capability, OpenHow, Operation
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.stock.streams_depot import StreamsDepotModule
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.testing import local_chain
from lamina.vfs_modules.token import ImpersonationToken
from tests.support.vfs_streams import TOKEN, WRITE, Streams


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


class Watcher(VfsModule):
    """Sees data pass."""

    def connect(self, share: object) -> None:
        self._seen: list[str] = []

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        self._seen.append(bytes(data).decode())
        return self.next.pwrite(token, handle, data, offset)


class Recorder(VfsModule):
    """Sees every operation."""

    def connect(self, share: object) -> None:
        self._seen: list[str] = []

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        def record(*arguments: Any, **keywords: Any) -> Any:
            self._seen.append(operation.name)
            return call(*arguments, **keywords)

        return record


def test_files_pay_nothing_for_a_module_that_keeps_streams() -> None:
    backend = MemoryBackend()
    chain = local_chain("/nowhere", StreamsXattrModule(), backend)
    for name in ("pread", "pwrite", "ftruncate", "fstat", "fsync", "open", "close", "stat", "readdir"):
        assert getattr(chain.files, name) == getattr(backend, name)
    assert chain.pread != backend.pread
    without = local_chain("/nowhere", MemoryBackend())
    assert without.pread == without.files.pread == without.modules[0].pread


@pytest.mark.parametrize("keeper", [StreamsXattrModule, StreamsDepotModule, None])
def test_modules_above_see_the_data_of_streams_as_that_of_files(keeper: type[VfsModule] | None, tmp_path: Path) -> None:
    watcher, recorder = Watcher(), Recorder()
    below = [keeper(), PosixBackend()] if keeper else [MemoryBackend()]
    streams = Streams(local_chain(tmp_path, recorder, watcher, *below))
    streams.write("stream", b"stream")
    handle = streams.chain.open(TOKEN, streams.root, "file", OpenHow(Access.WRITE))
    streams.chain.files.pwrite(TOKEN, handle, memoryview(b"file"), 0)
    streams.chain.close(TOKEN, handle)
    assert watcher._seen == ["stream", "file"]
    assert recorder._seen[2:] == ["open_stream", "pwrite", "close", "open", "pwrite", "close"]
    assert streams.read("stream") == b"stream"
    assert (tmp_path / "file").read_bytes() == b"file" if keeper else True
    streams.close()


def test_data_is_not_copied_between_files_and_streams_that_are_none(over: Callable[..., Streams]) -> None:
    streams = over(StreamsXattrModule())
    streams.write("stream", b"stream")
    stream = streams.chain.open_stream(TOKEN, streams.file, "stream", WRITE)
    for source, target in ((stream, streams.file), (streams.file, stream)):
        with pytest.raises(OSError, match="stream") as caught:
            streams.chain.copy_range(TOKEN, source, 0, target, 0, 4)
        assert caught.value.errno == errno.ENOTSUP
    streams.chain.close(TOKEN, stream)


def test_there_are_no_streams_where_nobody_keeps_them(over: Callable[..., Streams]) -> None:
    streams = over()
    assert Capability.STREAMS not in streams.chain.capabilities
    assert streams.sizes() == {}
    with pytest.raises(OSError, match="open_stream") as caught:
        streams.chain.open_stream(TOKEN, streams.file, "stream", WRITE)
    assert caught.value.errno == errno.ENOTSUP
    assert StreamsXattrModule().capabilities(Capability.SYMLINKS) is Capability.SYMLINKS
