"""Sparse files: the attribute, zeroing, what is allocated, trimming, regions."""

import errno
import struct

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.fsctl.fs_control import fs_control
from lamina.ntfsa.locks.lock import LockElement, lock
from lamina.ntfsa.metadata.query_filesystem import filesystem_attributes
from lamina.ntfsa.status import NtStatus as S
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.posix.backend import PosixBackend

BLOCK = 65536
EXCLUSIVE = c.SMB2_LOCKFLAG_EXCLUSIVE_LOCK | c.SMB2_LOCKFLAG_FAIL_IMMEDIATELY


def control(share, opened, code, input_=b"", room=1024):
    return fs_control(share.context, opened, code, memoryview(input_), room)


def zero(share, opened, start, end):
    return control(share, opened, c.FSCTL_SET_ZERO_DATA, struct.pack("<qq", start, end))


def allocated(share, opened, start=0, length=1 << 40, room=1024):
    status, output = control(share, opened, c.FSCTL_QUERY_ALLOCATED_RANGES, struct.pack("<qq", start, length), room)
    return status, list(struct.iter_unpack("<qq", output))


def attributes(share, opened):
    return struct.unpack_from("<I", share.query(opened, c.FILE_BASIC_INFORMATION), 32)[0]


class NoRanges(VfsModule):
    """A file system that knows nothing of ranges."""

    def zero_range(self, token, handle, offset, length, deallocate):
        raise OSError(errno.ENOTSUP, "no")

    def allocated_ranges(self, token, handle, offset, length, limit):
        raise OSError(errno.ENOTSUP, "no")


@pytest.mark.parametrize(
    ("input_", "sparse"), [(b"", True), (b"\1", True), (b"\xff" * 100, True), (b"\0", False), (bytes(100), False)]
)
def test_the_attribute_is_set_and_taken_away(share, input_, sparse):
    opened = share.open("file", c.FILE_CREATE)
    control(share, opened, c.FSCTL_SET_SPARSE, b"" if not sparse else b"\0")
    for _ in range(2):
        assert control(share, opened, c.FSCTL_SET_SPARSE, input_) == (S.SUCCESS, b"")
        assert bool(attributes(share, opened) & c.FILE_ATTRIBUTE_SPARSE_FILE) is sparse
    assert attributes(share, opened) & c.FILE_ATTRIBUTE_ARCHIVE


def test_clients_set_it_by_no_other_way(share, packed):
    opened = share.open("file", c.FILE_CREATE, file_attributes=c.FILE_ATTRIBUTE_SPARSE_FILE)
    assert not attributes(share, opened) & c.FILE_ATTRIBUTE_SPARSE_FILE
    control(share, opened, c.FSCTL_SET_SPARSE)
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(attributes=c.FILE_ATTRIBUTE_HIDDEN))
    assert attributes(share, opened) == c.FILE_ATTRIBUTE_HIDDEN | c.FILE_ATTRIBUTE_SPARSE_FILE


def test_what_a_directory_cannot_be(share, refused):
    directory = share.open("directory", c.FILE_CREATE, options=c.FILE_DIRECTORY_FILE)
    for code in (
        c.FSCTL_SET_SPARSE,
        c.FSCTL_SET_ZERO_DATA,
        c.FSCTL_QUERY_ALLOCATED_RANGES,
        c.FSCTL_FILE_LEVEL_TRIM,
        c.FSCTL_QUERY_FILE_REGIONS,
    ):
        refused(S.INVALID_PARAMETER, control, share, directory, code, bytes(24))


def test_where_the_attribute_cannot_be_kept(make_share, refused):
    share = make_share(MemoryBackend())
    refused(S.INVALID_DEVICE_REQUEST, control, share, share.open("file", c.FILE_CREATE), c.FSCTL_SET_SPARSE)


def test_access(share, refused):
    share.make("file", b"x")
    reads = share.open("file", desired_access=c.FILE_READ_DATA)
    writes = share.open("file", desired_access=c.FILE_WRITE_DATA)
    describes = share.open("file", desired_access=c.FILE_WRITE_ATTRIBUTES)
    control(share, describes, c.FSCTL_SET_SPARSE)
    refused(S.ACCESS_DENIED, control, share, reads, c.FSCTL_SET_SPARSE)
    for opened in (reads, describes):
        refused(S.ACCESS_DENIED, zero, share, opened, 0, 1)
        refused(S.ACCESS_DENIED, control, share, opened, c.FSCTL_FILE_LEVEL_TRIM, bytes(24))
    for opened in (writes, describes):
        refused(S.ACCESS_DENIED, allocated, share, opened)
        refused(S.ACCESS_DENIED, control, share, opened, c.FSCTL_QUERY_FILE_REGIONS)


@pytest.mark.parametrize("modules", [(), (NoRanges(), DosAttributesModule(), PosixBackend())], ids=["holes", "none"])
@pytest.mark.parametrize("sparse", [False, True])
def test_bytes_become_zeros_and_the_size_stays(make_share, sparse, modules):
    share = make_share(*modules)
    opened = share.open("file", c.FILE_CREATE)
    share.write(opened, b"0123456789")
    if sparse:
        control(share, opened, c.FSCTL_SET_SPARSE)
    zero(share, opened, 3, 5)
    zero(share, opened, 8, 1 << 62)
    zero(share, opened, 100, 200)
    zero(share, opened, 1, 1)
    assert share.read(opened, 100) == b"012\0\x00567\0\0"


def test_ranges_that_are_none(share, refused):
    opened = share.open("file", c.FILE_CREATE)
    refused(S.INVALID_PARAMETER, zero, share, opened, 5, 4)
    refused(S.INVALID_PARAMETER, zero, share, opened, -1, 4)
    refused(S.INVALID_PARAMETER, control, share, opened, c.FSCTL_SET_ZERO_DATA, bytes(15))
    refused(S.INVALID_PARAMETER, control, share, opened, c.FSCTL_QUERY_ALLOCATED_RANGES, bytes(15))
    for start, length in ((-1, 5), (0, -1), (5, (1 << 63) - 1)):
        refused(S.INVALID_PARAMETER, allocated, share, opened, start, length)


def test_locks_are_in_the_way_of_zeros(share, refused):
    opened, other = share.open("file", c.FILE_CREATE), share.open("file")
    share.write(opened, bytes(100))
    lock(share.context, other, [LockElement(50, 1, EXCLUSIVE)])
    zero(share, opened, 0, 50)
    refused(S.FILE_LOCK_CONFLICT, zero, share, opened, 0, 51)
    assert allocated(share, opened) == (S.SUCCESS, [(0, 100)])


def test_what_is_allocated(share, refused):
    opened = share.open("file", c.FILE_CREATE)
    assert allocated(share, opened, room=0) == (S.SUCCESS, [])
    for number in (0, 2, 4):
        share.write(opened, b"x" * BLOCK, number * BLOCK)
    assert allocated(share, opened) == (S.SUCCESS, [(0, 5 * BLOCK)])
    assert allocated(share, opened, 10, 20) == (S.SUCCESS, [(10, 20)])
    control(share, opened, c.FSCTL_SET_SPARSE)
    pieces = [(0, BLOCK), (2 * BLOCK, BLOCK), (4 * BLOCK, BLOCK)]
    assert allocated(share, opened) == (S.SUCCESS, pieces)
    assert allocated(share, opened, room=47) == (S.BUFFER_OVERFLOW, pieces[:2])
    assert allocated(share, opened, BLOCK, BLOCK, 0) == (S.SUCCESS, [])
    refused(S.BUFFER_TOO_SMALL, allocated, share, opened, room=15)
    zero(share, opened, 0, BLOCK)
    assert allocated(share, opened) == (S.SUCCESS, pieces[1:])


def test_a_file_system_that_knows_no_holes(make_share):
    share = make_share(NoRanges(), DosAttributesModule(), PosixBackend())
    opened = share.open("file", c.FILE_CREATE)
    share.write(opened, b"x", BLOCK)
    control(share, opened, c.FSCTL_SET_SPARSE)
    assert allocated(share, opened, 5, 10) == (S.SUCCESS, [(5, 10)])


def test_trimming_gives_whole_clusters_back(share):
    opened = share.open("file", c.FILE_CREATE)
    share.write(opened, b"x" * (4 * BLOCK))
    control(share, opened, c.FSCTL_SET_SPARSE)
    ranges = struct.pack("<IIqqqq", 0, 2, 100, BLOCK, 3 * BLOCK, BLOCK)
    assert control(share, opened, c.FSCTL_FILE_LEVEL_TRIM, ranges) == (S.SUCCESS, struct.pack("<I", 2))
    assert allocated(share, opened) == (S.SUCCESS, [(0, 4096), (BLOCK, 2 * BLOCK)])
    assert share.read(opened, 100) == b"x" * 100
    assert control(share, opened, c.FSCTL_FILE_LEVEL_TRIM, ranges, 0) == (S.SUCCESS, b"")


@pytest.mark.parametrize(
    "input_",
    [bytes(7), struct.pack("<IIqq", 1, 1, 0, 1), struct.pack("<II", 0, 0), struct.pack("<IIqq", 0, 2, 0, 1),
     struct.pack("<IIqq", 0, 1, -1, 1)],
    ids=["short", "key", "none", "missing", "negative"],
)  # fmt: skip
def test_trims_that_make_no_sense(share, refused, input_):
    refused(S.INVALID_PARAMETER, control, share, share.open("f", c.FILE_CREATE), c.FSCTL_FILE_LEVEL_TRIM, input_)


def test_regions_of_valid_data(share, refused):
    opened = share.open("file", c.FILE_CREATE)
    ask = c.FSCTL_QUERY_FILE_REGIONS
    assert control(share, opened, ask) == (S.SUCCESS, bytes(16))
    share.write(opened, bytes(100))
    head, region = struct.Struct("<IIII"), struct.Struct("<qqII")
    assert control(share, opened, ask)[1] == head.pack(0, 1, 1, 0) + region.pack(0, 100, 3, 0)
    asked = struct.pack("<qqI", 10, 50, 1)
    assert control(share, opened, ask, asked)[1] == head.pack(0, 1, 1, 0) + region.pack(10, 50, 1, 0)
    assert control(share, opened, ask, asked, 16) == (S.BUFFER_OVERFLOW, head.pack(0, 1, 0, 0))
    refused(S.BUFFER_TOO_SMALL, control, share, opened, ask, asked, 15)
    refused(S.INVALID_PARAMETER, control, share, opened, ask, struct.pack("<qqI", 10, 50, 4))
    refused(S.INVALID_PARAMETER, control, share, opened, ask, struct.pack("<qqI", -10, 50, 1))


def test_sparse_files_are_announced_where_they_can_be(share, make_share):
    assert Capability.SPARSE in share.volume.capabilities
    for one, expected in ((share, True), (make_share(MemoryBackend()), False)):
        assert bool(filesystem_attributes(one.volume) & c.FILE_SUPPORTS_SPARSE_FILES) is expected
