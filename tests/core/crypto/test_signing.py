import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from lamina.core.crypto.signing import AES_CMAC, AES_GMAC, HMAC_SHA256, CmacSigner, gmac_nonce, make_signer

ALGORITHMS = (HMAC_SHA256, AES_CMAC, AES_GMAC)
KEY = bytes(range(16))
CANCEL = 12


def message(command: int = 8, flags: int = 0, message_id: int = 7, body: bytes = b"body of the message") -> bytearray:
    header = bytearray(64)
    header[:4] = b"\xfeSMB"
    header[12:14] = command.to_bytes(2, "little")
    header[16:20] = flags.to_bytes(4, "little")
    header[24:32] = message_id.to_bytes(8, "little")
    header[48:64] = b"\xaa" * 16
    return header + body


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signed_message_verifies_again_and_again_and_stays_as_it_is(algorithm: int) -> None:
    signer, signed = make_signer(algorithm, KEY), message()
    signer.sign(signed)
    before = bytes(signed)
    assert signer.verify(signed)
    assert signer.verify(memoryview(signed))
    assert bytes(signed) == before


@given(st.sampled_from(ALGORITHMS), st.integers(0, 83 * 8 - 1))
def test_no_flipped_bit_verifies(algorithm: int, bit: int) -> None:
    signer, signed = make_signer(algorithm, KEY), message()
    signer.sign(signed)
    signed[bit // 8] ^= 1 << bit % 8
    assert not signer.verify(signed)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_another_key_does_not_verify(algorithm: int) -> None:
    signed = message()
    make_signer(algorithm, KEY).sign(signed)
    assert not make_signer(algorithm, bytes(16)).verify(signed)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_less_than_a_header_is_not_signed_and_never_verifies(algorithm: int) -> None:
    signer = make_signer(algorithm, KEY)
    assert not signer.verify(bytearray(63))
    with pytest.raises(ValueError, match="header"):
        signer.sign(bytearray(63))


def test_hmac_is_the_first_half_of_the_digest_over_the_zeroed_message() -> None:
    signed = message()
    make_signer(HMAC_SHA256, KEY).sign(signed)
    zeroed = signed[:48] + bytes(16) + signed[64:]
    assert signed[48:64] == hmac.new(KEY, zeroed, hashlib.sha256).digest()[:16]


def test_cmac_is_the_one_of_rfc_4493_example_4() -> None:
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    text = bytes.fromhex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    assert CmacSigner(key)._mac(bytearray(text)).hex() == "51f0bebf7e3b9d92fc49741779363cfe"


def test_gmac_is_gcm_over_nothing_with_the_message_as_associated_data() -> None:
    signed = message(message_id=0x0102030405060708, flags=1)
    make_signer(AES_GMAC, KEY).sign(signed)
    zeroed = bytes(signed[:48] + bytes(16) + signed[64:])
    assert signed[48:64] == AESGCM(KEY).encrypt(bytes.fromhex("080706050403020101000000"), b"", zeroed)


@pytest.mark.parametrize(
    ("command", "flags", "expected"),
    [(8, 0, 0), (8, 1, 1), (8, 0x0B, 1), (CANCEL, 0, 2), (CANCEL, 0x0A, 2), (CANCEL, 1, 1)],
)
def test_the_gmac_nonce_tells_the_role_and_a_cancel(command: int, flags: int, expected: int) -> None:
    nonce = gmac_nonce(message(command, flags, 5))
    assert nonce == (5).to_bytes(8, "little") + expected.to_bytes(4, "little")


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(ValueError, match="0x0009"):
        make_signer(9, KEY)


@given(st.sampled_from(ALGORITHMS), st.integers(0, (1 << 64) - 1), st.binary(max_size=200))
def test_a_reply_whose_id_is_known_is_signed_as_any_other(algorithm: int, message_id: int, body: bytes) -> None:
    signer, signed = make_signer(algorithm, KEY), message(flags=1, message_id=message_id, body=body)
    quickly = bytearray(signed)
    quickly[48:64] = bytes(16)
    signer.sign(signed)
    signer.sign_reply(memoryview(quickly), message_id)
    assert quickly == signed


@given(st.sampled_from(ALGORITHMS), st.integers(0, (1 << 64) - 1), st.one_of(st.none(), st.integers(0, 83 * 8 - 1)))
def test_a_request_whose_id_is_known_verifies_as_any_other(algorithm: int, message_id: int, bit: int | None) -> None:
    signer, signed = make_signer(algorithm, KEY), message(message_id=message_id)
    signer.sign(signed)
    if bit is not None:
        signed[bit // 8] ^= 1 << bit % 8
    before = bytes(signed)
    read = int.from_bytes(signed[24:32], "little")
    assert signer.verify_request(memoryview(signed), read) == (bit is None)
    assert bytes(signed) == before
