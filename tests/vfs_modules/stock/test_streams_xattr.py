"""Streams in extended attributes: names, values, sizes, and who may."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lamina.vfs_modules.credentials import server_identity
from lamina.vfs_modules.forms.stream_values import StreamsXattrOptions
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import OpenHow
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.testing import local_chain, make_token
from tests.support.vfs_streams import READ, TOKEN, WRITE, Streams


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


@pytest.fixture
def own_identity() -> Iterator[None]:
    """The thread is nobody else when the test has ended."""
    yield
    with server_identity():
        pass


def test_a_stream_is_an_attribute_with_a_zero_at_its_end(over: Callable[..., Streams], tmp_path: Path) -> None:
    streams = over(StreamsXattrModule())
    streams.write("Zone.Identifier", b"[ZoneTransfer]")
    streams.write("empty", b"")
    assert os.getxattr(tmp_path / "file", "user.DosStream.Zone.Identifier:$DATA") == b"[ZoneTransfer]\0"
    assert os.getxattr(tmp_path / "file", "user.DosStream.empty:$DATA") == b"\0"
    os.setxattr(tmp_path / "file", "user.DosStream.odd:$DATA", b"")
    os.setxattr(tmp_path / "file", "user.DosStream.no type", b"x")
    assert streams.sizes() == {"Zone.Identifier": 14, "empty": 0, "odd": 0}


def test_the_options_change_the_names(over: Callable[..., Streams], tmp_path: Path) -> None:
    streams = over(StreamsXattrModule(StreamsXattrOptions(prefix="user.", store_stream_type=False)))
    streams.write("com.apple", b"x")
    assert os.getxattr(tmp_path / "file", "user.com.apple") == b"x\0"
    os.setxattr(tmp_path / "file", "user.DOSATTRIB", b"0x20")
    assert streams.sizes() == {"com.apple": 1}


def test_a_large_stream_goes_into_several_attributes(over: Callable[..., Streams], tmp_path: Path) -> None:
    options = StreamsXattrOptions(max_xattr_size=100, max_xattrs_per_stream=4)
    streams = over(StreamsXattrModule(options))
    data = bytes(range(250)) + bytes(range(100))
    streams.write("large", data)
    attributes = sorted(os.listxattr(tmp_path / "file"))
    assert attributes == [f"user.DosStream{part}.large:$DATA" for part in ("", "Ext.1", "Ext.2", "Ext.3")]
    values = [os.getxattr(tmp_path / "file", name) for name in attributes]
    assert values == [data[:99] + b"\3", data[99:199], data[199:299], data[299:]]
    assert over(StreamsXattrModule()).read("large") == data
    streams.truncate("large", 150)
    assert streams.read("large") == data[:150]
    assert len(os.listxattr(tmp_path / "file")) == 2
    with pytest.raises(OSError, match="large") as caught:
        streams.write("large", b"x", 400)
    assert caught.value.errno == errno.EFBIG
    assert streams.read("large") == data[:150]
    streams.chain.remove_stream(TOKEN, streams.file, "large")
    assert os.listxattr(tmp_path / "file") == []


def test_a_remainder_that_is_missing_is_a_short_read(over: Callable[..., Streams], tmp_path: Path) -> None:
    streams = over(StreamsXattrModule(StreamsXattrOptions(max_xattr_size=100, max_xattrs_per_stream=4)))
    streams.write("large", b"x" * 350)
    os.removexattr(tmp_path / "file", "user.DosStreamExt.2.large:$DATA")
    assert streams.read("large") == b"x" * 199


def test_what_the_file_system_has_no_room_for_is_refused(over: Callable[..., Streams]) -> None:
    streams = over(StreamsXattrModule())
    with pytest.raises(OSError, match=r"stream|space") as caught:
        streams.write("stream", b"x" * 70_000)
    assert caught.value.errno in {errno.EFBIG, errno.ENOSPC}
    assert streams.read("stream") == b""


def test_nobody_reaches_the_attributes_by_their_names(over: Callable[..., Streams]) -> None:
    streams = over(StreamsXattrModule())
    streams.write("stream", b"data")
    chain, name = streams.chain, "user.DosStream.stream:$DATA"
    calls = [
        (errno.ENODATA, lambda: chain.getxattr(TOKEN, streams.file, name)),
        (errno.EACCES, lambda: chain.setxattr(TOKEN, streams.file, name, b"x\0")),
        (errno.EACCES, lambda: chain.removexattr(TOKEN, streams.file, name)),
        (errno.EACCES, lambda: chain.setxattr(TOKEN, streams.file, "user.DosStreamExt.1.stream:$DATA", b"x")),
    ]
    for number, call in calls:
        with pytest.raises(OSError, match=r"user\.DosStream") as caught:
            call()
        assert caught.value.errno == number
    assert streams.read("stream") == b"data"


def test_links_have_no_streams(over: Callable[..., Streams], tmp_path: Path) -> None:
    streams = over(StreamsXattrModule())
    (tmp_path / "link").symlink_to("nowhere")
    link = streams.chain.open(TOKEN, streams.root, "link", OpenHow(follow=False))
    assert streams.chain.list_streams(TOKEN, link) == []
    with pytest.raises(FileNotFoundError):
        streams.chain.open_stream(TOKEN, link, "stream", READ)
    streams.chain.close(TOKEN, link)


@pytest.mark.skipif(os.geteuid() != 0, reason="run as root: other users cannot be impersonated otherwise")
def test_the_mode_of_the_file_decides_who_writes_a_stream_and_sizes_are_no_secret(
    tmp_path: Path, own_identity: None
) -> None:
    streams = Streams(local_chain(tmp_path, StreamsXattrModule()))
    streams.write("stream", b"data")
    stranger = make_token(12001)
    os.chmod(tmp_path / "file", 0o600)
    by_path = streams.chain.open(TOKEN, streams.root, "file", OpenHow())
    assert [entry.size for entry in streams.chain.list_streams(stranger, by_path)] == [4]
    for how in (READ, WRITE):
        with pytest.raises(PermissionError):
            streams.chain.open_stream(stranger, by_path, "stream", how)
    with server_identity():
        os.chmod(tmp_path / "file", 0o644)
    stream = streams.chain.open_stream(stranger, by_path, "stream", WRITE)
    with pytest.raises(PermissionError):
        streams.chain.pwrite(stranger, stream, memoryview(b"x"), 0)
    streams.chain.close(TOKEN, by_path)
    streams.close()
