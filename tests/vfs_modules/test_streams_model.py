"""Streams against a model, and growth that shows nothing of before, over each way of keeping them."""

import tempfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lamina.vfs_modules.forms.stream_values import StreamsXattrOptions
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.stock.streams_depot import StreamsDepotModule
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.testing import local_chain
from tests.support.vfs_streams import TOKEN, Streams


class StreamMachine(RuleBasedStateMachine):
    """The streams of a file behave as a dictionary of byte arrays."""

    modules: tuple[Callable[[], VfsModule], ...] = (MemoryBackend,)

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="lamina-test-")
        self.streams = Streams(local_chain(self.folder.name, *(make() for make in self.modules)))
        self.model: dict[str, bytearray] = {}

    names = some.sampled_from(["a", "b", "C c", "ä"])

    @rule(name=names, data=some.binary(max_size=200), offset=some.integers(0, 400))
    def write(self, name: str, data: bytes, offset: int) -> None:
        self.streams.write(name, data, offset)
        value = self.model.setdefault(name, bytearray())
        if data:
            value.extend(bytes(max(offset + len(data) - len(value), 0)))
            value[offset : offset + len(data)] = data

    @rule(name=names, size=some.integers(0, 600))
    def truncate(self, name: str, size: int) -> None:
        self.streams.truncate(name, size)
        value = self.model.setdefault(name, bytearray())
        del value[size:]
        value.extend(bytes(size - len(value)))

    @rule(name=names)
    def remove(self, name: str) -> None:
        if self.model.pop(name, None) is not None:
            self.streams.chain.remove_stream(TOKEN, self.streams.file, name)
            return
        with pytest.raises(FileNotFoundError):
            self.streams.chain.remove_stream(TOKEN, self.streams.file, name)

    @precondition(lambda self: self.model)
    @rule(data=some.data(), to=names, replace=some.booleans())
    def rename(self, data: some.DataObject, to: str, replace: bool) -> None:
        source = data.draw(some.sampled_from(sorted(self.model)))
        if to in self.model and to != source and not replace:
            with pytest.raises(FileExistsError):
                self.streams.chain.rename_stream(TOKEN, self.streams.file, source, to, False)
            return
        self.streams.chain.rename_stream(TOKEN, self.streams.file, source, to, replace)
        self.model[to] = self.model.pop(source)

    @invariant()
    def agrees(self) -> None:
        assert self.streams.sizes() == {name: len(value) for name, value in self.model.items()}
        for name, value in self.model.items():
            assert self.streams.read(name) == value

    def teardown(self) -> None:
        self.streams.close()
        self.folder.cleanup()


class StreamsXattrMachine(StreamMachine):
    """The same in attributes of 100 bytes."""

    modules = (
        lambda: StreamsXattrModule(StreamsXattrOptions(max_xattr_size=100, max_xattrs_per_stream=16)),
        PosixBackend,
    )


class StreamsDepotMachine(StreamMachine):
    """The same in a depot."""

    modules = (StreamsDepotModule, PosixBackend)


_LIMITS = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestMemoryModel = StreamMachine.TestCase
TestMemoryModel.settings = _LIMITS
TestXattrModel = StreamsXattrMachine.TestCase
TestXattrModel.settings = _LIMITS
TestDepotModel = StreamsDepotMachine.TestCase
TestDepotModel.settings = _LIMITS


@settings(max_examples=100, deadline=None)
@given(before=some.binary(min_size=1, max_size=300), cut=some.integers(0, 300), gap=some.integers(0, 700))
@pytest.mark.parametrize("keeper", [StreamsXattrModule, StreamsDepotModule])
def test_growth_never_shows_what_was_there_before(
    keeper: Callable[[], VfsModule], before: bytes, cut: int, gap: int
) -> None:
    """CVE-2025-9640: the gap of a write beyond the end, and a new end of file, read as zeros and nothing else."""
    streams = Streams(local_chain("/nowhere", keeper(), MemoryBackend()))
    streams.write("stream", before)
    streams.truncate("stream", cut)
    streams.write("stream", b"!", cut + gap)
    kept = before[:cut] + bytes(max(cut - len(before), 0))
    assert streams.read("stream") == kept + bytes(gap) + b"!"
    streams.truncate("stream", cut + gap + 9)
    assert streams.read("stream") == kept + bytes(gap) + b"!" + bytes(8)
    streams.close()
