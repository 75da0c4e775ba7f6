"""How the names of snapshots tell their times, and which paths lead into snapshots."""

import pytest

from lamina_glusterfs.snapshots import GlusterSnapshots, time_of


@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("daily_GMT-1970.01.02-00.00.01", 86401),
        ("a_GMT-b_GMT-2026.11.21-09.00.00", 1795251600),
        ("_GMT-1970.01.01-00.00.00", 0),
        ("daily", None),
        ("daily_GMT-1970.13.01-00.00.00", None),
        ("daily_GMT-1970.01.01-00.00.00x", None),
        ("daily_GMT-1970.01.01-00.00.00\n", None),
    ],
)
def test_a_name_tells_a_time_or_none(name: str, when: int | None) -> None:
    assert time_of(name) == when


@pytest.mark.parametrize(
    ("path", "hidden"),
    [(".snaps", True), (".snaps/a/b", True), ("a/.snaps/b", True), ("a/b", False), ("x.snaps/a", False)],
)
def test_every_folder_has_the_entry_of_snapshots(path: str, hidden: bool) -> None:
    assert GlusterSnapshots().hides(path) is hidden
