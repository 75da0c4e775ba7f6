"""What all processes of a server agree upon: values changed in steps, and turns; in one process and several."""

import asyncio
import errno
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lamina.vfs_modules import engine, processes
from lamina.vfs_modules.engine import Engine, breathe
from lamina.vfs_modules.places import Places
from lamina.vfs_modules.processes import Place
from lamina.vfs_modules.services.shared import LmdbStore, MemoryStore, SharedStore, SharedValues
from lamina.vfs_modules.services.turns import Turns, locks_of, places
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.testing import local_chain

ROUNDS = 200
spawning = multiprocessing.get_context("spawn")


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SharedStore]:
    if request.param == "memory":
        yield MemoryStore()
    else:
        yield LmdbStore(Place(str(tmp_path), 1))


def test_a_step_is_done_whole_or_not_at_all(store: SharedStore) -> None:
    values = SharedValues(store, "scope")
    with values.step() as step:
        step.put(b"a", b"1")
        step.put(b"b", b"2")

    def half() -> None:
        with values.step() as step:
            step.put(b"a", b"3")
            step.delete(b"b")
            step.put(b"c", b"4")
            assert (step.get(b"a"), step.get(b"b"), step.get(b"c")) == (b"3", None, b"4")
            raise KeyError

    with pytest.raises(KeyError):
        half()
    assert [values.get(key) for key in (b"a", b"b", b"c")] == [b"1", b"2", None]


def test_scopes_and_prefixes_are_kept_apart(store: SharedStore) -> None:
    one, other = SharedValues(store, "one"), SharedValues(store, "other")
    for values, value in ((one, b"1"), (other, b"2")):
        with values.step() as step:
            for key in (b"b", b"ab", b"a"):
                step.put(key, value + key)
    with one.step() as step:
        assert step.items() == [(b"a", b"1a"), (b"ab", b"1ab"), (b"b", b"1b")]
        assert step.items(b"a") == [(b"a", b"1a"), (b"ab", b"1ab")]
        assert step.items(b"c") == []
        step.delete(b"a")
    assert one.get(b"a") is None
    assert other.get(b"a") == b"2a"


def test_a_step_inside_another_is_told_and_not_waited_for(store: SharedStore) -> None:
    values = SharedValues(store, "scope")
    with values.step(), pytest.raises(RuntimeError, match="inside another"):
        values.step().__enter__()
    with values.step() as step:
        step.put(b"a", b"")
    with values.step() as step, pytest.raises(ValueError, match="401 bytes"):
        step.put(b"k" * 401, b"")


def test_a_full_memory_is_an_error_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.vfs_modules.services.shared._MAP", 1 << 16)
    values = SharedValues(LmdbStore(Place(str(tmp_path), 1)), "scope")

    def fill() -> None:
        with values.step() as step:
            for number in range(100):
                step.put(b"%d" % number, bytes(1000))

    with pytest.raises(OSError, match="no memory for what processes share") as error:
        fill()
    assert error.value.errno == errno.ENOSPC
    assert values.get(b"0") is None


def _count(folder: str, begin: Any) -> None:
    values = SharedValues(LmdbStore(Place(folder, 1)), "scope")
    begin.wait()
    for _ in range(ROUNDS):
        with values.step() as step:
            step.put(b"n", b"%d" % (int(step.get(b"n") or b"0") + 1))


def _count_in_turns(folder: str, begin: Any) -> None:
    processes.join(folder, 1)
    turns, file = Turns("scope"), Path(folder) / "counter"

    def work() -> None:
        begin.wait()
        for _ in range(ROUNDS):
            with turns.of(("counter", 1)):
                before = int(file.read_text() or "0")
                breathe()
                file.write_text(str(before + 1))

    as_request(work)


def as_request(*functions: Callable[[], Any]) -> list[Any]:
    async def serve() -> list[Any]:
        running = Engine(asyncio.get_running_loop())
        try:
            return list(await asyncio.gather(*map(running.run, functions)))
        finally:
            running.close()

    return asyncio.run(serve())


@pytest.mark.parametrize("work", [_count, _count_in_turns])
def test_no_step_of_several_processes_is_lost(work: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "counter").write_text("")
    begin = spawning.Barrier(2)
    workers = [spawning.Process(target=work, args=(str(tmp_path), begin)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    counted = (
        SharedValues(LmdbStore(Place(str(tmp_path), 1)), "scope").get(b"n")
        if work is _count
        else (tmp_path / "counter").read_bytes()
    )
    assert int(counted or b"") == 2 * ROUNDS


def _hold(folder: str, held: Any) -> None:
    processes.join(folder, 2)
    with Turns("scope").of(("key",)), LmdbStore(Place(folder, 2)).step(b"x" * 16) as step:
        step.put(b"half", b"done")
        held.set()
        signal.pause()


def test_what_a_killed_process_held_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = spawning.Event()
    holder = spawning.Process(target=_hold, args=(str(tmp_path), held))
    holder.start()
    held.wait()
    monkeypatch.setattr(processes, "_place", Place(str(tmp_path), 1))
    turn = Turns("scope").of(("key",))
    waited: list[bool] = []

    def take() -> None:
        with turn:
            waited.append(holder.is_alive())

    def kill() -> None:
        engine.sleep(0.01)
        assert waited == []
        assert holder.pid is not None
        os.kill(holder.pid, signal.SIGKILL)
        holder.join()

    as_request(take, kill)
    assert waited == [False]
    with LmdbStore(Place(str(tmp_path), 1)).step(b"x" * 16) as step:
        assert step.get(b"half") is None


def test_modules_of_one_chain_have_turns_of_their_own() -> None:
    scopes = [locks_of(scope) for scope in ("data\0streams_xattr\0/srv", "data\0fruit\0/srv")]
    assert abs(scopes[0] - scopes[1]) >= 64
    assert all(scope % 64 == 0 and scope < 1 << 62 for scope in scopes)


def test_what_is_shared_is_a_modules_own_and_outlives_its_chain(tmp_path: Path) -> None:
    module, other = StreamsXattrModule(), StreamsXattrModule()
    with pytest.raises(RuntimeError, match="while it is in a chain"):
        _ = module.shared
    chain = local_chain(tmp_path, module)
    apart = local_chain(tmp_path, other)
    with module.shared.step() as step:
        step.put(b"a", b"1")
    assert module.shared.get(b"a") == b"1"
    assert other.shared.get(b"a") is None  # of another server
    assert module.turn("a", 1) is module.turn("a", 1)
    for one in (chain, apart):
        one.disconnect()


def test_places_are_for_the_requests_of_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_place", Place(str(tmp_path), 1))
    crew = [places("scope", 2) for _ in range(2)]  # locks are of open files, and hold between these two
    inside, most = [], []

    def enter(places_: Places) -> None:
        with places_:
            inside.append(places_)
            most.append(len(inside))
            for _ in range(3):
                breathe()
            inside.remove(places_)

    as_request(*(partial(enter, each) for each in crew * 4))
    assert (max(most), len(most), inside) == (2, 8, [])
    assert [each.free for each in crew] == [2, 2]
