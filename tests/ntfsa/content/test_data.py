"""Reading, writing, flushing, and byte-range locks in their way."""

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.content.data import flush, write
from lamina.ntfsa.locks.lock import LockElement, lock
from lamina.ntfsa.status import NtStatus as S

EXCLUSIVE = c.SMB2_LOCKFLAG_EXCLUSIVE_LOCK | c.SMB2_LOCKFLAG_FAIL_IMMEDIATELY
SHARED = c.SMB2_LOCKFLAG_SHARED_LOCK | c.SMB2_LOCKFLAG_FAIL_IMMEDIATELY


def test_what_is_written_is_read(share):
    opened = share.open("file", c.FILE_CREATE)
    assert share.write(opened, b"hello world") == 11
    assert share.read(opened, 5, 6) == b"world"
    assert share.read(opened, 100, 6) == b"world"
    assert share.query(opened, c.FILE_POSITION_INFORMATION) == (11).to_bytes(8, "little")


def test_the_end_of_the_file(share, refused):
    opened = share.open("file", c.FILE_CREATE)
    refused(S.END_OF_FILE, share.read, opened, 1)
    assert share.read(opened, 0) == b""
    share.write(opened, b"x", 10)
    assert share.read(opened, 20) == bytes(10) + b"x"
    refused(S.END_OF_FILE, share.read, opened, 1, 11)


def test_appending(share):
    opened = share.open("file", c.FILE_CREATE)
    share.write(opened, b"one")
    only = share.open("file", desired_access=c.FILE_APPEND_DATA)
    share.write(only, b"three", 0)
    assert share.read(opened, 100) == b"onethree"


@pytest.mark.parametrize("offset", [0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF])
def test_offsets_beyond_what_a_file_can_have(share, refused, offset):
    opened = share.open("file", c.FILE_CREATE)
    refused(S.INVALID_PARAMETER, share.read, opened, 1, offset)
    refused(S.INVALID_PARAMETER, share.write, opened, b"x", offset)


def test_access_is_needed(share, refused):
    share.make("file", b"x")
    reads = share.open("file", desired_access=c.FILE_READ_DATA)
    writes = share.open("file", desired_access=c.FILE_WRITE_DATA)
    looks = share.open("file", desired_access=c.FILE_READ_ATTRIBUTES)
    refused(S.ACCESS_DENIED, share.write, reads, b"x")
    refused(S.ACCESS_DENIED, flush, share.context, reads)
    refused(S.ACCESS_DENIED, share.read, writes, 1)
    refused(S.ACCESS_DENIED, share.read, looks, 1)
    flush(share.context, writes)


def test_a_directory_is_not_read(share, refused):
    refused(S.INVALID_DEVICE_REQUEST, share.read, share.open(""), 1)
    refused(S.INVALID_DEVICE_REQUEST, share.write, share.open(""), b"x")


@pytest.mark.parametrize(
    ("offset", "length", "fits"), [(0, 512, True), (512, 1024, True), (1, 512, False), (0, 5, False)]
)
def test_unbuffered_transfers_are_whole_sectors(share, refused, offset, length, fits):
    opened = share.open("file", c.FILE_CREATE, options=c.FILE_NO_INTERMEDIATE_BUFFERING)
    share.write(opened, bytes(2048))
    if fits:
        assert share.write(opened, bytes(length), offset) == len(share.read(opened, length, offset)) == length
    else:
        refused(S.INVALID_PARAMETER, share.write, opened, bytes(length), offset)
        refused(S.INVALID_PARAMETER, share.read, opened, length, offset)


def test_write_through(share):
    opened = share.open("file", c.FILE_CREATE, options=c.FILE_WRITE_THROUGH)
    assert write(share.context, opened, memoryview(b"x"), 0, True) == 1


def test_locks_stand_in_the_way_of_others(share, refused):
    one = share.open("file", c.FILE_CREATE)
    share.write(one, bytes(100))
    two = share.open("file")
    lock(share.context, one, [LockElement(0, 10, EXCLUSIVE)])
    lock(share.context, one, [LockElement(20, 10, SHARED)])
    refused(S.FILE_LOCK_CONFLICT, share.read, two, 5)
    refused(S.FILE_LOCK_CONFLICT, share.write, two, b"x", 9)
    refused(S.FILE_LOCK_CONFLICT, share.write, two, b"x", 20)
    refused(S.FILE_LOCK_CONFLICT, share.write, one, b"x", 20)
    assert share.read(two, 10, 20) == bytes(10)
    assert share.write(one, b"x") == 1
    assert share.write(two, b"x", 10) == 1
    share.close(one)
    assert share.write(two, b"x") == 1
