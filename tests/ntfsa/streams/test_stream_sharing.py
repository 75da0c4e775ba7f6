"""Sharing, locking and deleting of streams and their files."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.locks.lock import LockElement, lock
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.status import NtStatusError
from tests.ntfsa.conftest import Share
from tests.support.nt_streams import KEEPERS, READ_ONLY, contents, streams


@pytest.fixture(params=KEEPERS)
def share(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Share]:
    """A share with named streams."""
    folder = tmp_path / "share"
    folder.mkdir()
    made = Share(folder, *KEEPERS[request.param]())
    yield made
    made.end()


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
