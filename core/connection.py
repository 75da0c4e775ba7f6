"""A client's connection (MS-SMB2 3.3.1.7): from the bytes of a message to requests, and from replies to a frame.

Here messages are opened, split and paid for with credits; replies are signed or sealed and sent. What a request
means is decided in `dispatch`; what it does in `commands`.
"""

import logging
import struct
import time
from typing import TYPE_CHECKING, Final

from lamina.core import dispatch
from lamina.core.credit_window import CreditWindow
from lamina.core.crypto.sealing import SPARE, NonceExhaustedError
from lamina.core.crypto.signing import Signer
from lamina.core.outgoing import FRAME, LONGEST_IN_PAGE, Outgoing, seal_frame
from lamina.core.request import ERROR_BODY, HEADER, HEADROOM, CancelledByClient, Exchange, Reply, Request
from lamina.core.session import Channel, SmbSession
from lamina.core.short_files import ShortFiles
from lamina.core.short_way import lone_request
from lamina.core.wire.constants import (
    FLAGS_ASYNC_COMMAND,
    FLAGS_RELATED_OPERATIONS,
    FLAGS_SERVER_TO_REDIR,
    FLAGS_SIGNED,
    Command,
)
from lamina.core.wire.errors import WireError
from lamina.core.wire.header import Header, decode_header, pack_header_into, pack_response_into, split_compound
from lamina.core.wire.transform import TRANSFORM_SESSION_ID_AT, decode_transform_header, transform_session_id
from lamina.ntfsa.status import NtStatus

if TYPE_CHECKING:
    from lamina.core.break_delivery import BreakDelivery
    from lamina.core.server_core import SmbServer
    from lamina.core.transport import TcpTransport

log = logging.getLogger(__name__)

_PLAIN: Final = 0x424D53FE
_SEALED: Final = 0xFD
_SMB1: Final = 0x424D53FF
_PROTOCOL_ID: Final = struct.Struct("<I")
_PREAUTH_COMMANDS: Final = int(Command.SESSION_SETUP)
_CANCEL: Final = int(Command.CANCEL)
_MAX_FRAME: Final = 0xFFFFFF
_PENDING: Final = NtStatus.PENDING
_NO_MESSAGE_ID: Final = 0xFFFFFFFFFFFFFFFF
_execute: Final = dispatch.execute


class Connection:
    """One transport connection and what was negotiated on it."""

    def __init__(self, server: "SmbServer", transport: "TcpTransport") -> None:
        self.server = server
        self.execute = server.execute
        self.transport = transport
        self.peer_address: str = transport.peer[0]
        self.local_address: str = transport.local[0]
        self.opened_at = time.monotonic()
        self.message_limit = server.settings.limits.unauthenticated_message
        self.window = CreditWindow(server.settings.limits.credits)
        self.channels: dict[int, Channel] = {}
        self.parked: dict[int, Exchange] = {}
        self.running: set[Exchange] = set()
        self.deliveries: dict[BreakDelivery, None] = {}
        self.next_async_id = 1
        self.closed = False
        self.requests = 0
        self.out = Outgoing(transport, server.buffers)
        self._short_way = ShortFiles(self)
        # Negotiated (3.3.5.4); dialect 0 until then.
        self.negotiated = False
        self.dialect = 0
        self.client_guid = bytes(16)
        self.client_capabilities = 0
        self.client_security_mode = 0
        self.client_dialects: tuple[int, ...] = ()
        self.server_capabilities = 0
        self.cipher_id = 0
        self.signing_algorithm = 0
        self.preauth_hash = bytes(64)
        self.multi_credit = False
        self.posix_extensions = False

    # -- messages in --------------------------------------------------------------------------------------------

    def receive(self, message: memoryview) -> bool:
        """Take one message from the transport, and those behind it that go the short way.

        True if a parked request still refers to their bytes.
        """
        self.out.begin_batch()
        try:
            sealed = None
            if message[0] == _SEALED:
                message, sealed = self.opened(message)
            asked = lone_request(message)
            if asked is None or self.execute is not _execute:
                return self._receive(message, sealed)
            kept, rest = self._short_way.serve(message, asked, sealed)
            return (self._receive(*rest) or kept) if rest is not None else kept
        except WireError as error:
            self.give_up(error)
            return False

    def _receive(self, message: memoryview, sealed: SmbSession | None) -> bool:
        if len(message) < _PROTOCOL_ID.size:
            raise WireError(f"message of {len(message)} bytes is shorter than a protocol id")
        protocol_id = _PROTOCOL_ID.unpack_from(message)[0]
        if protocol_id != _PLAIN:
            if protocol_id == _SMB1 and not self.negotiated and sealed is None:
                return self._receive_smb1(message)
            raise WireError(f"unknown protocol id {protocol_id:#010x}")
        exchange = self.take_apart(message, sealed)
        if exchange is None:
            return False
        self.server.engine.spawn(exchange.task, self.run, exchange)
        return not exchange.task.done

    def opened(self, message: memoryview) -> tuple[memoryview, SmbSession]:
        """What the encrypted message that came last holds, and the session whose key it came with. Raises WireError."""
        try:
            channel = self.channels.get(transform_session_id(message, TRANSFORM_SESSION_ID_AT)[0])
        except struct.error:
            channel = None
        if channel is None or channel.session.opener is None:
            decode_transform_header(message)
            raise WireError("encrypted message for a session that does not encrypt")
        plain = channel.session.opener.open(*self.transport.whereabouts())
        if plain is None or len(plain) < HEADER:
            decode_transform_header(message)
            raise WireError("encrypted message that cannot be decrypted")
        return plain, channel.session

    def _receive_smb1(self, message: memoryview) -> bool:
        self.window.consume(0, 1)
        exchange = Exchange(self, [(message, Header.for_smb1_negotiate())], None)
        self.running.add(exchange)
        self.server.engine.spawn(exchange.task, self.run, exchange)
        return not exchange.task.done

    def take_apart(self, message: memoryview, sealed: SmbSession | None) -> Exchange | None:
        """The requests of a message, each paid for with its credits (3.3.5.2.3); CANCEL is done at once.

        None where there is nothing to be answered.
        """
        header = decode_header(message)
        if not header.next_command:
            messages = [(message, header)] if self._is_due(message, header, sealed) else []
        else:
            parts = split_compound(message, self.server.settings.limits.compound_depth)
            decoded = [(part, decode_header(part)) for part in parts]
            messages = [(part, header) for part, header in decoded if self._is_due(part, header, sealed)]
        if not messages:
            return None
        self.requests += len(messages)
        exchange = Exchange(self, messages, sealed)
        self.running.add(exchange)
        return exchange

    def _is_due(self, message: memoryview, header: Header, sealed: SmbSession | None) -> bool:
        """Whether a request is to be answered; it has paid. Raises WireError where it must not have been sent."""
        if header.flags & FLAGS_SERVER_TO_REDIR:
            raise WireError("a response was sent to the server")
        if header.command == _CANCEL:
            self._cancel(message, header, sealed)
            return False
        charge = (header.credit_charge or 1) if self.multi_credit else 1
        if not self.window.consume(header.message_id, charge):
            raise WireError(f"message id {header.message_id} (charge {charge}) was not granted or is used up")
        return True

    def _cancel(self, message: memoryview, header: Header, sealed: SmbSession | None) -> None:
        """CANCEL (3.3.5.16): never answered; what is not authentic, or names no request of its session, is ignored.

        What was cancelled is answered before what the client has sent behind it (smb2.session.expire2s).
        """
        channel = self.channels.get(header.session_id)
        if channel is not None and sealed is None and not _may_cancel(channel, message, header):
            return
        if header.flags & FLAGS_ASYNC_COMMAND:
            exchange = self.parked.get(header.async_id)
            current = exchange.current if exchange is not None else None
            if exchange is not None and current is not None and current.header.session_id == header.session_id:
                exchange.task.cancel(CancelledByClient(), at_once=True)
            return
        for exchange in self.running:
            current = exchange.current
            if current is not None and current.header.message_id == header.message_id:
                exchange.task.cancel(CancelledByClient(), at_once=True)
                return

    # -- running ------------------------------------------------------------------------------------------------

    def run(self, exchange: Exchange) -> None:
        """Run the requests of a message in order (in the exchange's greenlet)."""
        try:
            execute = self.execute
            for message, header in exchange.messages:
                exchange.position += 1
                request = Request(exchange, message, header)
                exchange.current = request
                self._answered(exchange, request, execute(request))
            self._finish(exchange)
        except NonceExhaustedError as error:
            self.give_up(error)
        finally:
            self._end(exchange)

    def conclude(self, exchange: Exchange, request: Request, outcome: Reply | BaseException) -> None:
        """Answer the one request of a message that has left the short way, with what came of it."""
        try:
            self._answered(exchange, request, dispatch.concluded(request, outcome))
            self._finish(exchange)
        except NonceExhaustedError as error:
            self.give_up(error)
        finally:
            self._end(exchange)

    def _answered(self, exchange: Exchange, request: Request, reply: Reply) -> None:
        # A cancellation that came too late for this request is not meant for the next of the compound.
        exchange.task.forget(CancelledByClient)
        if exchange.timer is not None:
            exchange.stop_timer()
        exchange.replies.append((request, reply))
        exchange.previous = request

    def _finish(self, exchange: Exchange) -> None:
        if not self.closed:
            self._queue_replies(exchange)
            self.out.flush_unless_batched()

    def _end(self, exchange: Exchange) -> None:
        self.running.discard(exchange)
        if exchange.current is not None and exchange.current.async_id:
            self.parked.pop(exchange.current.async_id, None)
        exchange.stop_timer()

    # -- replies out --------------------------------------------------------------------------------------------

    def _pack_header(
        self, buffer: bytearray, offset: int, request: Request, reply: Reply, next_command: int
    ) -> Signer | None:
        """Write a reply's header; what the reply must be signed with."""
        header = request.header
        sign = request.signer()
        flags = FLAGS_SERVER_TO_REDIR | (header.flags & FLAGS_RELATED_OPERATIONS)
        if sign is not None:
            flags |= FLAGS_SIGNED
        number = request.async_id
        if not number:
            granted = self.window.grant(header.credits)
            pack_response_into(buffer, offset, header, reply.status, granted, flags, next_command, header.tree_id)
            return sign
        # The final response grants nothing: the interim one did.
        granted = self.window.grant(header.credits) if reply.status == _PENDING else 0
        flags |= FLAGS_ASYNC_COMMAND
        pack_response_into(buffer, offset, header, reply.status, granted, flags, next_command, number)
        return sign

    def _queue_single(self, request: Request, reply: Reply, sealed: SmbSession | None) -> None:
        out = self.out
        if reply.buffer is not None or reply.size > LONGEST_IN_PAGE or out.page_is_lent:
            buffer = reply.buffer or bytearray(HEADROOM + HEADER) + reply.body + bytes(SPARE)
            self._queue_alone(request, reply, sealed, buffer)
            return
        at = out.room(HEADROOM + HEADER + reply.size + SPARE) + (HEADROOM if sealed is not None else FRAME)
        end = at + HEADER + reply.size
        signer = self._pack_header(out.page, at, request, reply, 0)
        out.view[at + HEADER : end] = reply.body
        self._sign_single(out.view[at:end], request, reply, signer)
        seal_frame(out.view, at, end, sealed)
        out.used = end

    def _sign_single(self, message: memoryview, request: Request, reply: Reply, signer: Signer | None) -> None:
        if signer is not None:
            signer.sign(message)
        if request.header.command <= _PREAUTH_COMMANDS:
            dispatch.after_setup(request, reply, message)

    def _queue_alone(self, request: Request, reply: Reply, sealed: SmbSession | None, buffer: bytearray) -> None:
        """Queue a reply that lies in a buffer of its own."""
        view, end = memoryview(buffer), HEADROOM + HEADER + reply.size
        signer = self._pack_header(buffer, HEADROOM, request, reply, 0)
        self._sign_single(view[HEADROOM:end], request, reply, signer)
        self.out.add(view[seal_frame(view, HEADROOM, end, sealed) : end], buffer)

    def _queue_compound(self, replies: list[tuple[Request, Reply]], sealed: SmbSession | None) -> None:
        """Put several replies into one frame, each at an 8-byte boundary (3.3.4.1.3).

        The last is padded as well, as Windows does (smb2.compound.compound-padding).
        """
        padded = [(HEADER + reply.size + 7) & ~7 for _, reply in replies]
        if sum(padded) > _MAX_FRAME:
            for request, reply in replies:
                self._queue_single(request, reply, sealed)
            return
        buffer = bytearray(HEADROOM + sum(padded) + SPARE)
        view, offset = memoryview(buffer), HEADROOM
        last = len(replies) - 1
        for index, (request, reply) in enumerate(replies):
            body = reply.body
            if reply.buffer is not None:
                start = HEADROOM + HEADER
                buffer[offset + HEADER : offset + HEADER + reply.size] = reply.buffer[start : start + reply.size]
            else:
                buffer[offset + HEADER : offset + HEADER + len(body)] = body
            sign = self._pack_header(buffer, offset, request, reply, padded[index] if index < last else 0)
            if sign is not None:
                sign.sign(view[offset : offset + padded[index]])
            offset += padded[index]
        self.out.add(view[seal_frame(view, HEADROOM, offset, sealed) : offset])

    def send_interim(self, exchange: Exchange) -> None:
        """Tell the client that the current request is pending (3.3.4.2), together with the replies before it."""
        request = exchange.current
        if request is None or self.closed:
            return
        request.async_id = self.next_async_id
        self.next_async_id += 1
        self.parked[request.async_id] = exchange
        exchange.replies.append((request, Reply(NtStatus.PENDING, ERROR_BODY)))
        self._queue_replies(exchange)
        self.out.flush_unless_batched()

    def _queue_replies(self, exchange: Exchange) -> None:
        replies, exchange.replies = exchange.replies, []
        if len(replies) == 1:
            self._queue_single(*replies[0], exchange.sealed)
        elif replies:
            self._queue_compound(replies, exchange.sealed)

    def end_of_batch(self) -> None:
        """All that one receive brought has run or is parked: send the replies that have gathered."""
        self.out.end_of_batch()

    def send_notification(self, command: int, body: bytes, sealed: SmbSession | None) -> bool:
        """Send a message that answers nothing (3.3.4.6, 3.3.4.7), encrypted with the key of `sealed`; never signed.

        False where the connection is gone.
        """
        if self.closed:
            return False
        for exchange in self.running:
            # What the notification is about may have been granted in a compound that is not at its end.
            self._queue_replies(exchange)
        view = memoryview(bytearray(HEADROOM + HEADER) + body + bytes(SPARE))
        pack_header_into(view, HEADROOM, command=command, message_id=_NO_MESSAGE_ID, flags=FLAGS_SERVER_TO_REDIR)
        end = len(view) - SPARE
        self.out.add(view[seal_frame(view, HEADROOM, end, sealed) : end])
        self.out.flush_unless_batched()
        return True

    # -- end ----------------------------------------------------------------------------------------------------

    def give_up(self, error: Exception) -> None:
        """End the connection, for what the error says."""
        self.malformed(str(error))
        self.transport.abort()

    def malformed(self, explanation: str) -> None:
        """The peer broke the protocol: one line that says why, then the connection ends."""
        log.warning("closing the connection from %s: %s", self.peer_address, explanation)

    def lost(self) -> None:
        """The transport is gone: end what was running, and the sessions that have no other connection."""
        if self.closed:
            return
        self.closed = True
        for exchange in self.running.difference(self.server.durables.going_on()):
            exchange.task.cancel()
        self.server.connection_lost(self)
        for delivery in list(self.deliveries):
            delivery.connection_lost()


def _may_cancel(channel: Channel, message: memoryview, header: Header) -> bool:
    """Whether a CANCEL in plain text is authentic enough for its session."""
    session = channel.session
    if session.encrypt_data:
        return False
    if header.flags & FLAGS_SIGNED and channel.signer is not None:
        return channel.signer.verify(message)
    return not session.signing_required
