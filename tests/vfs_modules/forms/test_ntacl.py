"""Samba's on-disk form of descriptors: vectors of every version, and what is malformed."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.vfs_modules.forms.ntacl import HASH_NONE, HASH_SHA256, Seal, decode, encode

OWNER = bytes.fromhex("010500000000000515000000010000000200000003000000e8030000")
GROUP = bytes.fromhex("010500000000000515000000010000000200000003000000e9030000")
DACL = bytes.fromhex("02001c000100000000031400ff010000010100000000000100000000"[:56])
HASH = bytes(range(64))


def self_relative(at: int = 0) -> bytes:
    """A descriptor whose offsets count from `at` bytes before it."""
    owner = at + 20
    group, dacl = owner + len(OWNER), owner + len(OWNER) + len(GROUP)
    return struct.pack("<BBHIIII", 1, 0, 0x8004, owner, group, 0, dacl) + OWNER + GROUP + DACL


PLAIN = self_relative()
V1 = struct.pack("<HHI", 1, 1, 0x20000) + self_relative(8)
V2 = struct.pack("<HHII16s", 2, 2, 0x20000, 0x20004, HASH[:16]) + self_relative(28)
V3 = struct.pack("<HHIIH64s2x", 3, 3, 0x20000, 0x20004, 1, HASH) + self_relative(80)
V4 = struct.pack("<HHIIH64s10sQ64s", 4, 4, 0x20000, 0x20004, 1, HASH, b"posix_acl\0", 99, HASH) + self_relative(160)
V4_OTHER = struct.pack("<HHIIH64s4s2xQ64s", 4, 4, 0x20000, 0x20004, 0, HASH, b"abc\0", 99, HASH) + self_relative(156)
ALL = {"1": V1, "2": V2, "3": V3, "4": V4, "4 with another text": V4_OTHER}


@pytest.mark.parametrize("value", ALL.values(), ids=ALL)
def test_every_version_is_read(value: bytes) -> None:
    assert decode(value).descriptor == PLAIN


def test_the_type_of_the_hash_is_told() -> None:
    kinds = [decode(value)[:2] for value in ALL.values()]
    assert kinds == [(1, HASH_NONE), (2, HASH_NONE), (3, HASH_SHA256), (4, HASH_SHA256), (4, HASH_NONE)]


def test_new_values_are_of_a_version_that_samba_takes() -> None:
    assert encode(PLAIN, False) == struct.pack("<HHII16x", 2, 2, 0x20000, 0x20004) + self_relative(28)
    assert encode(PLAIN, True) == struct.pack("<HHIIH66x", 3, 3, 0x20000, 0x20004, 1) + self_relative(80)
    sealed = encode(PLAIN, False, Seal(HASH[:32], 99))
    assert sealed == V4[:14] + bytes(64) + V4[78:96] + HASH[:32] + bytes(32) + self_relative(160)
    assert decode(sealed) == (4, HASH_SHA256, PLAIN, HASH[:32])


def test_missing_parts_stay_missing() -> None:
    empty = struct.pack("<BBHIIII", 1, 0, 0x8000, 0, 0, 0, 0)
    assert decode(encode(empty, True)).descriptor == empty


@pytest.mark.parametrize(
    "value",
    [
        b"",
        V1[: -len(PLAIN)],
        V1[:20],
        b"\5\0" + V1[2:],
        b"\0\0\0\0" + V1[4:],
        b"\4\0" + V1[2:],
        V1[:4] + bytes(4) + V1[8:],
        V2[:8] + bytes(4) + V2[12:],
        V4[:78] + b"x" * 400,
        V1[:8] + b"\2" + V1[9:],
        V1[:12] + struct.pack("<I", 27) + V1[16:],
        V1[:12] + struct.pack("<I", len(V1)) + V1[16:],
    ],
)
def test_malformed_values_are_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(value)


@pytest.mark.parametrize(
    "descriptor", [b"", PLAIN[:10], b"\1\0\0\0" + PLAIN[4:], PLAIN[:4] + b"\xff\xff\0\0" + PLAIN[8:]]
)
def test_what_is_no_descriptor_is_not_stored(descriptor: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        encode(descriptor, True)


@given(
    st.binary(max_size=200)
    | st.tuples(st.sampled_from(list(ALL.values())), st.integers(0, 250), st.binary(max_size=6)).map(
        lambda item: item[0][: item[1]] + item[2] + item[0][item[1] + len(item[2]) :]
    )
)
def test_no_input_makes_anything_but_a_value_error(value: bytes) -> None:
    try:
        descriptor = decode(value).descriptor
    except ValueError:
        return
    assert decode(encode(descriptor, False)).descriptor == descriptor
