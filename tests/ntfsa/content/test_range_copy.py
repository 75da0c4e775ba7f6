"""Copies between open files: what is checked, how far they come, and who learns of them."""

import asyncio
import errno

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.ntfsa import constants as c
from lamina.ntfsa.content.range_copy import PIECE, CopyRange, copy_ranges, require_copyable
from lamina.ntfsa.locks.lock import LockElement, lock
from lamina.ntfsa.status import NtStatus as S
from lamina.vfs_modules.engine import Engine, RequestCancelled, Task
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.posix.backend import PosixBackend

EXCLUSIVE = c.SMB2_LOCKFLAG_EXCLUSIVE_LOCK | c.SMB2_LOCKFLAG_FAIL_IMMEDIATELY


class NoCopies(VfsModule):
    """A backend's copies are refused in one of the ways they can be."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def copy_range(self, token, source, source_offset, target, target_offset, length):
        raise OSError(self._number, "no")


class Inverted(VfsModule):
    """Keeps data inverted; it has not heard of copies."""

    def pread(self, token, handle, buffer, offset):
        count = self.next.pread(token, handle, buffer, offset)
        buffer[:count] = bytes(byte ^ 0xFF for byte in buffer[:count])
        return count

    def pwrite(self, token, handle, data, offset):
        return self.next.pwrite(token, handle, memoryview(bytes(byte ^ 0xFF for byte in data)), offset)


def two(share, content=b"0123456789", old=b""):
    share.make("source", content)
    share.make("target", old)
    return share.open("source"), share.open("target")


def test_ranges_are_copied_in_order(share):
    source, target = two(share)
    done = copy_ranges(share.context, source, target, [CopyRange(0, 0, 5), CopyRange(5, 3, 5)])
    assert done == (S.SUCCESS, 2, 0, 10)
    assert share.read(target, 100) == b"01256789"


def test_what_lies_beyond_the_source_stops_the_copy(share):
    source, target = two(share)
    done = copy_ranges(share.context, source, target, [CopyRange(0, 0, 10), CopyRange(5, 10, 6)])
    assert done == (S.INVALID_VIEW_SIZE, 1, 0, 10)
    assert share.read(target, 100) == b"0123456789"


def test_offsets_that_no_file_has(share):
    source, target = two(share)
    assert copy_ranges(share.context, source, target, [CopyRange(0, (1 << 63) - 5, 10)]).status is S.INVALID_PARAMETER


@pytest.mark.parametrize("which", ["source", "target"])
def test_locks_of_others_stop_the_copy(share, which):
    source, target = two(share)
    other = share.open(which)
    lock(share.context, other, [LockElement(5, 5, EXCLUSIVE)])
    done = copy_ranges(share.context, source, target, [CopyRange(0, 0, 5), CopyRange(5, 5, 5)])
    assert done == (S.FILE_LOCK_CONFLICT, 1, 0, 5)


def test_overlapping_ranges_of_one_file_are_copied_as_through_a_buffer(share):
    source, _ = two(share)
    assert copy_ranges(share.context, source, source, [CopyRange(0, 4, 6)]).status is S.SUCCESS
    assert share.read(source, 100) == b"0123012345"


def test_ranges_longer_than_a_piece(make_share):
    share = make_share(MemoryBackend())
    content = bytes(range(251)) * (3 * PIECE // 251)
    source, target = two(share, content)
    assert copy_ranges(share.context, source, target, [CopyRange(0, 7, len(content))]).total == len(content)
    assert share.read(target, len(content) + 100) == bytes(7) + content


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EINVAL])
def test_a_file_system_that_cannot_copy(make_share, number):
    share = make_share(NoCopies(number), DosAttributesModule(), PosixBackend())
    source, target = two(share)
    assert copy_ranges(share.context, source, target, [CopyRange(1, 0, 9)]) == (S.SUCCESS, 1, 0, 9)
    assert share.read(target, 100) == b"123456789"


def test_a_disk_that_is_full(make_share):
    share = make_share(NoCopies(errno.ENOSPC), DosAttributesModule(), PosixBackend())
    source, target = two(share)
    assert copy_ranges(share.context, source, target, [CopyRange(1, 0, 9)]) == (S.DISK_FULL, 0, 0, 0)


def test_a_module_that_alters_data_is_not_gone_around(make_share):
    share = make_share(Inverted(), DosAttributesModule(), PosixBackend())
    other = make_share(MemoryBackend())
    source, target = two(share)
    assert copy_ranges(share.context, source, target, [CopyRange(0, 0, 10)]).status is S.SUCCESS
    assert share.read(target, 100) == b"0123456789"
    far = other.open("file", c.FILE_CREATE)
    assert copy_ranges(share.context, source, far, [CopyRange(0, 0, 10)]).status is S.SUCCESS
    assert other.read(far, 100) == b"0123456789"


parts = st.builds(CopyRange, st.integers(0, 60), st.integers(0, 80), st.integers(1, 40))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(min_size=1, max_size=60), ranges=st.lists(parts, max_size=5), same=st.booleans())
def test_every_copy_is_as_if_each_range_went_through_a_buffer(share, content, ranges, same):
    source = share.open("from", c.FILE_OVERWRITE_IF)
    target = source if same else share.open("to", c.FILE_OVERWRITE_IF)
    share.write(source, content)
    before = bytearray(content)
    after = before if same else bytearray()
    total = complete = 0
    for part in ranges:
        if part.source_offset + part.length > len(before):
            break
        piece = before[part.source_offset : part.source_offset + part.length]
        after.extend(bytes(max(part.target_offset + part.length - len(after), 0)))
        after[part.target_offset : part.target_offset + part.length] = piece
        total, complete = total + part.length, complete + 1
    status = S.SUCCESS if complete == len(ranges) else S.INVALID_VIEW_SIZE
    assert copy_ranges(share.context, source, target, ranges) == (status, complete, 0, total)
    assert not after or share.read(target, 999) == after
    for opened in {source, target}:
        share.close(opened)


def test_access(share, refused):
    share.make("file", b"x")
    share.open("directory", c.FILE_CREATE, options=c.FILE_DIRECTORY_FILE)
    both = share.open("file")
    reads = share.open("file", desired_access=c.FILE_READ_DATA)
    executes = share.open("file", desired_access=c.FILE_EXECUTE)
    writes = share.open("file", desired_access=c.FILE_WRITE_DATA)
    appends = share.open("file", desired_access=c.FILE_APPEND_DATA)
    looks = share.open("file", desired_access=c.FILE_READ_ATTRIBUTES)
    directory = share.open("directory")
    for source in (reads, executes, both):
        require_copyable(source, writes, False)
        require_copyable(source, appends, False)
        require_copyable(source, both, True)
        refused(S.ACCESS_DENIED, require_copyable, source, writes, True)
        refused(S.ACCESS_DENIED, require_copyable, source, reads, False)
    for source in (writes, looks):
        refused(S.ACCESS_DENIED, require_copyable, source, both, False)
    refused(S.INVALID_DEVICE_REQUEST, require_copyable, directory, both, False)
    refused(S.INVALID_DEVICE_REQUEST, require_copyable, both, directory, False)


def test_a_copy_lets_others_run_and_is_cancelled_between_pieces(make_share):
    share = make_share(MemoryBackend())
    source, target = two(share, bytes(4 * PIECE))
    seen = []

    async def main() -> None:
        engine = Engine(asyncio.get_running_loop())
        task = Task()

        def copying() -> None:
            try:
                copy_ranges(share.context, source, target, [CopyRange(0, 0, 4 * PIECE)])
            except RequestCancelled:
                seen.append("cancelled")

        engine.spawn(task, copying)
        engine.spawn(Task(), lambda: seen.append(len(share.read(target, 8 * PIECE))))
        task.cancel()
        while not task.done:
            await asyncio.sleep(0)
        engine.close()

    asyncio.run(main())
    assert seen == [PIECE, "cancelled"]
    assert len(share.read(target, 8 * PIECE)) == PIECE
