"""The paths of what is open: kept true in one process, and in several that have the same share."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.open_paths import LocalOpenPaths, SharedOpenPaths, open_at
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.processes import Place
from lamina.vfs_modules.services.shared import LmdbStore, MemoryStore, SharedValues
from lamina.vfs_modules.testing import local_chain, make_token

Paths = LocalOpenPaths | SharedOpenPaths


def of_two_processes() -> list[SharedOpenPaths]:
    values = SharedValues(MemoryStore(), "scope")
    return [SharedOpenPaths(values, Place("", number)) for number in (1, 2)]


@pytest.fixture(params=["local", "shared"])
def both(request: pytest.FixtureRequest) -> list[Paths]:
    """What two requests use that open and rename: the same thing, or that of two processes."""
    return [LocalOpenPaths()] * 2 if request.param == "local" else list(of_two_processes())


def test_a_path_follows_its_file_and_the_folders_above(both: list[Paths]) -> None:
    one, two = both
    file, other = one.add("a/b/file"), one.add("a/b2/file")
    two.moved("a/b/file", "a/b/new", False)
    two.moved("a/b", "c", True)
    assert (file.path, other.path) == ("c/new", "a/b2/file")
    two.moved("a/b2/file", "c/new", False)
    assert (file.path, other.path) == (None, "c/new")
    two.gone("c/new")
    assert other.path is None
    one.remove(file)
    one.remove(other)
    assert len(one) == 0


def test_two_handles_of_a_file_are_told_apart(both: list[Paths]) -> None:
    one, two = both
    mine, theirs = one.add("file"), two.add("file")
    one.remove(mine)
    two.moved("file", "new\udcff", False)
    assert theirs.path == "new\udcff"
    two.remove(theirs)
    assert len(two) == 0


Steps = list[tuple[str, str, str]]


@given(some.lists(some.tuples(some.sampled_from("adrmf"), some.sampled_from("abc"), some.sampled_from("abc"))))
def test_all_have_the_same_paths_however_many_processes_there_are(steps: Steps) -> None:
    local, shared = LocalOpenPaths(), of_two_processes()
    open_ = []
    for number, (step, first, second) in enumerate(steps):
        theirs = shared[number % 2]
        if step == "a":
            open_.append((local.add(f"{first}/{second}"), theirs.add(f"{first}/{second}"), theirs))
        elif step == "r" and open_:
            mine, place, owner = open_.pop()
            local.remove(mine)
            owner.remove(place)
        elif step == "m" and first != second:
            local.moved(first, second, True)
            theirs.moved(first, second, True)
        elif step == "f":
            local.gone(f"{first}/{second}")
            theirs.gone(f"{first}/{second}")
        assert [mine.path for mine, _, _ in open_] == [place.path for _, place, _ in open_]
    assert len(local) == len(shared[0]) == sum(mine.path is not None for mine, _, _ in open_)
    for mine, place, owner in open_:
        local.remove(mine)
        owner.remove(place)
    assert len(local) == len(shared[0]) == 0


def test_what_a_killed_process_left_open_is_forgotten_by_the_next_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = SharedValues(LmdbStore(Place(str(tmp_path), 1)), "scope")
    killed, other = SharedOpenPaths(values, Place("", 1)), SharedOpenPaths(values, Place("", 2))
    killed.add("theirs")
    kept = other.add("kept")
    SharedOpenPaths(values, Place("", 1))
    assert len(other) == 2  # a new chain of the same process
    monkeypatch.setattr(os, "getpid", lambda: 1)
    again = SharedOpenPaths(values, Place("", 1))
    assert len(other) == 1
    again.moved("kept", "moved", False)
    assert kept.path == "moved"


@pytest.mark.parametrize("anew", [False, True])
def test_a_rename_while_a_file_is_being_opened(both: list[Paths], anew: bool, tmp_path: Path) -> None:
    """Whether the file that was opened is the one that was renamed, or a new one of its old name."""
    one, two = both
    chain, token = local_chain(tmp_path), make_token()
    root = chain.open_root(token)
    (tmp_path / "old").touch()

    def opened() -> VfsHandle:
        handle = None if anew else chain.open(token, root, "old", OpenHow())
        chain.rename(token, root, "old", root, "new", False)
        two.moved("old", "new", False)
        return handle or chain.open(token, root, "old", OpenHow(Access.WRITE, create=True))

    handle, place = open_at(one, chain, root, token, "old", opened)
    assert place.path == ("old" if anew else "new")
    one.remove(place)

    def fails() -> VfsHandle:
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        open_at(one, chain, root, token, "missing", fails)
    assert len(one) == 0
    for each in (handle, root):
        chain.close(token, each)
    chain.disconnect()
