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

_HEADER: Final = Struct("<4s16s32s").pack_into  # ProtocolId, Signature, what is authenticated
_TEXT: Final = TRANSFORM_HEADER_LENGTH
_ASSOCIATED: Final = 32
"""The last bytes of the header, which are authenticated: Nonce, OriginalMessageSize, Reserved, Flags, SessionId."""

_get_tag: Final = Struct("16s").unpack_from
_put_tag: Final = Struct("16s").pack_into

_JOINED: Final = 16 * 1024
"""Bytes of a message that are rather copied, for its tag to be behind it, than the tag put there and taken away."""


class NonceExhaustedError(Exception):
    """A key has sealed all it may; the session must be ended. Nothing was written."""


class Cipher:
    """One key of one direction. Made by `make_cipher`."""

    __slots__ = ("_blocks", "_decrypt_into", "_encrypt", "_encrypt_into", "_make_nonce", "_pack_associated", "_sealed",
                 "_unpack")  # fmt: skip

    def __init__(self, aead: AESGCM | AESCCM, nonce_length: int) -> None:
        self._encrypt = aead.encrypt
        self._encrypt_into = aead.encrypt_into
        self._decrypt_into = aead.decrypt_into
        # In the header there are zeros behind the nonce.
        nonce = f"{nonce_length}s{16 - nonce_length}x"
        self._make_nonce = Struct(f"<Q{nonce_length - 8}x").pack
        self._pack_associated = Struct(f"<{nonce}IHHQ").pack
        self._unpack = Struct(f"<4x16s{nonce}IHHQ").unpack_from
        self._sealed = 0
        self._blocks = 0

    def seal_in_place(
        self, buffer: bytearray | memoryview, session_id: int, transform_offset: int = 0, spare: bool = False
    ) -> None:
        """Write the transform header at `transform_offset` of `buffer` and encrypt what follows its 52 bytes.

        With `spare` the last SPARE bytes of `buffer` do not belong to the message and are written to: the tag is made
        there. Without it the ciphertext is copied once. Raises NonceExhaustedError when the key is used up.
        """
        at = transform_offset + _TEXT
        with memoryview(buffer) as whole:
            end = len(whole) - SPARE if spare else len(whole)
            if spare:
                self.seal(whole, at, end, session_id)
                return
            nonce, associated = self._begin(at, end, session_id)
            sealed = self._encrypt(nonce, whole[at:end], associated)
            whole[at:end] = sealed[:-SPARE]
            _HEADER(whole, at - _TEXT, TRANSFORM_PROTOCOL_ID, sealed[-SPARE:], associated)

    def seal(self, buffer: memoryview, at: int, end: int, session_id: int) -> None:
        """Encrypt the message from `at` to `end`, and write the transform header into the 52 bytes before it.

        The SPARE bytes behind it are written to. Raises NonceExhaustedError when the key is used up.
        """
        nonce, associated = self._begin(at, end, session_id)
        self._encrypt_into(nonce, buffer[at:end], associated, buffer[at : end + SPARE])
        _HEADER(buffer, at - _TEXT, TRANSFORM_PROTOCOL_ID, _get_tag(buffer, end)[0], associated)

    def _begin(self, at: int, end: int, session_id: int) -> tuple[bytes, bytes]:
        """A nonce for a message, and what is authenticated beside it."""
        size = end - at
        if size <= 0 or at < _TEXT:
            raise ValueError("there is no message behind the transform header")
        # The counter is spent before it is used: a failure in between cannot lead to using it twice.
        sealed = self._sealed = self._sealed + 1
        self._blocks += (size >> 4) + 4
        if sealed > MAX_SEALED_MESSAGES or self._blocks > MAX_SEALED_BLOCKS:
            raise NonceExhaustedError("this session has encrypted as much as one key may")
        nonce = self._make_nonce(sealed)
        return nonce, self._pack_associated(nonce, size, 0, ENCRYPTED, session_id)

    def open_in_place(self, message: memoryview, spare: bool = False) -> memoryview | None:
        """Decrypt a transform message over itself: the view of the plaintext, or None if it is not authentic.

        `message` starts at the transform header, is writable, and ends with the ciphertext - or, with `spare`, SPARE
        bytes behind it, which may be written to and are restored; without them the ciphertext is copied once. The
        caller has checked protocol id and session id. After a failure the buffer's content is of no use.
        """
        return self._open(message, 0, len(message) - SPARE if spare else len(message), spare)

    def open(self, buffer: memoryview, start: int, end: int) -> memoryview | None:
        """The same for the transform message from `start` to `end` of `buffer`, with SPARE bytes behind it."""
        return self._open(buffer, start, end, True)

    def _open(self, buffer: memoryview, start: int, end: int, spare: bool) -> memoryview | None:
        size = end - start - _TEXT
        if size <= 0:
            return None
        tag, nonce, original_size, _, flags, _ = self._unpack(buffer, start)
        if original_size != size or flags != ENCRYPTED:
            return None
        at = start + _TEXT
        plain = buffer[at:end]
        try:
            if size <= _JOINED or not spare:
                self._decrypt_into(nonce, b"".join((plain, tag)), buffer[at - _ASSOCIATED : at], plain)
            else:
                self._open_with_spare(nonce, tag, buffer, plain, end)
        except InvalidTag:
            return None
        return plain

    def _open_with_spare(self, nonce: bytes, tag: bytes, buffer: memoryview, plain: memoryview, end: int) -> None:
        at = end - len(plain)
        (behind,) = _get_tag(buffer, end)
        _put_tag(buffer, end, tag)
        try:
            self._decrypt_into(nonce, buffer[at : end + SPARE], buffer[at - _ASSOCIATED : at], plain)
        finally:
            _put_tag(buffer, end, behind)


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
