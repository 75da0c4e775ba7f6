"""Named streams at the NT level, over each way of keeping them; and against a model of dictionaries."""

import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lamina.ntfsa import constants as c
from lamina.ntfsa import create_stream
from lamina.ntfsa.change_notify import change_notify
from lamina.ntfsa.fscc import notify_information as n
from lamina.ntfsa.information import query_file, query_filesystem
from lamina.ntfsa.lock import LockElement, lock
from lamina.ntfsa.names import fold
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.status import NtStatusError
from lamina.vfs_modules.dos_attributes import DosAttributesModule
from lamina.vfs_modules.memory import MemoryBackend
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.streams_depot import StreamsDepotModule
from lamina.vfs_modules.streams_xattr import StreamsXattrModule
from tests.ntfsa.conftest import Share, basic

KEEPERS: dict[str, Callable[[], list[VfsModule]]] = {
    "xattr": lambda: [StreamsXattrModule()],
    "depot": lambda: [StreamsDepotModule()],
    "memory": lambda: [DosAttributesModule(), MemoryBackend()],
}
READ_ONLY = c.FILE_READ_DATA | c.FILE_READ_ATTRIBUTES | c.SYNCHRONIZE


@pytest.fixture(params=KEEPERS)
def share(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Share]:
    """A share with named streams."""
    folder = tmp_path / "share"
    folder.mkdir()
    made = Share(folder, *KEEPERS[request.param]())
    yield made
    made.end()


def streams(share: Share, path: str = "file", room: int = 65536) -> dict[str, tuple[int, int]]:
    """FileStreamInformation: size and allocation by name."""
    opened = share.open(path, desired_access=c.FILE_READ_ATTRIBUTES)
    found = parse_streams(share.query(opened, c.FILE_STREAM_INFORMATION, room))
    share.close(opened)
    return found


def parse_streams(data: bytes) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    offset = 0
    while data:
        following, length, size, allocated = struct.unpack_from("<IIqq", data, offset)
        found[data[offset + 24 : offset + 24 + length].decode("utf-16-le", "surrogatepass")] = (size, allocated)
        if not following:
            break
        offset += following
    return found


def contents(share: Share, path: str) -> bytes:
    opened = share.open(path, desired_access=READ_ONLY)
    size = struct.unpack_from("<q", share.query(opened, c.FILE_STANDARD_INFORMATION), 8)[0]
    data = share.read(opened, size + 1) if size else b""
    share.close(opened)
    assert len(data) == size
    return data


# Names and dispositions.


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


# Sharing and deleting.


def test_each_stream_has_sharing_of_its_own(share: Share) -> None:
    share.make("file")
    first = share.open("file:one", c.FILE_CREATE, desired_access=c.FILE_WRITE_DATA, share_access=0)
    share.open("file:two", c.FILE_CREATE, desired_access=c.FILE_WRITE_DATA, share_access=0)
    share.open("file", desired_access=c.FILE_WRITE_DATA, share_access=0)
    for disposition in (c.FILE_OPEN, c.FILE_SUPERSEDE):
        assert share.status("file:ONE", disposition, desired_access=c.FILE_READ_DATA) is S.SHARING_VIOLATION
    share.close(first)
    assert share.status("file:one", desired_access=c.FILE_READ_DATA) is S.SUCCESS


def test_an_open_for_delete_of_the_file_needs_its_streams_to_share_it(share: Share) -> None:
    stream = share.open("file:s", c.FILE_CREATE, share_access=c.FILE_SHARE_READ | c.FILE_SHARE_WRITE)
    assert share.status("file", desired_access=c.DELETE) is S.SHARING_VIOLATION
    assert share.status("file", desired_access=c.FILE_WRITE_DATA) is S.SUCCESS
    share.close(stream)
    share.open("file:s", share_access=c.FILE_SHARE_ALL)
    assert share.status("file", desired_access=c.DELETE) is S.SUCCESS
    # And not the other way round.
    share.open("file", desired_access=c.FILE_READ_DATA, share_access=c.FILE_SHARE_READ | c.FILE_SHARE_WRITE)
    assert share.status("file:s", desired_access=c.DELETE) is S.SUCCESS


def test_a_file_that_is_deleted_stays_until_its_streams_are_closed(share: Share) -> None:
    share.make("file:s", b"data")
    stream = share.open("file:s")
    file = share.open("file", options=c.FILE_DELETE_ON_CLOSE)
    share.close(file)
    assert share.read(stream, 9) == b"data"
    assert share.query(stream, c.FILE_STANDARD_INFORMATION)[20] == 1
    for path in ("file", "file:s", "file:new"):
        assert share.status(path, c.FILE_OPEN_IF) is S.DELETE_PENDING
    share.close(stream)
    for path in ("file", "file:s"):
        assert share.status(path) is S.OBJECT_NAME_NOT_FOUND
    share.make("file")
    assert set(streams(share)) == {"::$DATA"}


def test_a_directory_that_is_deleted_stays_until_its_streams_are_closed(share: Share) -> None:
    share.close(share.open("dir", c.FILE_CREATE, options=c.FILE_DIRECTORY_FILE))
    stream = share.open("dir:s", c.FILE_CREATE)
    share.close(share.directory("dir", desired_access=c.DELETE, options=c.FILE_DIRECTORY_FILE | c.FILE_DELETE_ON_CLOSE))
    assert share.status("dir") is S.DELETE_PENDING
    share.close(stream)
    assert share.status("dir") is S.OBJECT_NAME_NOT_FOUND


@pytest.mark.parametrize("on_close", [True, False])
def test_a_stream_is_deleted_with_its_last_open(share: Share, on_close: bool) -> None:
    share.make("file", b"main")
    share.make("file:s", b"data")
    first, second = share.open("file:s", options=c.FILE_DELETE_ON_CLOSE if on_close else 0), share.open("file:s")
    if not on_close:
        share.dispose(first)
    share.close(first)
    assert share.status("file:S") is S.DELETE_PENDING
    assert share.status("file") is S.SUCCESS
    assert share.read(second, 9) == b"data"
    share.close(second)
    assert share.status("file:s") is S.OBJECT_NAME_NOT_FOUND
    assert contents(share, "file") == b"main"


def test_a_read_only_file_keeps_its_streams(share: Share) -> None:
    share.make("file:s")
    share.make("readonly:s", file_attributes=c.FILE_ATTRIBUTE_READONLY)
    stream = share.open("readonly:s", desired_access=c.DELETE)
    with pytest.raises(NtStatusError) as caught:
        share.dispose(stream)
    assert caught.value.status is S.CANNOT_DELETE
    assert share.status("readonly:s", desired_access=c.FILE_WRITE_DATA) is S.ACCESS_DENIED
    assert share.status("readonly:new", c.FILE_CREATE) is S.ACCESS_DENIED


@pytest.mark.parametrize("disposition", [c.FILE_OVERWRITE, c.FILE_OVERWRITE_IF, c.FILE_SUPERSEDE])
def test_overwriting_a_file_removes_its_streams(share: Share, disposition: int) -> None:
    for name in ("one", "two"):
        share.make(f"file:{name}", b"data")
    held = share.open("file:two", desired_access=READ_ONLY)
    share.close(share.open("file", disposition, desired_access=c.FILE_WRITE_DATA))
    assert share.status("file:one") is S.OBJECT_NAME_NOT_FOUND
    assert share.status("file:two") is S.DELETE_PENDING
    share.close(held)
    assert set(streams(share)) == {"::$DATA"}


def test_a_stream_that_does_not_share_deleting_keeps_its_file_from_being_overwritten(share: Share) -> None:
    share.make("file", b"main")
    share.open("file:s", c.FILE_CREATE, share_access=c.FILE_SHARE_READ | c.FILE_SHARE_WRITE)
    assert share.status("file", c.FILE_OVERWRITE, desired_access=c.FILE_WRITE_DATA) is S.SHARING_VIOLATION
    assert contents(share, "file") == b"main"


def test_locks_are_each_streams_own(share: Share) -> None:
    share.make("file:s", b"data")
    file, stream, other = share.open("file"), share.open("file:s"), share.open("file:S")
    for opened in (file, stream):
        lock(share.context, opened, [LockElement(0, 10, c.SMB2_LOCKFLAG_EXCLUSIVE_LOCK)])
    with pytest.raises(NtStatusError) as caught:
        share.read(other, 4)
    assert caught.value.status is S.FILE_LOCK_CONFLICT
    lock(share.context, stream, [LockElement(0, 10, c.SMB2_LOCKFLAG_UNLOCK)])
    assert share.read(other, 4) == b"data"


# Renaming.


def test_a_stream_is_renamed(share: Share) -> None:
    share.make("file:one", b"data")
    stream, other = share.open("file:one"), share.open("file:ONE")
    share.rename(stream, ":Two:$DATA")
    assert [stream.path, other.path] == ["file:Two", "file:Two"]
    assert set(streams(share)) == {"::$DATA", ":Two:$DATA"}
    assert share.status("file:one") is S.OBJECT_NAME_NOT_FOUND
    for opened in (stream, other):
        assert share.read(opened, 9) == b"data"
    assert share.status("file:two", desired_access=c.FILE_READ_DATA, share_access=0) is S.SHARING_VIOLATION
    share.rename(other, ":TWO")
    assert set(streams(share)) == {"::$DATA", ":TWO:$DATA"}
    share.write(stream, b"DATA")
    share.dispose(stream)
    share.close(stream)
    share.close(other)
    assert set(streams(share)) == {"::$DATA"}


def test_only_an_empty_closed_stream_is_replaced_by_a_rename(share: Share) -> None:
    for name in ("full", "empty", "open"):
        share.make(f"file:{name}", b"data" if name == "full" else b"")
    share.make("file:source", b"source")
    held = share.open("file:open")
    stream = share.open("file:source")
    for name, replace, status in (
        (":FULL", False, S.OBJECT_NAME_COLLISION),
        (":full", True, S.INVALID_PARAMETER),
        (":open", True, S.INVALID_PARAMETER),
        (":a:b:c", True, S.INVALID_PARAMETER),
        (":", True, S.INVALID_PARAMETER),
        (":x:$INDEX_ALLOCATION", True, S.INVALID_PARAMETER),
        ("::$INDEX_ALLOCATION", True, S.OBJECT_TYPE_MISMATCH),
        ("file:empty", True, S.SHARING_VIOLATION),
        ("other", True, S.SHARING_VIOLATION),
    ):
        with pytest.raises(NtStatusError) as caught:
            share.rename(stream, name, replace)
        assert caught.value.status is status, name
    share.rename(stream, ":EMPTY", replace=True)
    assert share.read(stream, 9) == b"source"
    share.close(held)
    assert set(streams(share)) == {"::$DATA", ":full:$DATA", ":EMPTY:$DATA", ":open:$DATA"}


def test_a_stream_becomes_the_files_data(share: Share) -> None:
    share.make("file:s", b"data" * 100)
    stream = share.open("file:s")
    share.rename(stream, "::$DATA", replace=True)
    assert stream.path == "file"
    assert share.read(stream, 9) == b"datadatad"
    share.write(stream, b"DATA")
    assert set(streams(share)) == {"::$DATA"}
    assert contents(share, "file") == b"DATA" + b"data" * 99
    share.make("file:t")
    with pytest.raises(NtStatusError) as caught:
        share.rename(share.open("file:t"), "::$DATA", replace=True)
    assert caught.value.status is S.INVALID_PARAMETER


def test_the_file_is_not_renamed_while_a_stream_is_open(share: Share) -> None:
    stream = share.open("file:s", c.FILE_CREATE)
    file = share.open("file")
    for name, status in (("other", S.ACCESS_DENIED), (":x", S.NOT_SUPPORTED)):
        with pytest.raises(NtStatusError) as caught:
            share.rename(file, name)
        assert caught.value.status is status
    share.close(stream)
    share.rename(file, "other")
    assert set(streams(share, "other")) == {"::$DATA", ":s:$DATA"}


def test_renaming_a_stream_needs_the_right_to_delete_and_links_are_for_files(share: Share) -> None:
    stream = share.open("file:s", c.FILE_CREATE, desired_access=c.FILE_WRITE_DATA)
    for change, status in ((share.rename, S.ACCESS_DENIED), (share.link, S.INVALID_PARAMETER)):
        with pytest.raises(NtStatusError) as caught:
            change(stream, ":t")
        assert caught.value.status is status


# Watching.


def test_watchers_are_told_of_streams(share: Share) -> None:
    share.make("file:old", b"x")
    directory = share.directory()
    wanted = n.FILE_NOTIFY_CHANGE_STREAM_NAME | n.FILE_NOTIFY_CHANGE_STREAM_SIZE | n.FILE_NOTIFY_CHANGE_STREAM_WRITE
    waiting = _watch(share, directory, wanted)
    assert waiting is None
    stream = share.open("file:s", c.FILE_CREATE)
    share.write(stream, b"data")
    share.close(stream)
    stream = share.open("file:s")
    share.rename(stream, ":t")
    share.dispose(stream)
    share.close(stream)
    share.make("plain", b"x")
    told = _watch(share, directory, wanted)
    assert told == [
        (n.FILE_ACTION_ADDED_STREAM, "file:s"),
        (n.FILE_ACTION_MODIFIED_STREAM, "file:s"),
        (n.FILE_ACTION_REMOVED_STREAM, "file:s"),
        (n.FILE_ACTION_ADDED_STREAM, "file:t"),
        (n.FILE_ACTION_REMOVED_STREAM, "file:t"),
    ]


def _watch(share: Share, directory: NtOpen, completion_filter: int) -> list[tuple[int, str]] | None:
    """What happened since the last look; None at the first, which begins the watch."""
    first = directory.watcher is None
    if first:
        # There is nothing to tell yet, and nobody to wait: a loop is running only in a server.
        from lamina.ntfsa.change_notify import begin_watching
        from lamina.ntfsa.watchers import Watcher

        directory.watcher = Watcher(directory.vfs_path, completion_filter, False, 65536)
        begin_watching(share.context.token, directory, directory.watcher)
        return None
    data = change_notify(share.context, directory, completion_filter, False, 65536).data
    found, offset = [], 0
    while True:
        following, action, length = struct.unpack_from("<III", data, offset)
        found.append((action, data[offset + 12 : offset + 12 + length].decode("utf-16-le")))
        if not following:
            return found
        offset += following


# A model.


class StreamsModel(RuleBasedStateMachine):
    """Files with streams behave as dictionaries of byte arrays, whatever names are spelt like."""

    keeper = "memory"
    files = some.sampled_from(["one", "two"])
    names = some.sampled_from(["", "a", "A", "b", "Stream ä"])

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="lamina-test-")
        self.share = Share(Path(self.folder.name), *KEEPERS[self.keeper]())
        self.model: dict[str, dict[str, bytearray]] = {}

    @rule(file=files, name=names, data=some.binary(max_size=60), offset=some.integers(0, 90))
    def write(self, file: str, name: str, data: bytes, offset: int) -> None:
        opened = self.share.open(f"{file}:{name}" if name else file, c.FILE_OPEN_IF)
        self.share.write(opened, data, offset)
        self.share.close(opened)
        kept = self.model.setdefault(file, {"": bytearray()}).setdefault(fold(name), bytearray())
        if data:
            kept.extend(bytes(max(offset + len(data) - len(kept), 0)))
            kept[offset : offset + len(data)] = data

    @rule(file=files, name=names)
    def overwrite(self, file: str, name: str) -> None:
        self.share.close(self.share.open(f"{file}:{name}" if name else file, c.FILE_OVERWRITE_IF))
        if name:
            self.model.setdefault(file, {"": bytearray()})[fold(name)] = bytearray()
        else:
            self.model[file] = {"": bytearray()}

    @rule(file=files, name=names)
    def delete(self, file: str, name: str) -> None:
        status = self.share.status(f"{file}:{name}" if name else file, options=c.FILE_DELETE_ON_CLOSE)
        there = fold(name) in self.model.get(file, {})
        assert status is (S.SUCCESS if there else S.OBJECT_NAME_NOT_FOUND)
        if there and name:
            del self.model[file][fold(name)]
        elif there:
            del self.model[file]

    @rule(file=files, name=names.filter(bool), to=names.filter(bool))
    def rename(self, file: str, name: str, to: str) -> None:
        kept = self.model.get(file, {})
        if fold(name) not in kept:
            return
        opened = self.share.open(f"{file}:{name}")
        taken = fold(to) in kept and fold(to) != fold(name)
        if taken and kept[fold(to)]:
            with pytest.raises(NtStatusError, match="holds data"):
                self.share.rename(opened, f":{to}", replace=True)
        else:
            self.share.rename(opened, f":{to}", replace=True)
            kept[fold(to)] = kept.pop(fold(name))
        self.share.close(opened)

    @invariant()
    def agrees(self) -> None:
        for file in ("one", "two"):
            kept = self.model.get(file)
            if kept is None:
                assert self.share.status(file) is S.OBJECT_NAME_NOT_FOUND
                continue
            shown = {fold(name.split(":")[1]): size for name, (size, _) in streams(self.share, file).items()}
            assert shown == {name: len(value) for name, value in kept.items()}
            for name, value in kept.items():
                assert contents(self.share, f"{file}:{name}" if name else file) == value
        assert len(self.share.registry) == 0

    def teardown(self) -> None:
        self.share.end()
        self.folder.cleanup()


class XattrModel(StreamsModel):
    """The same in extended attributes."""

    keeper = "xattr"


class DepotModel(StreamsModel):
    """The same in a depot."""

    keeper = "depot"


TestMemory = StreamsModel.TestCase
TestXattr = XattrModel.TestCase
TestDepot = DepotModel.TestCase
for _case in (TestMemory, TestXattr, TestDepot):
    _case.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
