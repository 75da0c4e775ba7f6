"""Reparse points: symbolic links as the file system's, others beside the file, and who may change them."""

import os
import struct

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.reparse import (
    IO_REPARSE_TAG_SYMLINK,
    ReparseData,
    SymbolicLink,
    pack_reparse_data,
    pack_symbolic_link,
    parse_reparse_data,
    parse_symbolic_link,
)
from lamina.ntfsa.fsctl.fs_control import fs_control
from lamina.ntfsa.listing.directory import query_directory
from lamina.ntfsa.metadata.reparse import StoppedOnLinkError
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.volume import VolumeSettings

MOUNT_POINT = 0xA0000003
MOUNT = pack_reparse_data(ReparseData(MOUNT_POINT, b"where to"))
THIRD_PARTY = pack_reparse_data(ReparseData(0x00000BAD, b"data", bytes(range(16))))
TOO_MUCH = struct.pack("<IHH", MOUNT_POINT, 16377, 0) + bytes(16377)
OPEN_POINT = c.FILE_OPEN_REPARSE_POINT


def link_to(target, relative=True):
    return pack_reparse_data(pack_symbolic_link(SymbolicLink(target, target, relative)))


ABSOLUTE = link_to("\\??\\C:\\somewhere", relative=False)


def control(share, opened, code, input_=b"", room=16384):
    return fs_control(share.context, opened, code, memoryview(input_), room)


def set_point(share, opened, data):
    assert control(share, opened, c.FSCTL_SET_REPARSE_POINT, data) == (S.SUCCESS, b"")


def get_point(share, opened):
    return control(share, opened, c.FSCTL_GET_REPARSE_POINT).data


def delete_point(share, opened, data=MOUNT[:4] + bytes(4)):
    assert control(share, opened, c.FSCTL_DELETE_REPARSE_POINT, data) == (S.SUCCESS, b"")


def made(share, path, data, **asked):
    opened = share.open(path, c.FILE_CREATE, options=OPEN_POINT | asked.pop("options", 0), **asked)
    set_point(share, opened, data)
    return opened


def attribute_tag(share, opened):
    return struct.unpack("<II", share.query(opened, c.FILE_ATTRIBUTE_TAG_INFORMATION))


def listed(share, path=""):
    """Attributes and tags by name, of two classes that tell the tag in two places."""
    found = {}
    for info_class, tag_at, name_at in ((37, 64, 104), (60, 68, 88)):
        packed = query_directory(share.context, share.directory(path), info_class, "*", 0, 0, 65536)
        offset = 0
        while True:
            following = struct.unpack_from("<I", packed, offset)[0]
            attributes, length = struct.unpack_from("<II", packed, offset + 56)
            tag = struct.unpack_from("<I", packed, offset + tag_at)[0]
            name = packed[offset + name_at : offset + name_at + length].decode("utf-16-le")
            assert found.setdefault(name, (attributes, tag)) == (attributes, tag)
            if not following:
                break
            offset += following
    return found


@pytest.fixture
def strict(make_share):
    """A share whose symbolic links clients follow themselves."""
    return make_share(settings=VolumeSettings(follow_symlinks=False))


# --- The buffers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [MOUNT, THIRD_PARTY, link_to("a\\b"), ABSOLUTE])
def test_buffers_are_read_as_they_are_written(data):
    assert pack_reparse_data(parse_reparse_data(data)) == data


@pytest.mark.parametrize(
    "data",
    [b"", MOUNT[:7], MOUNT[:-1], MOUNT + b"\0", THIRD_PARTY[:20], TOO_MUCH],
    ids=["empty", "short", "cut", "long", "no-guid", "too-much"],
)  # fmt: skip
def test_buffers_whose_lengths_do_not_fit(share, refused, data):
    opened = share.open("file", c.FILE_CREATE)
    refused(S.IO_REPARSE_DATA_INVALID, control, share, opened, c.FSCTL_SET_REPARSE_POINT, data)
    refused(S.IO_REPARSE_DATA_INVALID, control, share, opened, c.FSCTL_DELETE_REPARSE_POINT, data)


def test_reserved_tags(share, refused):
    opened = share.open("file", c.FILE_CREATE)
    for tag in (0, 1, 2):
        data = struct.pack("<IHH16s", tag, 0, 0, bytes(16))
        refused(S.IO_REPARSE_TAG_INVALID, control, share, opened, c.FSCTL_SET_REPARSE_POINT, data)


@pytest.mark.parametrize("field", range(4))
def test_names_of_links_lie_in_their_buffer(share, refused, field):
    numbers = [0, 4, 4, 4]
    numbers[field] = 7
    data = struct.pack("<HHHHI", *numbers, 1) + "abcd".encode("utf-16-le")
    with pytest.raises(Exception, match="symbolic link"):
        parse_symbolic_link(data)
    opened = share.open("file", c.FILE_CREATE)
    buffer = pack_reparse_data(ReparseData(IO_REPARSE_TAG_SYMLINK, data))
    refused(S.IO_REPARSE_DATA_INVALID, control, share, opened, c.FSCTL_SET_REPARSE_POINT, buffer)


# --- Points that are kept beside the file --------------------------------------------------------------------------


@pytest.mark.parametrize("data", [MOUNT, THIRD_PARTY, ABSOLUTE], ids=["mount", "third-party", "absolute-link"])
@pytest.mark.parametrize("kind", [0, c.FILE_DIRECTORY_FILE], ids=["file", "directory"])
def test_a_point_is_kept_with_its_file(share, refused, data, kind):
    opened = made(share, "point", data, options=kind)
    tag = parse_reparse_data(data).tag
    attributes, told = attribute_tag(share, opened)
    assert (attributes & c.FILE_ATTRIBUTE_REPARSE_POINT, told) == (c.FILE_ATTRIBUTE_REPARSE_POINT, tag)
    assert listed(share)["point"] == (attributes, tag)
    assert os.getxattr(share.path / "point", "user.SmbReparse") == data
    share.close(opened)
    again = share.open("point", options=OPEN_POINT)
    assert get_point(share, again) == data
    refused(S.BUFFER_TOO_SMALL, control, share, again, c.FSCTL_GET_REPARSE_POINT, room=7)
    assert control(share, again, c.FSCTL_GET_REPARSE_POINT, room=9) == (S.BUFFER_OVERFLOW, data[:9])
    assert "SmbReparse" not in str(share.query(again, c.FILE_EA_INFORMATION))
    guid = data[8:24] if data is THIRD_PARTY else b""
    delete_point(share, again, data[:4] + bytes(4) + guid)
    refused(S.NOT_A_REPARSE_POINT, control, share, again, c.FSCTL_GET_REPARSE_POINT)
    assert attribute_tag(share, again)[1] == 0
    share.open("point")


def test_what_is_behind_a_point_is_not_opened(share):
    made(share, "mount", MOUNT)
    made(share, "absolute", ABSOLUTE)
    assert share.status("mount") is S.IO_REPARSE_TAG_NOT_HANDLED
    with pytest.raises(StoppedOnLinkError) as stopped:
        share.open("absolute")
    assert stopped.value.link == SymbolicLink("\\??\\C:\\somewhere", "\\??\\C:\\somewhere", False)
    assert stopped.value.unparsed == 0


def test_a_path_through_a_point_stops_there(share):
    made(share, "dir", ABSOLUTE, options=c.FILE_DIRECTORY_FILE)
    for path, unparsed in (("dir\\file", 10), ("DIR\\sub\\file", 18)):
        for disposition in (c.FILE_OPEN, c.FILE_CREATE, c.FILE_OPEN_IF):
            with pytest.raises(StoppedOnLinkError) as stopped:
                share.open(path, disposition)
            assert stopped.value.unparsed == unparsed
    made(share, "mount", MOUNT, options=c.FILE_DIRECTORY_FILE)
    assert share.status("mount\\file", c.FILE_CREATE) is S.IO_REPARSE_TAG_NOT_HANDLED
    assert not list((share.path / "dir").iterdir())
    assert share.status("nowhere\\file") is S.OBJECT_PATH_NOT_FOUND
    share.open("empty", c.FILE_CREATE, options=c.FILE_DIRECTORY_FILE)
    assert share.status("empty\\file") is S.OBJECT_NAME_NOT_FOUND
    assert share.status("empty\\file", c.FILE_CREATE) is S.SUCCESS


def test_a_point_is_replaced_by_one_of_its_kind(share, refused):
    opened = made(share, "point", MOUNT)
    other = pack_reparse_data(ReparseData(MOUNT_POINT, b"elsewhere"))
    set_point(share, opened, other)
    assert get_point(share, opened) == other
    for code, data in (
        (c.FSCTL_SET_REPARSE_POINT, THIRD_PARTY),
        (c.FSCTL_DELETE_REPARSE_POINT, ABSOLUTE[:4] + bytes(4)),
    ):
        refused(S.IO_REPARSE_TAG_MISMATCH, control, share, opened, code, data)
    refused(S.IO_REPARSE_DATA_INVALID, control, share, opened, c.FSCTL_DELETE_REPARSE_POINT, MOUNT)
    third = made(share, "third", THIRD_PARTY)
    stranger = pack_reparse_data(ReparseData(0x00000BAD, b"", bytes(16)))
    for code in (c.FSCTL_SET_REPARSE_POINT, c.FSCTL_DELETE_REPARSE_POINT):
        refused(S.REPARSE_ATTRIBUTE_CONFLICT, control, share, third, code, stranger)
    plain = share.open("plain", c.FILE_CREATE)
    refused(S.NOT_A_REPARSE_POINT, control, share, plain, c.FSCTL_DELETE_REPARSE_POINT, MOUNT[:4] + bytes(4))


def test_a_directory_with_entries_becomes_none(share, refused):
    opened = share.open("dir", c.FILE_CREATE, options=c.FILE_DIRECTORY_FILE)
    share.make("dir\\file")
    for data in (MOUNT, link_to("elsewhere")):
        refused(S.DIRECTORY_NOT_EMPTY, control, share, opened, c.FSCTL_SET_REPARSE_POINT, data)
    assert (share.path / "dir" / "file").exists()


# --- Symbolic links ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0, c.FILE_DIRECTORY_FILE], ids=["file", "directory"])
def test_a_link_is_one_of_the_file_system(share, kind):
    share.make("target", b"content")
    opened = made(share, "link", link_to("target"), options=kind)
    assert os.readlink(share.path / "link") == "target"
    assert get_point(share, opened) == link_to("target")
    assert attribute_tag(share, opened)[1] == IO_REPARSE_TAG_SYMLINK
    assert not list(share.path.glob(".lamina-*"))
    share.close(opened)
    assert share.read(share.open("link"), 100) == b"content"
    again = share.open("link", options=OPEN_POINT)
    assert get_point(share, again) == link_to("target")
    share.dispose(again)
    share.close(again)
    assert sorted(os.listdir(share.path)) == ["target"]


def test_links_of_others_are_told_as_they_are(share):
    for name, target, shown in (
        ("relative", "../a/b", SymbolicLink("..\\a\\b", "..\\a\\b", True)),
        ("absolute", "/etc/passwd", SymbolicLink("\\etc\\passwd", "\\etc\\passwd", False)),
        ("strange", "a:b", SymbolicLink("a\uf03ab", "a\uf03ab", True)),
    ):
        os.symlink(target, share.path / name)
        data = get_point(share, share.open(name, options=OPEN_POINT))
        assert parse_symbolic_link(parse_reparse_data(data).data) == shown


def test_a_link_has_no_data(share):
    opened = made(share, "link", link_to("target"))
    standard = share.query(opened, c.FILE_STANDARD_INFORMATION)
    assert struct.unpack_from("<QQ", standard) == (0, 0)


def test_a_link_is_changed_renamed_and_made_a_file(share, refused):
    opened = made(share, "link", link_to("one"))
    set_point(share, opened, link_to("two\\three"))
    assert os.readlink(share.path / "link") == "two/three"
    share.rename(opened, "other")
    assert os.readlink(share.path / "other") == "two/three"
    refused(S.NOT_SUPPORTED, control, share, opened, c.FSCTL_SET_REPARSE_POINT, ABSOLUTE)
    delete_point(share, opened, link_to("")[:4] + bytes(4))
    refused(S.NOT_A_REPARSE_POINT, control, share, opened, c.FSCTL_GET_REPARSE_POINT)
    assert (share.path / "other").is_file()
    share.write(opened, b"no link any more")
    assert share.read(share.open("other"), 99) == share.read(opened, 99) == b"no link any more"


def test_a_file_that_others_have_open_keeps_its_place(share):
    share.make("link")
    other = share.open("link")
    opened = share.open("link", options=OPEN_POINT)
    set_point(share, opened, link_to("target"))
    assert not (share.path / "link").is_symlink()
    assert get_point(share, other) == link_to("target")


def test_a_file_with_data_keeps_it(share):
    share.make("link", b"data")
    opened = share.open("link", options=OPEN_POINT)
    set_point(share, opened, link_to("target"))
    assert (share.path / "link").read_bytes() == b"data"
    with pytest.raises(StoppedOnLinkError):
        share.open("link")


def test_links_lead_nowhere_out_of_the_share(share):
    (share.path.parent / "secret").write_text("secret")
    for number, target in enumerate(("..\\secret", "..\\..\\..\\etc\\passwd", "a\\..\\..\\secret")):
        share.close(made(share, f"link{number}", link_to(target)))
        assert share.status(f"link{number}") is S.OBJECT_NAME_NOT_FOUND


def test_where_links_are_not_followed_clients_are_told(strict):
    (strict.path / "dir" / "sub").mkdir(parents=True)
    (strict.path / "dir" / "file").write_text("x")
    os.symlink("dir", strict.path / "link")
    os.symlink("../dir/file", strict.path / "dir" / "deep")
    for path, target, unparsed in (
        ("link", "dir", 0),
        ("LINK", "dir", 0),
        ("link\\file", "dir", 10),
        ("Link\\sub\\none", "dir", 18),
        ("dir\\deep", "..\\dir\\file", 0),
    ):
        for disposition in (c.FILE_OPEN, c.FILE_OPEN_IF):
            with pytest.raises(StoppedOnLinkError) as stopped:
                strict.open(path, disposition)
            assert stopped.value.link == SymbolicLink(target, target, True)
            assert stopped.value.unparsed == unparsed
    assert strict.status("link", c.FILE_CREATE) is S.OBJECT_NAME_COLLISION
    assert strict.status("dir\\file") is S.SUCCESS
    assert strict.status("dir\\none") is S.OBJECT_NAME_NOT_FOUND
    entries = listed(strict)
    assert entries["link"] == (c.FILE_ATTRIBUTE_REPARSE_POINT, IO_REPARSE_TAG_SYMLINK)
    assert entries["dir"] == (c.FILE_ATTRIBUTE_DIRECTORY, 0)


def test_where_links_are_followed_they_look_like_what_they_lead_to(share):
    (share.path / "dir").mkdir()
    os.symlink("dir", share.path / "link")
    os.symlink("nowhere", share.path / "dangling")
    entries = listed(share)
    assert entries["link"] == (c.FILE_ATTRIBUTE_DIRECTORY, 0)
    assert "dangling" not in entries


# --- Access (CVE-2026-1933: reparse operations were made without any check) ----------------------------------------


@pytest.mark.parametrize("data", [MOUNT, link_to("target")], ids=["beside", "link"])
@pytest.mark.parametrize("kind", [0, c.FILE_DIRECTORY_FILE], ids=["file", "directory"])
def test_who_may_not_write_changes_no_point(share, refused, data, kind):
    reads = c.FILE_READ_DATA | c.FILE_READ_ATTRIBUTES | c.FILE_READ_EA | c.READ_CONTROL | c.DELETE | c.FILE_WRITE_EA
    share.close(share.open("plain", c.FILE_CREATE, options=kind))
    plain = share.open("plain", desired_access=reads, options=OPEN_POINT)
    refused(S.ACCESS_DENIED, control, share, plain, c.FSCTL_SET_REPARSE_POINT, data)
    share.close(made(share, "point", data, options=kind))
    point = share.open("point", desired_access=reads, options=OPEN_POINT)
    before = get_point(share, point)
    for code, input_ in ((c.FSCTL_SET_REPARSE_POINT, data), (c.FSCTL_DELETE_REPARSE_POINT, data[:4] + bytes(4))):
        refused(S.ACCESS_DENIED, control, share, point, code, input_)
    assert get_point(share, point) == before
    for access in (c.FILE_WRITE_DATA, c.FILE_WRITE_ATTRIBUTES):
        opened = share.open(f"new{access}", c.FILE_CREATE, desired_access=access, options=kind | OPEN_POINT)
        set_point(share, opened, data)


def test_nobody_changes_a_point_of_a_read_only_share(make_share, refused):
    share = make_share(settings=VolumeSettings(read_only=True))
    (share.path / "file").write_text("")
    os.symlink("file", share.path / "link")
    for name in ("file", "link"):
        opened = share.open(name, desired_access=c.MAXIMUM_ALLOWED, options=OPEN_POINT)
        opened.granted_access |= c.FILE_WRITE_DATA
        for code, data in (
            (c.FSCTL_SET_REPARSE_POINT, link_to("x")),
            (c.FSCTL_DELETE_REPARSE_POINT, MOUNT[:4] + bytes(4)),
        ):
            refused(S.ACCESS_DENIED, control, share, opened, code, data)


def test_the_root_of_a_share_becomes_no_point(share, refused):
    refused(S.ACCESS_DENIED, control, share, share.open(""), c.FSCTL_SET_REPARSE_POINT, MOUNT)
