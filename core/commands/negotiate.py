"""NEGOTIATE (MS-SMB2 3.3.5.3 and 3.3.5.4): dialect, capabilities, ciphers, signing algorithms."""

import os
import time
from typing import Final

from lamina.core.crypto import kdf, preauth, signing
from lamina.core.request import Reply, Request
from lamina.core.settings import Dialect, EncryptionPolicy, ServerSettings
from lamina.core.wire.create_contexts import POSIX
from lamina.core.wire.negotiate import (
    EncryptionCapabilities,
    NegotiateContext,
    NegotiateRequest,
    PosixExtensions,
    PreauthIntegrityCapabilities,
    SigningCapabilities,
    decode_negotiate_request,
    encode_negotiate_response,
)
from lamina.core.wire.smb1 import decode_smb1_negotiate_request
from lamina.ntfsa.durability.keeping import keeps_opens
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.times.filetime import to_filetime

CAP_LEASING: Final = 0x02
CAP_LARGE_MTU: Final = 0x04
CAP_MULTI_CHANNEL: Final = 0x08
CAP_PERSISTENT_HANDLES: Final = 0x10
CAP_DIRECTORY_LEASING: Final = 0x20
CAP_ENCRYPTION: Final = 0x40

WILDCARD_DIALECT: Final = 0x02FF
SHA_512: Final = 1
_SMB1_WILDCARD: Final = "SMB 2.???"
_SMB1_2_0_2: Final = "SMB 2.002"
_SMALL_IO: Final = 65536
_SMB1_FIRST_BYTE: Final = 0xFF

CIPHERS: Final = (kdf.AES_128_GCM, kdf.AES_256_GCM, kdf.AES_128_CCM, kdf.AES_256_CCM)
SIGNING: Final = (signing.AES_GMAC, signing.AES_CMAC, signing.HMAC_SHA256)


def handle(request: Request) -> bytes | Reply:
    """Agree on a dialect and its parameters, once per connection."""
    if request.message[0] == _SMB1_FIRST_BYTE:
        return _multi_protocol(request)
    connection = request.connection
    if connection.dialect and connection.dialect != WILDCARD_DIALECT:
        connection.malformed("a second NEGOTIATE on one connection")
        connection.transport.abort()
        raise NtStatusError(NtStatus.INVALID_PARAMETER)
    elsewhere = connection.server.elsewhere
    if elsewhere is not None and connection.dialect and elsewhere.mover.moves(connection, request.message):
        raise NtStatusError(NtStatus.CANCELLED, "the client is another worker's")
    asked = decode_negotiate_request(request.message)
    settings = connection.server.settings
    dialect = _common_dialect(asked.dialects, settings)
    connection.client_guid = asked.client_guid
    connection.server.client_known(connection)
    connection.client_capabilities = asked.capabilities
    connection.client_security_mode = asked.security_mode
    connection.client_dialects = tuple(asked.dialects)
    contexts: list[NegotiateContext] = []
    if dialect == Dialect.SMB_3_1_1:
        contexts = _agree_on_contexts(request, asked)
    elif dialect >= Dialect.SMB_3_0:
        connection.signing_algorithm = signing.AES_CMAC
        if settings.encryption is not EncryptionPolicy.OFF and asked.capabilities & CAP_ENCRYPTION:
            connection.cipher_id = kdf.AES_128_CCM
    else:
        connection.signing_algorithm = signing.HMAC_SHA256
    return _answer(request, dialect, contexts)


def _common_dialect(offered: list[int] | tuple[int, ...], settings: ServerSettings) -> Dialect:
    if not offered:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "no dialect offered")
    known = [d for d in Dialect if d in offered and settings.min_dialect <= d <= settings.max_dialect]
    if not known:
        raise NtStatusError(NtStatus.NOT_SUPPORTED, f"no common dialect among {[hex(d) for d in offered]}")
    return max(known)


def _agree_on_contexts(request: Request, asked: NegotiateRequest) -> list[NegotiateContext]:
    """The negotiate contexts of 3.1.1 (2.2.3.1); unknown ones have been passed over by the codec."""
    connection = request.connection
    hashes = asked.preauth
    if hashes is None:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "3.1.1 without preauthentication integrity")
    if SHA_512 not in hashes.hash_algorithms:
        raise NtStatusError(NtStatus.SMB_NO_PREAUTH_INTEGRITY_HASH_OVERLAP)
    answers: list[NegotiateContext] = [PreauthIntegrityCapabilities((SHA_512,), os.urandom(32))]
    if asked.encryption is not None and connection.server.settings.encryption is not EncryptionPolicy.OFF:
        # The client lists in the order it prefers; ours counts, so that the fastest common one is used.
        connection.cipher_id = next((c for c in CIPHERS if c in asked.encryption.ciphers), 0)
        answers.append(EncryptionCapabilities((connection.cipher_id,)))
    connection.signing_algorithm = signing.AES_CMAC
    if asked.signing is not None:
        chosen = next((a for a in SIGNING if a in asked.signing.algorithms), signing.AES_CMAC)
        connection.signing_algorithm = chosen
        answers.append(SigningCapabilities((chosen,)))
    if asked.posix is not None and connection.server.settings.posix_extensions and POSIX in asked.posix.versions:
        connection.posix_extensions = True
        answers.append(PosixExtensions((POSIX,)))
    connection.preauth_hash = preauth.update(bytes(64), request.message)
    return answers


def _multi_protocol(request: Request) -> bytes:
    """An SMB1 NEGOTIATE that offers SMB2 as well (3.3.5.3)."""
    if request.connection.dialect:
        request.connection.malformed("a second SMB1 NEGOTIATE on one connection")
        request.connection.transport.abort()
        raise NtStatusError(NtStatus.INVALID_PARAMETER)
    dialects = decode_smb1_negotiate_request(request.message)
    server = request.connection.server
    settings = server.settings
    if _SMB1_WILDCARD in dialects and settings.max_dialect > Dialect.SMB_2_0_2:
        if server.elsewhere is not None:
            server.elsewhere.mover.began(request.connection, request.message)
        return _answer(request, WILDCARD_DIALECT, [])
    if _SMB1_2_0_2 in dialects and settings.min_dialect <= Dialect.SMB_2_0_2:
        request.connection.signing_algorithm = signing.HMAC_SHA256
        return _answer(request, Dialect.SMB_2_0_2, [])
    request.connection.malformed("a client that speaks SMB1 only")
    request.connection.transport.abort()
    raise NtStatusError(NtStatus.NOT_SUPPORTED)


def _answer(request: Request, dialect: int, contexts: list[NegotiateContext]) -> bytes:
    connection = request.connection
    server = connection.server
    connection.dialect = dialect
    # After the wildcard only another NEGOTIATE may follow: it is no dialect to log on with.
    connection.negotiated = dialect != WILDCARD_DIALECT
    connection.multi_credit = dialect not in (Dialect.SMB_2_0_2, WILDCARD_DIALECT)
    size = server.settings.max_io if connection.multi_credit else _SMALL_IO
    connection.server_capabilities = _capabilities(request, dialect)
    return encode_negotiate_response(
        security_mode=server.security_mode,
        dialect=dialect,
        server_guid=server.settings.server_guid,
        capabilities=connection.server_capabilities,
        max_transact_size=size,
        max_read_size=size,
        max_write_size=size,
        system_time=to_filetime(time.time_ns()),
        server_start_time=0,
        security_buffer=server.authenticator.hint(),
        contexts=contexts,
    )


def _capabilities(request: Request, dialect: int) -> int:
    if dialect in (Dialect.SMB_2_0_2, WILDCARD_DIALECT):
        return 0
    capabilities = CAP_LARGE_MTU | CAP_LEASING
    if dialect < Dialect.SMB_3_0:
        return capabilities
    capabilities |= CAP_DIRECTORY_LEASING
    if request.connection.server.settings.multichannel:
        # Only to who says that he can do it, too (3.3.5.4).
        capabilities |= request.connection.client_capabilities & CAP_MULTI_CHANNEL
    if any(share.volume is not None and keeps_opens(share.volume) for share in request.connection.server.shares):
        capabilities |= CAP_PERSISTENT_HANDLES
    # For 3.1.1 the cipher is agreed on in a context and this bit means nothing (2.2.4).
    if dialect != Dialect.SMB_3_1_1 and request.connection.cipher_id:
        capabilities |= CAP_ENCRYPTION
    return capabilities
