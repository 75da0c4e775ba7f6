"""What a PAC says: as a domain controller made it, as impacket packs it, with claims, and with bytes that lie."""

import struct

import pytest

from lamina.core.auth.pac import MAX_GROUPS, PacError, read_pac
from lamina.core.auth.xpress import XpressError, decompress
from tests.core.auth import pac_samples as samples
from tests.core.auth.pac_samples import DENY_ONLY, DOMAIN_SID, ENABLED, SAMBA


def test_what_a_domain_controller_says_of_a_user_in_nested_groups() -> None:
    pac = read_pac(SAMBA)
    assert pac is not None
    assert (pac.user, pac.domain, pac.upn, pac.dns_domain) == ("ada", "LAMAD", "ada@ad.lamina.test", "AD.LAMINA.TEST")
    assert pac.user_sid == f"{DOMAIN_SID}-1102"
    assert pac.primary_group_sid == f"{DOMAIN_SID}-513"
    assert pac.group_sids == {*(f"{DOMAIN_SID}-{rid}" for rid in (513, 1104, 1105, 1106)), "S-1-18-1"}


def test_groups_of_all_three_kinds_count_if_they_are_enabled() -> None:
    other = "S-1-5-21-7-8-9"
    info = samples.logon_info(
        groups=[(513, ENABLED), (1200, ENABLED), (1201, DENY_ONLY | ENABLED), (1202, 0)],
        extra=[(f"{other}-44", ENABLED), (f"{other}-45", DENY_ONLY)],
        resources=(other, [(500, ENABLED), (501, 0)]),
    )
    pac = read_pac(samples.pac({1: info}))
    assert pac is not None
    assert pac.group_sids == {f"{DOMAIN_SID}-513", f"{DOMAIN_SID}-1200", f"{other}-44", f"{other}-500"}


def test_a_user_of_another_domain_is_the_first_of_the_further_sids() -> None:
    pac = read_pac(samples.pac({1: samples.logon_info(user_rid=0, extra=[("S-1-5-21-1-2-3-1000", ENABLED)])}))
    assert pac is not None
    assert pac.user_sid == "S-1-5-21-1-2-3-1000"
    assert pac.user_sid not in pac.group_sids


def test_a_pac_without_logon_information_says_nothing() -> None:
    assert read_pac(samples.pac({})) is None
    assert read_pac(samples.pac({10: b"x" * 16, 6: b"y" * 16})) is None


def test_two_parts_that_disagree_about_the_user_are_refused() -> None:
    info = samples.logon_info()
    right = read_pac(samples.pac({1: info, 12: samples.upn_dns_info(f"{DOMAIN_SID}-1102")}))
    assert right is not None
    assert right.upn == "ada@ad.test"
    with pytest.raises(PacError, match="and of"):
        read_pac(samples.pac({1: info, 12: samples.upn_dns_info(f"{DOMAIN_SID}-500")}))


@pytest.mark.parametrize(
    ("info", "why"),
    [
        (samples.logon_info(name=""), "nobody"),
        (samples.logon_info(user_rid=0), "nobody"),
        (samples.logon_info(groups=[(number, ENABLED) for number in range(MAX_GROUPS + 1)]), "groups"),
        (b"\x02" + samples.logon_info()[1:], "version"),
        (samples.logon_info()[:100], "malformed"),
    ],
    ids=["no name", "no number", "too many groups", "another version", "cut off"],
)
def test_what_makes_no_user_is_refused(info: bytes, why: str) -> None:
    with pytest.raises(PacError, match=why):
        read_pac(samples.pac({1: info}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        struct.pack("<II", 1, 0),
        struct.pack("<II", 0xFFFFFFFF, 0),
        struct.pack("<II", 0, 1),
        struct.pack("<IIIIQ", 1, 0, 1, 16, 1 << 60),
        struct.pack("<IIIIQIIQ", 2, 0, 7, 0, 40, 7, 0, 40),
    ],
    ids=["nothing", "no parts", "endless parts", "another version", "beyond the end", "twice the same"],
)
def test_a_table_of_parts_that_lies_is_refused(data: bytes) -> None:
    with pytest.raises(PacError):
        read_pac(data)


def claims_of(entries: dict[str, list[int] | list[str]]) -> bytes:
    return samples.pac({1: samples.logon_info(), 13: samples.claims_info(samples.claims(entries))})


def test_claims_are_numbers_and_texts_by_lower_case_name() -> None:
    pac = read_pac(claims_of({"ad://ext/Department": ["Finance", "Legal"], "ad://ext/level": [3, -4]}))
    assert pac is not None
    assert pac.claims == {"ad://ext/department": ("Finance", "Legal"), "ad://ext/level": (3, -4)}


def test_truth_values_and_unsigned_numbers_are_numbers() -> None:
    for kind in (2, 6):
        packed = samples.claims_info(samples.claims({"on": [1]}, kind))
        pac = read_pac(samples.pac({1: samples.logon_info(), 13: packed}))
        assert pac is not None
        assert pac.claims == {"on": (1,)}


def test_no_claims_are_none() -> None:
    pac = read_pac(samples.pac({1: samples.logon_info(), 13: b""}))
    assert pac is not None
    assert not pac.claims


@pytest.mark.parametrize("kind", [4, 5, 99])
def test_a_claim_of_an_unknown_kind_is_refused(kind: int) -> None:
    packed = samples.claims_info(samples.claims({"x": [1]}, kind))
    with pytest.raises(PacError, match="types"):
        read_pac(samples.pac({1: samples.logon_info(), 13: packed}))


@pytest.mark.parametrize(("form", "size"), [(2, 8), (3, 8), (0, 1 << 30), (4, 100)])
def test_claims_that_cannot_be_unpacked_are_refused(form: int, size: int) -> None:
    packed = samples.claims_info(samples.claims({"x": [1]}), form, size)
    with pytest.raises(PacError):
        read_pac(samples.pac({1: samples.logon_info(), 13: packed}))


def test_compressed_claims_are_read() -> None:
    packed = samples.claims({"department": ["Finance"]})
    info = samples.claims_info(samples.compressed(packed), 4, len(packed))
    pac = read_pac(samples.pac({1: samples.logon_info(), 13: info}))
    assert pac is not None
    assert pac.claims == {"department": ("Finance",)}


def test_the_example_of_the_specification_is_decompressed() -> None:
    """MS-XCA 3.2: the alphabet, each letter a literal."""
    table = bytearray(256)
    table[48:62] = bytes.fromhex("5055555555555555555555454404")
    table[128] = 0x04
    data = bytes(table) + bytes.fromhex("d8523ed794115be9195ff9d67cdf8d0400000000")
    assert decompress(memoryview(data), 26) == b"abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("count", "long_length"),
    [(10, b""), (18 + 200, bytes([200])), (400, b"\xff" + struct.pack("<H", 397)), (70, bytes([52]))],
)
def test_matches_of_every_length_are_repeated(count: int, long_length: bytes) -> None:
    """A literal and a match with the byte before it; lengths of 18 and more come as bytes from between the words."""
    symbol = 256 + min(count - 3, 15)
    table = bytearray(256)
    table[ord("a") // 2] |= 1 << (4 * (ord("a") % 2))
    table[symbol // 2] |= 1 << (4 * (symbol % 2))
    data = bytes(table) + struct.pack("<HH", 0x4000, 0) + long_length + bytes(4)
    assert decompress(memoryview(data), count + 1) == b"a" * (count + 1)


@pytest.mark.parametrize("data", [b"", bytes(300), bytes([0x11] * 300), bytes([0x99] * 256) + b"\xff" * 44])
def test_what_is_not_compressed_is_refused(data: bytes) -> None:
    with pytest.raises(XpressError):
        decompress(memoryview(data), 100)
