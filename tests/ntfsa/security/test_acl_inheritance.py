import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.security.acl_inheritance import Creator, create_descriptor, inherited_aces
from lamina.ntfsa.security.security_descriptor import (
    SE_DACL_AUTO_INHERITED,
    SE_DACL_PRESENT,
    SE_DACL_PROTECTED,
    SE_SELF_RELATIVE,
    Ace,
    Acl,
    SecurityDescriptor,
)
from lamina.ntfsa.security.sid import CREATOR_OWNER, LOCAL_SYSTEM

OI, CI, NP, IO, ID = 1, 2, 4, 8, 16
WHO, ME = "S-1-5-32-545", "S-1-5-21-1-1-1-1000"
CREATOR = Creator(ME, "S-1-5-21-1-1-1-513")


@pytest.mark.parametrize(
    ("flags", "for_file", "for_directory"),
    [
        (0, [], []),
        (OI, [ID], [ID | OI | IO]),
        (CI, [], [ID | CI]),
        (OI | CI, [ID], [ID | OI | CI]),
        (OI | CI | IO, [ID], [ID | OI | CI]),
        (OI | CI | NP, [ID], [ID]),
        (OI | NP, [ID], []),
        (CI | NP | IO, [], [ID]),
    ],
)
def test_flags(flags: int, for_file: list[int], for_directory: list[int]) -> None:
    parent = Acl((Ace(0, flags, 1, WHO),))
    assert [ace.flags for ace in inherited_aces(parent, CREATOR, False)] == for_file
    assert [ace.flags for ace in inherited_aces(parent, CREATOR, True)] == for_directory


def test_the_creator_takes_the_place_of_creator_owner() -> None:
    parent = Acl((Ace(0, OI | CI | IO, c.GENERIC_ALL, CREATOR_OWNER),))
    assert inherited_aces(parent, CREATOR, False) == (Ace(0, ID, c.FILE_ALL_ACCESS, ME),)
    assert inherited_aces(parent, CREATOR, True) == (
        Ace(0, ID, c.FILE_ALL_ACCESS, ME),
        Ace(0, ID | OI | CI | IO, c.GENERIC_ALL, CREATOR_OWNER),
    )


def test_given_entries_stand_before_inherited_ones() -> None:
    parent = SecurityDescriptor(dacl=Acl((Ace(0, OI, 1, WHO),)))
    given = SecurityDescriptor(dacl=Acl((Ace(0, 0, 2, ME),)), control=SE_DACL_PRESENT)
    made = create_descriptor(parent, given, CREATOR, False)
    assert made.dacl is not None
    assert [ace.mask for ace in made.dacl.aces] == [2, 1]
    protected = given._replace(control=SE_DACL_PRESENT | SE_DACL_PROTECTED)
    made = create_descriptor(parent, protected, CREATOR, False)
    assert made.dacl is not None
    assert [ace.mask for ace in made.dacl.aces] == [2]


@pytest.mark.parametrize("control", [0, SE_DACL_AUTO_INHERITED])
def test_entries_are_marked_as_inherited_where_the_parent_inherits_too(control: int) -> None:
    parent = SecurityDescriptor(dacl=Acl((Ace(0, OI, 1, WHO),)), control=SE_DACL_PRESENT | control)
    made = create_descriptor(parent, None, CREATOR, False)
    assert made.dacl == Acl((Ace(0, ID if control else 0, 1, WHO),))
    assert made.control & SE_DACL_AUTO_INHERITED == control


def test_without_anything_the_creator_and_the_system_have_it() -> None:
    made = create_descriptor(None, None, CREATOR, False)
    assert made.dacl is not None
    assert {ace.sid for ace in made.dacl.aces} == {ME, LOCAL_SYSTEM}
    assert made.control == SE_SELF_RELATIVE | SE_DACL_PRESENT
    assert (made.owner, made.group) == CREATOR[:2]


def test_a_given_null_list_stays_null() -> None:
    made = create_descriptor(None, SecurityDescriptor(control=SE_DACL_PRESENT), CREATOR, False)
    assert made.dacl is None
    assert made.control & SE_DACL_PRESENT
