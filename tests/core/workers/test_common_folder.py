"""A folder that processes share stays as long as one of them does; what a killed server left goes at the next start."""

from pathlib import Path

import pytest

from lamina.core.workers import common_folder
from lamina.core.workers.common_folder import hold_folder, make_folder


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common_folder, "_IN_MEMORY", tmp_path)


def test_what_nobody_holds_any_more_is_cleared_away(tmp_path: Path) -> None:
    folder, hold = make_folder()
    hold.close()
    other, _held = make_folder()
    assert [str(path) for path in tmp_path.iterdir()] == [other]
    assert folder != other


def test_a_worker_that_outlives_its_supervisor_still_has_it(tmp_path: Path) -> None:
    folder, hold = make_folder()
    workers = hold_folder(folder)
    hold.close()
    _, others = make_folder()
    assert Path(folder).exists()
    workers.close()
    others.close()


def test_what_is_not_a_server_s_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lamina-just-made").mkdir()
    (tmp_path / "lamina-file").touch()
    make_folder()
    assert len(list(tmp_path.iterdir())) == 3
