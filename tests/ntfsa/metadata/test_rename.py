"""Renaming and linking."""

import os

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.status import NtStatus as S


def names(share, under=""):
    return sorted(os.listdir(share.path / under))


def test_rename_moves_the_name_and_all_opens_of_it(share):
    (share.path / "dir").mkdir()
    first, second = share.open("file", c.FILE_CREATE), share.open("file")
    share.rename(first, "dir\\other")
    assert names(share) == ["dir"]
    assert [first.path, second.path] == ["dir\\other", "dir\\other"]
    assert share.query(second, c.FILE_NAME_INFORMATION)[4:].decode("utf-16-le") == "\\dir\\other"


def test_only_the_case_may_change(share):
    opened = share.open("file", c.FILE_CREATE)
    share.rename(opened, "FILE")
    assert names(share) == ["FILE"]
    assert opened.path == "FILE"
    share.rename(opened, "FILE")


def test_an_existing_target_needs_replace(share, refused):
    share.make("target", b"old")
    source = share.open("source", c.FILE_CREATE)
    share.write(source, b"new")
    refused(S.OBJECT_NAME_COLLISION, share.rename, source, "TARGET")
    share.rename(source, "Target", replace=True)
    assert names(share) == ["Target"]
    assert (share.path / "Target").read_bytes() == b"new"


@pytest.mark.parametrize("kind", ["open", "directory", "readonly"])
def test_targets_that_are_not_replaced(share, refused, kind):
    if kind == "directory":
        (share.path / "target").mkdir()
    else:
        share.make("target", file_attributes=c.FILE_ATTRIBUTE_READONLY if kind == "readonly" else 0)
    if kind == "open":
        share.open("target")
    source = share.open("source", c.FILE_CREATE)
    refused(S.ACCESS_DENIED, share.rename, source, "target", replace=True)
    assert names(share) == ["source", "target"]


def test_posix_rename_replaces_an_open_target(share, packed):
    share.make("target", b"old")
    other = share.open("target")
    source = share.open("source", c.FILE_CREATE)
    flags = c.FILE_RENAME_REPLACE_IF_EXISTS | c.FILE_RENAME_POSIX_SEMANTICS
    share.set(source, c.FILE_RENAME_INFORMATION_EX, packed.new_name("target", flags))
    assert names(share) == ["target"]
    assert share.read(other, 3) == b"old"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("no\\file", S.OBJECT_PATH_NOT_FOUND),
        ("a*b", S.OBJECT_NAME_INVALID),
        (":stream", S.NOT_SUPPORTED),
        ("..\\out", S.OBJECT_PATH_SYNTAX_BAD),
    ],
)
def test_names_that_cannot_be_given(share, refused, name, status):
    refused(status, share.rename, share.open("file", c.FILE_CREATE), name)


def test_delete_access_is_needed_and_the_root_stays(share, refused):
    share.make("file")
    refused(S.ACCESS_DENIED, share.rename, share.open("file", desired_access=c.FILE_WRITE_DATA), "new")
    refused(S.INVALID_PARAMETER, share.rename, share.open(""), "new")


def test_a_directory_with_open_children_stays(share, refused):
    (share.path / "dir").mkdir()
    child = share.open("dir\\child", c.FILE_CREATE)
    directory = share.open("dir")
    refused(S.ACCESS_DENIED, share.rename, directory, "moved")
    share.close(child)
    share.rename(directory, "moved")
    assert names(share, "moved") == ["child"]
    assert share.status("moved\\child") is S.SUCCESS
    assert share.status("dir\\child") is S.OBJECT_PATH_NOT_FOUND


def test_posix_rename_of_a_directory_takes_open_children_along(share, packed):
    (share.path / "dir" / "sub").mkdir(parents=True)
    child = share.open("dir\\sub\\child", c.FILE_CREATE, options=c.FILE_DELETE_ON_CLOSE)
    directory = share.open("dir")
    share.set(directory, c.FILE_RENAME_INFORMATION_EX, packed.new_name("moved", c.FILE_RENAME_POSIX_SEMANTICS))
    assert child.path == "moved\\sub\\child"
    share.close(child)
    assert names(share, "moved/sub") == []


@pytest.mark.parametrize(
    ("access", "sharing", "status"),
    [
        (c.FILE_LIST_DIRECTORY | c.DELETE, c.FILE_SHARE_ALL, S.SHARING_VIOLATION),
        (c.FILE_LIST_DIRECTORY, c.FILE_SHARE_ALL, S.SUCCESS),
        (c.FILE_LIST_DIRECTORY, c.FILE_SHARE_READ | c.FILE_SHARE_WRITE, S.SUCCESS),
    ],
)
def test_the_targets_directory_must_allow_it(share, refused, access, sharing, status):
    (share.path / "dir").mkdir()
    source = share.open("dir\\file", c.FILE_CREATE)
    share.directory("dir", desired_access=access, share_access=sharing)
    if status is S.SUCCESS:
        share.rename(source, "dir\\new")
    else:
        refused(status, share.rename, source, "dir\\new")


def test_a_file_moved_behind_our_back_is_not_renamed(share, refused):
    opened = share.open("file", c.FILE_CREATE)
    os.rename(share.path / "file", share.path / "elsewhere")
    (share.path / "file").write_bytes(b"somebody else's")
    refused(S.OBJECT_NAME_NOT_FOUND, share.rename, opened, "new")


def test_rename_sets_archive(share, packed):
    opened = share.open("file", c.FILE_CREATE)
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(attributes=c.FILE_ATTRIBUTE_NORMAL))
    share.rename(opened, "new")
    assert share.query(opened, c.FILE_BASIC_INFORMATION)[32] == c.FILE_ATTRIBUTE_ARCHIVE


def test_links(share, refused):
    opened = share.open("file", c.FILE_CREATE)
    share.write(opened, b"data")
    share.link(opened, "second")
    assert (share.path / "second").read_bytes() == b"data"
    refused(S.OBJECT_NAME_COLLISION, share.link, opened, "SECOND")
    assert share.query(opened, c.FILE_STANDARD_INFORMATION)[16] == 2
    share.make("third", b"old")
    share.link(opened, "third", replace=True)
    assert (share.path / "third").read_bytes() == b"data"
    refused(S.FILE_IS_A_DIRECTORY, share.link, share.open(""), "no")


def test_rename_over_another_name_of_the_same_file_leaves_one_name(share):
    opened = share.open("file", c.FILE_CREATE)
    share.link(opened, "second")
    share.rename(opened, "second", replace=True)
    assert names(share) == ["second"]


def test_a_file_replaces_a_symbolic_link_to_itself(share):
    share.make("file", b"content")
    (share.path / "link").symlink_to("file")
    opened = share.open("file")
    share.rename(opened, "link", replace=True)
    share.close(opened)
    assert [path.name for path in share.path.iterdir()] == ["link"]
    assert (share.path / "link").read_bytes() == b"content"
    assert not (share.path / "link").is_symlink()
