"""What two listings of a folder say of what has happened between them."""

import pytest
from lamina.vfs_modules.changes import Change, ChangeKind

from lamina_glusterfs.diffing import Entry, Listing, changes

FILE = Entry(1, False, (10, 100), 100)
OTHER = Entry(2, False, (10, 100), 100)
FOLDER = Entry(3, True, (0, 0), 0)


def told(old: Listing, new: dict[str, Entry], contents: bool = True, own: frozenset[int] = frozenset()) -> list[Change]:
    return list(changes(old, new, contents, set(own)))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {"a": FILE}, [Change(ChangeKind.ADDED, "a")]),
        ({}, {"a": FOLDER}, [Change(ChangeKind.ADDED, "a", True)]),
        ({"a": FILE}, {}, [Change(ChangeKind.REMOVED, "a")]),
        ({"a": FILE}, {"b": FILE}, [Change(ChangeKind.RENAMED, "a", False, "b")]),
        ({"a": FOLDER}, {"b": FOLDER}, [Change(ChangeKind.RENAMED, "a", True, "b")]),
        ({"a": FILE}, {"a": FILE, "b": FILE}, [Change(ChangeKind.ADDED, "b")]),
        ({"a": FILE}, {"a": OTHER}, [Change(ChangeKind.REMOVED, "a"), Change(ChangeKind.ADDED, "a")]),
        ({"a": FILE}, {"a": FILE._replace(data=(11, 101), changed=101)}, [Change(ChangeKind.DATA, "a")]),
        ({"a": FILE}, {"a": FILE._replace(changed=101)}, [Change(ChangeKind.ATTRIBUTES, "a")]),
        ({"a": FILE}, {"a": FILE}, []),
    ],
)
def test_changes_are_found(old: Listing, new: dict[str, Entry], expected: list[Change]) -> None:
    assert told(old, new) == expected


def test_contents_are_told_where_they_are_asked_for_and_not_of_own_files() -> None:
    new = {"a": FILE._replace(data=(11, 101))}
    assert told({"a": FILE}, new, contents=False) == []
    assert told({"a": FILE}, new, own=frozenset({1})) == []


def test_what_was_made_here_is_taken_as_it_is_found_and_its_end_by_others_is_told() -> None:
    assert told({"a": None}, {"a": FILE}) == []
    assert told({"a": None}, {}) == [Change(ChangeKind.REMOVED, "a")]
