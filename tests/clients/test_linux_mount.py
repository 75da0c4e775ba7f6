"""What Linux's own SMB client makes of a share: seen through a mount and on the disk behind it, all is the same.

It runs in the guest (tests/guest), whose kernel has that client.
"""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import random
import stat as st
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.linux_mount import POSIX, mounted
from tests.support.processes import (
    Folder,
    Layout,
    ServerProcess,
    User,
    owned_folder,
    serving,
    shared_scratch,
    two_users,
)

pytestmark = pytest.mark.guest

MIB = 1 << 20
ROOT = User("superuser", "Lamina-0000", 0, 0)
FALLOC_KEEP_SIZE, FALLOC_PUNCH, FALLOC_COLLAPSE, FALLOC_ZERO, FALLOC_INSERT = 1, 2, 8, 16, 32
LIBC = ctypes.CDLL(None, use_errno=True)


class Place(NamedTuple):
    """One folder, through the mount and on the disk."""

    mount: Path
    disk: Path

    def make(self, name: str, data: bytes = b"data", mode: int = 0o644) -> Path:
        """A new file, made through the mount; its path there."""
        with open(os.open(self.mount / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:
            file.write(data)
        return self.mount / name

    def agree_on(self, name: str) -> os.stat_result:
        """What the disk says of a file, after seeing that the mount says the same."""
        there, here = os.lstat(self.disk / name), os.lstat(self.mount / name)
        for field in ("st_mode", "st_uid", "st_gid", "st_ino"):
            assert getattr(here, field) == getattr(there, field), (name, field, here, there)
        if st.S_ISREG(there.st_mode):
            assert (here.st_size, here.st_nlink) == (there.st_size, there.st_nlink), (name, here, there)
        return there


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    users = (*two_users("lamina"), ROOT)
    with shared_scratch() as scratch:
        shares = {"share": Folder(str(owned_folder(scratch / "share", users[0])))}
        with serving(Layout(shares, users), scratch / "state", "lamina") as running:
            yield running


@pytest.fixture(scope="module")
def posix_mount(server: ServerProcess) -> Iterator[Path]:
    with shared_scratch() as scratch, mounted(server, scratch / "mounted", POSIX) as folder:
        yield folder


@pytest.fixture(autouse=True)
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def place_in(mount: Path, server: ServerProcess, request: pytest.FixtureRequest) -> Place:
    name = request.node.name.translate({ord(character): "-" for character in "[],=./"})
    disk = owned_folder(server.folder() / name, server.user)
    return Place(mount / name, disk)


@pytest.fixture
def place(posix_mount: Path, server: ServerProcess, request: pytest.FixtureRequest) -> Place:
    """A folder of this test's alone, mounted with the POSIX extensions."""
    return place_in(posix_mount, server, request)


@contextlib.contextmanager
def opened(path: Path, flags: int = os.O_RDWR) -> Iterator[int]:
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class TestModesAndOwners:
    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o666, 0o444, 0o1644])
    def test_new_files_have_the_mode_that_was_asked_for(self, place: Place, mode: int) -> None:
        place.make("file", mode=mode)
        assert place.agree_on("file").st_mode == st.S_IFREG | mode

    def test_new_folders_have_theirs(self, place: Place) -> None:
        os.mkdir(place.mount / "folder", 0o751)
        assert place.agree_on("folder").st_mode == st.S_IFDIR | 0o751

    def test_modes_are_changed(self, place: Place) -> None:
        place.make("file")
        os.mkdir(place.mount / "folder")
        for name, mode in (("file", 0o604), ("file", 0o4711), ("folder", 0o1777), ("folder", 0o2750)):
            os.chmod(place.mount / name, mode)
            assert st.S_IMODE(place.agree_on(name).st_mode) == mode

    def test_a_change_on_the_disk_is_seen(self, place: Place) -> None:
        place.make("file")
        (place.disk / "other").write_bytes(b"made there")
        os.chmod(place.disk / "other", 0o711)
        os.chown(place.disk / "other", 12002, 12002)
        assert st.S_IMODE(os.stat(place.mount / "other").st_mode) == 0o711

    def test_who_may_not_give_files_away_does_not(self, place: Place) -> None:
        file = place.make("file")
        with pytest.raises(PermissionError):
            os.chown(file, 12002, -1)
        place.agree_on("file")

    def test_who_may_does(self, server: ServerProcess, place: Place, tmp_path: Path) -> None:
        place.make("file", mode=0o640)
        with mounted(server, tmp_path / "as root", POSIX, ROOT) as mount:
            file = mount / place.disk.name / "file"
            os.chown(file, 12002, 12003)
            there = os.stat(place.disk / "file")
            assert (there.st_uid, there.st_gid, there.st_mode) == (12002, 12003, st.S_IFREG | 0o640)
            os.chown(file, -1, 12004)
            assert os.stat(place.disk / "file").st_gid == 12004

    def test_what_a_mode_refuses_is_refused(self, place: Place) -> None:
        file = place.make("file", mode=0o200)
        with pytest.raises(PermissionError):
            file.read_bytes()


class TestNames:
    def test_case_counts(self, place: Place) -> None:
        place.make("a", b"small")
        place.make("A", b"large")
        assert (place.disk / "a").read_bytes() + (place.disk / "A").read_bytes() == b"smalllarge"
        assert sorted(os.listdir(place.mount)) == ["A", "a"]

    @pytest.mark.parametrize("there", [False, True], ids=["made through the mount", "made on the disk"])
    def test_what_nt_forbids_may_be_in_a_name(self, place: Place, there: bool) -> None:
        names = ["a:b", "a?", "a*", 'a"', "a<", "a>", "a|", "a.", "a ", "...", " x", "COM1", "aux.txt", "\x01", "ä😀"]
        for name in names:
            if there:
                (place.disk / name).write_bytes(name.encode())
            else:
                place.make(name, name.encode())
        assert sorted(os.listdir(place.mount)) == sorted(os.listdir(place.disk)) == sorted(names)
        assert [(place.mount / name).read_bytes().decode() for name in names] == names
        for name in names:
            os.unlink(place.mount / name)
        assert os.listdir(place.disk) == []

    def test_a_large_folder_is_listed_whole(self, place: Place) -> None:
        names = {f"{number:04}-{'name' * (number % 9)}" for number in range(600)}
        for name in names:
            (place.disk / name).touch()
        assert set(os.listdir(place.mount)) == names
        assert all(entry.is_file(follow_symlinks=False) for entry in os.scandir(place.mount))


class TestLinks:
    def test_hard_links_are_one_file(self, place: Place) -> None:
        os.link(place.make("file"), place.mount / "other")
        assert place.agree_on("file").st_nlink == 2
        assert place.agree_on("other").st_ino == os.stat(place.disk / "file").st_ino
        os.unlink(place.mount / "file")
        assert place.agree_on("other").st_nlink == 1

    @pytest.mark.parametrize("target", ["file", "../x/y", "/etc/hosts", "with spaces: and more"])
    def test_symbolic_links_say_what_they_hold(self, place: Place, target: str) -> None:
        os.symlink(target, place.disk / "link")
        assert os.readlink(place.mount / "link") == target
        assert st.S_ISLNK(os.lstat(place.mount / "link").st_mode)
        os.unlink(place.mount / "link")
        assert not os.path.lexists(place.disk / "link")

    def test_they_are_followed_by_the_client(self, place: Place) -> None:
        place.make("file", b"what it leads to")
        os.symlink("file", place.disk / "link")
        assert (place.mount / "link").read_bytes() == b"what it leads to"

    def test_those_that_the_client_makes_lead_where_they_should(self, place: Place) -> None:
        place.make("file", b"what it leads to")
        os.symlink("file", place.mount / "link")
        assert os.readlink(place.mount / "link") == "file"
        assert (place.mount / "link").read_bytes() == b"what it leads to"


class TestRemovingAndRenaming:
    def test_an_open_file_loses_its_name_at_once(self, place: Place) -> None:
        with opened(place.make("file", b"before")) as old:
            os.unlink(place.mount / "file")
            assert os.listdir(place.disk) == os.listdir(place.mount) == []
            place.make("file", b"after")
            assert os.read(old, 9) == b"before"
        assert (place.disk / "file").read_bytes() == b"after"

    def test_a_rename_replaces_an_open_file(self, place: Place) -> None:
        place.make("new", b"new")
        with opened(place.make("old", b"old"), os.O_RDONLY) as old:
            os.rename(place.mount / "new", place.mount / "old")
            assert os.read(old, 9) == b"old"
            assert (place.disk / "old").read_bytes() == b"new"
        assert os.listdir(place.mount) == ["old"]

    def test_an_open_file_is_renamed(self, place: Place) -> None:
        with opened(place.make("a", b"")) as file:
            os.rename(place.mount / "a", place.mount / "b")
            os.write(file, b"written later")
        assert (place.disk / "b").read_bytes() == b"written later"

    def test_folders_are_as_in_posix(self, place: Place) -> None:
        for name in ("a", "empty", "full"):
            os.mkdir(place.mount / name)
        place.make("full/file")
        os.rename(place.mount / "a", place.mount / "empty")
        for call in (
            lambda: os.rename(place.mount / "empty", place.mount / "full"),
            lambda: os.rmdir(place.mount / "full"),
        ):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == errno.ENOTEMPTY
        assert sorted(os.listdir(place.disk)) == ["empty", "full"]


def locked_elsewhere(path: Path, how: str) -> bool:
    """Whether another process cannot lock a file at once."""
    script = f"import fcntl, sys\nfile = open(sys.argv[1], 'rb+')\ntry: {how}\nexcept OSError: sys.exit(9)"
    done = subprocess.run([sys.executable, "-SEI", "-c", script, path], check=False)
    assert done.returncode in {0, 9}
    return done.returncode == 9


class TestLocks:
    @pytest.mark.parametrize("kind", ["lockf", "flock"])
    def test_one_client_keeps_another_out(self, server: ServerProcess, place: Place, tmp_path: Path, kind: str) -> None:
        path = place.make("file")
        with mounted(server, tmp_path / "second", POSIX) as second:
            other, how = second / place.disk.name / "file", f"fcntl.{kind}(file, fcntl.LOCK_EX | fcntl.LOCK_NB)"
            with opened(path) as file:
                getattr(fcntl, kind)(file, fcntl.LOCK_EX)
                assert locked_elsewhere(other, how)
                getattr(fcntl, kind)(file, fcntl.LOCK_UN)
                assert not locked_elsewhere(other, how)

    def test_ranges_are_kept_apart(self, server: ServerProcess, place: Place, tmp_path: Path) -> None:
        path = place.make("file", bytes(100))
        with mounted(server, tmp_path / "second", POSIX) as second, opened(path) as file:
            other = second / place.disk.name / "file"
            fcntl.lockf(file, fcntl.LOCK_EX, 10, 20)
            fcntl.lockf(file, fcntl.LOCK_SH, 10, 50)
            excluding = "fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, {})"
            assert [locked_elsewhere(other, excluding.format(at)) for at in (0, 25, 40, 55)] == [
                False,
                True,
                False,
                True,
            ]
            assert not locked_elsewhere(other, "fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, 5, 55)")


def fallocate(file: int, mode: int, offset: int, length: int) -> None:
    if LIBC.fallocate(file, mode, ctypes.c_long(offset), ctypes.c_long(length)):
        raise OSError(ctypes.get_errno(), "fallocate")


class TestContent:
    def test_much_is_read_as_it_was_written(self, place: Place) -> None:
        data = random.Random(1).randbytes(5 * MIB + 17)
        place.make("file", data)
        assert (place.disk / "file").read_bytes() == data
        assert place.agree_on("file").st_size == len(data)
        (place.disk / "other").write_bytes(data[::-1])
        assert (place.mount / "other").read_bytes() == data[::-1]

    def test_two_clients_see_what_each_writes(self, server: ServerProcess, place: Place, tmp_path: Path) -> None:
        # What is read from a cache may be older than what was written a moment ago: nobody waits for those who read.
        options, file = f"{POSIX},cache=none", place.disk.relative_to(server.folder()) / "file"
        place.make("file", b"")
        with mounted(server, tmp_path / "1", options) as first, mounted(server, tmp_path / "2", options) as second:
            with opened(first / file) as first_file, opened(second / file) as second_file:
                for number in range(6):
                    turn = (first_file, second_file) if number % 2 else (second_file, first_file)
                    os.pwrite(turn[0], b"%d" % number, number)
                    assert os.pread(turn[1], 9, 0) == b"012345"[: number + 1]

    def test_space_is_made_and_given_back(self, place: Place) -> None:
        data = b"x" * MIB
        path = place.make("file", data)
        with opened(path) as file:
            os.fsync(file)
            before = os.stat(place.disk / "file").st_blocks
            fallocate(file, FALLOC_PUNCH | FALLOC_KEEP_SIZE, 65536, 131072)
            assert os.stat(place.disk / "file").st_blocks < before
            fallocate(file, FALLOC_ZERO, 4096, 4096)
            expected = bytearray(data)
            expected[65536 : 65536 + 131072] = bytes(131072)
            expected[4096:8192] = bytes(4096)
            assert (place.disk / "file").read_bytes() == expected
            assert (os.lseek(file, 0, os.SEEK_HOLE), os.lseek(file, 100_000, os.SEEK_DATA)) == (4096, 196608)
            # By copies that overlap: of more than a MiB Linux makes several, the first of which spoils the next.
            fallocate(file, FALLOC_COLLAPSE, 0, 4096)
            fallocate(file, FALLOC_INSERT, 0, 8192)
            os.fsync(file)
            assert (place.disk / "file").read_bytes() == bytes(8192) + expected[4096:]
            fallocate(file, 0, 0, 2 * MIB)
            assert os.stat(place.disk / "file").st_size == 2 * MIB

    def test_a_copy_is_made_by_the_server(self, place: Place) -> None:
        data = random.Random(2).randbytes(3 * MIB)
        place.make("file", data)
        Path("/proc/fs/cifs/Stats").write_text("0")
        with opened(place.mount / "file", os.O_RDONLY) as source, opened(place.make("copy", b"")) as target:
            assert os.copy_file_range(source, target, len(data)) == len(data)
        assert (place.disk / "copy").read_bytes() == data
        counted = Path("/proc/fs/cifs/Stats").read_text().splitlines()
        assert all(line.split()[1:] == ["0", "total", "0", "failed"] for line in counted if line.startswith("Reads:"))

    def test_memory_that_is_mapped_is_written(self, place: Place) -> None:
        with opened(place.make("file", bytes(8192))) as file, mmap.mmap(file, 8192) as memory:
            memory[4090:4100] = b"0123456789"
            memory.flush()
        assert (place.disk / "file").read_bytes()[4090:4100] == b"0123456789"

    def test_it_is_cut_and_appended_to(self, place: Place) -> None:
        path = place.make("file", b"0123456789")
        os.truncate(path, 4)
        with opened(path, os.O_WRONLY | os.O_APPEND) as file:
            os.write(file, b"end")
        assert (place.disk / "file").read_bytes() == b"0123end"


class TestOtherThings:
    def test_extended_attributes_are_kept(self, place: Place) -> None:
        path = place.make("file")
        os.setxattr(path, "user.colour", b"\x00blue")
        os.setxattr(path, "user.long", b"x" * 3000)
        assert sorted(os.listxattr(path)) == ["user.colour", "user.long"]
        assert os.getxattr(place.disk / "file", "user.colour") == os.getxattr(path, "user.colour") == b"\x00blue"
        os.removexattr(path, "user.colour")
        assert os.listxattr(path) == ["user.long"]

    def test_times_are_kept_to_their_tenth_of_a_microsecond(self, place: Place) -> None:
        path = place.make("file")
        os.utime(path, ns=(1_000_000_000_123_456_700, 1_100_000_000_765_432_100))
        here, there = os.stat(path), place.agree_on("file")
        assert (here.st_atime_ns, here.st_mtime_ns) == (there.st_atime_ns, there.st_mtime_ns)
        assert (there.st_atime_ns, there.st_mtime_ns) == (1_000_000_000_123_456_700, 1_100_000_000_765_432_100)

    def test_the_disk_is_as_large_as_it_is(self, place: Place) -> None:
        here, there = os.statvfs(place.mount), os.statvfs(place.disk)
        for field in ("f_bsize", "f_blocks", "f_files", "f_namemax"):
            assert getattr(here, field) == getattr(there, field), field


@pytest.mark.parametrize("options", ["vers=2.1", "vers=3.0", "vers=3.1.1", "vers=3.1.1,seal", "vers=3.0,cifsacl,sfu"])
def test_a_mount_without_the_extensions(
    server: ServerProcess, request: pytest.FixtureRequest, tmp_path: Path, options: str
) -> None:
    with mounted(server, tmp_path / "mounted", options) as mount:
        place, data = place_in(mount, server, request), random.Random(3).randbytes(2 * MIB)
        place.make("file", data)
        assert (place.disk / "file").read_bytes() == data
        (place.disk / "other").write_bytes(data[::-1])
        assert (place.mount / "other").read_bytes() == data[::-1]
        os.unlink(place.mount / "other")
        os.link(place.mount / "file", place.mount / "hard")
        os.rename(place.mount / "file", place.mount / "renamed")
        os.mkdir(place.mount / "folder")
        place.make("Folder/a:b?", b"in a folder")
        assert sorted(os.listdir(place.mount)) == ["folder", "hard", "renamed"]
        assert os.listdir(place.mount / "folder") == ["a:b?"]
        os.truncate(place.mount / "hard", 100)
        assert os.stat(place.mount / "renamed").st_size == 100
        os.setxattr(place.mount / "hard", "user.colour", b"blue")
        assert os.getxattr(place.disk / "renamed", "user.colour") == b"blue"
        os.unlink(place.mount / "folder" / "a:b?")
        os.rmdir(place.mount / "folder")
        with opened(place.mount / "hard"):
            os.rename(place.mount / "hard", place.mount / "open")
        assert sorted(os.listdir(place.disk)) == ["open", "renamed"]
        assert os.statvfs(place.mount).f_blocks == os.statvfs(place.disk).f_blocks
