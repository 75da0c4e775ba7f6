"""The preauthentication integrity hash of dialect 3.1.1 (MS-SMB2 3.1.4.4.1, 3.3.5.4, 3.3.5.5).

SHA-512 is the only hash algorithm the specification defines (2.2.3.1.1).
"""

import hashlib
from typing import Final

INITIAL_HASH: Final = bytes(64)
"""The value before the first message (MS-SMB2 3.3.5.4: "initialized with zero")."""


def update(preauth_hash: bytes, message: bytes | bytearray | memoryview) -> bytes:
    """The hash after one more message, given from its SMB2 header to its end, without the transport's length."""
    digest = hashlib.sha512(preauth_hash)
    digest.update(message)
    return digest.digest()
