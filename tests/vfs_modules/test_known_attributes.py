"""NT attributes that are remembered by the file's status change time: never a moment too long."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from lamina.vfs_modules import known_attributes, syscalls
from lamina.vfs_modules.known_attributes import MOST, SETTLED_NS, KnownAttributes
from lamina.vfs_modules.operations import Access, DosAttributes, FileStat, OpenHow
from lamina.vfs_modules.stock.dos_attributes import XATTR, DosAttributesModule
from lamina.vfs_modules.testing import local_chain, make_token

OLD = 1_000_000_000
DOS = DosAttributes(0x20, 7)


def stat_of(ino: int = 1, ctime: int = OLD, dev: int = 5) -> FileStat:
    return FileStat(dev, ino, 0o100644, 1, 0, 0, 0, 0, 1, 2, ctime, 4)


@pytest.fixture
def trusting(monkeypatch):
    """A file system that tells of every change."""
    monkeypatch.setattr(syscalls, "stamps_attributes", lambda _: True)


class TestMemory:
    def test_what_was_put_is_known_of_the_file_as_it_was(self, trusting):
        known = KnownAttributes()
        known.put(0, stat_of(), DOS)
        assert known.get(stat_of()) == DOS
        assert known.get(stat_of(ctime=OLD + 1)) is None
        assert known.get(stat_of(ino=2)) is None
        assert known.get(stat_of(dev=6)) is None

    def test_a_later_state_takes_the_place_of_the_one_before(self, trusting):
        known = KnownAttributes()
        known.put(0, stat_of(), DOS)
        known.put(0, stat_of(ctime=OLD + 1), DosAttributes(1, 7))
        assert known.get(stat_of()) is None
        assert known.get(stat_of(ctime=OLD + 1)) == DosAttributes(1, 7)

    @pytest.mark.parametrize(("age", "remembered"), [(SETTLED_NS - 1, False), (SETTLED_NS + 1, True), (-5, False)])
    def test_what_may_change_in_the_same_tick_is_not_remembered(self, trusting, monkeypatch, age, remembered):
        monkeypatch.setattr(time, "time_ns", lambda: OLD + age)
        known = KnownAttributes()
        known.put(0, stat_of(), DOS)
        assert (known.get(stat_of()) is not None) == remembered

    def test_a_file_system_that_may_not_tell_is_not_trusted(self, monkeypatch):
        monkeypatch.setattr(syscalls, "stamps_attributes", lambda _: False)
        known = KnownAttributes()
        known.put(0, stat_of(), DOS)
        assert known.get(stat_of()) is None

    def test_the_oldest_is_given_up_first(self, trusting, monkeypatch):
        monkeypatch.setattr(known_attributes, "MOST", 3)
        known = KnownAttributes()
        for ino in range(1, 5):
            known.put(0, stat_of(ino), DOS)
        assert [known.get(stat_of(ino)) is not None for ino in range(1, 5)] == [False, True, True, True]
        assert MOST < 100_000


@dataclass
class Counted:
    """How often the kernel is asked."""

    calls: int = 0


@pytest.fixture
def asked(monkeypatch):
    counted, find = Counted(), syscalls.find_xattr

    def counting(*arguments):
        counted.calls += 1
        return find(*arguments)

    monkeypatch.setattr(syscalls, "find_xattr", counting)
    return counted


@pytest.fixture
def chain(tmp_path: Path):
    made = local_chain(tmp_path, DosAttributesModule())
    yield made
    made.disconnect()


def attributes(chain, token) -> int:
    """Those of the file, as an open finds them."""
    handle = chain.open(token, chain.open_root(token), "file", OpenHow(Access.PATH))
    try:
        found: int = chain.get_dos_attributes(token, handle, chain.fstat(token, handle)).attributes
        return found
    finally:
        chain.close(token, handle)


def settle(monkeypatch) -> None:
    """Let everything that has happened be long ago."""
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 2 * SETTLED_NS)


def next_tick() -> None:
    """Wait for the clock that file systems stamp with, which goes on by itself every few milliseconds."""
    began = time.clock_gettime_ns(5)
    while time.clock_gettime_ns(5) == began:
        pass


def test_the_kernel_is_asked_once_while_nothing_changes(chain, tmp_path, trusting, asked, monkeypatch):
    (tmp_path / "file").touch()
    settle(monkeypatch)
    token = make_token()
    assert [attributes(chain, token) for _ in range(5)] == [0] * 5
    assert asked.calls == 1


@pytest.mark.parametrize("by", ["chain", "somebody else"])
def test_a_change_is_seen_at_once(chain, tmp_path, monkeypatch, by):
    path = tmp_path / "file"
    path.touch()
    fd = os.open(path, os.O_RDWR)
    if not syscalls.stamps_attributes(fd):
        monkeypatch.setattr(syscalls, "stamps_attributes", lambda _: False)
    settle(monkeypatch)
    token = make_token()
    for wanted in (0x2, 0x6, 0x1):
        attributes(chain, token)
        next_tick()
        if by == "chain":
            handle = chain.open(token, chain.open_root(token), "file", OpenHow(Access.PATH))
            chain.set_dos_attributes(token, handle, DosAttributes(wanted, None))
            chain.close(token, handle)
        else:
            os.setxattr(fd, XATTR, b"0x%x\0" % wanted)
        assert attributes(chain, token) == wanted
    os.close(fd)


@pytest.mark.parametrize("place", ["/dev/shm", "/tmp", "/var/tmp"])
def test_where_changes_are_trusted_to_be_stamped_they_are(place):
    directory = os.open(place, os.O_RDONLY)
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR, dir_fd=directory)
    try:
        if not syscalls.stamps_attributes(fd):
            return
        for change in (lambda: os.setxattr(fd, XATTR, b"0x1\0"), lambda: os.removexattr(fd, XATTR)):
            before = syscalls.fstatx(fd).ctime_ns
            next_tick()
            change()
            assert syscalls.fstatx(fd).ctime_ns > before
    finally:
        os.close(fd)
        os.close(directory)


@pytest.mark.parametrize(
    ("kind", "release", "stamps"),
    [
        (0xEF53, "5.10.0-8-amd64", True),
        (0x01021994, "6.1.0-13-amd64", False),
        (0x01021994, "6.6.1", True),
        (0x01021994, "7.0-rc1", True),
        (0x6969, "6.18.0", False),
        (0xF2F52010, "5.15.0", False),
        (0x794C7630, "6.18.0", False),
    ],
)
def test_which_file_systems_are_trusted(monkeypatch, kind, release, stamps):
    from lamina.vfs_modules.syscalls import attributes as module

    monkeypatch.setattr(module, "filesystem_type", lambda _: kind)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "here", release, "", "x86_64")))
    assert module.stamps_attributes(0) == stamps
