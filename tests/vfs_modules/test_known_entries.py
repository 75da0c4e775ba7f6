"""What listings remember of entries: never a moment too long, and the same for everybody."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lamina.vfs_modules import known_entries, syscalls
from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.forms import dosattrib
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.known_attributes import SETTLED_NS
from lamina.vfs_modules.known_entries import KnownEntries
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Access, DirectoryEntry, DosAttributes, FileStat, OpenHow
from lamina.vfs_modules.stock.dos_attributes import XATTR, DosAttributesModule
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.testing import local_chain, make_token

OLD = 1_000_000_000
DEVICE = 5
DOS = DosAttributes(0x20, 7)
TOKEN = make_token()


def entry(
    ino: int = 1, ctime: int = OLD, dos: DosAttributes | None = DOS, dev: int = DEVICE, told: bool = False
) -> DirectoryEntry:
    return DirectoryEntry(f"file{ino}", FileStat(dev, ino, 0o100644, 1, 0, 0, 0, 0, 1, 2, ctime, 4), dos, told)


def filled_in(known: KnownEntries, one: DirectoryEntry) -> DirectoryEntry | None:
    """What is known of an entry of which no more than its status is told."""
    entries = [one._replace(dos=None, may_have_xattrs=True)]
    return entries[0] if known.fill_in(entries) == [] else None


class TestMemory:
    def test_what_was_put_is_known_of_the_entry_as_it_was(self) -> None:
        known = KnownEntries()
        known.put(DEVICE, [entry(1), entry(2, told=True)])
        assert [filled_in(known, one) for one in (entry(1), entry(2))] == [entry(1), entry(2, told=True)]
        assert filled_in(known, entry(1)._replace(name="another")) == entry(1)._replace(name="another")
        for other in (entry(ctime=OLD + 1), entry(ctime=OLD - 1), entry(3), entry(dev=6)):
            assert filled_in(known, other) is None

    def test_a_later_state_takes_the_place_of_the_one_before(self) -> None:
        known = KnownEntries()
        for one in (entry(), entry(ctime=OLD + 1, dos=DosAttributes(1, 7))):
            known.put(DEVICE, [one])
        assert filled_in(known, entry()) is None
        assert filled_in(known, entry(ctime=OLD + 1)) == entry(ctime=OLD + 1, dos=DosAttributes(1, 7))

    @pytest.mark.parametrize(("age", "remembered"), [(SETTLED_NS - 1, False), (SETTLED_NS + 1, True), (-5, False)])
    def test_what_may_change_in_the_same_tick_is_not_remembered(
        self, monkeypatch: pytest.MonkeyPatch, age: int, remembered: bool
    ) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: OLD + age)
        known = KnownEntries()
        known.put(DEVICE, [entry()])
        assert (filled_in(known, entry()) is not None) == remembered

    def test_what_is_on_another_device_or_was_not_found_is_not_remembered(self) -> None:
        known = KnownEntries()
        known.put(DEVICE, [entry(dev=6), entry(2, dos=None), DirectoryEntry("unseen")])
        assert [filled_in(known, one) for one in (entry(dev=6), entry(2))] == [None, None]
        assert known.fill_in([DirectoryEntry("unseen")]) == [0]

    def test_the_generation_before_the_last_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(known_entries, "HALF", 2)
        known = KnownEntries()
        known.put(DEVICE, [entry(ino) for ino in range(1, 6)])
        assert [filled_in(known, entry(ino)) is not None for ino in range(1, 6)] == [False, False, True, True, True]


@dataclass
class Asked:
    """Which entries the kernel was asked about."""

    names: list[str] = field(default_factory=list)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    noted, ask = Asked(), syscalls.xattrs_in

    def noting(token, directory, entries, names):  # type: ignore[no-untyped-def]
        noted.names += entries
        return ask(token, directory, entries, names)

    monkeypatch.setattr(syscalls, "xattrs_in", noting)
    return noted


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that tells of every change."""
    monkeypatch.setattr(syscalls, "stamps_attributes", lambda _: True)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time at which everything that happens now is long ago."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 2 * SETTLED_NS)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    made = local_chain(tmp_path)
    yield made
    made.disconnect()


def next_tick() -> None:
    """Wait for the clock that file systems stamp with, which goes on by itself every few milliseconds."""
    began = time.clock_gettime_ns(5)
    while time.clock_gettime_ns(5) == began:
        pass


def listing(chain: Chain) -> dict[str, tuple[int | None, bool]]:
    """The attributes of each entry, None where they are to be asked for, and whether it may have others."""
    handle = chain.open(TOKEN, chain.open_root(TOKEN), "", OpenHow(Access.READ, directory=True))
    try:
        return {
            name: (None if dos is None else dos.attributes, told)
            for name, _, dos, told in chain.readdir(TOKEN, handle, True)
        }
    finally:
        chain.close(TOKEN, handle)


@pytest.mark.usefixtures("trusting", "later")
class TestListings:
    def test_the_kernel_is_asked_once_while_nothing_changes(self, chain: Chain, tmp_path: Path, asked: Asked) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "folder").mkdir()
        first = listing(chain)
        assert [listing(chain) for _ in range(3)] == [first] * 3
        assert sorted(asked.names) == ["file", "folder"]

    def test_what_local_programs_change_is_seen_at_once(
        self, chain: Chain, tmp_path: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        os.close(os.open(tmp_path / "still", os.O_CREAT))
        path = tmp_path / "file"
        path.touch()
        fd = os.open(path, os.O_RDWR)
        try:
            stamped = _stamped(fd)
            monkeypatch.setattr(syscalls, "stamps_attributes", lambda _: stamped)
            assert listing(chain)["file"] == (0, False)
            for attributes in (0x2, 0x6):
                next_tick()
                os.setxattr(fd, XATTR, dosattrib.encode(attributes, None))
                assert listing(chain)["file"] == (attributes, False)
            next_tick()
            os.setxattr(fd, "user.author", b"somebody")
            assert listing(chain)["file"] == (0x6, True)
            next_tick()
            os.removexattr(fd, XATTR)
            assert listing(chain)["file"] == (0, True)
        finally:
            os.close(fd)
        assert asked.names.count("still") == (1 if stamped else 5)

    def test_another_file_of_the_same_name_is_another(self, chain: Chain, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "new").touch()
        os.setxattr(tmp_path / "new", XATTR, dosattrib.encode(0x2, None))
        assert listing(chain) == {"file": (0, False), "new": (0x2, False)}
        os.rename(tmp_path / "new", tmp_path / "file")
        assert listing(chain) == {"file": (0x2, False)}

    def test_what_a_module_between_has_a_say_in_is_asked_each_time(self, tmp_path: Path, asked: Asked) -> None:
        class Between(VfsModule):
            def getxattrs_in(self, token, directory, entries, names):  # type: ignore[no-untyped-def]
                return self.next.getxattrs_in(token, directory, entries, names)

        (tmp_path / "file").touch()
        chain = local_chain(tmp_path, DosAttributesModule(), Between(), PosixBackend())
        for _ in range(2):
            assert listing(chain) == {"file": (0, False)}
        assert asked.names == ["file", "file"]
        chain.disconnect()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user; run the tests as root")
    def test_what_a_user_may_not_see_is_not_remembered_as_it_was_told_him(self, tmp_path: Path, asked: Asked) -> None:
        tmp_path.chmod(0o755)
        path = tmp_path / "file"
        path.touch(0o600)
        os.setxattr(path, XATTR, dosattrib.encode(0x2, None))
        chain = local_chain(tmp_path)
        other = make_token(4242, 4242)
        root = chain.open_root(TOKEN)
        handle = chain.open(TOKEN, root, "", OpenHow(Access.READ, directory=True))
        assert [one.dos for one in _listed_by(chain, other, handle)] == [DosAttributes(0x2, path_birth(chain, root))]
        assert asked.names == ["file", "file"]  # as the user, and as the server
        assert len(_listed_by(chain, TOKEN, handle)) == 1
        assert asked.names == ["file"] * 3
        chain.disconnect()


def _listed_by(chain: Chain, token, handle: VfsHandle) -> list[DirectoryEntry]:  # type: ignore[no-untyped-def]
    return list(chain.readdir(token, handle, True))


def path_birth(chain: Chain, root: VfsHandle) -> int | None:
    return chain.stat(TOKEN, root, "file").btime_ns


def _stamped(fd: int) -> bool:
    before = syscalls.fstatx(fd).ctime_ns
    next_tick()
    os.setxattr(fd, "user.lamina.probe", b"")
    os.removexattr(fd, "user.lamina.probe")
    return syscalls.fstatx(fd).ctime_ns > before
