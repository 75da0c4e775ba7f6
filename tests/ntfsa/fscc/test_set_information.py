from collections.abc import Callable
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.ntfsa.fscc import set_information as s
from lamina.ntfsa.status import NtStatus, NtStatusError

PARSERS: list[Callable[[memoryview], Any]] = [
    s.parse_basic,
    s.parse_rename,
    s.parse_rename_ex,
    s.parse_link,
    s.parse_disposition,
    s.parse_disposition_ex,
    s.parse_size,
    s.parse_uint32,
    s.parse_label,
]


def refusal(parser: Callable[[memoryview], object], data: memoryview) -> NtStatus | None:
    try:
        parser(data)
    except NtStatusError as error:
        return error.status
    return None


@pytest.mark.parametrize("parser", PARSERS)
@given(data=st.binary(max_size=60))
def test_any_bytes_are_parsed_or_refused(parser: Callable[[memoryview], Any], data: bytes) -> None:
    assert refusal(parser, memoryview(data)) in {None, NtStatus.INFO_LENGTH_MISMATCH, NtStatus.INVALID_PARAMETER}


def rename(name: str, flags: int = 0, root: int = 0, length: int | None = None) -> bytes:
    encoded = name.encode("utf-16-le")
    return pack("<IIQI", flags, 0, root, len(encoded) if length is None else length) + encoded


def test_rename() -> None:
    parsed = s.parse_rename(rename("dir\\new", flags=0xFF01))
    assert parsed == s.RenameInformation(1, "dir\\new")
    assert parsed.replace
    assert s.parse_rename_ex(rename("n", flags=0x42)) == s.RenameInformation(0x42, "n")
    assert not s.parse_link(rename("n", flags=0xFF00)).replace


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (rename("a", root=5), NtStatus.INVALID_PARAMETER),
        (rename(""), NtStatus.INVALID_PARAMETER),
        (rename("ab", length=3), NtStatus.INVALID_PARAMETER),
        (rename("ab", length=5), NtStatus.INFO_LENGTH_MISMATCH),
        (rename("ab")[:19], NtStatus.INFO_LENGTH_MISMATCH),
    ],
)
def test_bad_renames(data: bytes, status: NtStatus) -> None:
    with pytest.raises(NtStatusError) as caught:
        s.parse_rename(data)
    assert caught.value.status == status


def test_basic_keeps_the_special_times() -> None:
    data = pack("<4qI4x", 0, -1, -2, 5, 0x80)
    assert s.parse_basic(data) == s.BasicInformation(0, -1, -2, 5, 0x80)
    with pytest.raises(NtStatusError):
        s.parse_basic(pack("<4qI4x", -3, 0, 0, 0, 0))


def test_sizes_are_not_negative() -> None:
    assert s.parse_size(pack("<q", 5)) == 5
    with pytest.raises(NtStatusError) as caught:
        s.parse_size(pack("<q", -5))
    assert caught.value.status == NtStatus.INVALID_PARAMETER


def test_disposition() -> None:
    assert s.parse_disposition(b"\1")
    assert not s.parse_disposition(b"\0")
    assert s.parse_disposition_ex(pack("<I", 0x13)) == 0x13
    with pytest.raises(NtStatusError):
        s.parse_disposition_ex(pack("<I", 0x100))


def test_label() -> None:
    assert s.parse_label(pack("<I", 4) + "ab".encode("utf-16-le")) == "ab"
    with pytest.raises(NtStatusError):
        s.parse_label(pack("<I", 80) + bytes(80))
