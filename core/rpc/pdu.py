"""The packets of connection-oriented DCE/RPC version 5 (C706 12.6.4, MS-RPCE 2.2.2): a codec and nothing else.

Only the directions that a server needs: what clients send is decoded, what servers send is encoded. Data is
little-endian; a client of another representation (C706 14.1) is refused, as there is none that speaks SMB.
"""

from collections.abc import Sequence
from struct import Struct, error
from typing import Final, NamedTuple
from uuid import UUID

from lamina.core.rpc.interface import Syntax

REQUEST: Final = 0
RESPONSE: Final = 2
FAULT: Final = 3
BIND: Final = 11
BIND_ACK: Final = 12
BIND_NAK: Final = 13
ALTER_CONTEXT: Final = 14
ALTER_CONTEXT_RESPONSE: Final = 15
AUTH3: Final = 16
CO_CANCEL: Final = 18
ORPHANED: Final = 19

PFC_FIRST_FRAG: Final = 0x01
PFC_LAST_FRAG: Final = 0x02
PFC_DID_NOT_EXECUTE: Final = 0x20
PFC_OBJECT_UUID: Final = 0x80

NCA_S_OP_RNG_ERROR: Final = 0x1C010002
NCA_S_UNK_IF: Final = 0x1C010003
NCA_S_PROTO_ERROR: Final = 0x1C01000B
NCA_S_FAULT_REMOTE_NO_MEMORY: Final = 0x1C00001B
RPC_X_BAD_STUB_DATA: Final = 0x000006F7

NAK_REASON_NOT_SPECIFIED: Final = 0
NAK_PROTOCOL_VERSION_NOT_SUPPORTED: Final = 4
NAK_AUTHENTICATION_TYPE_NOT_RECOGNIZED: Final = 8

HEADER_SIZE: Final = 16
RESPONSE_HEADER_SIZE: Final = 24
MUST_RECEIVE_FRAGMENT: Final = 1432
"""The size of fragment that every implementation can receive (C706 12.6.3.1, MustRecvFragSize)."""

_HEADER: Final = Struct("<BBBB4sHHI")
_BIND: Final = Struct("<HHIB3x")
_CONTEXT: Final = Struct("<HBx")
_SYNTAX: Final = Struct("<16sHH")
_REQUEST: Final = Struct("<IHH")
_RESPONSE: Final = Struct("<IHBx")
_FAULT: Final = Struct("<IHBxI4x")
_RESULT: Final = Struct("<HH")
_LITTLE_ENDIAN: Final = b"\x10\x00\x00\x00"
_ALLOWED_MINOR: Final = (0, 1)


class PduError(ValueError):
    """The bytes are not a packet of this protocol."""


class Header(NamedTuple):
    """The common header (C706 12.6.3.1)."""

    version: int
    minor: int
    kind: int
    flags: int
    representation: bytes
    fragment_length: int
    auth_length: int
    call_id: int

    @property
    def speaks_version_5(self) -> bool:
        """Whether it is of a version, and in a representation, that is understood here."""
        return self.version == 5 and self.minor in _ALLOWED_MINOR and self.representation[0] == _LITTLE_ENDIAN[0]


class Context(NamedTuple):
    """A presentation context that a client proposes (p_cont_elem_t)."""

    context_id: int
    abstract: Syntax
    transfers: tuple[Syntax, ...]


class Bind(NamedTuple):
    """The body of bind and alter_context."""

    max_transmit: int
    max_receive: int
    association_group: int
    contexts: tuple[Context, ...]


class Result(NamedTuple):
    """The answer to a proposed context (p_result_t); `transfer` is None where none was accepted."""

    result: int
    reason: int
    transfer: Syntax | None


class Request(NamedTuple):
    """The body of a request; `stub` is this fragment's part."""

    context_id: int
    opnum: int
    stub: memoryview


def decode_header(data: memoryview) -> Header:
    """The header of the packet at the start of `data`, which holds 16 bytes at least. Raises `PduError`."""
    header = Header._make(_HEADER.unpack_from(data))
    if header.fragment_length < HEADER_SIZE + header.auth_length:
        raise PduError(f"fragment of {header.fragment_length} bytes")
    return header


def decode_bind(packet: memoryview) -> Bind:
    """The body of a whole bind or alter_context packet. Raises `PduError`."""
    try:
        return _decode_bind(packet)
    except error as short:
        raise PduError("bind is too short") from short


def _decode_bind(packet: memoryview) -> Bind:
    transmit, receive, group, count = _BIND.unpack_from(packet, HEADER_SIZE)
    at = HEADER_SIZE + _BIND.size
    contexts = []
    for _ in range(count):
        context_id, transfer_count = _CONTEXT.unpack_from(packet, at)
        at += _CONTEXT.size
        syntaxes = [_decode_syntax(packet, at + index * _SYNTAX.size) for index in range(transfer_count + 1)]
        at += len(syntaxes) * _SYNTAX.size
        contexts.append(Context(context_id, syntaxes[0], tuple(syntaxes[1:])))
    return Bind(transmit, receive, group, tuple(contexts))


def _decode_syntax(packet: memoryview, at: int) -> Syntax:
    uuid, major, minor = _SYNTAX.unpack_from(packet, at)
    return Syntax(UUID(bytes_le=uuid), major, minor)


def decode_request(header: Header, packet: memoryview) -> Request:
    """The body of a whole request packet without an auth verifier. Raises `PduError`."""
    start = RESPONSE_HEADER_SIZE + (16 if header.flags & PFC_OBJECT_UUID else 0)
    if len(packet) < start:
        raise PduError("request is too short")
    _, context_id, opnum = _REQUEST.unpack_from(packet, HEADER_SIZE)
    return Request(context_id, opnum, packet[start:])


def _packet(kind: int, flags: int, call_id: int, body: bytes) -> bytes:
    header = _HEADER.pack(5, 0, kind, flags, _LITTLE_ENDIAN, HEADER_SIZE + len(body), 0, call_id)
    return header + body


_WHOLE: Final = PFC_FIRST_FRAG | PFC_LAST_FRAG


def encode_bind_ack(kind: int, call_id: int, bind: Bind, address: str, results: Sequence[Result]) -> bytes:
    """A bind_ack or alter_context_resp (12.6.4.4): `bind` with the sizes and group that are agreed to."""
    encoded = address.encode("ascii", "replace") + b"\0" if address else b""
    body = bytearray(_BIND.pack(bind.max_transmit, bind.max_receive, bind.association_group, 0)[:8])
    body += len(encoded).to_bytes(2, "little") + encoded
    body += bytes(-len(body) % 4)
    body += len(results).to_bytes(4, "little")
    for result in results:
        transfer = result.transfer or Syntax(UUID(int=0), 0)
        body += _RESULT.pack(result.result, result.reason)
        body += _SYNTAX.pack(transfer.uuid.bytes_le, transfer.major, transfer.minor)
    return _packet(kind, _WHOLE, call_id, bytes(body))


def encode_bind_nak(call_id: int, reason: int) -> bytes:
    """A bind_nak (12.6.4.5) that names the one version that is spoken here."""
    return _packet(BIND_NAK, _WHOLE, call_id, reason.to_bytes(2, "little") + b"\x01\x05\x00")


def encode_fault(call_id: int, context_id: int, status: int, executed: bool = False) -> bytes:
    """A fault (12.6.4.7)."""
    flags = _WHOLE | (0 if executed else PFC_DID_NOT_EXECUTE)
    return _packet(FAULT, flags, call_id, _FAULT.pack(0, context_id, 0, status))


def encode_response(call_id: int, context_id: int, stub: bytes, max_fragment: int) -> list[bytes]:
    """A response (12.6.4.10) as one or more fragments of at most `max_fragment` bytes."""
    # All but the last fragment hold a multiple of 8 bytes, so that alignment survives the cuts.
    room = (max_fragment - RESPONSE_HEADER_SIZE) & ~7
    starts = range(0, len(stub) or 1, room)
    fragments = []
    for start in starts:
        flags = (PFC_FIRST_FRAG if start == 0 else 0) | (PFC_LAST_FRAG if start + room >= len(stub) else 0)
        head = _RESPONSE.pack(len(stub) - start, context_id, 0)
        fragments.append(_packet(RESPONSE, flags, call_id, head + stub[start : start + room]))
    return fragments
