"""The folded-name index: exact under changes, and never reading a directory twice."""

import errno
import os

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.naming import directory_index
from lamina.ntfsa.naming.directory_index import DirectoryIndexes
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.volume import VolumeSettings
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import NameEvent
from lamina.vfs_modules.token import SERVER_TOKEN


class Counting(VfsModule):
    """Counts the directories read."""

    name = "counting"

    def __init__(self, options=None):
        super().__init__(options)
        self._reads = 0

    def readdir(self, token, handle, with_attributes=False):
        self._reads += 1
        return self.next.readdir(token, handle, with_attributes)


class Unwatched(Counting):
    """A chain that cannot watch."""

    name = "unwatched"

    def watch(self, token, handle):
        raise OSError(errno.ENOSPC, "no more watches")


class Losing(Counting):
    """A chain whose watches lose events when told to."""

    name = "losing"
    _lost = False

    def watch(self, token, handle):
        module = self
        inner = self.next.watch(token, handle)

        class Watch:
            def poll(self):
                events = inner.poll()
                if module._lost:
                    module._lost = False
                    return [NameEvent("lost", None)]
                return events

            def close(self):
                inner.close()

        return Watch()


def test_misses_in_a_large_directory_read_it_once(make_share):
    counting = Counting()
    share = make_share(counting)
    for i in range(100_000):
        os.close(os.open(share.path / f"Name{i}", os.O_CREAT | os.O_WRONLY))
    for i in range(50):
        assert share.status(f"nothing{i}") is S.OBJECT_NAME_NOT_FOUND
        assert share.status(f"nAME{i}") is S.SUCCESS
        share.make(f"made{i}")
        assert share.status(f"MADE{i}") is S.SUCCESS
        (share.path / f"Other{i}").write_bytes(b"")
        assert share.status(f"oTHER{i}") is S.SUCCESS
    assert counting._reads == 1


def test_an_exact_name_needs_no_index(make_share):
    counting = Counting()
    share = make_share(counting)
    (share.path / "a" / "b").mkdir(parents=True)
    (share.path / "a" / "b" / "c").write_bytes(b"")
    assert share.status("a\\b\\c") is S.SUCCESS
    assert counting._reads == 0


@pytest.mark.parametrize("module", [Counting, Unwatched, Losing])
def test_changes_behind_our_back_are_seen(make_share, module):
    instance = module()
    share = make_share(instance)
    assert share.status("ONE") is S.OBJECT_NAME_NOT_FOUND
    (share.path / "one").write_bytes(b"")
    instance._lost = True
    assert share.status("ONE") is S.SUCCESS
    os.rename(share.path / "one", share.path / "two")
    instance._lost = True
    assert share.status("ONE") is S.OBJECT_NAME_NOT_FOUND
    assert share.status("TWO") is S.SUCCESS
    os.unlink(share.path / "two")
    instance._lost = True
    assert share.status("TWO") is S.OBJECT_NAME_NOT_FOUND


def test_an_unchanged_directory_that_cannot_be_watched_is_read_once_its_times_are_old(make_share):
    unwatched = Unwatched()
    share = make_share(unwatched)
    (share.path / "dir").mkdir()
    (share.path / "dir" / "name").write_bytes(b"")
    # As if the last change were long ago: the index trusts times that cannot be those of a change just now.
    index = share.volume.indexes
    stat = share.chain.stat(SERVER_TOKEN, share.volume.root, "dir", True)
    assert index.find("dir", stat, "NAME") == "name"
    made = index._indexes[stat.dev, stat.ino]
    made._read_at += 10**9
    reads = unwatched._reads
    for _ in range(10):
        assert index.find("dir", stat, "NAME") == "name"
    assert unwatched._reads == reads


def test_names_that_differ_in_case_only_come_and_go(share):
    index = share.volume.indexes
    stat = share.volume.root_stat
    assert index.find("", stat, "x") is None
    for name in ("name", "NAME", "Name"):
        (share.path / name).write_bytes(b"")
    assert index.find("", stat, "Name") == "Name"
    assert index.find("", stat, "nAmE") == "NAME"
    os.unlink(share.path / "NAME")
    assert index.find("", stat, "nAmE") == "Name"
    os.unlink(share.path / "Name")
    assert index.find("", stat, "NAME") == "name"
    os.unlink(share.path / "name")
    assert index.find("", stat, "NAME") is None


def test_indexes_are_given_up_by_the_number_of_names(make_share):
    counting = Counting()
    share = make_share(counting, settings=VolumeSettings(indexed_names=150))
    for directory in ("a", "b", "c"):
        (share.path / directory).mkdir()
        for i in range(60):
            (share.path / directory / f"name{i}").write_bytes(b"")
    for directory in ("a", "b", "c"):
        assert share.status(f"{directory}\\NAME1") is S.SUCCESS
    assert counting._reads == 3
    assert share.status("c\\NAME2") is S.SUCCESS
    assert counting._reads == 3
    assert share.status("a\\NAME2") is S.SUCCESS
    assert counting._reads == 4


def test_a_removed_directory_is_forgotten(share):
    share.make("DIR", options=c.FILE_DIRECTORY_FILE)
    assert share.status("DIR\\x") is S.OBJECT_NAME_NOT_FOUND
    held = len(share.volume.indexes._indexes)
    share.close(share.open("DIR", options=c.FILE_DELETE_ON_CLOSE))
    assert len(share.volume.indexes._indexes) == held - 1


def test_closing_gives_the_watches_back(share):
    before = len(os.listdir("/proc/self/fd"))
    indexes = DirectoryIndexes(share.chain, share.volume.root, 100)
    indexes.find("", share.volume.root_stat, "x")
    during = len(os.listdir("/proc/self/fd"))
    indexes.close()
    assert during > before
    assert len(os.listdir("/proc/self/fd")) < during


@pytest.mark.parametrize("kind", [Counting, Unwatched])
def test_who_gives_up_while_the_names_are_read_leaves_no_half_of_them(make_share, monkeypatch, kind):
    class GivenUpError(Exception):
        pass

    def give_up():
        raise GivenUpError

    share = make_share(kind())
    for number in range(10):
        (share.path / f"file{number}").touch()
    indexes = DirectoryIndexes(share.chain, share.volume.root, 1000)
    stat = share.chain.fstat(SERVER_TOKEN, share.volume.root)
    assert indexes.find("", stat, "FILE1") == "file1"
    monkeypatch.setattr(directory_index, "_READ_AT_ONCE", 3)
    monkeypatch.setattr(directory_index, "breathe", give_up)
    (index,) = indexes._indexes.values()
    with pytest.raises(GivenUpError):
        index._read()
    monkeypatch.setattr(directory_index, "breathe", lambda: None)
    assert {indexes.find("", stat, f"FILE{number}") for number in range(10)} == {
        f"file{number}" for number in range(10)
    }
    indexes.close()
