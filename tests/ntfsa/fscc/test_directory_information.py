from struct import unpack_from

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.directory_information import DIRECTORY_MINIMUM, DirectoryBuffer
from lamina.ntfsa.status import NtStatus, NtStatusError

TIMES = (1, 2, 3, 4)
# Where each class keeps the length of the name and the name (MS-FSCC 2.4).
LAYOUT = {
    c.FILE_DIRECTORY_INFORMATION: (60, 64),
    c.FILE_FULL_DIRECTORY_INFORMATION: (60, 68),
    c.FILE_ID_FULL_DIRECTORY_INFORMATION: (60, 80),
    c.FILE_BOTH_DIRECTORY_INFORMATION: (60, 94),
    c.FILE_ID_BOTH_DIRECTORY_INFORMATION: (60, 104),
    c.FILE_NAMES_INFORMATION: (8, 12),
    c.FILE_ID_EXTD_DIRECTORY_INFORMATION: (60, 88),
    c.FILE_ID_EXTD_BOTH_DIRECTORY_INFORMATION: (60, 114),
}
FILE_ID_AT = {
    c.FILE_ID_FULL_DIRECTORY_INFORMATION: 72,
    c.FILE_ID_BOTH_DIRECTORY_INFORMATION: 96,
    c.FILE_ID_EXTD_DIRECTORY_INFORMATION: 72,
    c.FILE_ID_EXTD_BOTH_DIRECTORY_INFORMATION: 72,
}


def names_in(info_class: int, data: bytes) -> list[str]:
    length_at, name_at = LAYOUT[info_class]
    names, offset = [], 0
    while True:
        assert offset % 8 == 0
        (following,) = unpack_from("<I", data, offset)
        (length,) = unpack_from("<I", data, offset + length_at)
        name = data[offset + name_at : offset + name_at + length]
        assert len(name) == length
        names.append(name.decode("utf-16-le", "surrogatepass"))
        if not following:
            assert offset + name_at + length == len(data)
            return names
        offset += following


@pytest.mark.parametrize("info_class", LAYOUT)
@given(names=st.lists(st.text(st.characters(codec="utf-16-le"), min_size=1, max_size=20), min_size=1, max_size=6))
def test_entries_are_chained_and_aligned(info_class: int, names: list[str]) -> None:
    buffer = DirectoryBuffer(info_class, 4096)
    assert all(buffer.append(name, TIMES, 5, 8, 0x20, 0, 77) for name in names)
    assert buffer.count == len(names)
    assert names_in(info_class, buffer.finish()) == names


@pytest.mark.parametrize("info_class", LAYOUT)
def test_what_does_not_fit_is_left_out(info_class: int) -> None:
    least = DIRECTORY_MINIMUM[info_class]
    assert least == LAYOUT[info_class][1]
    buffer = DirectoryBuffer(info_class, least + 2)
    assert not buffer.append("ab")
    assert buffer.append("a")
    assert not buffer.append("b")
    data = buffer.finish()
    assert len(data) == least + 2
    assert names_in(info_class, data) == ["a"]
    with pytest.raises(NtStatusError) as caught:
        DirectoryBuffer(info_class, least - 1)
    assert caught.value.status == NtStatus.INFO_LENGTH_MISMATCH


@pytest.mark.parametrize("info_class", set(LAYOUT) - {c.FILE_NAMES_INFORMATION})
def test_fields_stand_where_the_specification_says(info_class: int) -> None:
    buffer = DirectoryBuffer(info_class, 500)
    assert buffer.append("n", TIMES, 5, 6, 7, 8, 9)
    data = buffer.finish()
    assert unpack_from("<6QI", data, 8) == (1, 2, 3, 4, 5, 6, 7)
    if info_class != c.FILE_DIRECTORY_INFORMATION:
        assert unpack_from("<I", data, 64) == (8,)
    if info_class in FILE_ID_AT:
        assert unpack_from("<Q", data, FILE_ID_AT[info_class]) == (9,)


def test_a_reparse_tag_goes_where_the_class_has_it() -> None:
    for info_class, offset in ((c.FILE_ID_BOTH_DIRECTORY_INFORMATION, 64), (c.FILE_ID_EXTD_DIRECTORY_INFORMATION, 68)):
        buffer = DirectoryBuffer(info_class, 500)
        buffer.append("n", TIMES, reparse_tag=0xA000000C)
        assert unpack_from("<I", buffer.finish(), offset) == (0xA000000C,)


def test_no_entries_are_no_bytes_and_other_classes_are_refused() -> None:
    assert DirectoryBuffer(c.FILE_NAMES_INFORMATION, 100).finish() == b""
    with pytest.raises(NtStatusError) as caught:
        DirectoryBuffer(c.FILE_BASIC_INFORMATION, 100)
    assert caught.value.status == NtStatus.INVALID_INFO_CLASS
