"""Named streams at the NT level: names, dispositions, data."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.information import query_file, query_filesystem
from lamina.ntfsa.opening import create_stream
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.status import NtStatusError
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from tests.ntfsa.conftest import Share, basic
from tests.support.nt_streams import KEEPERS, contents, streams


@pytest.fixture(params=KEEPERS)
def share(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Share]:
    """A share with named streams."""
    folder = tmp_path / "share"
    folder.mkdir()
    made = Share(folder, *KEEPERS[request.param]())
    yield made
    made.end()


def test_a_stream_is_made_with_its_file_and_found_in_any_case(share: Share) -> None:
    made = share.create("file:Stream One", c.FILE_CREATE)
    assert made.action == c.FILE_CREATED
    assert made.open.path == "file:Stream One"
    assert made.open.name == "file"
    share.write(made.open, b"data")
    share.close(made.open)
    for name in ("file:stream one", "FILE:STREAM ONE:$DATA", "file:Stream One:$data"):
        assert contents(share, name) == b"data"
    assert set(streams(share)) == {"::$DATA", ":Stream One:$DATA"}
    assert contents(share, "file") == b""
    assert contents(share, "file::$DATA") == b""


DISPOSITIONS = [
    # disposition, with the file missing, with the stream missing, with both there
    (c.FILE_OPEN, S.OBJECT_NAME_NOT_FOUND, S.OBJECT_NAME_NOT_FOUND, c.FILE_OPENED),
    (c.FILE_OVERWRITE, S.OBJECT_NAME_NOT_FOUND, S.OBJECT_NAME_NOT_FOUND, c.FILE_OVERWRITTEN),
    (c.FILE_CREATE, c.FILE_CREATED, c.FILE_CREATED, S.OBJECT_NAME_COLLISION),
    (c.FILE_OPEN_IF, c.FILE_CREATED, c.FILE_CREATED, c.FILE_OPENED),
    (c.FILE_OVERWRITE_IF, c.FILE_CREATED, c.FILE_CREATED, c.FILE_OVERWRITTEN),
    (c.FILE_SUPERSEDE, c.FILE_CREATED, c.FILE_CREATED, c.FILE_SUPERSEDED),
]


@pytest.mark.parametrize(("disposition", "no_file", "no_stream", "both"), DISPOSITIONS)
def test_dispositions_are_about_the_stream(
    share: Share, disposition: int, no_file: object, no_stream: object, both: object
) -> None:
    share.make("plain", b"main")
    share.make("whole", b"main")
    share.make("whole:s", b"stream")
    share.make("whole:other", b"other")
    for path, expected in (("none:s", no_file), ("plain:s", no_stream), ("whole:s", both)):
        if isinstance(expected, S):
            assert share.status(path, disposition) is expected
        else:
            result = share.create(path, disposition)
            assert result.action == expected
            share.close(result.open)
    assert contents(share, "whole") == contents(share, "plain") == b"main"
    assert contents(share, "whole:other") == b"other"
    kept = both in {c.FILE_OPENED, S.OBJECT_NAME_COLLISION}
    assert contents(share, "whole:s") == (b"stream" if kept else b"")
    assert (share.status("none") is S.SUCCESS) is not isinstance(no_file, S)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("file:", S.OBJECT_NAME_INVALID),
        ("file:s:", S.OBJECT_NAME_INVALID),
        ("file:s:$FOO", S.OBJECT_NAME_INVALID),
        ("file:s:$DATA:x", S.OBJECT_NAME_INVALID),
        ("file:a\\b", S.OBJECT_NAME_INVALID),
        ("file:a/b", S.OBJECT_NAME_INVALID),
        ("file:s:$INDEX_ALLOCATION", S.OBJECT_NAME_INVALID),
        ("file:" + "x" * 256, S.OBJECT_NAME_INVALID),
        ("dir\\:s", S.OBJECT_NAME_INVALID),
        ("no\\file:s", S.OBJECT_PATH_NOT_FOUND),
        ("dir::$DATA", S.FILE_IS_A_DIRECTORY),
        ("dir::$INDEX_ALLOCATION", S.SUCCESS),
        ("dir:$I30:$INDEX_ALLOCATION", S.SUCCESS),
        ("file::$INDEX_ALLOCATION", S.NOT_A_DIRECTORY),
        ("file::$DATA", S.SUCCESS),
    ],
)
def test_names_and_types_of_streams(share: Share, path: str, status: S) -> None:
    share.make("file")
    share.close(share.open("dir", c.FILE_CREATE, options=c.FILE_DIRECTORY_FILE))
    assert share.status(path) is status


def test_a_name_may_hold_what_that_of_a_file_may_not(share: Share) -> None:
    name = '\x01?*<>|" .x'
    share.make(f"file:{name}", b"data")
    assert streams(share)[f":{name}:$DATA"] == (4, streams(share)[f":{name}:$DATA"][1])
    assert contents(share, f"file:{name}") == b"data"


def test_a_name_that_is_too_long_for_where_streams_are_kept_is_invalid(share: Share) -> None:
    assert share.status("file:" + "ä" * 250, c.FILE_CREATE) is S.OBJECT_NAME_INVALID
    assert share.status("file") is S.OBJECT_NAME_NOT_FOUND, "the file that was made for the stream has gone again"


def test_a_directory_has_streams_of_data(share: Share) -> None:
    share.close(share.open("dir", c.FILE_CREATE, options=c.FILE_DIRECTORY_FILE))
    assert streams(share, "dir") == {}
    stream = share.open("dir:s", c.FILE_CREATE)
    share.write(stream, b"data")
    assert share.read(stream, 9) == b"data"
    assert not stream.is_directory
    assert share.query(stream, c.FILE_STANDARD_INFORMATION)[21] == 0
    assert set(streams(share, "dir")) == {":s:$DATA"}
    share.close(stream)
    assert share.status("dir:s", options=c.FILE_DIRECTORY_FILE) is S.NOT_A_DIRECTORY
    share.make("dir\\child")
    assert contents(share, "dir:s") == b"data"


def test_the_root_has_streams(share: Share) -> None:
    share.make(":s", b"data")
    assert contents(share, ":s") == b"data"
    stream = share.open(":s")
    share.dispose(stream)
    share.close(stream)
    assert share.status(":s") is S.OBJECT_NAME_NOT_FOUND


def test_there_are_none_where_the_chain_has_none(make_share: Callable[..., Share]) -> None:
    plain = make_share()
    plain.make("file")
    for path in ("file:s", "file::$DATA", ":s"):
        assert plain.status(path, c.FILE_OPEN_IF) is S.OBJECT_NAME_INVALID
    assert not _filesystem_flags(plain) & c.FILE_NAMED_STREAMS


def test_they_are_advertised_where_the_chain_has_them(share: Share) -> None:
    assert Capability.STREAMS in share.volume.capabilities
    assert _filesystem_flags(share) & c.FILE_NAMED_STREAMS


def _filesystem_flags(share: Share) -> int:
    root = share.open("", desired_access=c.FILE_READ_ATTRIBUTES)
    information = query_filesystem(share.context, root, c.FILE_FS_ATTRIBUTE_INFORMATION, 4096)
    return int(struct.unpack_from("<I", information.data)[0])


def test_a_file_has_no_more_streams_than_can_be_listed(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create_stream, "MAX_STREAMS", 3)
    for name in ("one", "two", "three"):
        share.make(f"file:{name}")
    assert share.status("file:four", c.FILE_OPEN_IF) is S.FILE_SYSTEM_LIMITATION
    assert share.status("file:four") is S.OBJECT_NAME_NOT_FOUND
    assert share.status("file:THREE", c.FILE_OPEN_IF) is S.SUCCESS
    assert share.status("other:four", c.FILE_OPEN_IF) is S.SUCCESS


# Data.


def test_growth_is_zeros(share: Share) -> None:
    """CVE-2025-9640: what was cut off, or was in memory before, never comes back."""
    stream = share.open("file:s", c.FILE_CREATE)
    share.write(stream, b"secret" * 50)
    share.set(stream, c.FILE_END_OF_FILE_INFORMATION, struct.pack("<q", 2))
    share.set(stream, c.FILE_END_OF_FILE_INFORMATION, struct.pack("<q", 100))
    share.write(stream, b"end", 200)
    assert share.read(stream, 999) == b"se" + bytes(198) + b"end"
    share.set(stream, c.FILE_ALLOCATION_INFORMATION, struct.pack("<q", 1))
    share.set(stream, c.FILE_ALLOCATION_INFORMATION, struct.pack("<q", 4096))
    share.write(stream, b"x", 3)
    assert share.read(stream, 999) == b"s\0\0x"


def test_one_that_is_too_large_is_no_room(make_share: Callable[..., Share]) -> None:
    share = make_share(StreamsXattrModule())
    stream = share.open("file:s", c.FILE_CREATE)
    share.write(stream, b"data")
    for size in (1 << 20, 1 << 40, (1 << 63) - 1):
        for grow in (
            lambda size=size: share.write(stream, b"x", size - 1),
            lambda size=size: share.set(stream, c.FILE_END_OF_FILE_INFORMATION, struct.pack("<q", size)),
        ):
            with pytest.raises(NtStatusError) as caught:
                grow()
            assert caught.value.status in {S.DISK_FULL, S.INVALID_PARAMETER}
    share.set(stream, c.FILE_ALLOCATION_INFORMATION, struct.pack("<q", 1 << 40))
    assert share.read(stream, 99) == b"data"


def test_queries_tell_the_streams_size_and_the_files_everything_else(share: Share) -> None:
    share.make("file", b"0123456789")
    stream = share.open("file:s", c.FILE_CREATE)
    share.write(stream, b"abc")
    file = share.open("file")
    assert share.query(stream, c.FILE_INTERNAL_INFORMATION) == share.query(file, c.FILE_INTERNAL_INFORMATION)
    assert struct.unpack_from("<q", share.query(stream, c.FILE_STANDARD_INFORMATION), 8)[0] == 3
    assert struct.unpack_from("<q", share.query(file, c.FILE_STANDARD_INFORMATION), 8)[0] == 10
    assert share.query(stream, c.FILE_NAME_INFORMATION)[4:].decode("utf-16-le") == "\\file:s"
    assert share.query(stream, c.FILE_STREAM_INFORMATION) == share.query(file, c.FILE_STREAM_INFORMATION)
    assert {name: size for name, (size, _) in streams(share).items()} == {"::$DATA": 10, ":s:$DATA": 3}
    value = basic(attributes=c.FILE_ATTRIBUTE_HIDDEN, write=132_223_104_000_000_000)
    share.set(stream, c.FILE_BASIC_INFORMATION, value)
    for opened in (stream, file):
        found = share.query(opened, c.FILE_BASIC_INFORMATION)
        assert found[32] == c.FILE_ATTRIBUTE_HIDDEN
        assert struct.unpack_from("<q", found, 16)[0] == 132_223_104_000_000_000


def test_stream_information_that_has_no_room_is_cut(share: Share) -> None:
    for name in ("one", "two", "three"):
        share.make(f"file:{name}")
    file = share.open("file")
    whole = share.query(file, c.FILE_STREAM_INFORMATION)
    cut = query_file(share.context, file, c.FILE_STREAM_INFORMATION, len(whole) - 1)
    assert cut.status is S.BUFFER_OVERFLOW
    assert cut.data == whole[:-1]


def test_writing_to_a_stream_is_a_write_to_the_file(share: Share) -> None:
    share.make("file:s")
    file = share.open("file")
    share.set(file, c.FILE_BASIC_INFORMATION, basic(write=132_223_104_000_000_000))
    share.close(file)
    stream = share.open("file:s")
    share.write(stream, b"x")
    share.close(stream)
    file = share.open("file")
    assert struct.unpack_from("<q", share.query(file, c.FILE_BASIC_INFORMATION), 16)[0] > 132_223_104_000_000_000
