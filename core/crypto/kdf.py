"""Key derivation: from the session key of the authentication to the keys of a session (MS-SMB2 3.1.4.2, 3.3.5.5.3).

SP800-108 counter mode with HMAC-SHA256, a 32-bit counter and a 32-bit length. Dialects 2.0.2 and 2.1 derive nothing:
they sign with the session key itself and cannot encrypt.
"""

import hmac
import struct
from typing import Final, NamedTuple

from lamina.core.settings import Dialect

AES_128_CCM: Final = 0x0001
AES_128_GCM: Final = 0x0002
AES_256_CCM: Final = 0x0003
AES_256_GCM: Final = 0x0004
"""Cipher identifiers (MS-SMB2 2.2.3.1.2 SMB2_ENCRYPTION_CAPABILITIES)."""

AES_256_CIPHERS: Final = frozenset({AES_256_CCM, AES_256_GCM})

_SESSION_KEY_BYTES: Final = 16
_BLOCK_BITS: Final = 256


class SessionKeys(NamedTuple):
    """The keys of one session or channel, as the server uses them.

    `encryption` seals what the server sends, `decryption` opens what it receives; both are empty below 3.0.
    """

    signing: bytes
    encryption: bytes
    decryption: bytes
    application: bytes


class _Purpose(NamedTuple):
    """Label and context of one key: for 3.0 both fixed; for 3.1.1 the context is the preauthentication hash."""

    label_30: bytes
    context_30: bytes
    label_311: bytes


# MS-SMB2 3.1.4.2 and 3.3.5.5.3. The terminating NUL belongs to each string, "ServerIn " does end in a blank.
_SIGNING = _Purpose(b"SMB2AESCMAC\0", b"SmbSign\0", b"SMBSigningKey\0")
_ENCRYPTION = _Purpose(b"SMB2AESCCM\0", b"ServerOut\0", b"SMBS2CCipherKey\0")
_DECRYPTION = _Purpose(b"SMB2AESCCM\0", b"ServerIn \0", b"SMBC2SCipherKey\0")
_APPLICATION = _Purpose(b"SMB2APP\0", b"SmbRpc\0", b"SMBAppKey\0")


def smb3kdf(key: bytes, label: bytes, context: bytes, length_bits: int) -> bytes:
    """`length_bits` of key from `key` (MS-SMB2 3.1.4.2; SP800-108 5.1). `label` and `context` include their NUL."""
    if not 0 < length_bits <= _BLOCK_BITS or length_bits % 8:
        raise ValueError(f"a key of {length_bits} bits cannot be derived: 8 to {_BLOCK_BITS}, whole bytes")
    fixed = struct.pack(">I", 1) + label + b"\0" + context + struct.pack(">I", length_bits)
    return hmac.digest(key, fixed, "sha256")[: length_bits // 8]


def pad_session_key(key: bytes) -> bytes:
    """The 16-byte Session.SessionKey of a GSS key: cut, or filled with zeros on the right (MS-SMB2 3.3.5.5.3)."""
    return key[:_SESSION_KEY_BYTES].ljust(_SESSION_KEY_BYTES, b"\0")


def session_keys(
    dialect: int, session_key: bytes, full_key: bytes, preauth_hash: bytes = b"", cipher: int = 0
) -> SessionKeys:
    """The keys of a session or channel.

    `session_key` is Session.SessionKey (cut or filled to 16 bytes here), `full_key` the whole GSS key
    (Session.FullSessionKey), `preauth_hash` the session's or channel's hash (3.1.1), `cipher` the negotiated one.
    For AES-256 the two cipher keys have 32 bytes and come from the full key; the others always have 16.
    """
    short = pad_session_key(session_key)
    if dialect < Dialect.SMB_3_0:
        return SessionKeys(short, b"", b"", short)

    def derive(purpose: _Purpose, key: bytes = short, bits: int = 128) -> bytes:
        if dialect == Dialect.SMB_3_1_1:
            return smb3kdf(key, purpose.label_311, preauth_hash, bits)
        return smb3kdf(key, purpose.label_30, purpose.context_30, bits)

    wide = (full_key, 256) if cipher in AES_256_CIPHERS else (short, 128)
    return SessionKeys(derive(_SIGNING), derive(_ENCRYPTION, *wide), derive(_DECRYPTION, *wide), derive(_APPLICATION))
