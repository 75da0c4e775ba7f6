"""Checks of what goes to ranges of a file's data past reading and writing: copies, shared blocks, holes."""

import errno
from collections.abc import Callable
from functools import partial

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.testing.hand import PATH, READ, READ_WRITE, check, fails_with, hand_of
from lamina.vfs_modules.token import ImpersonationToken

_BLOCK = 65536
"""A multiple of every block size that there is."""

_DATA = bytes(range(1, 256)) * 257 + b"\1"


def _done(call: Callable[[], object]) -> bool:
    """Whether the call was made; False where the chain does not have it."""
    try:
        call()
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return False
    return True


@check()
def a_range_is_copied_or_refused(chain: Chain, token: ImpersonationToken) -> None:
    """Up to the end of the source, into the middle or behind the end of the target; ENOTSUP changes nothing."""
    with hand_of(chain, token) as hand:
        source, target = hand.make("source", b"0123456789"), hand.make("target", b"abc")
        source = hand.open("source", READ)
        if not _done(lambda: chain.copy_range(token, source, 2, target, 1, 4)):
            assert hand.read(hand.open("target", READ), 99) == b"abc"
            return
        assert hand.read(hand.open("target", READ), 99) == b"a2345"
        assert chain.copy_range(token, source, 8, target, 7, 10) == 2
        assert hand.read(hand.open("target", READ), 99) == b"a2345\0\x0089"
        assert chain.copy_range(token, source, 10, target, 0, 5) == 0


@check()
def a_range_is_copied_within_a_file(chain: Chain, token: ImpersonationToken) -> None:
    """But not onto itself: EINVAL."""
    with hand_of(chain, token) as hand:
        handle = hand.make("file", b"0123456789")
        if not _done(lambda: chain.copy_range(token, handle, 0, handle, 6, 3)):
            return
        assert hand.read(handle, 99) == b"0123450129"
        with fails_with(errno.EINVAL):
            chain.copy_range(token, handle, 0, handle, 2, 4)


@check()
def a_range_is_zeroed_or_refused(chain: Chain, token: ImpersonationToken) -> None:
    """Whether its space is given back or not; the end of file stays where it is."""
    with hand_of(chain, token) as hand:
        for deallocate in (False, True):
            handle = hand.make(f"file{deallocate}", b"0123456789")
            if not _done(partial(chain.zero_range, token, handle, 3, 4, deallocate)):
                continue
            assert hand.read(handle, 99) == b"012\0\0\0\x00789"
            chain.zero_range(token, handle, 8, 1000, deallocate)
            assert hand.read(handle, 99) == b"012\0\0\0\x007\0\0"


@check(Capability.SPARSE)
def holes_are_found_and_punched(chain: Chain, token: ImpersonationToken) -> None:
    """What is written is allocated, what is left out or given back is not, nor what lies beyond the end."""
    with hand_of(chain, token) as hand:
        handle = hand.make("file", _DATA)
        assert len(_DATA) == _BLOCK
        chain.pwrite(token, handle, memoryview(_DATA), 4 * _BLOCK)
        chain.fsync(token, handle)
        for reader in (handle, hand.open("file", READ), hand.open("file", PATH)):
            whole = chain.allocated_ranges(token, reader, 0, 1 << 40, 100)
            assert whole == [(0, _BLOCK), (4 * _BLOCK, _BLOCK)]
        assert chain.allocated_ranges(token, handle, 100, 1000, 100) == [(100, 1000)]
        assert chain.allocated_ranges(token, handle, 0, 1 << 40, 1) == [(0, _BLOCK)]
        assert chain.allocated_ranges(token, handle, 2 * _BLOCK, _BLOCK, 100) == []
        chain.zero_range(token, handle, 0, _BLOCK, True)
        assert chain.allocated_ranges(token, handle, 0, 4 * _BLOCK, 100) == []
        assert hand.read(handle, _BLOCK) == bytes(_BLOCK)
        assert chain.fstat(token, handle).size == 5 * _BLOCK


@check(Capability.REFLINK)
def blocks_are_shared(chain: Chain, token: ImpersonationToken) -> None:
    """Until one of the files is written to; ranges must be whole blocks."""
    with hand_of(chain, token) as hand:
        source, target = hand.make("source", _DATA * 2), hand.make("target")
        chain.clone_range(token, source, _BLOCK, target, _BLOCK, _BLOCK)
        assert hand.read(target, 3 * _BLOCK) == bytes(_BLOCK) + _DATA
        chain.pwrite(token, source, memoryview(b"changed"), _BLOCK)
        assert hand.read(target, _BLOCK, _BLOCK) == _DATA
        with fails_with(errno.EINVAL):
            chain.clone_range(token, source, 1, target, 0, _BLOCK)
        with fails_with(errno.EINVAL):
            chain.clone_range(token, source, 0, target, 0, 10 * _BLOCK)


@check(Capability.COMPRESSION)
def compression_is_switched(chain: Chain, token: ImpersonationToken) -> None:
    """For files and directories, and the status tells."""
    with hand_of(chain, token) as hand:
        hand.make("file")
        hand.mkdir("directory")
        for path, how in (("file", READ_WRITE), ("file", PATH), ("directory", PATH)):
            handle = hand.open(path, how)
            for compressed in (True, False):
                chain.set_compressed(token, handle, compressed)
                assert chain.fstat(token, handle).compressed is compressed
