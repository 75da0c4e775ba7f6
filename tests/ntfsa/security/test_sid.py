import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.ntfsa.security.sid import pack_sid, parse_sid, sid_size
from lamina.ntfsa.status import NtStatus, NtStatusError


def test_administrators() -> None:
    packed = bytes.fromhex("01020000000000052000000020020000")
    assert pack_sid("S-1-5-32-544") == packed
    assert parse_sid(b"xx" + packed, 2) == "S-1-5-32-544"


@given(st.integers(0, (1 << 48) - 1), st.lists(st.integers(0, (1 << 32) - 1), max_size=15))
def test_packed_form_comes_back(authority: int, numbers: list[int]) -> None:
    packed = bytes((1, len(numbers))) + authority.to_bytes(6, "big")
    packed += b"".join(number.to_bytes(4, "little") for number in numbers)
    assert pack_sid(parse_sid(packed)) == packed
    assert sid_size(packed) == len(packed)


@given(st.binary(max_size=80))
def test_bytes_are_a_sid_or_refused(data: bytes) -> None:
    try:
        text = parse_sid(data)
    except NtStatusError as error:
        refused = error.status
    else:
        assert data.startswith(pack_sid(text))
        return
    assert refused == NtStatus.INVALID_SID


@pytest.mark.parametrize(
    "text",
    ["", "S-1", "S-2-5-1", "S-1-x", "S-1-5--1", "S-1-5-4294967296", "S-1-5-1_0", "S-1-5" + "-1" * 16, "S-1-5- 1"],
)
def test_text_that_is_no_sid_is_refused(text: str) -> None:
    with pytest.raises(NtStatusError) as caught:
        pack_sid(text)
    assert caught.value.status == NtStatus.INVALID_SID
