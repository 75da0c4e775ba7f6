"""What an operation has caused, and what others did before it and after it."""

from hypothesis import given
from hypothesis import strategies as st

from lamina.ntfsa.notify.own_changes import CONTENT, removed_by, sort_out
from lamina.vfs_modules.changes import Change, ChangeKind

ADDED, REMOVED, RENAMED = ChangeKind.ADDED, ChangeKind.REMOVED, ChangeKind.RENAMED
A_X, R_X = Change(ADDED, "d/x"), Change(REMOVED, "d/x")
MOVE = Change(RENAMED, "d/x", False, "d/y")


def seen(kind, path, target=""):
    """A change as who watches "d" has it."""
    return Change(kind, path, False, target)


def test_what_an_operation_has_caused_is_left_out():
    assert sort_out("d", [seen(ADDED, "x")], [A_X]) == ([], [], True)
    assert sort_out("d", [seen(RENAMED, "x", "y")], [MOVE]) == ([], [], True)


def test_what_others_did_stands_around_it():
    held = [seen(ADDED, "x"), seen(REMOVED, "x"), seen(ADDED, "x"), seen(RENAMED, "x", "z")]
    assert sort_out("d", held, [A_X]) == (held[:2], held[3:], True)


def test_of_an_operation_that_failed_everything_is_told():
    held = [seen(ADDED, "x"), seen(REMOVED, "x")]
    assert sort_out("d", held, []) == ([], held, True)


def test_who_sees_half_of_a_rename_and_who_sees_its_halves():
    assert sort_out("d", [seen(REMOVED, "x")], [MOVE]) == ([], [], True)
    assert sort_out("d", [seen(REMOVED, "x"), seen(ADDED, "y")], [MOVE]) == ([], [], True)


def test_where_a_removal_is_a_rename_its_other_name_is_news():
    assert sort_out("d", [seen(RENAMED, "x", "bin")], [R_X]) == ([], [seen(ADDED, "bin")], True)


def test_what_comes_in_the_midst_of_it_or_of_a_source_that_is_silent_is_uncertain():
    midst = [seen(ADDED, "x"), seen(ADDED, "z"), seen(REMOVED, "x")]
    assert not sort_out("d", midst, [A_X, R_X]).certain
    assert not sort_out("d", [seen(REMOVED, "x")], [A_X]).certain
    assert sort_out("d", [], [A_X]).certain


def test_what_a_new_file_holds_is_told_with_it_and_what_a_renamed_one_holds_is_told():
    data = seen(ChangeKind.DATA, "x")
    assert sort_out("d", [seen(ADDED, "x"), data], [A_X]) == ([], [], True)
    assert sort_out("d", [data, seen(RENAMED, "x", "y")], [MOVE]) == ([data], [], True)
    assert data.kind in CONTENT


NAMES = ("x", "y")


def happen(there, steps):
    """What a source tells of steps that are possible, and what is there in the end."""
    told = []
    for name, target in steps:
        if name not in there:
            there.add(name)
            told.append(seen(ADDED, name))
        elif target != name and target not in there:
            there ^= {name, target}
            told.append(seen(RENAMED, name, target))
        else:
            there.discard(name)
            told.append(seen(REMOVED, name))
    return told


STEPS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=5)


@given(st.sets(st.sampled_from(NAMES)), STEPS, st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), STEPS)
def test_the_operation_between_what_was_sorted_out_leaves_what_is_there(there, before, step, after):
    names = set(there)
    earlier, own, later = happen(names, before), happen(names, [step]), happen(names, after)
    path = {change: change._replace(path=f"d/{change.path}", target=f"d/{change.target}") for change in own}
    told = sort_out("d", earlier + own + later, [path[change] for change in own])
    assert told.certain
    believed = set(there)
    for change in [*told.before, *own, *told.after]:
        if change.kind is RENAMED:
            believed ^= {change.path, change.target}
        else:
            believed ^= {change.path}
    assert believed == names
    gone = removed_by("d", [*told.before, *own, *told.after])
    assert not gone & {f"d/{name}" for name in names}
