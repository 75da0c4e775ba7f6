"""Compression, integrity, shared blocks and object ids."""

import errno
import struct

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.content.clone import duplicate_extents
from lamina.ntfsa.content.range_copy import CopyRange
from lamina.ntfsa.context import NtContext
from lamina.ntfsa.fsctl.fs_control import fs_control
from lamina.ntfsa.locks.lock import LockElement, lock
from lamina.ntfsa.metadata.query_filesystem import filesystem_attributes
from lamina.ntfsa.security.access_check import SE_RESTORE
from lamina.ntfsa.status import NtStatus as S
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.testing import make_token

BLOCK = 4096
EXCLUSIVE = c.SMB2_LOCKFLAG_EXCLUSIVE_LOCK | c.SMB2_LOCKFLAG_FAIL_IMMEDIATELY


class Btrfs(VfsModule):
    """Gives a share what only some file systems have: compression, and blocks that are shared (by copying them)."""

    def __init__(self):
        super().__init__()
        self._compressed = set()

    def capabilities(self, below):
        return below | Capability.REFLINK | Capability.COMPRESSION

    def clone_range(self, token, source, source_offset, target, target_offset, length):
        if length % BLOCK:
            raise OSError(errno.EINVAL, "not whole blocks")
        self.next.copy_range(token, source, source_offset, target, target_offset, length)

    def set_compressed(self, token, handle, compressed):
        number = self.next.fstat(token, handle).ino
        (self._compressed.add if compressed else self._compressed.discard)(number)

    def fstat(self, token, handle):
        stat = self.next.fstat(token, handle)
        return stat._replace(compressed=stat.ino in self._compressed)


@pytest.fixture
def btrfs(make_share):
    return make_share(Btrfs(), DosAttributesModule(), PosixBackend())


def control(share, opened, code, input_=b"", room=1024, context=None):
    return fs_control(context or share.context, opened, code, memoryview(input_), room)


def number(value):
    return struct.pack("<H", value)


def attributes(share, opened):
    return struct.unpack_from("<I", share.query(opened, c.FILE_BASIC_INFORMATION), 32)[0]


def test_compression_is_switched_and_shown(btrfs):
    assert filesystem_attributes(btrfs.volume) & c.FILE_FILE_COMPRESSION
    opened = btrfs.open("file", c.FILE_CREATE, file_attributes=c.FILE_ATTRIBUTE_COMPRESSED)
    for asked, told in ((0, 0), (1, 2), (2, 2), (0, 0)):
        assert control(btrfs, opened, c.FSCTL_SET_COMPRESSION, number(asked)) == (S.SUCCESS, b"")
        assert control(btrfs, opened, c.FSCTL_GET_COMPRESSION) == (S.SUCCESS, number(told))
        assert bool(attributes(btrfs, opened) & c.FILE_ATTRIBUTE_COMPRESSED) is bool(told)


def test_new_files_need_not_be_compressed(make_share):
    class Inherits(Btrfs):
        """All is compressed that is not said otherwise."""

        def fstat(self, token, handle):
            stat = self.next.fstat(token, handle)
            return stat._replace(compressed=stat.ino not in self._compressed)

        def set_compressed(self, token, handle, compressed):
            self._compressed.add(self.next.fstat(token, handle).ino)

    share = make_share(Inherits(), DosAttributesModule(), PosixBackend())
    for kind in (0, c.FILE_DIRECTORY_FILE):
        for option in (0, c.FILE_NO_COMPRESSION):
            opened = share.open(f"{kind}{option}", c.FILE_CREATE, options=kind | option)
            assert bool(attributes(share, opened) & c.FILE_ATTRIBUTE_COMPRESSED) is (not option)


def test_compression_that_cannot_be(share, btrfs, refused):
    assert not filesystem_attributes(share.volume) & c.FILE_FILE_COMPRESSION
    plain = share.open("file", c.FILE_CREATE)
    assert control(share, plain, c.FSCTL_SET_COMPRESSION, number(0)) == (S.SUCCESS, b"")
    refused(S.NOT_SUPPORTED, control, share, plain, c.FSCTL_SET_COMPRESSION, number(1))
    opened = btrfs.open("file", c.FILE_CREATE)
    refused(S.INVALID_PARAMETER, control, btrfs, opened, c.FSCTL_SET_COMPRESSION, number(3))
    refused(S.INVALID_PARAMETER, control, btrfs, opened, c.FSCTL_SET_COMPRESSION, b"\0")
    refused(S.INVALID_PARAMETER, control, btrfs, opened, c.FSCTL_GET_COMPRESSION, b"", 1)
    reader = btrfs.open("file", desired_access=c.FILE_READ_DATA | c.FILE_WRITE_ATTRIBUTES)
    refused(S.ACCESS_DENIED, control, btrfs, reader, c.FSCTL_SET_COMPRESSION, number(0))


def test_there_are_no_checksums(share, refused):
    opened = share.open("file", c.FILE_CREATE)
    told = control(share, opened, c.FSCTL_GET_INTEGRITY_INFORMATION)
    assert told == (S.SUCCESS, struct.pack("<HHIII", 0, 0, 0, 0, 4096))
    set_ = c.FSCTL_SET_INTEGRITY_INFORMATION
    for algorithm in (0, 0xFFFF):
        assert control(share, opened, set_, struct.pack("<HHI", algorithm, 0, 1)) == (S.SUCCESS, b"")
    refused(S.INVALID_PARAMETER, control, share, opened, set_, struct.pack("<HHI", 2, 0, 0))
    refused(S.INVALID_PARAMETER, control, share, opened, set_, bytes(7))
    reader = share.open("file", desired_access=c.FILE_READ_DATA)
    refused(S.ACCESS_DENIED, control, share, reader, set_, bytes(8))


def two(share, blocks=4):
    share.make("source", b"s" * BLOCK * blocks)
    share.make("target", b"t" * BLOCK * blocks)
    return share.open("source"), share.open("target")


def test_blocks_are_shared(btrfs):
    assert filesystem_attributes(btrfs.volume) & c.FILE_SUPPORTS_BLOCK_REFCOUNTING
    source, target = two(btrfs)
    duplicate_extents(btrfs.context, source, target, CopyRange(0, BLOCK, 2 * BLOCK))
    duplicate_extents(btrfs.context, source, target, CopyRange(0, 0, 0))
    assert btrfs.read(target, 99999) == b"t" * BLOCK + b"s" * 2 * BLOCK + b"t" * BLOCK
    duplicate_extents(btrfs.context, target, target, CopyRange(BLOCK, 0, BLOCK))
    assert btrfs.read(target, BLOCK) == b"s" * BLOCK


@pytest.mark.parametrize(
    ("part", "status"),
    [
        ((1, 0, BLOCK), S.INVALID_PARAMETER),
        ((0, 1, BLOCK), S.INVALID_PARAMETER),
        ((0, 0, 100), S.INVALID_PARAMETER),
        ((-BLOCK, 0, BLOCK), S.INVALID_PARAMETER),
        ((0, 0, -BLOCK), S.INVALID_PARAMETER),
        ((0, 0, 5 * BLOCK), S.NOT_SUPPORTED),
        ((0, 4 * BLOCK, BLOCK), S.NOT_SUPPORTED),
    ],
)
def test_ranges_that_cannot_be_shared(btrfs, refused, part, status):
    source, target = two(btrfs)
    refused(status, duplicate_extents, btrfs.context, source, target, CopyRange(*part))
    assert btrfs.read(target, 99999) == b"t" * BLOCK * 4


def test_files_that_cannot_share_blocks(btrfs, share, make_share, refused):
    part = CopyRange(0, 0, BLOCK)
    source, target = two(btrfs)
    clone = duplicate_extents
    refused(S.NOT_SUPPORTED, clone, btrfs.context, target, target, CopyRange(0, BLOCK, 2 * BLOCK))
    refused(S.INVALID_DEVICE_REQUEST, clone, share.context, *two(share), part)
    elsewhere, _ = two(make_share(Btrfs(), DosAttributesModule(), PosixBackend()))
    refused(S.NOT_SAME_DEVICE, clone, btrfs.context, elsewhere, target, part)
    refused(S.INVALID_PARAMETER, clone, btrfs.context, btrfs.open(""), target, part)
    reader = btrfs.open("target", desired_access=c.FILE_READ_DATA)
    writer = btrfs.open("source", desired_access=c.FILE_WRITE_DATA)
    refused(S.ACCESS_DENIED, clone, btrfs.context, source, reader, part)
    refused(S.ACCESS_DENIED, clone, btrfs.context, writer, target, part)
    control(btrfs, source, c.FSCTL_SET_SPARSE)
    refused(S.NOT_SUPPORTED, clone, btrfs.context, source, target, part)
    control(btrfs, target, c.FSCTL_SET_SPARSE)
    clone(btrfs.context, source, target, part)


@pytest.mark.parametrize("which", ["source", "target"])
def test_locks_are_not_in_the_way_of_sharing(btrfs, which):
    source, target = two(btrfs)
    lock(btrfs.context, btrfs.open(which), [LockElement(0, 2 * BLOCK, EXCLUSIVE)])
    duplicate_extents(btrfs.context, source, target, CopyRange(0, BLOCK, BLOCK))


def test_an_object_id_is_there_without_being_stored(share):
    share.make("file")
    share.make("other")
    opened, other = share.open("file"), share.open("other")
    first = control(share, opened, c.FSCTL_CREATE_OR_GET_OBJECT_ID).data
    assert len(first) == 64
    assert control(share, share.open("file"), c.FSCTL_GET_OBJECT_ID).data == first
    assert control(share, other, c.FSCTL_GET_OBJECT_ID).data[:16] != first[:16]


def test_an_object_id_is_set_by_who_restores_files(share, refused):
    opened = share.open("file", c.FILE_CREATE)
    before = control(share, opened, c.FSCTL_GET_OBJECT_ID).data
    wanted = bytes(range(64))
    refused(S.ACCESS_DENIED, control, share, opened, c.FSCTL_SET_OBJECT_ID, wanted)
    restorer = NtContext(make_token(0, 0, privileges=[SE_RESTORE]))
    refused(S.INVALID_PARAMETER, control, share, opened, c.FSCTL_SET_OBJECT_ID, wanted[:-1], 0, restorer)
    control(share, opened, c.FSCTL_SET_OBJECT_ID, wanted, 0, restorer)
    assert control(share, opened, c.FSCTL_GET_OBJECT_ID).data == wanted
    refused(S.OBJECT_NAME_COLLISION, control, share, opened, c.FSCTL_SET_OBJECT_ID, before, 0, restorer)
    control(share, opened, c.FSCTL_SET_OBJECT_ID_EXTENDED, bytes(48))
    assert control(share, opened, c.FSCTL_GET_OBJECT_ID).data == wanted[:16] + bytes(48)
    refused(S.INVALID_PARAMETER, control, share, opened, c.FSCTL_SET_OBJECT_ID_EXTENDED, bytes(47))
    for _ in range(2):
        control(share, opened, c.FSCTL_DELETE_OBJECT_ID)
        assert control(share, opened, c.FSCTL_GET_OBJECT_ID).data == before


def test_object_ids_need_access_and_room(share, refused):
    share.make("file")
    reader = share.open("file", desired_access=c.FILE_READ_DATA)
    for code, input_ in ((c.FSCTL_DELETE_OBJECT_ID, b""), (c.FSCTL_SET_OBJECT_ID_EXTENDED, bytes(48))):
        refused(S.ACCESS_DENIED, control, share, reader, code, input_)
    refused(S.BUFFER_TOO_SMALL, control, share, reader, c.FSCTL_GET_OBJECT_ID, b"", 63)
