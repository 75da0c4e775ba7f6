"""One client's conversation over a pipe (C706 12.6, 9.5; MS-RPCE 3.3.3): packets in, packets out, no I/O.

Faults and refusals are answers like any other. What cannot be answered, because the bytes are not packets, ends the
association: `broken`. There is no authentication here: the SMB session has done it, and a bind that brings a verifier
is told so, which makes clients try without.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from lamina.core.rpc import pdu
from lamina.core.rpc.interface import Caller, Interface, Operation, Syntax
from lamina.core.rpc.ndr import NdrError, NdrReader

MAX_REQUEST: Final = 256 * 1024
"""How large a request's stub may grow over its fragments, in bytes; what clients send here is below one KiB."""

_MAX_FRAGMENT: Final = 4280
_MAX_CONTEXTS: Final = 64
# A client that writes more packets than this at once means to fill our memory with the answers.
_MAX_PACKETS: Final = 256
_NDR: Final = Syntax(UUID("8a885d04-1ceb-11c9-9fe8-08002b104860"), 2)
# Bind time feature negotiation (MS-RPCE 2.2.2.14): the UUID's last 8 bytes are the features a client offers.
_FEATURES_PREFIX: Final = UUID("6cb71c2c-9812-4540-0000-000000000000").bytes_le[:8]
_KEEP_CONNECTION_ON_ORPHAN: Final = 0x0002

_ACCEPTANCE: Final = 0
_PROVIDER_REJECTION: Final = 2
_NEGOTIATE_ACK: Final = 3
_ABSTRACT_SYNTAX_NOT_SUPPORTED: Final = 1
_TRANSFER_SYNTAXES_NOT_SUPPORTED: Final = 2
_LOCAL_LIMIT_EXCEEDED: Final = 3


class _Call:
    """A request whose fragments are still coming in."""

    __slots__ = ("call_id", "context_id", "opnum", "stub")

    def __init__(self, call_id: int, request: pdu.Request) -> None:
        self.call_id = call_id
        self.context_id = request.context_id
        self.opnum = request.opnum
        self.stub = bytearray()


class Association:
    """The server's end of an association. `address` is the secondary address that binds are answered with."""

    def __init__(self, address: str, interfaces: Sequence[Interface], caller: Caller) -> None:
        self.broken = False
        self._address = address
        self._interfaces = interfaces
        self._caller = caller
        self._received = bytearray()
        self._contexts: dict[int, Interface] = {}
        self._bound = False
        self._max_transmit = _MAX_FRAGMENT
        self._group = 0
        self._call: _Call | None = None

    def receive(self, data: memoryview) -> list[bytes]:
        """Take bytes in, in any cut, and return the packets to send. Sets `broken` where there is no going on."""
        self._received += data
        answers: list[bytes] = []
        try:
            for _ in range(_MAX_PACKETS):
                packet = self._next_packet()
                if self.broken or not packet:
                    return answers
                answers += self._answer(memoryview(packet))
            raise pdu.PduError("too many packets at once")
        except pdu.PduError:
            self._break()
            return answers

    def _next_packet(self) -> bytes:
        if len(self._received) < pdu.HEADER_SIZE:
            return b""
        length = pdu.decode_header(memoryview(bytes(self._received[: pdu.HEADER_SIZE]))).fragment_length
        if len(self._received) < length:
            return b""
        packet = bytes(self._received[:length])
        del self._received[:length]
        return packet

    def _break(self) -> None:
        self.broken = True
        self._received.clear()
        self._call = None

    def _answer(self, packet: memoryview) -> list[bytes]:
        header = pdu.decode_header(packet)
        if not header.speaks_version_5:
            self._break()
            return [pdu.encode_bind_nak(header.call_id, pdu.NAK_PROTOCOL_VERSION_NOT_SUPPORTED)]
        match header.kind:
            case pdu.REQUEST:
                return self._request(header, packet)
            case pdu.BIND | pdu.ALTER_CONTEXT:
                return self._bind(header, packet)
            case pdu.ORPHANED:
                self._orphaned(header)
                return []
            case pdu.AUTH3 | pdu.CO_CANCEL:
                # Neither is answered. Calls are done before the next packet is looked at: there is none to cancel.
                return []
        self._break()
        return [pdu.encode_fault(header.call_id, 0, pdu.NCA_S_PROTO_ERROR)]

    def _orphaned(self, header: pdu.Header) -> None:
        """The client has lost interest in a call (MS-RPCE 3.3.3.4.2)."""
        if self._call is not None and self._call.call_id == header.call_id:
            self._call = None

    # Bind and alter_context: C706 12.6.4.3, 12.6.4.1

    def _bind(self, header: pdu.Header, packet: memoryview) -> list[bytes]:
        reason = self._bind_refusal(header)
        if reason is not None:
            return [pdu.encode_bind_nak(header.call_id, reason)]
        asked = pdu.decode_bind(packet)
        altering = header.kind == pdu.ALTER_CONTEXT
        if not altering:
            self._bound = True
            self._max_transmit = max(pdu.MUST_RECEIVE_FRAGMENT, min(asked.max_receive, _MAX_FRAGMENT))
            self._group = asked.association_group or 1
        agreed = pdu.Bind(self._max_transmit, _MAX_FRAGMENT, self._group, ())
        results = [self._negotiate(context) for context in asked.contexts]
        kind = pdu.ALTER_CONTEXT_RESPONSE if altering else pdu.BIND_ACK
        return [pdu.encode_bind_ack(kind, header.call_id, agreed, "" if altering else self._address, results)]

    def _bind_refusal(self, header: pdu.Header) -> int | None:
        if header.auth_length:
            return pdu.NAK_AUTHENTICATION_TYPE_NOT_RECOGNIZED
        # An association is bound once, and altered only after that.
        if self._bound != (header.kind == pdu.ALTER_CONTEXT):
            return pdu.NAK_REASON_NOT_SPECIFIED
        return None

    def _negotiate(self, context: pdu.Context) -> pdu.Result:
        interface = next((one for one in self._interfaces if one.serves(context.abstract)), None)
        if interface is None:
            return pdu.Result(_PROVIDER_REJECTION, _ABSTRACT_SYNTAX_NOT_SUPPORTED, None)
        features = _features_of(context)
        if features is not None:
            return pdu.Result(_NEGOTIATE_ACK, features & _KEEP_CONNECTION_ON_ORPHAN, None)
        if _NDR not in context.transfers:
            return pdu.Result(_PROVIDER_REJECTION, _TRANSFER_SYNTAXES_NOT_SUPPORTED, None)
        if len(self._contexts) >= _MAX_CONTEXTS:
            return pdu.Result(_PROVIDER_REJECTION, _LOCAL_LIMIT_EXCEEDED, None)
        self._contexts[context.context_id] = interface
        return pdu.Result(_ACCEPTANCE, 0, _NDR)

    # Requests: C706 12.6.4.9

    def _request(self, header: pdu.Header, packet: memoryview) -> list[bytes]:
        if header.auth_length or not self._bound:
            self._call = None
            return [pdu.encode_fault(header.call_id, 0, pdu.NCA_S_PROTO_ERROR)]
        request = pdu.decode_request(header, packet)
        call = self._call_of(header, request)
        if call is None:
            self._break()
            return [pdu.encode_fault(header.call_id, request.context_id, pdu.NCA_S_PROTO_ERROR)]
        call.stub += request.stub
        if len(call.stub) > MAX_REQUEST:
            self._break()
            return [pdu.encode_fault(call.call_id, call.context_id, pdu.NCA_S_FAULT_REMOTE_NO_MEMORY)]
        if not header.flags & pdu.PFC_LAST_FRAG:
            return []
        self._call = None
        return self._perform(call)

    def _call_of(self, header: pdu.Header, request: pdu.Request) -> _Call | None:
        """The call that a fragment belongs to; None if it does not fit in: calls are not interleaved here."""
        if header.flags & pdu.PFC_FIRST_FRAG:
            if self._call is not None:
                return None
            self._call = _Call(header.call_id, request)
        elif self._call is not None and self._call.call_id != header.call_id:
            return None
        return self._call

    def _perform(self, call: _Call) -> list[bytes]:
        interface = self._contexts.get(call.context_id)
        if interface is None:
            return [pdu.encode_fault(call.call_id, call.context_id, pdu.NCA_S_UNK_IF)]
        operation = interface.operations.get(call.opnum)
        if operation is None:
            return [pdu.encode_fault(call.call_id, call.context_id, pdu.NCA_S_OP_RNG_ERROR)]
        return self._run(call, operation)

    def _run(self, call: _Call, operation: Operation[object]) -> list[bytes]:
        try:
            arguments = operation.decode(NdrReader(call.stub))
        except NdrError:
            return [pdu.encode_fault(call.call_id, call.context_id, pdu.RPC_X_BAD_STUB_DATA)]
        stub = operation.handle(arguments, self._caller)
        return pdu.encode_response(call.call_id, call.context_id, stub, self._max_transmit)


def _features_of(context: pdu.Context) -> int | None:
    """The features that a context offers, if it is one for bind time feature negotiation (MS-RPCE 3.3.1.5.3)."""
    for transfer in context.transfers:
        if transfer.uuid.bytes_le[:8] == _FEATURES_PREFIX and transfer.major == 1:
            return int.from_bytes(transfer.uuid.bytes_le[8:], "little")
    return None
