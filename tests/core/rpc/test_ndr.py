"""The representation of data."""

import contextlib
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.core.rpc.ndr import Kind, NdrError, NdrReader, NdrWriter

FIELDS = (Kind.STRING, Kind.U32, Kind.BYTES)


@given(st.lists(st.tuples(st.none() | st.text(), st.integers(0, 0xFFFFFFFF), st.none() | st.binary())))
def test_structures_are_read_back(rows: list[tuple[str | None, int, bytes | None]]) -> None:
    rows = [(None if text is None else text.replace("\0", ""), number, data) for text, number, data in rows]
    writer = NdrWriter()
    writer.structures(FIELDS, rows)
    assert NdrReader(writer.finish()).structures(FIELDS) == rows


def test_integers_are_aligned_after_strings_of_odd_length() -> None:
    writer = NdrWriter()
    writer.string("ab")
    writer.u32(7)
    assert writer.finish() == pack("<III", 3, 0, 3) + b"a\0b\0\0\0" + bytes(2) + pack("<I", 7)


def test_referents_come_after_all_structures() -> None:
    writer = NdrWriter()
    writer.structures((Kind.STRING,), [("",), ("",)])
    empty = pack("<IIIH", 1, 0, 1, 0)
    assert writer.finish() == pack("<III", 2, 0x20000, 0x20004) + empty + bytes(2) + empty


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pack("<III", 1, 0, 2) + bytes(4), id="longer than its maximum"),
        pytest.param(pack("<III", 2, 1, 1) + bytes(4), id="with an offset"),
        pytest.param(pack("<III", 0xFFFFFFFF, 0, 0xFFFFFFFF), id="longer than the data"),
        pytest.param(b"\1", id="cut in its head"),
    ],
)
def test_string_that_cannot_be_is_an_error(data: bytes) -> None:
    with pytest.raises(NdrError):
        NdrReader(data).string()


def test_array_longer_than_the_data_is_an_error_at_once() -> None:
    with pytest.raises(NdrError):
        NdrReader(pack("<I", 0xFFFFFFFF) + bytes(100)).structures((Kind.U32,))


@given(st.binary())
def test_no_data_makes_anything_but_an_ndr_error(data: bytes) -> None:
    with contextlib.suppress(NdrError):
        NdrReader(data).structures(FIELDS)
