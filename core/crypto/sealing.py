"""Encrypting and decrypting messages with the transform header (MS-SMB2 2.2.41, 3.1.4.3, 3.3.5.2.1.1).

Everything happens in place in the caller's buffer: the transform header, then the message, sealed over itself. That
output may overlap input is not promised by the `cryptography` package; a test of this project holds it to it. The
algorithms put their tag behind the text, the protocol puts it into the header; so whoever can offer 16 spare bytes
(`SPARE`) behind the message saves a copy of it.

A cipher object is one key in one direction. It counts the nonces of what it seals, so it must be the only one to seal
with its key: all channels of a session share one. The counter never starts again, and sealing ends long before it, or
the algorithm's limits, run out.
"""

from struct import Struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM

from lamina.core.crypto.kdf import AES_128_CCM, AES_128_GCM, AES_256_CCM, AES_256_GCM

TRANSFORM_HEADER_LENGTH: Final = 52
TRANSFORM_PROTOCOL_ID: Final = b"\xfdSMB"
ENCRYPTED: Final = 0x0001
SPARE: Final = 16
"""Bytes behind the message that sealing and opening write to: the length of a tag."""

MAX_SEALED_MESSAGES: Final = 1 << 40
"""How many messages one key may seal: beyond any session's life, and far from the 2^64 of the counter."""

MAX_SEALED_BLOCKS: Final = 1 << 60
"""How many AES blocks one key may seal: half of what SP800-38C allows for CCM, the tighter of the two."""

_HEADER = Struct("<4s16s16sIHHQ")
_FIXED = Struct("<IHH")  # OriginalMessageSize, Reserved, Flags, at 36
_SIGNATURE: Final = slice(4, 20)
_NONCE_OFFSET: Final = 20
_ASSOCIATED: Final = slice(20, TRANSFORM_HEADER_LENGTH)
_UNSIGNED: Final = bytes(16)


class NonceExhaustedError(Exception):
    """A key has sealed all it may; the session must be ended. Nothing was written."""


class Cipher:
    """One key of one direction. Made by `make_cipher`."""

    __slots__ = ("_aead", "_blocks", "_make_nonce", "_nonce", "_sealed")

    def __init__(self, aead: AESGCM | AESCCM, nonce_length: int) -> None:
        self._aead = aead
        self._nonce = slice(_NONCE_OFFSET, _NONCE_OFFSET + nonce_length)
        # In the header there are zeros behind it.
        self._make_nonce = Struct(f"<Q{nonce_length - 8}x").pack
        self._sealed = 0
        self._blocks = 0

    def _next_nonce(self, size: int) -> bytes:
        # The counter is spent before it is used: a failure in between cannot lead to using it twice.
        sealed = self._sealed = self._sealed + 1
        self._blocks += (size >> 4) + 4
        if sealed > MAX_SEALED_MESSAGES or self._blocks > MAX_SEALED_BLOCKS:
            raise NonceExhaustedError("this session has encrypted as much as one key may")
        return self._make_nonce(sealed)

    def seal_in_place(
        self, buffer: bytearray | memoryview, session_id: int, transform_offset: int = 0, spare: bool = False
    ) -> None:
        """Write the transform header at `transform_offset` of `buffer` and encrypt what follows its 52 bytes.

        With `spare` the last SPARE bytes of `buffer` do not belong to the message and are written to: the tag is made
        there. Without it the ciphertext is copied once. Raises NonceExhaustedError when the key is used up.
        """
        with memoryview(buffer)[transform_offset:] as whole:
            if spare:
                self.seal(whole, session_id)
                return
            with whole[TRANSFORM_HEADER_LENGTH:] as text:
                size = len(text)
                nonce = self._write_header(whole, size, session_id)
                sealed = memoryview(self._aead.encrypt(nonce, text, whole[_ASSOCIATED]))
                text[:] = sealed[:size]
                whole[_SIGNATURE] = sealed[size:]

    def seal(self, whole: memoryview, session_id: int) -> None:
        """Seal a message that has room for the transform header before it and SPARE bytes behind it, all in `whole`."""
        text = whole[TRANSFORM_HEADER_LENGTH:]
        size = len(text) - SPARE
        nonce = self._write_header(whole, size, session_id)
        self._aead.encrypt_into(nonce, text[:size], whole[_ASSOCIATED], text)
        whole[_SIGNATURE] = text[size:]

    def _write_header(self, whole: memoryview, size: int, session_id: int) -> bytes:
        """Write the transform header of a message of `size` bytes, still without its signature; the nonce."""
        if size <= 0:
            raise ValueError("there is no message behind the transform header")
        nonce = self._next_nonce(size)
        _HEADER.pack_into(whole, 0, TRANSFORM_PROTOCOL_ID, _UNSIGNED, nonce, size, 0, ENCRYPTED, session_id)
        return nonce

    def open_in_place(self, message: memoryview, spare: bool = False) -> memoryview | None:
        """Decrypt a transform message over itself: the view of the plaintext, or None if it is not authentic.

        `message` starts at the transform header, is writable, and ends with the ciphertext - or, with `spare`, SPARE
        bytes behind it, which are written to and restored; without them the ciphertext is copied once. The caller has
        checked protocol id and session id. After a failure the buffer's content is of no use.
        """
        end = len(message) - SPARE if spare else len(message)
        size = end - TRANSFORM_HEADER_LENGTH
        if size <= 0:
            return None
        original_size, _, flags = _FIXED.unpack_from(message, 36)
        if original_size != size or flags != ENCRYPTED:
            return None
        try:
            return self._open_with_spare(message, end) if spare else self._open_copied(message)
        except InvalidTag:
            return None

    def _open_with_spare(self, message: memoryview, end: int) -> memoryview:
        tail = message[end:]
        behind = tail.tobytes()
        tail[:] = message[_SIGNATURE]
        try:
            return self._decrypt(message, message[TRANSFORM_HEADER_LENGTH:], message[TRANSFORM_HEADER_LENGTH:end])
        finally:
            tail[:] = behind

    def _open_copied(self, message: memoryview) -> memoryview:
        text = message[TRANSFORM_HEADER_LENGTH:]
        return self._decrypt(message, b"".join((text, message[_SIGNATURE])), text)

    def _decrypt(self, message: memoryview, sealed: bytes | memoryview, plain: memoryview) -> memoryview:
        self._aead.decrypt_into(message[self._nonce], sealed, message[_ASSOCIATED], plain)
        return plain


_KEY_LENGTHS: Final = {AES_128_CCM: 16, AES_128_GCM: 16, AES_256_CCM: 32, AES_256_GCM: 32}


def make_cipher(cipher_id: int, key: bytes) -> Cipher:
    """The cipher `cipher_id` (MS-SMB2 2.2.3.1.2) with `key` of 16 or 32 bytes; ValueError if they do not fit.

    The nonce has 11 bytes for CCM and 12 for GCM (2.2.41).
    """
    if _KEY_LENGTHS.get(cipher_id) != len(key):
        raise ValueError(f"cipher {cipher_id:#06x} does not exist or does not take a key of {len(key)} bytes")
    if cipher_id in (AES_128_CCM, AES_256_CCM):
        return Cipher(AESCCM(key, tag_length=16), 11)
    return Cipher(AESGCM(key), 12)
