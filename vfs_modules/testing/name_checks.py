"""Checks of names and sizes that a client chooses to do harm with. An OSError is always an answer; more is not."""

import errno
from collections.abc import Iterator

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Capability, OpenHow
from lamina.vfs_modules.testing.hand import (
    CREATE,
    LIST,
    READ_WRITE,
    Hand,
    check,
    fails_with,
    hand_of,
    may_fail_with,
    refused,
)
from lamina.vfs_modules.token import ImpersonationToken

_LEVELS = 60
_GIB = 1 << 30
_NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT})

_HOSTILE = (
    "nul\0byte",
    "\0",
    "new\nline",
    "\x01\x1f\x7f",
    "trailing ",
    "trailing.",
    "back\\slash",
    "co:lon",
    '*?"<>|',
    "\u202eright to left",
    "\ufeff\uffff",
    "\udc80\udcff",
    "\ud83d",
    "e\u0301",
    "İ",
    "%s%n",
    "$(touch x)",
    "x" * 255,
    "😀" * 63,
)


@check()
def hostile_names_are_kept_or_refused(chain: Chain, token: ImpersonationToken) -> None:
    """A name with any character is made and listed as it is, or an OSError says that there is no such name."""
    with hand_of(chain, token) as hand:
        kept = set()
        for name in _HOSTILE:
            try:
                hand.make(name)
            except OSError:
                with refused():
                    chain.stat(token, hand.root, name)
                continue
            kept.add(name)
        assert hand.names() == kept
        for name in kept:
            chain.unlink(token, hand.root, name)
        assert hand.names() == set()


@check()
def no_path_leads_out_of_the_share(chain: Chain, token: ImpersonationToken) -> None:
    """Paths that nobody may pass down are refused all the same, or stay inside."""
    with hand_of(chain, token) as hand:
        hand.mkdir("a")
        inside = {chain.stat(token, hand.root, path).ino for path in ("", "a")}
        for path in ("..", "../..", "a/../..", "a/../../..", "/", "/etc", "/etc/passwd", "../etc/passwd", "a//..//.."):
            for start in (hand.root, hand.open("a")):
                _stays_inside(hand, start, path, inside)
        with refused():
            hand.make("../lamina-conformance-outside")
        with refused():
            chain.rename(token, hand.root, "a", hand.root, "../lamina-conformance-outside", False)


def _stays_inside(hand: Hand, start: VfsHandle, path: str, inside: set[int]) -> None:
    try:
        reached = hand.chain.stat(hand.token, start, path)
    except OSError:
        return
    assert reached.ino in inside, f"{path!r} leads out of the share"


@check()
def a_name_has_255_bytes_at_most_or_says_so(chain: Chain, token: ImpersonationToken) -> None:
    """What is too long is ENAMETOOLONG in every operation that takes a name, and changes nothing."""
    with hand_of(chain, token) as hand:
        longest, longer = "ä" * 127 + "b", "ä" * 128
        hand.make(longest)
        hand.mkdir("directory")
        for name in (longer, "b" * 256, "b" * 70000):
            for path in (name, f"directory/{name}"):
                with fails_with(errno.ENAMETOOLONG):
                    hand.make(path)
                with fails_with(errno.ENAMETOOLONG):
                    hand.mkdir(path)
                with fails_with(errno.ENAMETOOLONG):
                    hand.rename(longest, path)
                with fails_with(errno.ENAMETOOLONG, errno.ENOENT):
                    chain.stat(token, hand.root, path)
        assert hand.names() == {longest, "directory"}


@check()
def directories_are_as_deep_as_one_likes(chain: Chain, token: ImpersonationToken) -> None:
    """Each beneath the handle of the last, deeper than any path is long; a path that is too long is refused."""
    name = "d" * 100
    with hand_of(chain, token) as hand:
        directory = hand.root
        for _ in range(_LEVELS):
            chain.mkdir(token, directory, name, 0o755)
            directory = hand.open(name, LIST, directory)
        hand.keep(chain.open(token, directory, "file", CREATE))
        assert [entry.name for entry in chain.readdir(token, directory)] == ["file"]
        whole = "/".join([name] * _LEVELS)
        with may_fail_with(errno.ENAMETOOLONG):
            assert chain.stat(token, hand.root, f"{whole}/file").size == 0
        with fails_with(errno.ENOENT, errno.ENAMETOOLONG):
            hand.open("/".join(["x"] * 40000))


@check(Capability.XATTRS)
def hostile_attribute_names_are_kept_or_refused(chain: Chain, token: ImpersonationToken) -> None:
    """So are values of any size."""
    with hand_of(chain, token) as hand:
        handle = hand.make("file")
        for name in (
            "user.nul\0byte",
            "user.",
            "",
            "nothing",
            "user." + "x" * 300,
            "user.\udc80",
            "user.\ud800",
            "user.😀",
        ):
            _set(hand, handle, name, b"value")
        for size in (65536, 1 << 20, 1 << 24):
            _set(hand, handle, "user.large", bytes(size))
        chain.listxattr(token, handle)


def _set(hand: Hand, handle: VfsHandle, name: str, value: bytes) -> None:
    try:
        hand.chain.setxattr(hand.token, handle, name, value)
    except OSError:
        return
    assert hand.chain.getxattr(hand.token, handle, name) == value
    hand.chain.removexattr(hand.token, handle, name)


@check()
def files_are_larger_than_4_gib_or_say_so(chain: Chain, token: ImpersonationToken) -> None:
    """Offsets of more than 32 bits are kept; what is too large is refused and changes nothing."""
    with hand_of(chain, token) as hand:
        for number, offset in enumerate((4 * _GIB - 3, 5 * _GIB + 1, 1 << 40)):
            handle = hand.make(f"file{number}", b"begin")
            if _grown(hand, handle, offset):
                assert chain.fstat(token, handle).size == offset + 6
                assert hand.read(handle, 10, offset - 2) == b"\0\0larger"
                assert hand.read(handle, 6, offset & 0xFFFFFFFF if offset > 4 * _GIB else 20) != b"larger"
            assert hand.read(handle, 5) == b"begin"
            chain.ftruncate(token, handle, 2)
            assert hand.read(handle, 9) == b"be"


@check(Capability.SPARSE)
def a_sparse_file_of_5_gib_takes_no_space(chain: Chain, token: ImpersonationToken) -> None:
    """Both by setting its end and by writing there."""
    with hand_of(chain, token) as hand:
        handle = hand.make("file")
        chain.ftruncate(token, handle, 5 * _GIB)
        chain.pwrite(token, handle, memoryview(b"end"), 5 * _GIB - 3)
        status = chain.fstat(token, handle)
        assert status.size == 5 * _GIB
        assert status.allocated < _GIB
        assert hand.read(handle, 9, 5 * _GIB - 4) == b"\0end"


@check()
def sizes_and_offsets_at_the_limits_are_answered(chain: Chain, token: ImpersonationToken) -> None:
    """Up to 63 bits, past which no client gets."""
    with hand_of(chain, token) as hand:
        handle = hand.make("file", b"data")
        for number in _limits():
            for call in (
                lambda number=number: _read_nothing(hand, handle, number),
                lambda number=number: chain.ftruncate(token, handle, number),
                lambda number=number: chain.pwrite(token, handle, memoryview(b"xy"), number),
                lambda number=number: chain.zero_range(token, handle, number, 10, False),
                lambda number=number: chain.allocated_ranges(token, handle, number, 10, 10),
                lambda number=number: chain.copy_range(token, hand.open("file", READ_WRITE), number, handle, 0, 4),
            ):
                _answered(hand, handle, call)
        assert hand.read(hand.open("file", OpenHow(READ_WRITE.access)), 4) == b"data"


def _read_nothing(hand: Hand, handle: VfsHandle, offset: int) -> None:
    assert hand.read(handle, 9, offset) == b""


def _limits() -> Iterator[int]:
    yield from ((1 << 62) - 1, 1 << 62, (1 << 63) - 4096, (1 << 63) - 2)


def _answered(hand: Hand, handle: VfsHandle, call: object) -> None:
    assert callable(call)
    try:
        call()
    except OSError:
        assert hand.chain.fstat(hand.token, handle).size == 4
    else:
        hand.chain.ftruncate(hand.token, handle, 4)


def _grown(hand: Hand, handle: VfsHandle, offset: int) -> bool:
    before = hand.chain.fstat(hand.token, handle).size
    with may_fail_with(*_NO_ROOM):
        hand.chain.pwrite(hand.token, handle, memoryview(b"larger"), offset)
    after = hand.chain.fstat(hand.token, handle).size
    assert after in {before, offset + 6}
    return after != before


__all__ = [
    "a_name_has_255_bytes_at_most_or_says_so",
    "a_sparse_file_of_5_gib_takes_no_space",
    "directories_are_as_deep_as_one_likes",
    "files_are_larger_than_4_gib_or_say_so",
    "hostile_attribute_names_are_kept_or_refused",
    "hostile_names_are_kept_or_refused",
    "no_path_leads_out_of_the_share",
    "sizes_and_offsets_at_the_limits_are_answered",
]
