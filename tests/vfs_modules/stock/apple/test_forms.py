"""The forms of Macs, Netatalk and Samba: what is written is read again, and nothing hostile is followed."""

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as some
from pydantic import ValidationError

from lamina.vfs_modules.stock.apple import aapl, afp_info, appledouble, netatalk
from lamina.vfs_modules.stock.apple.afp_info import AfpInfo
from lamina.vfs_modules.stock.apple.appledouble import AppleDoubleError, Entry
from lamina.vfs_modules.stock.apple.options import FruitOptions

FINDER = b"TEXTttxt" + bytes(24)
FINDERS = some.binary(min_size=32, max_size=32)


# AFP_AfpInfo.


@given(FINDERS, some.integers(0, 0xFFFFFFFF))
def test_finder_information_comes_back(finder: bytes, backup_time: int) -> None:
    packed = afp_info.pack(AfpInfo(finder, backup_time))
    assert len(packed) == afp_info.SIZE
    assert afp_info.parse(packed) == AfpInfo(finder, backup_time)


def test_its_form_is_that_of_apple() -> None:
    packed = afp_info.pack(AfpInfo(FINDER))
    assert packed[:16] == b"AFP\0\0\0\1\0\0\0\0\0\x80\0\0\0"
    assert packed[16:48] == FINDER


@pytest.mark.parametrize("data", [b"", b"foo", bytes(60), b"AFP\0" + bytes(55), b"AFP\0" + bytes(57)])
def test_anything_else_is_no_finder_information(data: bytes) -> None:
    assert afp_info.parse(data) is None


def test_an_entry_has_type_creator_flags_and_date() -> None:
    finder = b"TYPEcrea" + b"\x40\x00" + bytes(14) + b"\x12\x34" + bytes(6)
    assert afp_info.in_entry(finder, True, 0x01020304) == b"TYPEcrea\x40\x00\x12\x34\1\2\3\4"
    assert afp_info.in_entry(finder, False, 0)[:8] == bytes(8)


# Netatalk's attribute.


@given(FINDERS, some.integers(0, 0xFFFFFFFF))
def test_netatalks_attribute_keeps_finder_information(finder: bytes, backup_time: int) -> None:
    value = netatalk.updated(None, AfpInfo(finder, backup_time))
    assert len(value) == netatalk.SIZE
    assert netatalk.parse(value) == AfpInfo(finder, backup_time)


def test_what_else_is_in_the_attribute_stays() -> None:
    value = bytearray(netatalk.updated(None, AfpInfo(FINDER)))
    value[-4:] = b"\1\2\3\4"  # the id that Netatalk gave the file
    assert netatalk.updated(bytes(value), AfpInfo(bytes(32)))[-4:] == b"\1\2\3\4"


def test_an_attribute_that_is_none_is_made_anew() -> None:
    assert netatalk.parse(netatalk.updated(b"garbage", AfpInfo(FINDER))) == AfpInfo(FINDER)


@given(some.binary(max_size=500))
def test_any_attribute_is_read_or_refused(value: bytes) -> None:
    netatalk.parse(value)


@given(some.integers(0, 401), some.integers(0, 255))
def test_a_damaged_attribute_is_read_or_refused(at: int, byte: int) -> None:
    value = bytearray(netatalk.updated(None, AfpInfo(FINDER)))
    value[at] = byte
    info = netatalk.parse(bytes(value))
    assert info is None or len(info.finder) == 32
    netatalk.updated(bytes(value), AfpInfo(FINDER))


# AppleDouble.


def double(*entries: tuple[int, int, int], body: bytes = b"") -> bytes:
    head = struct.pack(">II16sH", appledouble.MAGIC, appledouble.VERSION, b"Mac OS X".ljust(16), len(entries))
    return head + b"".join(struct.pack(">III", *entry) for entry in entries) + body


def with_attributes(attributes: dict[str, bytes], finder: bytes = FINDER, fork: bytes = b"") -> bytes:
    """A header file as macOS writes one."""
    heads, values = b"", b""
    at = 50 + 32 + 2 + 36 + sum((11 + len(name.encode()) + 1 + 3) & ~3 for name in attributes)
    for name, value in attributes.items():
        raw = name.encode() + b"\0"
        head = struct.pack(">IIHB", at + len(values), len(value), 0, len(raw)) + raw
        heads += head.ljust((len(head) + 3) & ~3, b"\0")
        values += value
    end = at + len(values)
    listed = struct.pack(">4sIIII12xHH", b"ATTR", 0, end, at, len(values), 0, len(attributes))
    body = finder + bytes(2) + listed + heads + values
    return double((9, 50, len(body)), (2, end, len(fork)), body=body) + fork


def test_a_header_file_as_it_is_made_here() -> None:
    head = appledouble.new_header(FINDER, 7)
    assert len(head) == appledouble.FORK_OFFSET
    entries = appledouble.parse_table(head + b"1234567", len(head) + 7)
    assert entries == {9: Entry(50, 32), 2: Entry(82, 7)}
    assert appledouble.is_as_made_here(entries)
    assert head[appledouble.FORK_LENGTH_OFFSET :][:4] == b"\0\0\0\7"


def test_the_attributes_that_macos_keeps_behind_the_finder_information() -> None:
    attributes = {"com.apple.metadata:_kMDItemUserTags": b"bplist00", "foo:bar": b"baz", "empty": b""}
    data = with_attributes(attributes, fork=b"fork")
    entries = appledouble.parse_table(data, len(data))
    assert appledouble.parse_attributes(data, entries[9]) == attributes
    assert data[entries[2].offset :] == b"fork"
    assert not appledouble.is_as_made_here(entries)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\5\x16\7",
        b"not AppleDouble at all, but long enough to be",
        double((9, 50, 32)),  # the Finder information lies behind the end
        double((9, 26, 12), (9, 26, 12)),
        double((2, 0xFFFFFFFF, 1)),
        struct.pack(">II16sH", appledouble.MAGIC, appledouble.VERSION, b"", 0xFFFF),
    ],
)
def test_what_leads_out_of_itself_is_refused(data: bytes) -> None:
    with pytest.raises(AppleDoubleError):
        appledouble.parse_table(data, len(data))


def test_a_fork_that_was_cut_short_is_as_long_as_it_is() -> None:
    data = double((9, 50, 32), (2, 82, 1000), body=bytes(32) + b"fork")
    assert appledouble.parse_table(data, len(data))[2] == Entry(82, 4)


@given(some.binary(max_size=300))
def test_any_file_is_read_or_refused(data: bytes) -> None:
    read(data)


@given(some.integers(0, 180), some.binary(min_size=1, max_size=4))
@example(84 + 34, b"\xff\xff")
def test_a_damaged_header_file_is_read_or_refused(at: int, damage: bytes) -> None:
    data = bytearray(with_attributes({"foo:bar": b"baz", "other": b"value"}, fork=b"fork"))
    data[at : at + len(damage)] = damage
    read(bytes(data))


def read(data: bytes) -> None:
    try:
        entries = appledouble.parse_table(data, len(data))
        for entry in entries.values():
            assert entry.offset + entry.length <= len(data)
        if appledouble.FINDER_INFO in entries:
            for name, value in appledouble.parse_attributes(data, entries[appledouble.FINDER_INFO]).items():
                assert name
                assert "/" not in name
                assert value in data
    except AppleDoubleError:
        return


def test_the_fork_that_says_that_it_is_blank_is_known() -> None:
    blank = bytearray(appledouble.BLANK_FORK_SIZE)
    blank[16:62] = b"This resource fork intentionally left blank   "
    assert appledouble.is_blank_fork(bytes(blank))
    assert not appledouble.is_blank_fork(bytes(blank) + b"x")
    assert not appledouble.is_blank_fork(bytes(appledouble.BLANK_FORK_SIZE))


# AAPL.


def test_an_answer_has_what_was_asked_for_in_order() -> None:
    asked = aapl.Asked(7)
    answer = aapl.pack_answer(asked, aapl.ServerCapability(5), aapl.VolumeCapability(4), "MacSamba")
    assert struct.unpack_from("<IIQQQII", answer) == (1, 0, 7, 5, 4, 0, 16)
    assert answer[40:].decode("utf-16-le") == "MacSamba"
    assert len(aapl.pack_answer(aapl.Asked(1), aapl.ServerCapability(0), aapl.VolumeCapability(0), "x")) == 24


@pytest.mark.parametrize("data", [b"", bytes(23), struct.pack("<IIQQ", 2, 0, 7, 1), struct.pack("<IIQQ", 9, 0, 0, 0)])
def test_what_is_no_query_is_not_answered(data: bytes) -> None:
    assert aapl.parse_query(data) is None


@given(some.binary(min_size=24, max_size=64))
def test_a_query_has_no_bits_that_nobody_knows(data: bytes) -> None:
    query = aapl.parse_query(struct.pack("<I", 1) + data)
    assert query is not None
    assert query.asked | aapl.Asked(7) == aapl.Asked(7)


# Options.


@pytest.mark.parametrize(
    ("given", "size"), [("32K", 32 << 10), ("1.", None), ("500 G", 500 << 30), ("7", 7), (9, 9), ("x", None)]
)
def test_sizes_have_units(given: object, size: int | None) -> None:
    if size is None:
        with pytest.raises(ValidationError):
            FruitOptions.model_validate({"time_machine_max_size": given})
    else:
        assert FruitOptions.model_validate({"time_machine_max_size": given}).time_machine_max_size == size
