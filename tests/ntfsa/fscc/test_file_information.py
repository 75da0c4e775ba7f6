from struct import unpack_from

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc import file_information as f
from lamina.ntfsa.fscc.fields import FILE_MINIMUM, FILESYSTEM_MINIMUM, check_room, counted_name, fit
from lamina.ntfsa.status import NtStatus, NtStatusError

OPEN = f.NetworkOpenInformation(1, 2, 3, 4, 4096, 5, 0x20)


@pytest.mark.parametrize(
    ("info_class", "packed"),
    [
        (c.FILE_BASIC_INFORMATION, f.pack_basic(1, 2, 3, 4, 5)),
        (c.FILE_STANDARD_INFORMATION, f.pack_standard(4096, 5, 1, False, True)),
        (c.FILE_INTERNAL_INFORMATION, f.pack_uint64(7)),
        (c.FILE_EA_INFORMATION, f.pack_uint32(7)),
        (c.FILE_NETWORK_OPEN_INFORMATION, f.pack_network_open(OPEN)),
        (c.FILE_ATTRIBUTE_TAG_INFORMATION, f.pack_attribute_tag(1, 2)),
        (c.FILE_COMPRESSION_INFORMATION, f.pack_compression(5)),
        (c.FILE_STANDARD_LINK_INFORMATION, f.pack_standard_link(1, 1, False, False)),
        (c.FILE_ID_INFORMATION, f.pack_file_id(1, 2)),
        (c.FILE_PIPE_INFORMATION, f.pack_pipe()),
        (c.FILE_PIPE_LOCAL_INFORMATION, f.pack_pipe_local(0)),
    ],
)
def test_fixed_classes_have_their_size(info_class: int, packed: bytes) -> None:
    assert len(packed) == FILE_MINIMUM[info_class]


def test_all_information_is_its_parts() -> None:
    everything = f.AllInformation(OPEN, 1, True, False, 99, 7, 0x1F01FF, 8, 0x20, 0, "\\dir\\a")
    packed = f.pack_all(everything)
    assert packed[:40] == f.pack_basic(1, 2, 3, 4, 0x20)
    assert packed[40:64] == f.pack_standard(4096, 5, 1, True, False)
    assert unpack_from("<QIIQII", packed, 64) == (99, 7, 0x1F01FF, 8, 0x20, 0)
    assert packed[96:] == f.pack_name("\\dir\\a")


def test_streams_are_chained_on_eight_bytes() -> None:
    packed = f.pack_streams([f.StreamEntry("::$DATA", 5, 4096), f.StreamEntry(":s:$DATA", 1, 512)])
    assert unpack_from("<IIQQ", packed, 0) == (40, 14, 5, 4096)
    assert packed[24:38].decode("utf-16-le") == "::$DATA"
    assert unpack_from("<IIQQ", packed, 40) == (0, 16, 1, 512)
    assert packed[64:].decode("utf-16-le") == ":s:$DATA"
    assert f.pack_streams([]) == b""


def test_a_name_may_be_no_text() -> None:
    assert f.pack_name("\ud800") == b"\x02\x00\x00\x00\x00\xd8"


@pytest.mark.parametrize("table", [FILE_MINIMUM, FILESYSTEM_MINIMUM])
def test_too_little_room_is_refused_before_anything_is_done(table: dict[int, int]) -> None:
    for info_class, least in table.items():
        check_room(table, info_class, least)
        if least:
            with pytest.raises(NtStatusError) as caught:
                check_room(table, info_class, least - 1)
            assert caught.value.status == NtStatus.INFO_LENGTH_MISMATCH
    with pytest.raises(NtStatusError) as caught:
        check_room(table, 200, 1000)
    assert caught.value.status == NtStatus.INVALID_INFO_CLASS


def test_what_is_too_long_is_cut_and_says_so() -> None:
    assert fit(b"abcd", 4) == (NtStatus.SUCCESS, b"abcd")
    assert fit(b"abcd", 3) == (NtStatus.BUFFER_OVERFLOW, b"abc")


def test_half_a_character_is_refused() -> None:
    with pytest.raises(NtStatusError) as caught:
        counted_name(b"\x03\x00\x00\x00abc", 0)
    assert caught.value.status == NtStatus.INVALID_PARAMETER
