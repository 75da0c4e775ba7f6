"""Querying and setting information about files and volumes."""

import os
import struct

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.extensions import NOT_QUERIED, NOT_SET
from lamina.ntfsa.file_state import allocation_size
from lamina.ntfsa.fscc.fields import FILE_MINIMUM, FILESYSTEM_MINIMUM
from lamina.ntfsa.fsctl.fs_control import fs_control
from lamina.ntfsa.information import query_file, query_filesystem, set_filesystem
from lamina.ntfsa.metadata import query_file as queries
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.times.filetime import to_filetime
from lamina.ntfsa.volume import VolumeSettings
from lamina.vfs_modules.operations import FileStat

YEAR_2001 = to_filetime(1_000_000_000 * 10**9)
QUERIED = sorted(
    set(FILE_MINIMUM)
    - {
        c.FILE_ALTERNATE_NAME_INFORMATION,
        c.FILE_FULL_EA_INFORMATION,
        c.FILE_PIPE_INFORMATION,
        c.FILE_PIPE_LOCAL_INFORMATION,
        c.FILE_PIPE_REMOTE_INFORMATION,
        c.FILE_POSIX_INFORMATION,
    }
)


@pytest.mark.parametrize("info_class", sorted(NOT_QUERIED - set(queries.CLASSES)))
def test_classes_that_are_no_queries_are_not_supported(share, refused, info_class):
    refused(S.NOT_SUPPORTED, query_file, share.context, share.open("file", c.FILE_CREATE), info_class, 65536)


@pytest.mark.parametrize("info_class", sorted(NOT_SET))
def test_classes_that_are_not_set_are_not_supported(share, refused, info_class):
    refused(S.NOT_SUPPORTED, share.set, share.open("file", c.FILE_CREATE), info_class, bytes(100))


def test_classes_that_are_only_queried_are_not_set(share, refused):
    refused(S.INVALID_INFO_CLASS, share.set, share.open("file", c.FILE_CREATE), c.FILE_STREAM_INFORMATION, bytes(100))


FSCTL_READ_FILE_USN_DATA = 0x000900EB


def test_a_volume_without_a_journal_says_so(share, refused):
    """MS-FSCC 2.3.62 FSCTL_READ_FILE_USN_DATA Reply."""
    opened = share.open("file", c.FILE_CREATE)
    for input_ in (b"", struct.pack("<HH", 2, 3)):
        refused(
            S.INVALID_DEVICE_REQUEST,
            fs_control, share.context, opened, FSCTL_READ_FILE_USN_DATA, memoryview(input_), 4096,
        )  # fmt: skip


@pytest.mark.parametrize("info_class", QUERIED)
def test_every_class_is_answered_and_wants_room(share, refused, info_class):
    opened = share.open("file name", c.FILE_CREATE)
    whole = query_file(share.context, opened, info_class, 65536)
    assert whole.status is S.SUCCESS
    assert len(whole.data) >= FILE_MINIMUM[info_class]
    refused(S.INFO_LENGTH_MISMATCH, query_file, share.context, opened, info_class, FILE_MINIMUM[info_class] - 1)
    if len(whole.data) > FILE_MINIMUM[info_class]:
        cut = query_file(share.context, opened, info_class, FILE_MINIMUM[info_class])
        assert cut == (S.BUFFER_OVERFLOW, whole.data[: FILE_MINIMUM[info_class]])


@pytest.mark.parametrize("info_class", sorted(set(FILESYSTEM_MINIMUM) - {c.FILE_FS_POSIX_INFORMATION}))
def test_every_volume_class_is_answered(share, refused, info_class):
    opened = share.open("")
    assert query_filesystem(share.context, opened, info_class, 65536).status is S.SUCCESS
    least = FILESYSTEM_MINIMUM[info_class]
    refused(S.INFO_LENGTH_MISMATCH, query_filesystem, share.context, opened, info_class, least - 1)
    assert len(query_filesystem(share.context, opened, info_class, least).data) <= least


def test_unknown_classes(share, refused):
    opened = share.open("")
    refused(S.INVALID_INFO_CLASS, query_file, share.context, opened, 200, 100)
    refused(S.INVALID_INFO_CLASS, query_filesystem, share.context, opened, 200, 100)
    refused(S.INVALID_INFO_CLASS, share.set, opened, 200, bytes(100))
    refused(S.INVALID_INFO_CLASS, set_filesystem, share.context, opened, 200, memoryview(b""))


@pytest.mark.parametrize(
    "info_class",
    [
        c.FILE_BASIC_INFORMATION,
        c.FILE_ALL_INFORMATION,
        c.FILE_NETWORK_OPEN_INFORMATION,
        c.FILE_ATTRIBUTE_TAG_INFORMATION,
    ],
)
def test_attributes_need_their_right(share, refused, info_class):
    share.make("file")
    opened = share.open("file", desired_access=c.FILE_READ_DATA)
    refused(S.ACCESS_DENIED, share.query, opened, info_class)


@pytest.mark.parametrize(
    ("info_class", "value"),
    [
        (c.FILE_BASIC_INFORMATION, bytes(40)),
        (c.FILE_END_OF_FILE_INFORMATION, bytes(8)),
        (c.FILE_ALLOCATION_INFORMATION, bytes(8)),
        (c.FILE_FULL_EA_INFORMATION, b""),
        (c.FILE_DISPOSITION_INFORMATION, b"\1"),
        (c.FILE_RENAME_INFORMATION, struct.pack("<IIQI", 0, 0, 0, 2) + b"x\0"),
    ],
)
def test_setting_needs_its_right_and_its_bytes(share, refused, info_class, value):
    share.make("file")
    looks = share.open("file", desired_access=c.FILE_READ_ATTRIBUTES)
    refused(S.ACCESS_DENIED, share.set, looks, info_class, value)
    if value:
        refused(S.INFO_LENGTH_MISMATCH, share.set, share.open("file"), info_class, value[:-1])


def times(share, opened):
    return struct.unpack_from("<4q", share.query(opened, c.FILE_BASIC_INFORMATION))


@pytest.mark.parametrize("seconds", [-1, -2, 0, 1, -(10**9), 4294967295, 15032385535])
def test_times_are_kept(share, packed, seconds):
    opened = share.open("file", c.FILE_CREATE)
    stamp = to_filetime(seconds * 10**9)
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(stamp, stamp, stamp, stamp))
    share.close(opened)
    assert times(share, share.open("file"))[:3] == (stamp, stamp, stamp)


def test_zero_leaves_times_and_attributes_alone(share, packed):
    opened = share.open("file", c.FILE_CREATE, file_attributes=c.FILE_ATTRIBUTE_HIDDEN)
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(write=YEAR_2001))
    before = share.query(opened, c.FILE_BASIC_INFORMATION)
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic())
    assert share.query(opened, c.FILE_BASIC_INFORMATION) == before


def test_a_set_write_time_stays_while_its_open_writes(share, packed):
    opened = share.open("file", c.FILE_CREATE)
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(write=YEAR_2001))
    share.write(opened, b"data")
    assert times(share, opened)[2] == YEAR_2001
    share.set(opened, c.FILE_END_OF_FILE_INFORMATION, (100).to_bytes(8, "little"))
    assert share.close(opened, True).last_write_time == YEAR_2001
    again = share.open("file")
    share.write(again, b"more")
    assert share.close(again, True).last_write_time > YEAR_2001


def test_frozen_times_thaw(share, packed):
    opened = share.open("file", c.FILE_CREATE)
    other = share.open("file")
    share.set(other, c.FILE_BASIC_INFORMATION, packed.basic(write=YEAR_2001))
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(access=-1, write=-1))
    share.write(opened, b"data")
    assert times(share, opened)[2] == YEAR_2001
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(access=-2, write=-2))
    share.write(opened, b"data")
    assert share.close(opened, True).last_write_time > YEAR_2001


def test_attributes_are_set_and_cleared(share, packed, refused):
    opened = share.open("file", c.FILE_CREATE)
    created = times(share, opened)[0]
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(attributes=c.FILE_ATTRIBUTE_SYSTEM))
    assert share.query(opened, c.FILE_BASIC_INFORMATION)[32] == c.FILE_ATTRIBUTE_SYSTEM
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(attributes=c.FILE_ATTRIBUTE_NORMAL))
    assert share.query(opened, c.FILE_BASIC_INFORMATION)[32] == c.FILE_ATTRIBUTE_NORMAL
    assert times(share, opened)[0] == created
    refused(
        S.INVALID_PARAMETER,
        share.set,
        opened,
        c.FILE_BASIC_INFORMATION,
        packed.basic(attributes=c.FILE_ATTRIBUTE_DIRECTORY),
    )
    refused(
        S.INVALID_PARAMETER,
        share.set,
        share.open(""),
        c.FILE_BASIC_INFORMATION,
        packed.basic(attributes=c.FILE_ATTRIBUTE_TEMPORARY),
    )


def size(value):
    return value.to_bytes(8, "little", signed=True)


def test_end_of_file_and_allocation(share, refused):
    opened = share.open("file", c.FILE_CREATE)
    share.set(opened, c.FILE_END_OF_FILE_INFORMATION, size(1000))
    assert (share.path / "file").stat().st_size == 1000
    share.set(opened, c.FILE_ALLOCATION_INFORMATION, size(100_000))
    allocation, end = struct.unpack_from("<QQ", share.query(opened, c.FILE_STANDARD_INFORMATION))
    assert allocation >= 100_000
    assert end == 1000
    share.set(opened, c.FILE_ALLOCATION_INFORMATION, size(10))
    assert (share.path / "file").stat().st_size == 10
    refused(S.INVALID_PARAMETER, share.set, opened, c.FILE_END_OF_FILE_INFORMATION, size(-1))
    refused(S.INVALID_PARAMETER, share.set, share.open(""), c.FILE_END_OF_FILE_INFORMATION, size(0))


def test_position_and_mode(share, refused):
    opened = share.open("file", c.FILE_CREATE, options=c.FILE_SYNCHRONOUS_IO_NONALERT)
    share.set(opened, c.FILE_POSITION_INFORMATION, size(77))
    assert share.query(opened, c.FILE_POSITION_INFORMATION) == size(77)
    share.set(opened, c.FILE_MODE_INFORMATION, c.FILE_WRITE_THROUGH.to_bytes(4, "little"))
    mode = int.from_bytes(share.query(opened, c.FILE_MODE_INFORMATION), "little")
    assert mode == c.FILE_WRITE_THROUGH | c.FILE_SYNCHRONOUS_IO_NONALERT
    refused(S.INVALID_PARAMETER, share.set, opened, c.FILE_MODE_INFORMATION, b"\1\0\0\0")


def ea(name, value):
    return struct.pack("<IBBH", 0, 0, len(name), len(value)) + name + b"\0" + value


def test_extended_attributes(share, refused):
    opened = share.open("file", c.FILE_CREATE)
    refused(S.NO_EAS_ON_FILE, share.query, opened, c.FILE_FULL_EA_INFORMATION)
    share.set(opened, c.FILE_FULL_EA_INFORMATION, ea(b"Name", b"value"))
    assert os.getxattr(share.path / "file", "user.Name") == b"value"
    share.set(opened, c.FILE_FULL_EA_INFORMATION, ea(b"NAME", b"other"))
    assert share.query(opened, c.FILE_FULL_EA_INFORMATION) == ea(b"Name", b"other")
    assert share.query(opened, c.FILE_EA_INFORMATION) != bytes(4)
    asked = struct.pack("<IB", 0, 4) + b"name\0"
    assert share.query(opened, c.FILE_FULL_EA_INFORMATION, input_=asked) == ea(b"Name", b"other")
    refused(S.BUFFER_TOO_SMALL, share.query, opened, c.FILE_FULL_EA_INFORMATION, 4)
    share.set(opened, c.FILE_FULL_EA_INFORMATION, ea(b"name", b""))
    refused(S.NO_EAS_ON_FILE, share.query, opened, c.FILE_FULL_EA_INFORMATION)
    refused(S.ACCESS_DENIED, share.set, opened, c.FILE_FULL_EA_INFORMATION, ea(b"DOSATTRIB", b"x"))


def test_streams(share):
    opened = share.open("file", c.FILE_CREATE)
    assert "::$DATA".encode("utf-16-le") in share.query(opened, c.FILE_STREAM_INFORMATION)
    assert share.query(share.open(""), c.FILE_STREAM_INFORMATION) == b""


def test_there_are_no_short_names(share, refused):
    name = share.query(share.open("A long name", c.FILE_CREATE), c.FILE_ALTERNATE_NAME_INFORMATION)
    assert name[4:].decode("utf-16-le") == "A long name"
    refused(S.OBJECT_NAME_NOT_FOUND, share.query, share.open(""), c.FILE_ALTERNATE_NAME_INFORMATION)


def test_volume_identity_is_the_same_at_every_start(make_share, share):
    from lamina.ntfsa.security.identities import UnixIdentities
    from lamina.ntfsa.volume import NtVolume

    again = NtVolume("test", share.chain, share.registry, UnixIdentities(), VolumeSettings())
    assert (again.serial, again.guid) == (share.volume.serial, share.volume.guid)
    again.close()


def test_volume_flags_are_what_the_chain_can_do(make_share):
    share = make_share(settings=VolumeSettings(read_only=True, label="Label"))
    packed = query_filesystem(share.context, share.open("", desired_access=1), c.FILE_FS_ATTRIBUTE_INFORMATION, 100)
    flags = int.from_bytes(packed.data[:4], "little")
    assert flags & c.FILE_READ_ONLY_VOLUME
    assert not flags & c.FILE_NAMED_STREAMS
    volume = query_filesystem(share.context, share.open("", desired_access=1), c.FILE_FS_VOLUME_INFORMATION, 100)
    assert volume.data[18:].decode("utf-16-le") == "Label"


def test_control_codes(share, refused):
    one, two = share.open("file", c.FILE_CREATE), share.open("")

    def run(opened, code, input_=b"", room=100):
        return fs_control(share.context, opened, code, memoryview(input_), room).data

    identity = run(one, c.FSCTL_CREATE_OR_GET_OBJECT_ID)
    assert len(identity) == 64
    assert run(one, c.FSCTL_GET_OBJECT_ID) == identity != run(two, c.FSCTL_GET_OBJECT_ID)
    assert run(one, c.FSCTL_GET_COMPRESSION) == b"\0\0"
    refused(S.NOT_SUPPORTED, run, one, c.FSCTL_SET_COMPRESSION, b"\1\0")
    refused(S.BUFFER_TOO_SMALL, run, one, c.FSCTL_GET_OBJECT_ID, b"", 10)
    refused(S.INVALID_DEVICE_REQUEST, run, one, 0x12345678)


@pytest.mark.parametrize(
    ("size", "allocated", "reserved", "shown"),
    [
        (0, 0, 0, 0),
        (0, 4096, 0, 0),  # the block of the extended attributes
        (0, 4096, 4096, 4096),
        (0, 8192, 4096, 4096),
        (10, 0, 0, 4096),  # not allocated yet
        (10, 1024, 0, 1024),
        (10, 4096, 0, 4096),
        (10, 8192, 0, 4096),
        (10, 65536, 0, 65536),  # somebody else has reserved it
        (5000, 4096, 0, 8192),
        (5000, 8192, 100, 8192),
    ],
)
def test_the_space_that_data_takes(size: int, allocated: int, reserved: int, shown: int) -> None:
    stat = FileStat(1, 2, 0o100644, 1, 0, 0, size, allocated, 0, 0, 0, None)
    assert allocation_size(stat, 0, reserved) == shown
    assert allocation_size(stat, c.FILE_ATTRIBUTE_SPARSE_FILE, reserved) == allocated
    assert allocation_size(stat._replace(mode=0o040755), 0, reserved) == 0


def test_what_was_reserved_is_shown_and_an_emptied_file_takes_nothing(share) -> None:
    share.make("file", b"content")
    os.setxattr(share.path / "file", "user.large", bytes(3000))
    opened = share.open("file")
    shown = []
    for size in (0, 4096, 1_000_000, 0):
        share.set(opened, c.FILE_ALLOCATION_INFORMATION, size.to_bytes(8, "little"))
        shown.append(struct.unpack_from("<Q", share.query(opened, c.FILE_STANDARD_INFORMATION))[0])
    assert shown == [0, 4096, 1_003_520, 0]
