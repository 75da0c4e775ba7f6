"""Short names: the same for the same name, different within a directory, found and told."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.ntfsa import constants as c
from lamina.ntfsa.listing.directory import query_directory
from lamina.ntfsa.naming.names import fold, present
from lamina.ntfsa.naming.short_names import ShortNameIndex, ShortNames, is_short
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.volume import VolumeSettings

RULE = ShortNames()
LONG = "A long name.document"


def made_of(name: str, prefix: int = 1) -> str:
    """The short name of a name that has one."""
    short = ShortNames("yes", prefix).of(name)
    assert short is not None
    return short


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda name: name not in {".", ".."}
)


@pytest.mark.parametrize("name", ["README.TXT", "readme.txt", "a", "12345678.123", "~$_-!@#%", "(A)'B`.{C}"])
def test_names_that_are_short(name):
    assert is_short(name)
    assert RULE.of(name) is None


@pytest.mark.parametrize("name", ["123456789", "a.1234", "a.b.c", ".bashrc", "with space", "Ω", "a+b", "a.", "a;b", ""])
def test_names_that_are_not(name):
    assert not is_short(name)


@given(names, st.integers(1, 6), st.integers(0, 99))
def test_what_is_made_is_short_and_always_the_same(name, prefix, number):
    rule = ShortNames("yes", prefix)
    made = rule.of(name, number)
    assert (made is None) == is_short(present(name))
    if made is not None:
        assert is_short(made)
        assert made == fold(made) == rule.of(name, number)
        assert made.partition(".")[0][6] == "~"
        assert len({rule.of(name, other) for other in range(1, 30)}) == 29


def test_the_form():
    assert made_of(LONG)[0] == "A"
    assert made_of(LONG).endswith(".DOC")
    assert made_of(LONG, 5)[:5] == "ALONG"
    assert made_of("no extension in this")[-2] == "~"
    assert made_of(".hidden file").startswith("H")
    assert made_of(LONG) == made_of(LONG.upper())


def test_only_names_that_nt_forbids():
    rule = ShortNames("illegal")
    assert rule.of(LONG) is None
    assert is_short(rule.of("a:b"))


class OneName(ShortNames):
    """A hash that knows two values, so that names come to the same."""

    def of(self, stored, number=0):
        return None if is_short(stored) else f"SAME{len(stored) % 2:02}~{number}"


@given(st.lists(names, unique_by=fold, max_size=12), st.randoms())
def test_a_directory_has_each_once_in_whatever_order_they_came(listed, random):
    for rule in (RULE, OneName()):
        real = {fold(present(name)): name for name in listed}
        first, second = ShortNameIndex(rule, real), ShortNameIndex(rule, real)
        for name in listed:
            first.add(name)
        for name in random.sample([*listed, "gone for good", "gone again, too"], len(listed) + 2):
            second.add(name)
        second.remove("gone for good")
        second.remove("gone again, too")
        made = {name: first.short_of(name) for name in listed}
        assert made == {name: second.short_of(name) for name in listed}
        shorts = [short for short in made.values() if short is not None]
        assert len(set(shorts)) == len(shorts)
        assert not set(shorts) & set(real)
        assert [first.find(short) for name, short in made.items() if short] == [name for name in made if made[name]]


def test_more_names_than_the_digits_of_a_long_prefix_can_tell_apart():
    rule = ShortNames("yes", 6)
    index = ShortNameIndex(rule, {})
    listed = [f"Photograph {number}" for number in range(2000)]
    for name in listed:
        index.add(name)
    shorts = {index.short_of(name): name for name in listed}
    assert len(shorts) == 2000
    assert all(index.find(short) == name for short, name in shorts.items())


def test_what_is_no_short_name_is_not_looked_for():
    index = ShortNameIndex(RULE, {})
    index.add(LONG)
    for name in ("", "A", LONG, "AAAAAA~A", "AAAAAA~A.DOC", "~" * 8):
        assert index.find(fold(name)) is None


# --- On a share ----------------------------------------------------------------------------------------------------


@pytest.fixture
def old(make_share):
    """A share with short names."""
    return make_share(settings=VolumeSettings(mangled_names="yes", mangle_prefix=3))


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


def test_what_others_do_is_seen(old):
    short = made_of(LONG, 3)
    assert old.status(short) is S.OBJECT_NAME_NOT_FOUND
    (old.path / LONG).write_text("x")
    assert old.status(short) is S.SUCCESS
    (old.path / short).write_text("real")
    assert old.read(old.open(short), 9) == b"real"
    assert alternate(old, old.open(LONG)) not in {short, LONG}
    assert old.read(old.open(alternate(old, old.open(LONG))), 9) == b"x"


def test_without_the_setting_there_are_none(share):
    share.make(LONG)
    assert share.status(made_of(LONG)) is S.OBJECT_NAME_NOT_FOUND
    assert set(listed(share, 37, 68).values()) == {""}
    assert alternate(share, share.open(LONG)) == LONG
