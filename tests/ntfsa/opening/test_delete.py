"""Deletion: delete on close, disposition, pending deletions, and names that changed meanwhile."""

import os

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.status import NtStatus as S


def names(share):
    return sorted(os.listdir(share.path))


@pytest.mark.parametrize("options", [0, c.FILE_DIRECTORY_FILE])
def test_delete_on_close_removes(share, options):
    opened = share.open("it", c.FILE_CREATE, options=options | c.FILE_DELETE_ON_CLOSE)
    assert names(share) == ["it"]
    share.close(opened)
    assert names(share) == []


def test_the_file_goes_with_the_last_open_and_cannot_be_opened_before(share):
    first = share.open("file", c.FILE_CREATE, options=c.FILE_DELETE_ON_CLOSE)
    second = share.open("file")
    share.close(first)
    assert names(share) == ["file"]
    assert share.status("file") is S.DELETE_PENDING
    assert share.status("file", c.FILE_OVERWRITE_IF) is S.DELETE_PENDING
    share.close(second)
    assert names(share) == []


def test_disposition_is_seen_and_can_be_taken_back(share):
    opened = share.open("file", c.FILE_CREATE)
    share.dispose(opened)
    standard = share.query(opened, c.FILE_STANDARD_INFORMATION)
    assert standard[20] == 1
    assert standard[16:20] == b"\0\0\0\0"
    assert share.status("file") is S.DELETE_PENDING
    share.dispose(opened, False)
    assert share.query(opened, c.FILE_STANDARD_INFORMATION)[20] == 0
    share.close(opened)
    assert names(share) == ["file"]


def test_disposition_refusals(share, refused):
    share.make("ro", file_attributes=c.FILE_ATTRIBUTE_READONLY)
    refused(S.CANNOT_DELETE, share.dispose, share.open("ro", desired_access=c.DELETE))
    (share.path / "dir").mkdir()
    (share.path / "dir" / "x").write_bytes(b"")
    refused(S.DIRECTORY_NOT_EMPTY, share.dispose, share.open("dir"))
    share.make("file")
    refused(S.ACCESS_DENIED, share.dispose, share.open("file", desired_access=c.FILE_READ_DATA))
    refused(S.CANNOT_DELETE, share.dispose, share.open(""))
    assert names(share) == ["dir", "file", "ro"]


def test_a_readonly_file_goes_when_that_is_to_be_ignored(share):
    share.make("ro", file_attributes=c.FILE_ATTRIBUTE_READONLY)
    opened = share.open("ro", desired_access=c.DELETE)
    flags = c.FILE_DISPOSITION_DELETE | c.FILE_DISPOSITION_IGNORE_READONLY_ATTRIBUTE
    share.set(opened, c.FILE_DISPOSITION_INFORMATION_EX, flags.to_bytes(4, "little"))
    share.close(opened)
    assert names(share) == []


def test_posix_deletion_takes_the_name_while_others_have_the_file(share):
    other = share.open("file", c.FILE_CREATE)
    share.write(other, b"still here")
    opened = share.open("file", desired_access=c.DELETE)
    flags = c.FILE_DISPOSITION_DELETE | c.FILE_DISPOSITION_POSIX_SEMANTICS
    share.set(opened, c.FILE_DISPOSITION_INFORMATION_EX, flags.to_bytes(4, "little"))
    share.close(opened)
    assert names(share) == []
    assert share.read(other, 10) == b"still here"
    share.make("file")
    share.close(other)
    assert names(share) == ["file"]


def test_a_directory_that_filled_up_stays(share):
    opened = share.open("dir", c.FILE_CREATE, options=c.FILE_DIRECTORY_FILE | c.FILE_DELETE_ON_CLOSE)
    (share.path / "dir" / "late").write_bytes(b"")
    share.close(opened)
    assert names(share) == ["dir"]
    assert share.status("dir") is S.SUCCESS


def test_another_file_under_the_name_is_left_alone(share):
    opened = share.open("file", c.FILE_CREATE, options=c.FILE_DELETE_ON_CLOSE)
    os.rename(share.path / "file", share.path / "moved")
    (share.path / "file").write_bytes(b"somebody else's")
    share.close(opened)
    assert names(share) == ["file", "moved"]


def test_of_two_names_the_deleted_one_goes(share):
    share.make("one")
    os.link(share.path / "one", share.path / "two")
    one, two = share.open("one"), share.open("two")
    share.dispose(one)
    share.close(one)
    share.close(two)
    assert names(share) == ["two"]


def test_a_renamed_file_is_deleted_under_its_new_name(share):
    opened = share.open("file", c.FILE_CREATE, options=c.FILE_DELETE_ON_CLOSE)
    share.make("bystander")
    share.rename(opened, "renamed")
    share.close(opened)
    assert names(share) == ["bystander"]


def test_closing_twice_does_nothing(share):
    opened = share.open("file", c.FILE_CREATE)
    share.close(opened)
    assert share.close(opened) is None


def test_post_query_tells_the_last_state(share):
    opened = share.open("file", c.FILE_CREATE)
    share.write(opened, b"12345")
    assert share.close(opened, True).end_of_file == 5
