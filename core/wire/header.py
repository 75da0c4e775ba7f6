"""The SMB2 header, synchronous and asynchronous (MS-SMB2 2.2.1), and the chain of a compound (3.3.5.2.7)."""

from struct import Struct
from struct import error as struct_error
from typing import Final

from lamina.core.wire.constants import FLAGS_ASYNC_COMMAND, HEADER_SIZE, PROTOCOL_ID, Command
from lamina.core.wire.errors import WireError

PROTOCOL_NUMBER: Final = int.from_bytes(PROTOCOL_ID, "little")

# ProtocolId, StructureSize, CreditCharge, Status or ChannelSequence, Command, Credits, Flags, NextCommand, MessageId,
# Reserved and TreeId or AsyncId, SessionId; the signature follows.
_DECODED = Struct("<IHHIHHIIQQQ")
_ENCODED = Struct("<IHHIHHIIQQQ16x")
_NEXT_COMMAND = Struct("<I")
_NEXT_COMMAND_OFFSET = 20


class Header:
    """The fields of a header. `tree_id` is 0 in an asynchronous one, `async_id` in a synchronous one.

    `status` is the whole 32-bit field: the status of a response, or in a request of dialect 3.x the ChannelSequence.
    Mutable, because a related request inherits ids from the one before it.
    """

    __slots__ = (
        "async_id",
        "command",
        "credit_charge",
        "credits",
        "flags",
        "message_id",
        "next_command",
        "session_id",
        "status",
        "tree_id",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - a header has these fields
        self,
        command: int,
        message_id: int = 0,
        session_id: int = 0,
        tree_id: int = 0,
        flags: int = 0,
        async_id: int = 0,
        credit_charge: int = 0,
        credits: int = 0,  # noqa: A002 - the name of the field
        next_command: int = 0,
        status: int = 0,
    ) -> None:
        self.command = command
        self.message_id = message_id
        self.session_id = session_id
        self.tree_id = tree_id
        self.flags = flags
        self.async_id = async_id
        self.credit_charge = credit_charge
        self.credits = credits
        self.next_command = next_command
        self.status = status

    @property
    def channel_sequence(self) -> int:
        """The ChannelSequence of a request (2.2.1.2)."""
        return self.status & 0xFFFF

    @classmethod
    def for_smb1_negotiate(cls) -> "Header":
        """The header that an SMB1 NEGOTIATE is answered as if it had: message 0, one credit (3.3.5.3)."""
        header = cls(Command.NEGOTIATE)
        header.credits = 1
        return header


def decode_header(message: memoryview) -> Header:
    """The header at the start of `message`. Raises WireError if it is cut short or not an SMB2 header."""
    try:
        protocol, size, charge, status, command, granted, flags, following, message_id, ids, session_id = (
            _DECODED.unpack_from(message)
        )
    except struct_error:
        raise WireError(f"message of {len(message)} bytes is shorter than a header") from None
    if protocol != PROTOCOL_NUMBER or size != HEADER_SIZE or len(message) < HEADER_SIZE:
        raise _not_a_header(message, size)
    if flags & FLAGS_ASYNC_COMMAND:
        return Header(command, message_id, session_id, 0, flags, ids, charge, granted, following, status)
    return Header(command, message_id, session_id, ids >> 32, flags, 0, charge, granted, following, status)


def _not_a_header(message: memoryview, size: int) -> WireError:
    if len(message) < HEADER_SIZE:
        return WireError(f"message of {len(message)} bytes is shorter than a header")
    if bytes(message[:4]) != PROTOCOL_ID:
        return WireError(f"ProtocolId {bytes(message[:4])!r} is not that of SMB2")
    return WireError(f"header with StructureSize {size} instead of {HEADER_SIZE}")


def pack_response_into(buffer: bytearray | memoryview, at: int, asked: Header, *answer: int) -> None:
    """Write the header of a response to `asked`, its signature zero.

    `answer`: status, credits, flags, NextCommand and, where `flags` have FLAGS_ASYNC_COMMAND, AsyncId, else TreeId.
    """
    status, granted, flags, following, number = answer
    ids = number if flags & FLAGS_ASYNC_COMMAND else number << 32
    _ENCODED.pack_into(
        buffer, at, PROTOCOL_NUMBER, HEADER_SIZE, asked.credit_charge, status, asked.command, granted, flags, following,
        asked.message_id, ids, asked.session_id,
    )  # fmt: skip


def pack_header_into(  # noqa: PLR0913 - a header has these fields, and an object between would cost each response
    buffer: bytearray | memoryview,
    offset: int,
    *,
    command: int,
    message_id: int,
    status: int = 0,
    credits: int = 0,  # noqa: A002 - the name of the field
    flags: int = 0,
    next_command: int = 0,
    session_id: int = 0,
    tree_id: int = 0,
    async_id: int = 0,
    credit_charge: int = 0,
    channel_sequence: int = 0,
) -> None:
    """Write a header at `offset` of `buffer`, its signature zero.

    `async_id` is used where `flags` have FLAGS_ASYNC_COMMAND, else `tree_id`. `channel_sequence` is for requests,
    where there is no status.
    """
    _ENCODED.pack_into(
        buffer,
        offset,
        PROTOCOL_NUMBER,
        HEADER_SIZE,
        credit_charge,
        status or channel_sequence,
        command,
        credits,
        flags,
        next_command,
        message_id,
        async_id if flags & FLAGS_ASYNC_COMMAND else tree_id << 32,
        session_id,
    )


def split_compound(message: memoryview, depth: int) -> list[memoryview]:
    """The messages of a chain, each from its header to where the next one begins (so with its padding).

    At most `depth` of them. Raises WireError for a NextCommand that is no multiple of 8, or points into the header or
    behind where the next header could begin. The headers themselves are left to decode_header.
    """
    parts: list[memoryview] = []
    while True:
        if len(message) < HEADER_SIZE:
            raise WireError(f"message of {len(message)} bytes is shorter than a header")
        (following,) = _NEXT_COMMAND.unpack_from(message, _NEXT_COMMAND_OFFSET)
        if len(parts) == depth:
            raise WireError(f"more than {depth} messages in a compound")
        if not following:
            parts.append(message)
            return parts
        _check_next_command(following, len(message))
        parts.append(message[:following])
        message = message[following:]


def _check_next_command(following: int, length: int) -> None:
    if following % 8:
        raise WireError(f"NextCommand {following} is no multiple of 8")
    if following < HEADER_SIZE:
        raise WireError(f"NextCommand {following} points into the header")
    if following > length - HEADER_SIZE:
        raise WireError(f"NextCommand {following} leaves no room for a header in the {length} bytes that are there")
