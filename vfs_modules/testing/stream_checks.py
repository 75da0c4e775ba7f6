"""The part of the conformance suite about named streams: for chains that claim `Capability.STREAMS`."""

import errno
from collections.abc import Callable

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, Capability, OpenHow
from lamina.vfs_modules.testing.hand import CREATE, PATH, READ, READ_WRITE, Hand, check, fails_with, hand_of
from lamina.vfs_modules.token import ImpersonationToken

_LARGE = 3000
"""Bytes that a stream must at least have room for: a block of the meanest file system, less what else is in it."""


def _make(hand: Hand, file: VfsHandle, name: str, data: bytes = b"") -> VfsHandle:
    stream = hand.keep(hand.chain.open_stream(hand.token, file, name, CREATE))
    if data:
        assert hand.chain.pwrite(hand.token, stream, memoryview(data), 0) == len(data)
    return stream


def _names(hand: Hand, file: VfsHandle) -> dict[str, int]:
    return {entry.name: entry.size for entry in hand.chain.list_streams(hand.token, file)}


@check(Capability.STREAMS)
def streams_of_one_file_are_kept_apart(chain: Chain, token: ImpersonationToken) -> None:
    """From each other, from the file's data, and from those of other files, through every kind of handle."""
    with hand_of(chain, token) as hand:
        hand.make("file", b"main")
        hand.mkdir("directory")
        for path in ("file", "directory"):
            file = hand.open(path)
            assert _names(hand, file) == {}
            for name in ("one", "two"):
                assert hand.read(_make(hand, file, name, (path + name).encode()), 99) == (path + name).encode()
        for path in ("file", "directory"):
            file = hand.open(path)
            assert _names(hand, file) == {"one": len(path) + 3, "two": len(path) + 3}
            for name in ("one", "two"):
                stream = hand.keep(chain.open_stream(token, file, name, READ))
                assert hand.read(stream, 99) == (path + name).encode()
        assert hand.read(hand.open("file", READ), 99) == b"main"
        assert hand.names("directory") == set()


@check(Capability.STREAMS)
def a_stream_is_made_once_and_found_by_its_exact_name(chain: Chain, token: ImpersonationToken) -> None:
    """Exclusive creation is EEXIST the second time; what is not there is ENOENT."""
    with hand_of(chain, token) as hand:
        file = hand.make("file")
        with fails_with(errno.ENOENT):
            chain.open_stream(token, file, "stream", READ)
        stream = _make(hand, file, "stream")
        assert chain.fstat(token, stream).size == 0
        assert _names(hand, file) == {"stream": 0}
        with fails_with(errno.EEXIST):
            chain.open_stream(token, file, "stream", CREATE)
        hand.keep(chain.open_stream(token, file, "stream", OpenHow(Access.WRITE, create=True)))
        hand.keep(chain.open_stream(token, file, "stream", PATH))
        with fails_with(errno.ENOENT):
            chain.remove_stream(token, file, "other")


@check(Capability.STREAMS)
def a_stream_grows_with_zeros(chain: Chain, token: ImpersonationToken) -> None:
    """However it grows: by a write beyond its end, by setting its end, and again after it was cut."""
    with hand_of(chain, token) as hand:
        stream = _make(hand, hand.make("file"), "stream", b"secret" * 100)
        chain.ftruncate(token, stream, 3)
        chain.ftruncate(token, stream, 10)
        assert hand.read(stream, 99) == b"sec" + bytes(7)
        assert chain.pwrite(token, stream, memoryview(b"end"), 500) == 3
        assert hand.read(stream, 999) == b"sec" + bytes(497) + b"end"
        assert hand.read(stream, 2, 501) == b"nd"
        assert hand.read(stream, 9, 503) == b""
        assert hand.read(stream, 9, 1 << 40) == b""
        assert chain.fstat(token, stream).size == 503
        chain.ftruncate(token, stream, 0)
        assert chain.pwrite(token, stream, memoryview(b"x"), 2) == 1
        assert hand.read(stream, 999) == b"\0\0x"
        chain.fsync(token, stream)


@check(Capability.STREAMS)
def two_opens_of_a_stream_see_each_other(chain: Chain, token: ImpersonationToken) -> None:
    """What is written through one is read through the other, and writes to different places are all kept."""
    with hand_of(chain, token) as hand:
        file = hand.make("file")
        first = _make(hand, file, "stream", bytes(_LARGE))
        second = hand.keep(chain.open_stream(token, hand.open("file"), "stream", READ_WRITE))
        chain.pwrite(token, first, memoryview(b"first"), 0)
        chain.pwrite(token, second, memoryview(b"second"), _LARGE - 6)
        assert hand.read(first, _LARGE + 9) == b"first" + bytes(_LARGE - 11) + b"second"


def _error_of(call: Callable[[], object]) -> int:
    try:
        call()
    except OSError as error:
        return error.errno or -1
    return 0


@check(Capability.STREAMS)
def a_stream_that_is_too_large_is_refused_and_stays_as_it_was(chain: Chain, token: ImpersonationToken) -> None:
    """With an error that says there is no room. One that has the room passes, too."""
    with hand_of(chain, token) as hand:
        stream = _make(hand, hand.make("file"), "stream", b"data")
        for size in (1 << 41, 1 << 62):
            for grow in (
                lambda size=size: chain.ftruncate(token, stream, size),
                lambda size=size: chain.pwrite(token, stream, memoryview(b"x"), size),
            ):
                refused = _error_of(grow)
                assert refused in {0, errno.EFBIG, errno.ENOSPC, errno.EDQUOT, errno.EINVAL}, errno.errorcode[refused]
                if refused:
                    assert chain.fstat(token, stream).size == 4
                else:
                    chain.ftruncate(token, stream, 4)
        assert hand.read(stream, 99) == b"data"


@check(Capability.STREAMS)
def streams_are_removed_and_renamed(chain: Chain, token: ImpersonationToken) -> None:
    """One by one; a rename replaces only when it is told, and may change only the case."""
    with hand_of(chain, token) as hand:
        file = hand.make("file")
        for name in ("one", "two", "three"):
            chain.close(token, _close_later(hand, file, name))
        with fails_with(errno.EEXIST):
            chain.rename_stream(token, file, "one", "two", False)
        chain.rename_stream(token, file, "one", "two", True)
        chain.rename_stream(token, file, "three", "THREE", False)
        assert set(_names(hand, file)) == {"two", "THREE"}
        with fails_with(errno.ENOENT):
            chain.rename_stream(token, file, "one", "four", False)
        assert hand.read(hand.keep(chain.open_stream(token, file, "two", READ)), 99) == b"one"
        chain.remove_stream(token, file, "THREE")
        assert set(_names(hand, file)) == {"two"}
        with fails_with(errno.ENOENT):
            chain.open_stream(token, file, "THREE", READ)


def _close_later(hand: Hand, file: VfsHandle, name: str) -> VfsHandle:
    stream = hand.chain.open_stream(hand.token, file, name, CREATE)
    hand.chain.pwrite(hand.token, stream, memoryview(name.encode()), 0)
    return stream


@check(Capability.STREAMS)
def stream_names_are_kept_as_they_are(chain: Chain, token: ImpersonationToken) -> None:
    """Everything but "/", "\\\\", ":" and NUL may be in one; one that is too long is refused."""
    wanted = {"plain", "Größe", "日本語", "lone\ud800surrogate", '?*<>|"\x01\n .', "a" * 200, "x.y"}
    with hand_of(chain, token) as hand:
        file = hand.make("file")
        for name in wanted:
            chain.close(token, chain.open_stream(token, file, name, CREATE))
        assert set(_names(hand, file)) == wanted
        with fails_with(errno.ENAMETOOLONG):
            chain.open_stream(token, file, "ä" * 255, CREATE)


@check(Capability.STREAMS)
def streams_go_with_their_file(chain: Chain, token: ImpersonationToken) -> None:
    """Through a rename, and away with it: a new file of the same name has none. Open ones can be read to the end."""
    with hand_of(chain, token) as hand:
        file = hand.make("file")
        stream = _make(hand, file, "stream", b"data")
        hand.rename("file", "moved")
        assert _names(hand, hand.open("moved")) == {"stream": 4}
        chain.unlink(token, hand.root, "moved")
        assert hand.read(stream, 99) == b"data"
        assert _names(hand, hand.make("moved")) == {}
        hand.mkdir("directory")
        _make(hand, hand.open("directory"), "stream", b"data")
        chain.rmdir(token, hand.root, "directory")
        hand.mkdir("directory")
        assert _names(hand, hand.open("directory")) == {}
        _make(hand, hand.make("replaced"), "stream")
        hand.rename("moved", "replaced", replace=True)
        assert _names(hand, hand.open("replaced")) == {}


@check(Capability.STREAMS | Capability.XATTRS)
def streams_are_no_extended_attributes(chain: Chain, token: ImpersonationToken) -> None:
    """Wherever they are kept."""
    with hand_of(chain, token) as hand:
        file = hand.make("file")
        before = set(chain.listxattr(token, file))
        _make(hand, file, "stream", b"data")
        assert set(chain.listxattr(token, file)) == before
