"""The negotiate contexts of dialect 3.1.1 (MS-SMB2 2.2.3.1 SMB2 NEGOTIATE_CONTEXT Request Values, 2.2.4.1).

Requests and responses have the same layouts. Contexts that are not known are passed over; one that is known but
malformed, or comes twice, is refused (3.3.5.4).
"""

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from lamina.core.wire.constants import (
    COMPRESSION_CAPABILITIES,
    ENCRYPTION_CAPABILITIES,
    NETNAME_NEGOTIATE_CONTEXT_ID,
    POSIX_EXTENSIONS_AVAILABLE,
    PREAUTH_INTEGRITY_CAPABILITIES,
    SIGNING_CAPABILITIES,
    TRANSPORT_CAPABILITIES,
)
from lamina.core.wire.errors import WireError
from lamina.core.wire.fields import align8, decode_name, encode_name, pad8, take, unpack_at

_CONTEXT = Struct("<HHI")
_COUNT = Struct("<H")
_PREAUTH = Struct("<HH")
_COMPRESSION = Struct("<HHI")
_TRANSPORT = Struct("<I")
_GUID_SIZE: Final = 16


class PreauthIntegrityCapabilities(NamedTuple):
    """2.2.3.1.1."""

    hash_algorithms: tuple[int, ...]
    salt: bytes


class EncryptionCapabilities(NamedTuple):
    """2.2.3.1.2; in the order of the sender's preference."""

    ciphers: tuple[int, ...]


class CompressionCapabilities(NamedTuple):
    """2.2.3.1.3."""

    algorithms: tuple[int, ...]
    flags: int = 0


class NetnameContext(NamedTuple):
    """2.2.3.1.4: the name by which the client knows the server."""

    name: str


class TransportCapabilities(NamedTuple):
    """2.2.3.1.5."""

    flags: int


class SigningCapabilities(NamedTuple):
    """2.2.3.1.7."""

    algorithms: tuple[int, ...]


class PosixExtensions(NamedTuple):
    """POSIX-SMB2 2.2.3.1.8: the versions of the POSIX extensions, each a GUID of 16 bytes."""

    versions: tuple[bytes, ...]


class RawContext(NamedTuple):
    """Any context, to be encoded as it is; never the result of decoding."""

    context_type: int
    data: bytes


NegotiateContext: TypeAlias = (
    PreauthIntegrityCapabilities
    | EncryptionCapabilities
    | CompressionCapabilities
    | NetnameContext
    | TransportCapabilities
    | SigningCapabilities
    | PosixExtensions
    | RawContext
)


class NegotiateContexts(NamedTuple):
    """The contexts that were there."""

    preauth: PreauthIntegrityCapabilities | None = None
    encryption: EncryptionCapabilities | None = None
    compression: CompressionCapabilities | None = None
    netname: NetnameContext | None = None
    transport: TransportCapabilities | None = None
    signing: SigningCapabilities | None = None
    posix: PosixExtensions | None = None

    def listed(self) -> list[NegotiateContext]:
        """Those that are there, as encode_negotiate_contexts takes them."""
        return [context for context in self if context is not None]


# --- decoding -----------------------------------------------------------------------------------------------------


def decode_negotiate_contexts(data: memoryview, count: int) -> NegotiateContexts:
    """The known ones of the `count` contexts at the start of `data`, which ends with the message."""
    found: dict[str, NegotiateContext] = {}
    offset = 0
    for _ in range(count):
        context_type, length, _ = unpack_at(_CONTEXT, data, offset, "negotiate context")
        start = offset + _CONTEXT.size
        value = take(data, start, length, start, f"negotiate context {context_type:#06x}")
        offset = align8(start + length)
        if context_type in _DECODERS:
            name, decode = _DECODERS[context_type]
            if name in found:
                raise WireError(f"two negotiate contexts of type {context_type:#06x}")
            found[name] = decode(value)
    return NegotiateContexts(**found)  # type: ignore[arg-type]  # each name with the type of its decoder


def _numbers(data: memoryview, offset: int, count: int, what: str) -> tuple[int, ...]:
    if not count:
        raise WireError(f"{what} context that names no algorithm")
    return unpack_at(Struct(f"<{count}H"), data, offset, what + " context")


def _decode_preauth(data: memoryview) -> PreauthIntegrityCapabilities:
    what = "preauthentication integrity"
    count, salt_length = unpack_at(_PREAUTH, data, 0, what + " context")
    algorithms = _numbers(data, _PREAUTH.size, count, what)
    start = _PREAUTH.size + 2 * count
    return PreauthIntegrityCapabilities(algorithms, bytes(take(data, start, salt_length, start, "salt of " + what)))


def _decode_encryption(data: memoryview) -> EncryptionCapabilities:
    (count,) = unpack_at(_COUNT, data, 0, "encryption context")
    return EncryptionCapabilities(_numbers(data, _COUNT.size, count, "encryption"))


def _decode_compression(data: memoryview) -> CompressionCapabilities:
    count, _, flags = unpack_at(_COMPRESSION, data, 0, "compression context")
    return CompressionCapabilities(_numbers(data, _COMPRESSION.size, count, "compression"), flags)


def _decode_netname(data: memoryview) -> NetnameContext:
    return NetnameContext(decode_name(data, "netname context"))


def _decode_transport(data: memoryview) -> TransportCapabilities:
    return TransportCapabilities(*unpack_at(_TRANSPORT, data, 0, "transport context"))


def _decode_signing(data: memoryview) -> SigningCapabilities:
    (count,) = unpack_at(_COUNT, data, 0, "signing context")
    return SigningCapabilities(_numbers(data, _COUNT.size, count, "signing"))


def _decode_posix(data: memoryview) -> PosixExtensions:
    if not data or len(data) % _GUID_SIZE:
        raise WireError(f"POSIX extensions context of {len(data)} bytes instead of GUIDs")
    return PosixExtensions(tuple(bytes(data[at : at + _GUID_SIZE]) for at in range(0, len(data), _GUID_SIZE)))


_DECODERS: Final[dict[int, tuple[str, Callable[[memoryview], NegotiateContext]]]] = {
    PREAUTH_INTEGRITY_CAPABILITIES: ("preauth", _decode_preauth),
    ENCRYPTION_CAPABILITIES: ("encryption", _decode_encryption),
    COMPRESSION_CAPABILITIES: ("compression", _decode_compression),
    NETNAME_NEGOTIATE_CONTEXT_ID: ("netname", _decode_netname),
    TRANSPORT_CAPABILITIES: ("transport", _decode_transport),
    SIGNING_CAPABILITIES: ("signing", _decode_signing),
    POSIX_EXTENSIONS_AVAILABLE: ("posix", _decode_posix),
}


# --- encoding -----------------------------------------------------------------------------------------------------


def encode_negotiate_contexts(contexts: Sequence[NegotiateContext]) -> bytes:
    """The list, each context but the last one padded to 8 bytes."""
    encoded = [_encode_one(context) for context in contexts]
    return b"".join([*map(pad8, encoded[:-1]), *encoded[-1:]])


def _encode_one(context: NegotiateContext) -> bytes:
    context_type, data = _type_and_data(context)
    return _CONTEXT.pack(context_type, len(data), 0) + data


def _type_and_data(context: NegotiateContext) -> tuple[int, bytes]:  # noqa: PLR0911 - one for each type
    match context:
        case PreauthIntegrityCapabilities(algorithms, salt):
            head = _PREAUTH.pack(len(algorithms), len(salt))
            return PREAUTH_INTEGRITY_CAPABILITIES, head + _pack_numbers(algorithms) + salt
        case EncryptionCapabilities(ciphers):
            return ENCRYPTION_CAPABILITIES, _COUNT.pack(len(ciphers)) + _pack_numbers(ciphers)
        case CompressionCapabilities(algorithms, flags):
            return COMPRESSION_CAPABILITIES, _COMPRESSION.pack(len(algorithms), 0, flags) + _pack_numbers(algorithms)
        case NetnameContext(name):
            return NETNAME_NEGOTIATE_CONTEXT_ID, encode_name(name)
        case TransportCapabilities(flags):
            return TRANSPORT_CAPABILITIES, _TRANSPORT.pack(flags)
        case SigningCapabilities(algorithms):
            return SIGNING_CAPABILITIES, _COUNT.pack(len(algorithms)) + _pack_numbers(algorithms)
        case PosixExtensions(versions):
            return POSIX_EXTENSIONS_AVAILABLE, b"".join(versions)
        case RawContext(context_type, data):
            return context_type, data


def _pack_numbers(numbers: tuple[int, ...]) -> bytes:
    return Struct(f"<{len(numbers)}H").pack(*numbers)
