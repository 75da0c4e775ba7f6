"""Renaming of streams and their files, and what watchers are told of streams."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc import notify_information as n
from lamina.ntfsa.notify.change_notify import change_notify
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.status import NtStatusError
from tests.ntfsa.conftest import Share
from tests.support.nt_streams import KEEPERS, contents, streams


@pytest.fixture(params=KEEPERS)
def share(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Share]:
    """A share with named streams."""
    folder = tmp_path / "share"
    folder.mkdir()
    made = Share(folder, *KEEPERS[request.param]())
    yield made
    made.end()


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
        from lamina.ntfsa.notify.change_notify import begin_watching
        from lamina.ntfsa.notify.watchers import Watcher

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
