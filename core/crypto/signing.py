"""Signing and verifying SMB2 messages (MS-SMB2 3.1.4.1, 3.1.5.1).

A signer is made once per key and keeps the keyed state: copying it costs a third of keying it anew. It works in place
on the caller's buffer, which holds one message from its SMB2 header to its end, padding of a compound included.
"""

import hmac
from hmac import compare_digest
from struct import Struct
from typing import Final, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

HMAC_SHA256: Final = 0x0000
AES_CMAC: Final = 0x0001
AES_GMAC: Final = 0x0002
"""Signing algorithm identifiers (MS-SMB2 2.2.3.1.7 SMB2_SIGNING_CAPABILITIES)."""

_HEADER_LENGTH: Final = 64
_SIGNATURE: Final = 48
_get_signature: Final = Struct("16s").unpack_from
_put_signature: Final = Struct("16s").pack_into
_ZEROS: Final = bytes(16)
_nonce_fields = Struct("<H2xI4xQ").unpack_from  # Command, Flags, MessageId, at 12
_CANCEL: Final = 0x000C
_SERVER_TO_REDIR: Final = 0x00000001
_nonce = Struct("<QI").pack


class Signer(Protocol):
    """Signs and verifies messages with one key."""

    def sign(self, message: bytearray | memoryview) -> None:
        """Write the signature of `message` into bytes 48 to 64 of it."""

    def verify(self, message: bytearray | memoryview) -> bool:
        """Whether the signature in `message` is right. The buffer must be writable; it is left as it was."""

    def sign_reply(self, message: memoryview, message_id: int) -> None:
        """Like `sign`, for a whole reply with this message id, whose signature is zero still."""

    def verify_request(self, message: memoryview, message_id: int) -> bool:
        """Like `verify`, for a whole request with this message id that is no CANCEL."""


class _Base:
    __slots__ = ()

    def _mac(self, message: bytearray | memoryview) -> bytes:
        raise NotImplementedError

    def sign(self, message: bytearray | memoryview) -> None:
        """See Signer.sign."""
        if len(message) < _HEADER_LENGTH:
            raise ValueError("a message shorter than its header cannot be signed")
        _put_signature(message, _SIGNATURE, _ZEROS)
        _put_signature(message, _SIGNATURE, self._mac(message))

    def verify(self, message: bytearray | memoryview) -> bool:
        """See Signer.verify."""
        if len(message) < _HEADER_LENGTH:
            return False
        (given,) = _get_signature(message, _SIGNATURE)
        _put_signature(message, _SIGNATURE, _ZEROS)
        expected = self._mac(message)
        _put_signature(message, _SIGNATURE, given)
        return compare_digest(expected, given)

    def sign_reply(self, message: memoryview, message_id: int) -> None:
        """See Signer.sign_reply."""
        self.sign(message)

    def verify_request(self, message: memoryview, message_id: int) -> bool:
        """See Signer.verify_request."""
        return self.verify(message)


class HmacSigner(_Base):
    """HMAC-SHA256 cut to 16 bytes: dialects 2.0.2 and 2.1, and 3.1.1 where negotiated."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod="sha256")

    def _mac(self, message: bytearray | memoryview) -> bytes:
        mac = self._keyed.copy()
        mac.update(message)
        return mac.digest()[:16]


class CmacSigner(_Base):
    """AES-128-CMAC (RFC 4493): dialects 3.0 and 3.0.2, and the default of 3.1.1."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        self._keyed = CMAC(AES(key))

    def _mac(self, message: bytearray | memoryview) -> bytes:
        mac = self._keyed.copy()
        mac.update(message)  # type: ignore[arg-type]  # its stub says bytes; any contiguous buffer is taken
        return mac.finalize()


def gmac_nonce(message: bytearray | memoryview) -> bytes:
    """The 12-byte nonce of a message (MS-SMB2 3.1.4.1): its id, then the sender's role and whether it is a CANCEL.

    Read from the message itself, so a message of the wrong direction never verifies. Bit 0 is set in what a server
    sends; bit 1 in a CANCEL request, which shares its message id with the request that it cancels.
    """
    command, flags, message_id = _nonce_fields(message, 12)
    if flags & _SERVER_TO_REDIR:
        return _nonce(message_id, 1)
    return _nonce(message_id, 2 if command == _CANCEL else 0)


class GmacSigner(_Base):
    """AES-128-GMAC (RFC 4543): 3.1.1 where negotiated; twenty times as fast as CMAC."""

    __slots__ = ("_encrypt",)

    def __init__(self, key: bytes) -> None:
        self._encrypt = AESGCM(key).encrypt

    def _mac(self, message: bytearray | memoryview) -> bytes:
        return self._encrypt(gmac_nonce(message), b"", message)

    def sign_reply(self, message: memoryview, message_id: int) -> None:
        """See Signer.sign_reply."""
        _put_signature(message, _SIGNATURE, self._encrypt(_nonce(message_id, 1), b"", message))

    def verify_request(self, message: memoryview, message_id: int) -> bool:
        """See Signer.verify_request."""
        (given,) = _get_signature(message, _SIGNATURE)
        _put_signature(message, _SIGNATURE, _ZEROS)
        expected = self._encrypt(_nonce(message_id, 0), b"", message)
        _put_signature(message, _SIGNATURE, given)
        return compare_digest(expected, given)


_SIGNERS: Final = {HMAC_SHA256: HmacSigner, AES_CMAC: CmacSigner, AES_GMAC: GmacSigner}


def make_signer(algorithm: int, key: bytes) -> Signer:
    """A signer for `algorithm` (SigningAlgorithmId) with a 16-byte `key`. Raises ValueError for an unknown one."""
    if algorithm not in _SIGNERS:
        raise ValueError(f"unknown signing algorithm {algorithm:#06x}")
    return _SIGNERS[algorithm](key)
