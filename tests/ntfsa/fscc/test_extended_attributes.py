from collections.abc import Callable
from struct import pack, unpack_from

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.ntfsa.fscc.extended_attributes import (
    ExtendedAttribute,
    full_ea_size,
    pack_full_ea,
    parse_full_ea,
    parse_get_ea,
)
from lamina.ntfsa.status import NtStatus, NtStatusError

NAMES = st.text("ABCxyz._é", min_size=1, max_size=20)
ATTRIBUTES = st.builds(ExtendedAttribute, NAMES, st.binary(max_size=40), st.sampled_from([0, 0x80]))


def refusal(parser: Callable[[memoryview], object], data: memoryview) -> NtStatus | None:
    try:
        parser(data)
    except NtStatusError as error:
        return error.status
    return None


@given(st.lists(ATTRIBUTES, min_size=1, max_size=6))
def test_a_packed_list_comes_back(attributes: list[ExtendedAttribute]) -> None:
    packed, count = pack_full_ea(attributes, 1 << 20)
    assert count == len(attributes)
    assert len(packed) == full_ea_size(attributes)
    assert parse_full_ea(packed) == attributes


@given(st.binary(max_size=80) | st.lists(ATTRIBUTES, max_size=3).map(lambda a: pack_full_ea(a, 999)[0][:-1]))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    allowed = {None, NtStatus.EA_LIST_INCONSISTENT, NtStatus.INVALID_EA_NAME}
    assert refusal(parse_full_ea, memoryview(data)) in allowed
    assert refusal(parse_get_ea, memoryview(data)) in allowed


def test_only_whole_attributes_are_packed() -> None:
    attributes = [ExtendedAttribute("ONE", b"1"), ExtendedAttribute("TWO", b"2")]
    packed, count = pack_full_ea(attributes, full_ea_size(attributes) - 1)
    assert count == 1
    assert parse_full_ea(packed) == attributes[:1]
    assert unpack_from("<I", packed) == (0,)
    assert pack_full_ea(attributes, 3) == (b"", 0)
    assert full_ea_size([]) == 0


def test_names_asked_for() -> None:
    assert parse_get_ea(pack("<IB4s3x", 12, 3, b"ONE\0") + pack("<IB4s", 0, 3, b"TWO\0")) == ["ONE", "TWO"]


@pytest.mark.parametrize("name", ["", "a*", "a:b", "a\x01"])
def test_names_that_no_attribute_has(name: str) -> None:
    packed, _ = pack_full_ea([ExtendedAttribute(name, b"")], 999)
    with pytest.raises(NtStatusError) as caught:
        parse_full_ea(packed)
    assert caught.value.status == NtStatus.INVALID_EA_NAME


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        pack_full_ea([ExtendedAttribute("A", bytes(65536))], 1 << 20)
