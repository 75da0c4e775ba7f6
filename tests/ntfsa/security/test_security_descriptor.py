import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.ntfsa import constants as c
from lamina.ntfsa.security.security_descriptor import (
    SE_DACL_AUTO_INHERIT_REQ,
    SE_DACL_AUTO_INHERITED,
    SE_DACL_PRESENT,
    SE_DACL_PROTECTED,
    SE_SACL_PRESENT,
    SE_SELF_RELATIVE,
    Ace,
    Acl,
    SecurityDescriptor,
    pack_security_descriptor,
    parse_security_descriptor,
    replaced,
    selected,
    to_sddl,
)
from lamina.ntfsa.status import NtStatus, NtStatusError

SIDS = st.sampled_from(["S-1-1-0", "S-1-5-32-544", "S-1-5-21-1-2-3-1000", "S-1-22-1-0"])
PADDED = st.integers(0, 4).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words))
PLAIN_ACES = st.builds(
    Ace, st.sampled_from([0, 1, 2, 9, 10, 17]), st.integers(0, 255), st.integers(0, 0xFFFFFFFF), SIDS, PADDED
)
OPAQUE_ACES = st.builds(Ace, st.sampled_from([5, 6, 200]), st.integers(0, 255), st.just(0), st.just(""), PADDED)
ACLS = st.builds(Acl, st.lists(PLAIN_ACES | OPAQUE_ACES, max_size=5).map(tuple), st.sampled_from([2, 4]))


def descriptor(owner: str | None, group: str | None, dacl: Acl | None, sacl: Acl | None) -> SecurityDescriptor:
    control = SE_SELF_RELATIVE | (SE_DACL_PRESENT if dacl else 0) | (SE_SACL_PRESENT if sacl else 0)
    return SecurityDescriptor(owner, group, dacl, sacl, control)


DESCRIPTORS = st.builds(descriptor, st.none() | SIDS, st.none() | SIDS, st.none() | ACLS, st.none() | ACLS)


@given(DESCRIPTORS)
def test_packed_form_comes_back(value: SecurityDescriptor) -> None:
    assert parse_security_descriptor(pack_security_descriptor(value)) == value


def refusal(data: bytes) -> NtStatus | None:
    try:
        parse_security_descriptor(data)
    except NtStatusError as error:
        return error.status
    return None


@given(DESCRIPTORS, st.data())
@settings(max_examples=300)
def test_damaged_bytes_are_parsed_or_refused(value: SecurityDescriptor, data: st.DataObject) -> None:
    packed = bytearray(pack_security_descriptor(value))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    cut = packed[: data.draw(st.integers(0, len(packed)))]
    for damaged in (packed, cut):
        allowed = {None, NtStatus.INVALID_SECURITY_DESCR, NtStatus.INVALID_ACL, NtStatus.INVALID_SID}
        assert refusal(bytes(damaged)) in allowed


def test_a_null_dacl_stays_one() -> None:
    value = SecurityDescriptor("S-1-1-0", None, None, None, SE_SELF_RELATIVE | SE_DACL_PRESENT)
    assert parse_security_descriptor(pack_security_descriptor(value)) == value


def test_a_list_too_long_is_refused() -> None:
    long = Acl(tuple(Ace(0, 0, 1, "S-1-1-0") for _ in range(4000)))
    with pytest.raises(NtStatusError) as caught:
        pack_security_descriptor(descriptor(None, None, long, None))
    assert caught.value.status == NtStatus.INVALID_ACL


def test_selected_gives_only_what_is_asked() -> None:
    whole = descriptor("S-1-1-0", "S-1-5-18", Acl(), Acl())
    part = selected(whole, c.OWNER_SECURITY_INFORMATION | c.DACL_SECURITY_INFORMATION)
    assert part == SecurityDescriptor("S-1-1-0", None, Acl(), None, SE_SELF_RELATIVE | SE_DACL_PRESENT)


def test_replaced_takes_only_what_is_named() -> None:
    old = descriptor("S-1-1-0", "S-1-5-18", Acl(), None)
    new = descriptor("S-1-5-32-544", None, Acl((Ace(0, 0, 1, "S-1-1-0"),)), None)
    result = replaced(old, new, c.OWNER_SECURITY_INFORMATION)
    assert (result.owner, result.group, result.dacl) == ("S-1-5-32-544", "S-1-5-18", Acl())
    assert replaced(old, new, c.DACL_SECURITY_INFORMATION).dacl == new.dacl
    with pytest.raises(NtStatusError) as caught:
        replaced(old, new, c.GROUP_SECURITY_INFORMATION)
    assert caught.value.status == NtStatus.INVALID_PRIMARY_GROUP


@pytest.mark.parametrize(
    ("given_control", "kept"),
    [
        (SE_DACL_AUTO_INHERIT_REQ | SE_DACL_AUTO_INHERITED, SE_DACL_AUTO_INHERITED),
        (SE_DACL_AUTO_INHERITED, 0),
        (SE_DACL_AUTO_INHERIT_REQ, 0),
        (SE_DACL_PROTECTED, SE_DACL_PROTECTED),
    ],
)
def test_inheritance_marks_stick_only_when_requested(given_control: int, kept: int) -> None:
    new = descriptor(None, None, Acl(), None)
    new = new._replace(control=new.control | given_control)
    result = replaced(descriptor("S-1-1-0", "S-1-1-0", None, None), new, c.DACL_SECURITY_INFORMATION)
    assert result.control == SE_SELF_RELATIVE | SE_DACL_PRESENT | kept


def test_sddl() -> None:
    acl = Acl((Ace(0, 3, c.FILE_ALL_ACCESS, "S-1-5-32-544"), Ace(1, 0, 0x2, "S-1-5-21-1-2-3-500")))
    value = descriptor("S-1-5-18", "S-1-1-0", acl, None)
    value = value._replace(control=value.control | SE_DACL_PROTECTED | SE_DACL_AUTO_INHERITED)
    assert to_sddl(value) == "O:SYG:WDD:PAI(A;OICI;FA;;;BA)(D;;0x2;;;S-1-5-21-1-2-3-500)"
    assert to_sddl(SecurityDescriptor(control=SE_DACL_PRESENT)) == "D:NO_ACCESS_CONTROL"
