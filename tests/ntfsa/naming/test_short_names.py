"""Short names in directories and on volumes: different within a directory, found, told, and matched."""

import struct
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.ntfsa import constants as c
from lamina.ntfsa.listing.directory import query_directory
from lamina.ntfsa.metadata.set_file import set_file
from lamina.ntfsa.naming.names import fold, present
from lamina.ntfsa.naming.short_names import ShortNameIndex
from lamina.ntfsa.status import NtStatus as S
from lamina.vfs_modules.stock.short_names import ShortNamesModule, ShortNamesOptions, is_short
from lamina.vfs_modules.testing import make_token

LONG = "A long name.document"


def rule(prefix=1):
    """What makes short names that begin with as many letters of the long ones."""
    return ShortNamesModule(ShortNamesOptions(prefix=prefix)).short_name


def made_of(name, prefix=1):
    """The short name of a name that has one."""
    short = rule(prefix)(fold(name), 0)
    assert short is not None
    return short


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda name: name not in {".", ".."}
)


def one_name(name, number):
    """A rule that knows two values, so that names come to the same."""
    return None if is_short(name) else f"SAME{len(name) % 2:02}~{number}"


@given(st.lists(names, unique_by=fold, max_size=12), st.randoms())
def test_a_directory_has_each_once_in_whatever_order_they_came(listed, random):
    for making in (rule(), one_name):
        real = {fold(present(name)): name for name in listed}
        first, second = ShortNameIndex(making, real), ShortNameIndex(making, real)
        for name in listed:
            first.add(name)
        for name in random.sample([*listed, "gone for good", "gone again, too"], len(listed) + 2):
            second.add(name)
        second.remove("gone for good", 0.0)
        second.remove("gone again, too", 0.0)
        made = {name: first.short_of(name) for name in listed}
        assert made == {name: second.short_of(name) for name in listed}
        shorts = [short for short in made.values() if short is not None]
        assert len(set(shorts)) == len(shorts)
        assert not set(shorts) & set(real)
        assert [first.find(short) for name, short in made.items() if short] == [name for name in made if made[name]]


def test_a_name_that_comes_and_goes_again_leaves_no_trace():
    real = {"LONG ONE": "long one"}
    index = ShortNameIndex(one_name, real)
    index.add("long one")
    before = index.short_of("long one") or ""
    real[before] = before
    index.add(before)
    assert index.short_of("long one") != before
    assert index.find(index.short_of("long one")) == "long one"
    del real[before]
    index.remove(before, 0.0)
    assert index.short_of("long one") == before
    assert index.find(before) == "long one"


def test_more_names_than_the_digits_of_a_long_prefix_can_tell_apart():
    index = ShortNameIndex(rule(6), {})
    listed = [f"Photograph {number}" for number in range(2000)]
    for name in listed:
        index.add(name)
    shorts = {index.short_of(name): name for name in listed}
    assert len(shorts) == 2000
    assert all(index.find(short) == name for short, name in shorts.items())


def test_how_many_get_another_name_than_their_first_is_bounded():
    numbers = count()
    index = ShortNameIndex(lambda name, number: f"{next(numbers):08}" if number else "SAME", {})
    for number in range(5000):
        index.add(f"Photograph {number:04}")
    assert index.short_of("Photograph 0000") == "SAME"
    assert index.short_of("Photograph 4096") is not None
    assert index.short_of("Photograph 4097") is None
    assert next(numbers) == 4096


@pytest.mark.parametrize("making", [lambda name, number: "LONGERTHAN.EIGHT", lambda name, number: "\U0001f600" * 7])
def test_a_module_that_makes_long_short_names_makes_none(making):
    index = ShortNameIndex(making, {})
    index.add(LONG)
    assert index.short_of(LONG) is None
    assert index.find("LONGERTHAN.EIGHT") is None


def test_a_module_that_knows_no_other_short_name_is_asked_so_often_and_no_more():
    index = ShortNameIndex(lambda name, number: "SAME", {})
    index.add("one that is long")
    index.add("two that is long")
    assert index.short_of("one that is long") == "SAME"
    assert index.short_of("two that is long") is None


def test_a_file_that_went_is_remembered_for_a_quarter_of_a_minute():
    index = ShortNameIndex(rule(), {})
    index.add(LONG)
    index.remove(LONG, 100.0)
    assert index.find(made_of(LONG)) is None
    assert index.find_gone(made_of(LONG), 115.0) == LONG
    assert index.find_gone(made_of(LONG), 115.1) is None
    assert index.find_gone("OTHER", 100.0) is None


def test_so_many_are_remembered_and_no_more():
    index = ShortNameIndex(rule(), {})
    listed = [f"Photograph {number}" for number in range(300)]
    for name in listed:
        index.add(name)
        index.remove(name, 0.0)
    remembered = [name for name in listed if index.find_gone(made_of(name), 1.0) == name]
    assert remembered == listed[-256:]


def test_what_is_no_short_name_is_not_found():
    index = ShortNameIndex(rule(), {})
    index.add(LONG)
    for name in ("", "A", LONG, "AAAAAA~A", "AAAAAA~A.DOC", "~" * 8):
        assert index.find(fold(name)) is None


# --- On a share ----------------------------------------------------------------------------------------------------


@pytest.fixture
def old(make_share):
    """A share with short names."""
    return make_share(ShortNamesModule(ShortNamesOptions(prefix=3)))


def listed(share, info_class, at):
    packed = query_directory(share.context, share.directory(), info_class, "*", 0, 0, 65536)
    found, offset = {}, 0
    name_at = {3: 94, 37: 104, 63: 114}[info_class]
    while True:
        following, length = (
            struct.unpack_from("<I", packed, offset)[0],
            struct.unpack_from("<I", packed, offset + 60)[0],
        )
        short = packed[offset + at + 2 : offset + at + 2 + packed[offset + at]].decode("utf-16-le")
        found[packed[offset + name_at : offset + name_at + length].decode("utf-16-le")] = short
        if not following:
            return found
        offset += following


def alternate(share, opened):
    packed = share.query(opened, c.FILE_ALTERNATE_NAME_INFORMATION)
    return packed[4:].decode("utf-16-le")


def test_they_are_told_in_listings_and_of_a_file(old):
    old.make(LONG)
    old.make("short.txt")
    short = made_of(LONG, 3)
    for info_class, at in ((3, 68), (37, 68), (63, 88)):
        assert listed(old, info_class, at) == {".": "", "..": "", LONG: short, "short.txt": ""}
    assert alternate(old, old.open(LONG)) == short
    assert alternate(old, old.open("short.txt")) == "short.txt"


def test_they_open_what_they_stand_for(old):
    old.open("A long directory", c.FILE_CREATE, options=c.FILE_DIRECTORY_FILE)
    old.make(f"A long directory\\{LONG}", b"content")
    directory, name = made_of("A long directory", 3), made_of(LONG, 3)
    for path in (f"{directory}\\{name}", f"{directory.lower()}\\{name.lower()}"):
        opened = old.open(path)
        assert opened.path == f"A long directory\\{LONG}"
        assert old.read(opened, 100) == b"content"
    assert old.status(f"{directory}\\{name}", c.FILE_CREATE) is S.OBJECT_NAME_COLLISION
    assert old.names(old.directory(directory), name) == [LONG]
    old.rename(old.open(f"{directory}\\{name}"), "Another long name")
    assert old.status(f"{directory}\\{name}") is S.OBJECT_NAME_NOT_FOUND
    assert old.status(made_of("Another long name", 3)) is S.SUCCESS


def test_a_program_that_knows_short_names_alone_saves_a_file_under_its_long_name(old):
    """It deletes the file and makes it again, or renames another to it, by the name that it knows."""
    short = made_of(LONG, 3)
    for _ in range(2):
        old.make(LONG, b"old")
        old.close(old.open(short, options=c.FILE_DELETE_ON_CLOSE))
        assert not list(old.path.iterdir())
        made = old.open(short.lower(), c.FILE_CREATE)
        assert made.path == LONG
        old.write(made, b"new")
        assert [path.name for path in old.path.iterdir()] == [LONG]
        old.close(made)
        old.make("temporary", b"newer")
        old.close(old.open(short, options=c.FILE_DELETE_ON_CLOSE))
        old.rename(old.open("temporary"), short)
        assert [path.name for path in old.path.iterdir()] == [LONG]
        (old.path / LONG).unlink()
        old.make("other", b"")
        old.close(old.open("other", options=c.FILE_DELETE_ON_CLOSE))


def test_a_long_name_that_somebody_has_again_is_not_given_to_another(old):
    short = made_of(LONG, 3)
    old.make(LONG)
    old.close(old.open(short, options=c.FILE_DELETE_ON_CLOSE))
    old.make(LONG.upper())
    assert old.open(short, c.FILE_OPEN_IF).path == LONG.upper()


def test_what_others_do_is_seen(old):
    short = made_of(LONG, 3)
    assert old.status(short) is S.OBJECT_NAME_NOT_FOUND
    (old.path / LONG).write_text("x")
    assert old.status(short) is S.SUCCESS
    (old.path / short).write_text("real")
    assert old.read(old.open(short), 9) == b"real"
    assert alternate(old, old.open(LONG)) not in {short, LONG}
    assert old.read(old.open(alternate(old, old.open(LONG))), 9) == b"x"


def test_without_the_module_there_are_none(share):
    share.make(LONG)
    assert share.status(made_of(LONG)) is S.OBJECT_NAME_NOT_FOUND
    assert set(listed(share, 37, 68).values()) == {""}
    assert alternate(share, share.open(LONG)) == LONG


def test_wildcards_look_at_them_too(old, refused):
    for name in (LONG, "Another document.text", "short.txt"):
        old.make(name)
    short = made_of(LONG, 3)
    folder = old.directory()
    assert old.names(folder, f"{short[:3].lower()}*~*") == [LONG]
    assert old.names(old.directory(), "*.doc") == [LONG]
    assert sorted(old.names(old.directory(), "*~?.???")) == [LONG, "Another document.text"]
    refused(S.NO_SUCH_FILE, old.names, old.directory(), "????????.txt")


def test_wildcards_look_at_long_names_alone_without_the_module(share, refused):
    share.make(LONG)
    refused(S.NO_SUCH_FILE, share.names, share.directory(), "*.doc")


def set_short_name(share, opened, name):
    encoded = name.encode("utf-16-le")
    set_file(
        share.context, opened, c.FILE_SHORT_NAME_INFORMATION, memoryview(struct.pack("<I", len(encoded)) + encoded)
    )


BACKUP = {"options": c.FILE_OPEN_FOR_BACKUP_INTENT}


@pytest.fixture
def restoring(old):
    """The share with short names, for a client that may restore."""
    old.context = replace(old.context, token=make_token(0, 0, privileges=frozenset({"SeRestorePrivilege"})))
    return old


def test_a_file_can_be_given_the_short_name_that_it_has_and_no_other(restoring, refused):
    restoring.make(LONG)
    restoring.make("short.txt")
    opened, short = restoring.open(LONG, **BACKUP), restoring.open("short.txt", **BACKUP)
    set_short_name(restoring, opened, made_of(LONG, 3).lower())
    set_short_name(restoring, short, "")
    for each, name in ((opened, "OTHER.DOC"), (opened, ""), (short, "OTHER.TXT")):
        refused(S.SHORT_NAMES_NOT_ENABLED_ON_VOLUME, set_short_name, restoring, each, name)
    refused(S.INVALID_PARAMETER, set_short_name, restoring, opened, "\\OTHER.DOC")


def test_who_may_not_restore_sets_no_short_name(restoring, refused):
    restoring.make(LONG)
    refused(S.PRIVILEGE_NOT_HELD, set_short_name, restoring, restoring.open(LONG), "OTHER.DOC")
    reading = restoring.open(LONG, desired_access=c.FILE_READ_ATTRIBUTES, **BACKUP)
    refused(S.ACCESS_DENIED, set_short_name, restoring, reading, "OTHER.DOC")
