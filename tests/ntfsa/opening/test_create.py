"""Opening and creating: dispositions, options, access, attributes, sharing."""

import os
import stat
from dataclasses import replace

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.volume import VolumeSettings
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.testing import make_token

DIR = c.FILE_DIRECTORY_FILE
NOT_DIR = c.FILE_NON_DIRECTORY_FILE

# disposition, options, what is there (None, "file", "dir"): the create action, or the status.
DISPOSITIONS = [
    (c.FILE_OPEN, 0, None, S.OBJECT_NAME_NOT_FOUND),
    (c.FILE_OPEN, 0, "file", c.FILE_OPENED),
    (c.FILE_OPEN, 0, "dir", c.FILE_OPENED),
    (c.FILE_OPEN, DIR, None, S.OBJECT_NAME_NOT_FOUND),
    (c.FILE_OPEN, DIR, "file", S.NOT_A_DIRECTORY),
    (c.FILE_OPEN, DIR, "dir", c.FILE_OPENED),
    (c.FILE_OPEN, NOT_DIR, "file", c.FILE_OPENED),
    (c.FILE_OPEN, NOT_DIR, "dir", S.FILE_IS_A_DIRECTORY),
    (c.FILE_CREATE, 0, None, c.FILE_CREATED),
    (c.FILE_CREATE, 0, "file", S.OBJECT_NAME_COLLISION),
    (c.FILE_CREATE, 0, "dir", S.OBJECT_NAME_COLLISION),
    (c.FILE_CREATE, DIR, None, c.FILE_CREATED),
    (c.FILE_CREATE, DIR, "file", S.OBJECT_NAME_COLLISION),
    (c.FILE_CREATE, DIR, "dir", S.OBJECT_NAME_COLLISION),
    (c.FILE_OPEN_IF, 0, None, c.FILE_CREATED),
    (c.FILE_OPEN_IF, 0, "file", c.FILE_OPENED),
    (c.FILE_OPEN_IF, 0, "dir", c.FILE_OPENED),
    (c.FILE_OPEN_IF, DIR, None, c.FILE_CREATED),
    (c.FILE_OPEN_IF, DIR, "file", S.NOT_A_DIRECTORY),
    (c.FILE_OPEN_IF, DIR, "dir", c.FILE_OPENED),
    (c.FILE_OPEN_IF, NOT_DIR, "dir", S.FILE_IS_A_DIRECTORY),
    (c.FILE_OVERWRITE, 0, None, S.OBJECT_NAME_NOT_FOUND),
    (c.FILE_OVERWRITE, 0, "file", c.FILE_OVERWRITTEN),
    (c.FILE_OVERWRITE, 0, "dir", S.INVALID_PARAMETER),
    (c.FILE_OVERWRITE, NOT_DIR, "dir", S.FILE_IS_A_DIRECTORY),
    (c.FILE_OVERWRITE, DIR, "dir", S.INVALID_PARAMETER),
    (c.FILE_OVERWRITE_IF, 0, None, c.FILE_CREATED),
    (c.FILE_OVERWRITE_IF, 0, "file", c.FILE_OVERWRITTEN),
    (c.FILE_OVERWRITE_IF, DIR, None, S.INVALID_PARAMETER),
    (c.FILE_SUPERSEDE, 0, None, c.FILE_CREATED),
    (c.FILE_SUPERSEDE, 0, "file", c.FILE_SUPERSEDED),
    (c.FILE_SUPERSEDE, DIR, None, S.INVALID_PARAMETER),
    (9, 0, "file", S.INVALID_PARAMETER),
]


@pytest.mark.parametrize(("disposition", "options", "there", "expected"), DISPOSITIONS)
def test_dispositions(share, refused, disposition, options, there, expected):
    if there == "file":
        (share.path / "name").write_bytes(b"content")
    elif there == "dir":
        (share.path / "name").mkdir()
    if isinstance(expected, S):
        refused(expected, share.create, "name", disposition, options=options)
        assert (share.path / "name").exists() == bool(there)
        if there == "file":
            assert (share.path / "name").read_bytes() == b"content"
        return
    result = share.create("name", disposition, options=options)
    assert result.action == expected
    assert result.open.is_directory == (share.path / "name").is_dir() == (options == DIR or there == "dir")
    if there == "file":
        emptied = disposition in {c.FILE_OVERWRITE, c.FILE_OVERWRITE_IF, c.FILE_SUPERSEDE}
        assert (share.path / "name").read_bytes() == (b"" if emptied else b"content")
        assert result.information.end_of_file == (0 if emptied else 7)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"options": DIR | NOT_DIR}, S.INVALID_PARAMETER),
        ({"options": 0x01000000}, S.INVALID_PARAMETER),
        ({"options": c.FILE_RESERVE_OPFILTER}, S.NOT_SUPPORTED),
        ({"options": c.FILE_OPEN_BY_FILE_ID}, S.NOT_SUPPORTED),
        ({"share_access": 8}, S.INVALID_PARAMETER),
        ({"file_attributes": 0x8000}, S.INVALID_PARAMETER),
        ({"desired_access": 0}, S.ACCESS_DENIED),
        ({"desired_access": 0x04000000 | c.FILE_READ_DATA}, S.ACCESS_DENIED),
        ({"desired_access": c.ACCESS_SYSTEM_SECURITY | c.FILE_READ_DATA}, S.PRIVILEGE_NOT_HELD),
        ({"desired_access": c.FILE_READ_DATA, "options": c.FILE_DELETE_ON_CLOSE}, S.INVALID_PARAMETER),
        ({"timewarp": 1}, S.OBJECT_NAME_NOT_FOUND),
    ],
)
def test_what_cannot_be_meant_is_refused(share, refused, asked, expected):
    (share.path / "name").write_bytes(b"")
    refused(expected, share.create, "name", c.FILE_OPEN_IF, **asked)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("no\\name", S.OBJECT_PATH_NOT_FOUND),
        ("file\\name", S.OBJECT_PATH_NOT_FOUND),
        ("dir\\name", S.OBJECT_NAME_NOT_FOUND),
        ("dir\\no\\name", S.OBJECT_PATH_NOT_FOUND),
        ("file\\", S.OBJECT_NAME_INVALID),
        ("fi<le", S.OBJECT_NAME_INVALID),
        ("..\\name", S.OBJECT_PATH_SYNTAX_BAD),
        ("dir\\..\\file", S.SUCCESS),
        ("dir\\..\\..\\file", S.OBJECT_PATH_SYNTAX_BAD),
        ("\\file", S.INVALID_PARAMETER),
        ("file:stream", S.OBJECT_NAME_INVALID),
        ("file::$DATA", S.OBJECT_NAME_INVALID),
        ("dir\\", S.SUCCESS),
        ("", S.SUCCESS),
        ("DIR\\INNER", S.SUCCESS),
    ],
)
def test_paths(share, path, expected):
    (share.path / "dir").mkdir()
    (share.path / "dir" / "inner").write_bytes(b"")
    (share.path / "file").write_bytes(b"")
    assert share.status(path) is expected


class _WithStreams(VfsModule):
    """A chain that claims streams."""

    name = "with_streams"

    def capabilities(self, below):
        return below | Capability.STREAMS


def test_where_there_are_streams_the_unnamed_one_is_the_file(make_share):
    share = make_share(_WithStreams())
    (share.path / "dir").mkdir()
    (share.path / "file").write_bytes(b"")
    assert share.status("file::$DATA") is S.SUCCESS
    assert share.status("dir::$DATA") is S.FILE_IS_A_DIRECTORY
    assert share.status("dir::$INDEX_ALLOCATION") is S.SUCCESS
    assert share.status("file::$INDEX_ALLOCATION") is S.NOT_A_DIRECTORY


@pytest.mark.parametrize("disposition", [c.FILE_CREATE, c.FILE_OPEN_IF, c.FILE_OVERWRITE_IF, c.FILE_SUPERSEDE])
def test_creating_in_a_missing_directory_fails(share, disposition):
    assert share.status("no\\name", disposition) is S.OBJECT_PATH_NOT_FOUND


def test_names_ignore_case_and_keep_it(share):
    share.make("Some.Thing", b"x")
    opened = share.open("sOME.tHING")
    assert opened.path == "Some.Thing"
    assert share.status("SOME.THING", c.FILE_CREATE) is S.OBJECT_NAME_COLLISION
    assert os.listdir(share.path) == ["Some.Thing"]


def test_the_exact_case_wins_among_names_that_differ_in_case(share):
    for name in ("one", "ONE", "One"):
        (share.path / name).write_text(name)
    for name in ("one", "ONE", "One"):
        assert share.read(share.open(name), 3) == name.encode()


def test_names_that_nt_reserves_are_found_by_their_shown_form(share):
    (share.path / "what?:").write_bytes(b"yes")
    shown = "what\uf03f\uf03a"
    assert share.read(share.open(shown), 3) == b"yes"
    assert share.read(share.open(shown.upper()), 3) == b"yes"
    assert shown in share.names(share.directory())


def test_unicode_case(share):
    share.make("ÄÖÜ straße")
    assert share.status("äöü STRAßE") is S.SUCCESS


def test_a_new_file_has_the_archive_attribute_and_a_directory_none(share):
    assert share.create("file", c.FILE_CREATE).information.file_attributes == c.FILE_ATTRIBUTE_ARCHIVE
    made = share.create("dir", c.FILE_CREATE, options=DIR, file_attributes=c.FILE_ATTRIBUTE_HIDDEN)
    assert made.information.file_attributes == c.FILE_ATTRIBUTE_DIRECTORY | c.FILE_ATTRIBUTE_HIDDEN


def test_what_create_tells_is_what_a_query_tells(share):
    made = share.create("file", c.FILE_CREATE, allocation_size=10000)
    packed = share.query(made.open, c.FILE_NETWORK_OPEN_INFORMATION)
    assert [int.from_bytes(packed[i : i + 8], "little") for i in range(0, 48, 8)] == list(made.information[:6])
    assert made.information.allocation_size >= 10000


def test_a_file_without_stored_attributes_is_normal(share):
    (share.path / "file").write_bytes(b"")
    assert share.create("file").information.file_attributes == c.FILE_ATTRIBUTE_NORMAL


def test_dot_files_are_hidden(share):
    (share.path / ".profile").write_bytes(b"")
    assert share.create(".profile").information.file_attributes & c.FILE_ATTRIBUTE_HIDDEN


def test_names_of_the_settings_are_hidden_in_any_case(make_share):
    share = make_share(settings=VolumeSettings(hidden_names=frozenset({"HIDEFILE"})))
    share.make("HideFile")
    assert share.create("HideFile").information.file_attributes & c.FILE_ATTRIBUTE_HIDDEN


@pytest.mark.parametrize(
    ("existing", "given", "expected"),
    [
        (c.FILE_ATTRIBUTE_HIDDEN, 0, S.ACCESS_DENIED),
        (c.FILE_ATTRIBUTE_SYSTEM, 0, S.ACCESS_DENIED),
        (c.FILE_ATTRIBUTE_HIDDEN, c.FILE_ATTRIBUTE_HIDDEN, S.SUCCESS),
        (c.FILE_ATTRIBUTE_SYSTEM, c.FILE_ATTRIBUTE_HIDDEN, S.ACCESS_DENIED),
        (0, c.FILE_ATTRIBUTE_HIDDEN, S.SUCCESS),
        (c.FILE_ATTRIBUTE_READONLY, c.FILE_ATTRIBUTE_READONLY, S.ACCESS_DENIED),
    ],
)
def test_overwriting_minds_hidden_system_and_readonly(share, existing, given, expected):
    share.make("file", b"content", file_attributes=existing)
    assert share.status("file", c.FILE_OVERWRITE, desired_access=c.FILE_READ_DATA, file_attributes=given) is expected
    assert (share.path / "file").read_bytes() == (b"" if expected is S.SUCCESS else b"content")


def test_overwriting_gives_the_requested_attributes(share):
    share.make("file", b"content", file_attributes=c.FILE_ATTRIBUTE_NOT_CONTENT_INDEXED)
    result = share.create("file", c.FILE_OVERWRITE, file_attributes=c.FILE_ATTRIBUTE_HIDDEN)
    assert result.information.file_attributes == c.FILE_ATTRIBUTE_HIDDEN | c.FILE_ATTRIBUTE_ARCHIVE


def test_a_readonly_file_can_be_made_written_and_then_only_read(share):
    made = share.open("file", c.FILE_CREATE, file_attributes=c.FILE_ATTRIBUTE_READONLY)
    share.write(made, b"x")
    share.close(made)
    assert share.status("file", desired_access=c.FILE_WRITE_DATA) is S.ACCESS_DENIED
    assert share.status("file", desired_access=c.FILE_READ_DATA) is S.SUCCESS
    assert share.status("file", desired_access=c.DELETE, options=c.FILE_DELETE_ON_CLOSE) is S.CANNOT_DELETE
    most = share.open("file", desired_access=c.MAXIMUM_ALLOWED)
    assert not most.granted_access & (c.FILE_WRITE_DATA | c.FILE_APPEND_DATA)


def test_delete_on_close_of_a_new_readonly_file_makes_nothing(share):
    asked = {"file_attributes": c.FILE_ATTRIBUTE_READONLY, "options": c.FILE_DELETE_ON_CLOSE}
    assert share.status("file", c.FILE_CREATE, **asked) is S.CANNOT_DELETE
    assert os.listdir(share.path) == []


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (c.MAXIMUM_ALLOWED, c.FILE_ALL_ACCESS),
        (c.GENERIC_READ, c.FILE_GENERIC_READ),
        (c.GENERIC_ALL, c.FILE_ALL_ACCESS),
        (c.GENERIC_READ | c.MAXIMUM_ALLOWED, c.FILE_ALL_ACCESS),
        (c.FILE_READ_ATTRIBUTES, c.FILE_READ_ATTRIBUTES),
    ],
)
def test_granted_access(share, asked, granted):
    share.make("file")
    os.chmod(share.path / "file", 0o777)
    assert share.open("file", desired_access=asked).granted_access == granted


def test_maximal_access_is_told_when_asked_for(share):
    share.make("file")
    os.chmod(share.path / "file", 0o777)
    assert share.create("file", desired_access=c.READ_CONTROL).maximal_access is None
    asked = share.create("file", desired_access=c.READ_CONTROL, want_maximal_access=True)
    assert asked.maximal_access == c.FILE_ALL_ACCESS


def test_maximal_access_is_what_the_user_has_whatever_the_attributes_of_the_file(share):
    """As smbd has it; what is granted with MAXIMUM_ALLOWED goes without what a read-only file refuses."""
    made = share.create(
        "file", c.FILE_CREATE, file_attributes=c.FILE_ATTRIBUTE_READONLY, want_maximal_access=True,
        desired_access=c.FILE_READ_DATA,
    )  # fmt: skip
    os.chmod(share.path / "file", 0o777)
    asked = share.create("file", desired_access=c.MAXIMUM_ALLOWED, want_maximal_access=True)
    assert made.maximal_access == asked.maximal_access == c.FILE_ALL_ACCESS
    assert not asked.open.granted_access & (c.FILE_WRITE_DATA | c.FILE_APPEND_DATA)


def test_maximal_access_does_not_tell_of_the_right_to_audit(share):
    """As MAXIMUM_ALLOWED does not grant ACCESS_SYSTEM_SECURITY (MS-DTYP 2.5.3.2)."""
    share.make("file")
    share.context = replace(share.context, token=make_token(0, 0, privileges=["SeSecurityPrivilege"]))
    asked = share.create("file", desired_access=c.MAXIMUM_ALLOWED, want_maximal_access=True)
    assert asked.maximal_access == c.FILE_ALL_ACCESS


READ, WRITE, DELETE = c.FILE_READ_DATA, c.FILE_WRITE_DATA, c.DELETE
ATTRIBUTES = c.FILE_READ_ATTRIBUTES


@pytest.mark.parametrize("first_access", [READ, WRITE, DELETE, ATTRIBUTES])
@pytest.mark.parametrize("first_share", range(8))
def test_sharing_matrix(share, first_access, first_share):
    share.make("file")
    share.open("file", desired_access=first_access, share_access=first_share)
    bit = {READ: 1, WRITE: 2, DELETE: 4}
    for second_access in (READ, WRITE, DELETE, ATTRIBUTES):
        for second_share in range(8):
            takes_part = first_access != ATTRIBUTES and second_access != ATTRIBUTES
            fits = bit.get(second_access, 0) & first_share and bit.get(first_access, 0) & second_share
            expected = S.SHARING_VIOLATION if takes_part and not fits else S.SUCCESS
            found = share.status("file", desired_access=second_access, share_access=second_share)
            assert found is expected, (second_access, second_share)


def test_overwriting_is_writing_to_the_sharing_check(share):
    share.make("file", b"content")
    share.open("file", desired_access=READ, share_access=c.FILE_SHARE_READ)
    assert share.status("file", c.FILE_OVERWRITE, desired_access=ATTRIBUTES) is S.SHARING_VIOLATION
    assert (share.path / "file").read_bytes() == b"content"


def test_a_name_in_another_case_is_the_same_file_to_sharing(share):
    share.make("file")
    share.open("file", share_access=0)
    assert share.status("FILE") is S.SHARING_VIOLATION


def test_a_read_only_volume_refuses_every_change(make_share):
    share = make_share(settings=VolumeSettings(read_only=True))
    (share.path / "file").write_bytes(b"content")
    assert share.status("new", c.FILE_CREATE) is S.ACCESS_DENIED
    assert share.status("file", desired_access=WRITE) is S.ACCESS_DENIED
    assert share.status("file", c.FILE_OVERWRITE, desired_access=READ) is S.ACCESS_DENIED
    assert share.status("file", desired_access=READ) is S.SUCCESS
    assert not share.open("file", desired_access=c.MAXIMUM_ALLOWED).granted_access & (WRITE | DELETE)


def test_modes_of_new_files_come_from_the_settings(make_share):
    share = make_share(settings=VolumeSettings(file_mode=0o600, directory_mode=0o700))
    share.make("file")
    share.make("dir", options=DIR)
    assert stat.S_IMODE((share.path / "file").stat().st_mode) == 0o600
    assert stat.S_IMODE((share.path / "dir").stat().st_mode) == 0o700


class _NoAttributes(VfsModule):
    """A chain in which storing attributes fails."""

    name = "no_attributes"

    def set_dos_attributes(self, token, handle, dos):
        raise OSError(28, "no space left")


def test_a_create_that_fails_late_leaves_nothing_behind(make_share):
    share = make_share(_NoAttributes())
    assert share.status("file", c.FILE_CREATE) is S.DISK_FULL
    assert os.listdir(share.path) == []


def test_a_link_that_leads_out_of_the_share_is_not_there(share, tmp_path):
    (tmp_path / "secret").write_bytes(b"")
    (share.path / "link").symlink_to(tmp_path / "secret")
    (share.path / "broken").symlink_to("nowhere")
    assert share.status("link") is S.OBJECT_NAME_NOT_FOUND
    assert share.status("broken") is S.OBJECT_NAME_NOT_FOUND


def test_extended_attributes_are_set_at_creation(share):
    entry = b"\0\0\0\0\0\x04\x03\x00Name\0abc"
    made = share.open("file", c.FILE_CREATE, extended_attributes=entry)
    assert os.getxattr(share.path / "file", "user.Name") == b"abc"
    assert share.query(made, c.FILE_FULL_EA_INFORMATION) == entry


def test_a_pipe_on_disk_is_not_opened_for_data(share):
    os.mkfifo(share.path / "fifo")
    assert share.status("fifo", desired_access=READ) is S.ACCESS_DENIED


def test_a_path_with_slashes_is_shown_with_backslashes(share):
    share.make("folder", options=c.FILE_DIRECTORY_FILE)
    assert share.open("folder/new", c.FILE_CREATE).path == "folder\\new"
    assert share.open("folder/new").path == "folder\\new"
