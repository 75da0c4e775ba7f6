from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from hypothesis import given
from hypothesis import strategies as st

from lamina.core.crypto import sealing
from lamina.core.crypto.kdf import AES_128_CCM, AES_128_GCM, AES_256_CCM, AES_256_GCM
from lamina.core.crypto.sealing import SPARE, NonceExhaustedError, make_cipher

CIPHERS = {AES_128_CCM: 16, AES_128_GCM: 16, AES_256_CCM: 32, AES_256_GCM: 32}
all_ciphers = pytest.mark.parametrize("cipher_id", CIPHERS)
TEXT = b"\xfeSMB and then the rest of a message"


def sealed(cipher_id: int, text: bytes = TEXT, offset: int = 0, session_id: int = 0x1122334455667788) -> bytearray:
    buffer = bytearray(b"\xee" * offset) + bytes(52) + text + bytes(SPARE)
    make_cipher(cipher_id, bytes(CIPHERS[cipher_id])).seal_in_place(buffer, session_id, offset, spare=True)
    return buffer


def opened(cipher_id: int, message: bytes | bytearray, spare: bool = False) -> bytes | None:
    plain = make_cipher(cipher_id, bytes(CIPHERS[cipher_id])).open_in_place(memoryview(bytearray(message)), spare)
    return None if plain is None else bytes(plain)


@all_ciphers
@pytest.mark.parametrize("size", [1, 15, 16, 17, 100, 4096, 1 << 20])
def test_what_is_sealed_in_place_opens_in_place(cipher_id: int, size: int) -> None:
    text = bytes(range(256)) * (size // 256 + 1)
    buffer = sealed(cipher_id, text[:size])
    assert opened(cipher_id, buffer[:-SPARE]) == text[:size]
    assert opened(cipher_id, buffer, spare=True) == text[:size]


@all_ciphers
def test_the_sealed_message_is_the_one_of_the_separate_buffers(cipher_id: int) -> None:
    """Output over input is not promised by the library: this is the check that it works."""
    message = bytes(sealed(cipher_id)[:-SPARE])
    ccm = cipher_id in (AES_128_CCM, AES_256_CCM)
    make: Callable[[bytes], AESCCM | AESGCM] = AESCCM if ccm else AESGCM
    nonce = message[20:31] if ccm else message[20:32]
    assert make(bytes(CIPHERS[cipher_id])).decrypt(nonce, message[52:] + message[4:20], message[20:52]) == TEXT
    assert TEXT not in message


@all_ciphers
def test_sealing_without_spare_bytes_gives_the_same(cipher_id: int) -> None:
    buffer = bytearray(4 + 52) + TEXT
    make_cipher(cipher_id, bytes(CIPHERS[cipher_id])).seal_in_place(memoryview(buffer), 0x1122334455667788, 4)
    assert buffer[4:] == sealed(cipher_id)[:-SPARE]


def test_the_transform_header_is_as_the_specification_says() -> None:
    buffer = sealed(AES_128_GCM, offset=4)
    assert buffer[:4] == b"\xee" * 4
    header = buffer[4:56]
    assert header[:4] == b"\xfdSMB"
    assert header[32:36] == bytes(4)
    assert int.from_bytes(header[36:40], "little") == len(TEXT)
    assert header[40:44] == b"\0\0\1\0"
    assert int.from_bytes(header[44:52], "little") == 0x1122334455667788


@given(st.sampled_from(sorted(CIPHERS)), st.integers(0, (52 + len(TEXT)) * 8 - 1))
def test_no_flipped_bit_opens(cipher_id: int, bit: int) -> None:
    message = sealed(cipher_id)[:-SPARE]
    if bit // 8 < 4:
        return  # the protocol id is the caller's to check
    message[bit // 8] ^= 1 << bit % 8
    assert opened(cipher_id, message) is None


@all_ciphers
def test_the_bytes_behind_the_message_are_put_back(cipher_id: int) -> None:
    buffer = sealed(cipher_id)
    buffer[-SPARE:] = b"the next message"
    cipher = make_cipher(cipher_id, bytes(CIPHERS[cipher_id]))
    view = memoryview(buffer)
    assert cipher.open_in_place(view, spare=True) == TEXT
    assert buffer[-SPARE:] == b"the next message"
    assert cipher.open_in_place(view, spare=True) is None
    assert buffer[-SPARE:] == b"the next message"


@pytest.mark.parametrize("length", [0, 51, 52])
def test_a_message_without_text_does_not_open(length: int) -> None:
    assert opened(AES_128_GCM, bytes(length)) is None


def test_every_message_has_another_nonce() -> None:
    cipher, nonces = make_cipher(AES_128_GCM, bytes(16)), set()
    for _ in range(1000):
        buffer = bytearray(52 + 1 + SPARE)
        cipher.seal_in_place(buffer, 1, spare=True)
        nonces.add(bytes(buffer[20:36]))
    assert len(nonces) == 1000


@pytest.mark.parametrize(
    ("count", "limit"), [("_sealed", sealing.MAX_SEALED_MESSAGES), ("_blocks", sealing.MAX_SEALED_BLOCKS)]
)
def test_sealing_stops_for_good_at_the_limit(count: str, limit: int) -> None:
    cipher = make_cipher(AES_128_GCM, bytes(16))
    setattr(cipher, count, limit - 4)

    def seal() -> bytearray:
        buffer = bytearray(52 + 1 + SPARE)
        cipher.seal_in_place(buffer, 1, spare=True)
        return buffer

    with pytest.raises(NonceExhaustedError):
        for _ in range(5):
            seal()
    for _ in range(3):
        with pytest.raises(NonceExhaustedError):
            seal()


def test_nothing_to_seal_and_wrong_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="no message"):
        sealed(AES_128_GCM, b"")
    for cipher_id, length in ((AES_128_GCM, 32), (AES_256_GCM, 16), (5, 16)):
        with pytest.raises(ValueError, match="does not"):
            make_cipher(cipher_id, bytes(length))


@all_ciphers
@pytest.mark.parametrize("size", [1, 100, 16 * 1024, 16 * 1024 + 1])
def test_a_message_in_the_middle_of_a_buffer_is_sealed_and_opened_there(cipher_id: int, size: int) -> None:
    text, behind = bytes(range(256)) * (size // 256 + 1), b"the next message"
    buffer = bytearray(b"\xee" * 100) + text[:size] + bytes(SPARE)
    cipher, end = make_cipher(cipher_id, bytes(CIPHERS[cipher_id])), 100 + size
    with memoryview(buffer) as view:
        cipher.seal(view, 100, end, 5)
        assert buffer[:48] == b"\xee" * 48
        view[end:] = behind
        plain = cipher.open(view, 48, end)
        assert plain == text[:size]
        assert buffer[100:] == text[:size] + behind
        assert cipher.open(view, 48, end) is None
        assert buffer[end:] == behind


def test_a_message_without_room_for_its_header_is_not_sealed() -> None:
    with pytest.raises(ValueError, match="no message"):
        make_cipher(AES_128_GCM, bytes(16)).seal(memoryview(bytearray(200)), 51, 100, 1)
