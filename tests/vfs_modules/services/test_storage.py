"""What a module stores is its own, is there after a restart, and is bounded."""

import errno
import multiprocessing
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.vfs_modules.chain import ShareInfo, build_chain
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.services.stores import Store, component
from lamina.vfs_modules.services.surroundings import Surroundings
from lamina.vfs_modules.stock.memory import MemoryBackend


class Keeper(VfsModule):
    name = "keeper"
    storage_limit = 1000


class Other(VfsModule):
    name = "other"


def keepers(around, share="data", count=1):
    modules = [Keeper() for _ in range(count)]
    build_chain([*modules, MemoryBackend()], ShareInfo(share, "/nowhere", surroundings=around)).connect()
    return modules


@pytest.fixture
def around(tmp_path):
    made = Surroundings(state_folder=str(tmp_path / "state"))
    yield made
    made.stores.close()


def test_values_are_kept_read_listed_and_forgotten(around):
    (module,) = keepers(around)
    storage = module.storage
    assert storage.get("a") is None
    storage.set("a", b"1")
    storage.set("a", b"2")
    storage.update({"b/1": b"", "b/2": b"\x00\xff", "c": b"3"})
    assert storage.get("a") == b"2"
    assert storage.items("b/") == [("b/1", b""), ("b/2", b"\x00\xff")]
    storage.update({"a": None, "c": None, "none": None})
    storage.delete("b/1")
    assert storage.items() == [("b/2", b"\x00\xff")]
    assert storage.used() == 5


def test_it_is_there_after_a_restart(tmp_path):
    for expected in (None, b"1"):
        around = Surroundings(state_folder=str(tmp_path))
        (module,) = keepers(around)
        assert module.storage.get("a") == expected
        module.storage.set("a", b"1")
        assert module.storage.used() == 2
        around.stores.close()


def test_without_a_folder_it_goes_with_the_server():
    around = Surroundings()
    (module,) = keepers(around)
    module.storage.set("a", b"1")
    folder = Path(module.storage.folder())
    assert folder.is_dir()
    around.stores.close()
    assert not folder.exists()


def test_shares_modules_and_copies_have_their_own(around):
    (one,), (other_share,), twice = keepers(around), keepers(around, "music"), keepers(around, "data", 2)
    one.storage.set("a", b"1")
    assert other_share.storage.get("a") is None
    assert twice[1].storage.get("a") is None
    assert twice[0].storage.get("a") == b"1"
    assert len({module.storage.folder() for module in (one, other_share, twice[1])}) == 3


def test_two_chains_of_a_share_have_the_same_and_its_case_does_not_matter(around):
    (old,), (new,) = keepers(around), keepers(around, "DATA")
    old.storage.set("a", b"1")
    assert new.storage.get("a") == b"1"
    assert new.storage.used() == 2


def test_more_than_the_limit_is_refused_as_a_whole(around):
    (module,) = keepers(around)
    module.storage.set("a", bytes(900))
    with pytest.raises(OSError, match="limit of 1000 bytes") as caught:
        module.storage.update({"b": bytes(50), "c": bytes(50)})
    assert caught.value.errno == errno.ENOSPC
    assert module.storage.items("b") == []
    assert module.storage.used() == 901
    module.storage.update({"a": None, "b": bytes(900)})
    assert module.storage.used() == 901


def test_a_module_is_told_where_it_has_no_storage():
    with pytest.raises(RuntimeError, match="from `connect` to `disconnect`"):
        Keeper().storage.get("a")


def test_nobody_else_may_look(around, tmp_path):
    (module,) = keepers(around)
    folder = Path(module.storage.folder())
    for path in (folder, folder.parent, folder.parent.parent, tmp_path / "state"):
        assert path.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_can_write_to_is_refused(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o777)
    (module,) = keepers(Surroundings(state_folder=str(state)))
    with pytest.raises(PermissionError, match="others can write"):
        module.storage.get("a")


def test_a_folder_that_cannot_be_made_is_named_with_the_setting(tmp_path):
    (tmp_path / "file").touch()
    (module,) = keepers(Surroundings(state_folder=str(tmp_path / "file" / "state")))
    with pytest.raises(NotADirectoryError, match=r"module keeper cannot keep anything in .*/file.*; see server.state"):
        module.storage.get("a")


def test_a_link_in_its_place_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "data").symlink_to(tmp_path / "elsewhere")
    (module,) = keepers(Surroundings(state_folder=str(state)))
    with pytest.raises(NotADirectoryError):
        module.storage.get("a")


def test_a_database_that_is_broken_is_an_error_of_the_storage(tmp_path):
    folder = tmp_path / "data" / "keeper"
    folder.mkdir(parents=True, mode=0o700)
    os.chmod(tmp_path / "data", 0o700)
    os.chmod(tmp_path, 0o700)
    (folder / "store.db").write_bytes(b"no database at all" * 100)
    (module,) = keepers(Surroundings(state_folder=str(tmp_path)))
    with pytest.raises(OSError, match="cannot be reached") as caught:
        module.storage.get("a")
    assert caught.value.errno == errno.EIO


def test_what_is_written_is_synced_before_it_returns(around):
    (module,) = keepers(around)
    module.storage.set("a", b"1")
    store = around.stores.open("data", "keeper")
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_change_that_is_cut_off_is_not_there(around, monkeypatch):
    (module,) = keepers(around)
    module.storage.set("a", b"1")
    store = around.stores.open("data", "keeper")
    put = store._put

    def breaks(key, value):
        if key == "c":
            raise sqlite3.OperationalError("disk I/O error")
        return put(key, value)

    monkeypatch.setattr(store, "_put", breaks)
    with pytest.raises(OSError, match="disk I/O error"):
        module.storage.update({"a": None, "b": b"2", "c": b"3"})
    assert module.storage.items() == [("a", b"1")]
    assert module.storage.used() == 2


def test_threads_change_one_store_together(around):
    (module,) = keepers(around)
    errors = []

    def work(number):
        try:
            for round_ in range(20):
                module.storage.set(f"{number}", str(round_).encode())
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert module.storage.items() == [(str(number), b"19") for number in range(4)]
    assert module.storage.used() == 12


@given(st.text())
def test_every_name_is_one_component_of_a_path(name):
    made = component(name)
    assert made not in {"", ".", ".."}
    assert "/" not in made
    assert "\0" not in made
    assert len(os.fsencode(made)) <= 200


@given(st.text(), st.text())
def test_different_names_are_different_components(one, other):
    assert (component(one) == component(other)) == (one == other)


def _store_in_another_process(folder: str, number: int, begin: Any) -> None:
    begin.wait()
    store = Store(folder)
    for turn in range(20):
        store.change({f"{number}/{turn}": bytes(100)}, 1 << 20)
    store.close()


def test_several_processes_of_a_server_keep_in_one_store_and_to_one_limit(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    folder = tmp_path / "store"
    folder.mkdir()
    begin = context.Barrier(3)
    others = [context.Process(target=_store_in_another_process, args=(str(folder), n, begin)) for n in (1, 2)]
    for other in others:
        other.start()
    begin.wait()
    store = Store(str(folder))
    for other in others:
        other.join()
    assert [other.exitcode for other in others] == [0, 0]
    assert len(store.items("")) == 40
    assert store.size() == sum(len(key) + len(value) for key, value in store.items(""))
    with pytest.raises(OSError, match="more than its limit"):
        store.change({"more": bytes(1000)}, 4500)
    store.close()
