"""Names that go with the last open of their files, kept by one process and shared by several workers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lamina.ntfsa.naming.doomed import Doomed, DoomedNames
from lamina.ntfsa.workers.shared_state import SharedState, Step
from lamina.ntfsa.workers.volume_peers import SharedDoomed

KEY, OTHER = (1, 2, ""), (1, 3, "")
PARENT = bytes(16)


@pytest.fixture(params=["own", "shared"])
def names(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DoomedNames]:
    if request.param == "own":
        yield DoomedNames()
        return
    state = SharedState(tmp_path, 1, {})
    yield SharedDoomed(state, "share")
    state.close()


def test_the_first_and_the_last_name_that_is_noted(names: DoomedNames) -> None:
    names.note_first(KEY, Doomed("a", PARENT))
    names.note_first(KEY, Doomed("b", PARENT))
    assert names.get(KEY) == Doomed("a", PARENT)
    names.note(KEY, Doomed("c", PARENT))
    assert names.get(KEY) == Doomed("c", PARENT)


def test_what_is_forgotten_is_gone_and_may_be_forgotten_again(names: DoomedNames) -> None:
    names.note(KEY, Doomed("a", PARENT))
    names.forget(KEY)
    names.forget(KEY)
    assert names.get(KEY) is None


def test_a_rename_of_a_file_moves_its_name_alone(names: DoomedNames) -> None:
    names.note(KEY, Doomed("a", PARENT))
    names.note(OTHER, Doomed("a/b", PARENT))
    names.move("a", "c", False)
    assert names.get(KEY) == Doomed("c", PARENT)
    assert names.get(OTHER) == Doomed("a/b", PARENT)


def test_a_rename_of_a_directory_moves_the_names_beneath_it(names: DoomedNames) -> None:
    names.note(KEY, Doomed("a/b", PARENT))
    names.note(OTHER, Doomed("ab", PARENT))
    names.move("a", "c/d", True)
    assert names.get(KEY) == Doomed("c/d/b", PARENT)
    assert names.get(OTHER) == Doomed("ab", PARENT)


def test_a_rename_brings_nothing_back_that_another_worker_forgets_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = SharedState(tmp_path, 1, {})
    names, of_another = SharedDoomed(state, "share"), SharedDoomed(state, "share")
    names.note(KEY, Doomed("a", PARENT))
    step = state.changing

    def later(db: Any) -> Step:
        monkeypatch.setattr(state, "changing", step)
        of_another.forget(KEY)
        return step(db)

    monkeypatch.setattr(state, "changing", later)
    names.move("a", "b", False)
    assert names.get(KEY) is None
    state.close()
