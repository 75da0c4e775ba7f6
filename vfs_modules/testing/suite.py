"""The conformance suite: what every backend, and every chain with a module in it, must do. Plain functions only.

Each check takes a connected chain over an empty share and a token that may do everything there, and raises
AssertionError with what was expected. `applicable(chain)` gives those whose capabilities the chain claims::

    for check in applicable(chain): check(chain, token)

with a fresh chain each. What is no capability is required of everybody.
"""

import errno
import stat as st

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, Capability, DosAttributes, OpenHow, Times
from lamina.vfs_modules.testing import (
    change_checks,
    claim_checks,
    client_checks,
    concurrency_checks,
    crash_checks,
    durability_checks,
    entry_checks,
    error_checks,
    name_checks,
    outside_checks,
    process_checks,
    quota_checks,
    range_checks,
    reference_checks,
    stream_checks,
    user_checks,
    waiting_checks,
)  # declare their checks
from lamina.vfs_modules.testing.hand import (
    CREATE,
    LIST,
    MOMENT,
    NEEDS,
    PATH,
    READ,
    READ_WRITE,
    SECOND,
    Check,
    Hand,
    check,
    fails_with,
    hand_of,
)
from lamina.vfs_modules.testing.trial import entries
from lamina.vfs_modules.token import ImpersonationToken

__all__ = [
    "Check",
    "Hand",
    "applicable",
    "change_checks",
    "checks",
    "claim_checks",
    "client_checks",
    "concurrency_checks",
    "crash_checks",
    "durability_checks",
    "entries",
    "entry_checks",
    "error_checks",
    "name_checks",
    "outside_checks",
    "process_checks",
    "quota_checks",
    "range_checks",
    "reference_checks",
    "stream_checks",
    "user_checks",
    "waiting_checks",
]


def checks() -> tuple[Check, ...]:
    """All checks, in their order."""
    return tuple(NEEDS)


def applicable(chain: Chain) -> tuple[Check, ...]:
    """The checks that a chain with these capabilities must pass."""
    return tuple(one for one, needs in NEEDS.items() if needs in chain.capabilities)


@check()
def a_missing_name_is_not_found(chain: Chain, token: ImpersonationToken) -> None:
    """Opening and looking at what is not there fails with ENOENT, and with ENOTDIR beneath a file."""
    with hand_of(chain, token) as hand:
        hand.make("file")
        for path, number in (("no", errno.ENOENT), ("no/name", errno.ENOENT), ("file/name", errno.ENOTDIR)):
            with fails_with(number):
                hand.open(path)
            with fails_with(number):
                chain.stat(token, hand.root, path)


@check()
def a_created_file_is_empty_and_regular(chain: Chain, token: ImpersonationToken) -> None:
    """Exclusive creation makes a file once."""
    with hand_of(chain, token) as hand:
        handle = hand.make("file")
        status = chain.fstat(token, handle)
        assert st.S_ISREG(status.mode)
        assert (status.size, status.nlink, handle.is_directory) == (0, 1, False)
        assert chain.stat(token, hand.root, "file").ino == status.ino
        with fails_with(errno.EEXIST):
            hand.open("file", CREATE)
        assert chain.fstat(token, hand.open("file", OpenHow(Access.READ_WRITE, create=True))).ino == status.ino


@check()
def creation_works_for_every_access(chain: Chain, token: ImpersonationToken) -> None:
    """A file can be created by an open that will not touch its data."""
    with hand_of(chain, token) as hand:
        for access in Access:
            handle = hand.open(f"file{access}", OpenHow(access, create=True))
            assert not handle.is_directory
            assert chain.fstat(token, handle).size == 0


@check()
def the_empty_path_is_the_directory_itself(chain: Chain, token: ImpersonationToken) -> None:
    """It can be opened again and looked at."""
    with hand_of(chain, token) as hand:
        hand.mkdir("directory")
        directory = hand.open("directory")
        assert directory.is_directory
        again = hand.open("", LIST, directory)
        assert again.is_directory
        assert chain.fstat(token, again).ino == chain.stat(token, directory, "").ino


@check()
def directories_and_files_are_told_apart(chain: Chain, token: ImpersonationToken) -> None:
    """Insisting on a directory, and writing to one, fail as they should."""
    with hand_of(chain, token) as hand:
        hand.make("file")
        hand.mkdir("directory")
        with fails_with(errno.ENOTDIR):
            hand.open("file", OpenHow(directory=True))
        with fails_with(errno.EISDIR):
            hand.open("directory", READ_WRITE)
        assert hand.open("directory", READ).is_directory
        with fails_with(errno.EEXIST):
            hand.mkdir("directory")


@check()
def what_is_written_is_read(chain: Chain, token: ImpersonationToken) -> None:
    """Reads are short only at the end of the file; a gap reads as zeros."""
    with hand_of(chain, token) as hand:
        handle = hand.make("file", b"abc")
        assert chain.pwrite(token, handle, memoryview(b"xyz"), 10) == 3
        assert hand.read(handle, 100) == b"abc" + bytes(7) + b"xyz"
        assert hand.read(handle, 2, 11) == b"yz"
        assert hand.read(handle, 5, 13) == b""
        assert hand.read(handle, 5, 1 << 40) == b""
        assert hand.read(handle, 0) == b""
        assert chain.fstat(token, handle).size == 13


@check()
def large_transfers_are_whole(chain: Chain, token: ImpersonationToken) -> None:
    """8 MiB, which is the most that the server asks for, comes through in one call."""
    with hand_of(chain, token) as hand:
        data = bytes(range(256)) * 32768
        handle = hand.make("file", data)
        chain.fsync(token, handle)
        assert hand.read(handle, len(data) + 10) == data


@check()
def the_end_of_file_moves(chain: Chain, token: ImpersonationToken) -> None:
    """Truncation cuts and extends with zeros."""
    with hand_of(chain, token) as hand:
        handle = hand.make("file", b"abcdef")
        chain.ftruncate(token, handle, 3)
        chain.ftruncate(token, handle, 5)
        assert hand.read(handle, 10) == b"abc\0\0"


@check()
def a_handle_outlives_its_name(chain: Chain, token: ImpersonationToken) -> None:
    """An open file is read and written after it was removed."""
    with hand_of(chain, token) as hand:
        handle = hand.make("file", b"abc")
        chain.unlink(token, hand.root, "file")
        assert hand.names() == set()
        assert hand.read(handle, 10) == b"abc"
        assert chain.fstat(token, handle).nlink == 0


@check()
def removal_tells_files_from_directories(chain: Chain, token: ImpersonationToken) -> None:
    """`unlink` refuses a directory, `rmdir` a file and a directory that is not empty."""
    with hand_of(chain, token) as hand:
        hand.mkdir("directory")
        hand.make("directory/file")
        with fails_with(errno.EISDIR, errno.EPERM):
            chain.unlink(token, hand.root, "directory")
        with fails_with(errno.ENOTEMPTY):
            chain.rmdir(token, hand.root, "directory")
        with fails_with(errno.ENOTDIR):
            chain.rmdir(token, hand.root, "directory/file")
        chain.unlink(token, hand.root, "directory/file")
        chain.rmdir(token, hand.root, "directory")
        with fails_with(errno.ENOENT):
            chain.rmdir(token, hand.root, "directory")


@check()
def rename_replaces_only_when_told(chain: Chain, token: ImpersonationToken) -> None:
    """Without `replace` both files stay as they are."""
    with hand_of(chain, token) as hand:
        first, second = hand.make("first", b"1"), hand.make("second", b"2")
        with fails_with(errno.EEXIST):
            hand.rename("first", "second")
        assert hand.names() == {"first", "second"}
        assert hand.read(hand.open("second", READ), 9) == b"2"
        hand.rename("first", "second", replace=True)
        assert hand.names() == {"second"}
        assert chain.stat(token, hand.root, "second").ino == chain.fstat(token, first).ino
        assert chain.fstat(token, second).nlink == 0


@check()
def rename_moves_directories(chain: Chain, token: ImpersonationToken) -> None:
    """With what is in them and what is open there, but never into themselves."""
    with hand_of(chain, token) as hand:
        hand.mkdir("a")
        hand.mkdir("b")
        handle = hand.make("a/file", b"x")
        hand.rename("a", "b/c")
        assert hand.names("b/c") == {"file"}
        assert hand.read(handle, 9) == b"x"
        for replace in (False, True):
            with fails_with(errno.EINVAL):
                hand.rename("b", "b/c/d", replace)
        with fails_with(errno.ENOENT):
            hand.rename("gone", "here")


@check()
def names_are_kept_as_they_are(chain: Chain, token: ImpersonationToken) -> None:
    """Also those that UTF-8 cannot hold, and long ones."""
    wanted = {
        "plain",
        "Grüße",
        "日本語",
        "😀",
        "lone\ud800surrogate",
        "not\udc80utf8",
        "a" * 255,
        "with space",
        "-dash",
    }
    with hand_of(chain, token) as hand:
        for name in wanted:
            hand.make(name)
        assert hand.names() == wanted
        for name in wanted:
            assert chain.stat(token, hand.root, name).size == 0
        with fails_with(errno.ENAMETOOLONG):
            hand.make("a" * 256)


@check()
def a_directory_is_listed_from_its_beginning_each_time(chain: Chain, token: ImpersonationToken) -> None:
    """Every entry once, without "." and "..", and with attributes where they are cheap."""
    with hand_of(chain, token) as hand:
        wanted = {f"file{number}" for number in range(700)}
        for name in wanted:
            chain.close(token, chain.open(token, hand.root, name, CREATE))
        handle = hand.open("", LIST)
        for with_attributes in (False, True):
            entries = list(chain.readdir(token, handle, with_attributes))
            assert len(entries) == len(wanted)
            assert {entry.name for entry in entries} == wanted
        for entry in entries:
            assert entry.stat is None or entry.stat == chain.stat(token, hand.root, entry.name)


@check()
def times_are_set_one_by_one(chain: Chain, token: ImpersonationToken) -> None:
    """And those that are not given stay."""
    with hand_of(chain, token) as hand:
        hand.make("file", b"x")
        for how in (READ_WRITE, PATH):
            handle = hand.open("file", how)
            chain.set_times(token, handle, Times(access_ns=MOMENT, write_ns=MOMENT + SECOND))
            chain.set_times(token, handle, Times(write_ns=MOMENT + 2 * SECOND))
            chain.set_times(token, handle, Times())
            status = chain.fstat(token, handle)
            assert (status.atime_ns, status.mtime_ns) == (MOMENT, MOMENT + 2 * SECOND)


@check()
def the_mode_is_set(chain: Chain, token: ImpersonationToken) -> None:
    """Through handles with and without access to the data."""
    with hand_of(chain, token) as hand:
        for how, mode in ((CREATE, 0o640), (PATH, 0o600)):
            handle = hand.open("file", how)
            chain.fchmod(token, handle, mode)
            assert st.S_IMODE(chain.fstat(token, handle).mode) == mode
            chain.fchown(token, handle, -1, -1)
        assert chain.fstat(token, hand.root).uid == chain.stat(token, hand.root, "").uid


@check()
def the_volume_has_a_size(chain: Chain, token: ImpersonationToken) -> None:
    """And never more free than there is."""
    with hand_of(chain, token) as hand:
        sizes = chain.statfs(token, hand.root)
        assert sizes.block_size > 0
        assert 0 <= sizes.available <= sizes.free <= sizes.total


@check(Capability.HARD_LINKS)
def a_file_may_have_several_names(chain: Chain, token: ImpersonationToken) -> None:
    """Through handles with and without access to the data; a name that is taken is refused."""
    with hand_of(chain, token) as hand:
        handle = hand.make("file", b"x")
        chain.link(token, handle, hand.root, "second")
        chain.link(token, hand.open("file"), hand.root, "third")
        assert chain.fstat(token, handle).nlink == 3
        assert hand.read(hand.open("third", READ), 9) == b"x"
        with fails_with(errno.EEXIST):
            chain.link(token, handle, hand.root, "second")


@check(Capability.SYMLINKS)
def links_are_followed_within_the_share_only(chain: Chain, token: ImpersonationToken) -> None:
    """In the middle of a path and at its end, up and down, but never out."""
    with hand_of(chain, token) as hand:
        hand.mkdir("a")
        hand.mkdir("b")
        hand.make("b/file", b"x")
        targets = {
            "a/up": "../b/file",
            "a/dir": "../b",
            "down": "b/file",
            "out": "../x",
            "root": "/etc",
            "loop": "loop",
        }
        for name, target in targets.items():
            chain.symlink(token, target, hand.root, name)
            assert chain.readlink(token, hand.root, name) == target
            assert st.S_ISLNK(chain.stat(token, hand.root, name).mode)
        directory = hand.open("a")
        for start, path in ((hand.root, "a/up"), (directory, "up"), (hand.root, "a/dir/file"), (hand.root, "down")):
            assert hand.read(hand.open(path, READ, start), 9) == b"x"
            assert chain.stat(token, start, path, True).size == 1
        for path in ("out", "root", "root/passwd"):
            with fails_with(errno.EXDEV):
                hand.open(path)
        with fails_with(errno.ELOOP):
            hand.open("loop", READ)
        with fails_with(errno.EXDEV):
            chain.unlink(token, hand.root, "root/passwd")
        with fails_with(errno.EINVAL):
            chain.readlink(token, hand.root, "b/file")


@check(Capability.SYMLINKS)
def a_link_itself_can_be_opened(chain: Chain, token: ImpersonationToken) -> None:
    """Without following it, for PATH."""
    with hand_of(chain, token) as hand:
        chain.symlink(token, "nowhere", hand.root, "link")
        handle = hand.open("link", OpenHow(follow=False))
        assert st.S_ISLNK(chain.fstat(token, handle).mode)
        with fails_with(errno.ELOOP):
            hand.open("link", OpenHow(Access.READ, follow=False))
        with fails_with(errno.ENOENT):
            hand.open("link")
        chain.unlink(token, hand.root, "link")


@check(Capability.XATTRS)
def extended_attributes_are_kept(chain: Chain, token: ImpersonationToken) -> None:
    """Through every kind of handle, on files and directories."""
    with hand_of(chain, token) as hand:
        hand.mkdir("directory")
        hand.make("file")
        for path, how in (("file", READ_WRITE), ("file", PATH), ("directory", PATH), ("directory", LIST)):
            handle = hand.open(path, how)
            with fails_with(errno.ENODATA):
                chain.getxattr(token, handle, "user.test")
            for value in (b"", b"\0binary\xff", b"x" * 1000):
                chain.setxattr(token, handle, "user.test", value)
                assert chain.getxattr(token, handle, "user.test") == value
            assert "user.test" in chain.listxattr(token, handle)
            chain.removexattr(token, handle, "user.test")
            with fails_with(errno.ENODATA):
                chain.removexattr(token, handle, "user.test")


@check(Capability.DOS_ATTRIBUTES)
def nt_attributes_are_kept(chain: Chain, token: ImpersonationToken) -> None:
    """With the creation time, for files and directories, and the listing agrees."""
    with hand_of(chain, token) as hand:
        hand.mkdir("directory")
        hand.make("file")
        for path in ("file", "directory"):
            handle = hand.open(path)
            before = chain.get_dos_attributes(token, handle, chain.fstat(token, handle))
            assert before.attributes == 0
            chain.set_dos_attributes(token, handle, DosAttributes(0x27, MOMENT))
            assert chain.get_dos_attributes(token, handle, chain.fstat(token, handle))[:2] == (0x27, MOMENT)
            chain.set_times(token, handle, Times(creation_ns=MOMENT - SECOND))
            assert chain.get_dos_attributes(token, handle, chain.fstat(token, handle))[:2] == (0x27, MOMENT - SECOND)
        for entry in chain.readdir(token, hand.open("", LIST), True):
            assert entry.dos is None or entry.dos[:2] == (0x27, MOMENT - SECOND)


@check(Capability.CHANGE_TIME)
def a_change_time_that_was_set_is_told_until_the_file_changes(chain: Chain, token: ImpersonationToken) -> None:
    """And neither setting other times with it nor looking at the file ends it."""

    def changed(handle: VfsHandle) -> int:
        status = chain.fstat(token, handle)
        told = chain.get_dos_attributes(token, handle, status).change_ns
        return status.ctime_ns if told is None else told

    with hand_of(chain, token) as hand:
        hand.make("file", b"x")
        handle = hand.open("file", READ_WRITE)
        for times in (Times(change_ns=MOMENT), Times(MOMENT, MOMENT, MOMENT - SECOND, MOMENT)):
            chain.set_times(token, handle, times)
            assert changed(handle) == times.change_ns
            assert changed(hand.open("file")) == times.change_ns
        # A change within one tick of the file system's clock cannot be told from none.
        for mode in (0o600, 0o640) * 100_000:
            chain.fchmod(token, handle, mode)
            if changed(handle) > MOMENT:
                return
        raise AssertionError("the change time that was set outlives changes of the file")


@check(Capability.WATCH)
def a_watch_tells_of_names_that_come_and_go(chain: Chain, token: ImpersonationToken) -> None:
    """In order, to each that watches, and to nobody after closing."""
    with hand_of(chain, token) as hand:
        hand.mkdir("directory")
        handle = hand.open("directory")
        first, second = chain.watch(token, handle), chain.watch(token, handle)
        hand.make("directory/file")
        hand.rename("directory/file", "directory/other")
        chain.unlink(token, hand.root, "directory/other")
        wanted = [("added", "file"), ("removed", "file"), ("added", "other"), ("removed", "other")]
        assert first.poll() == wanted
        assert first.poll() == []
        first.close()
        hand.make("directory/more")
        assert second.poll() == [*wanted, ("added", "more")]
        second.close()
        second.close()
