"""AAPL: the create context with which a Mac asks a server what it can do, and says what it can itself.

A query is a command (32 bits, 32 reserved), a bitmap of what is asked for, and the client's capabilities; the answer
repeats the command, says what it answers and has that behind it in the order of the bits (64 bits each, but for the
model: four bytes of padding, its length in bytes, UTF-16). All little-endian. Apple: Time Machine over SMB
Specification, "Appendix".
"""

from enum import IntFlag
from struct import Struct
from typing import Final, NamedTuple

TAG: Final = b"AAPL"
SERVER_QUERY: Final = 1

_QUERY: Final = Struct("<I4xQQ")
_ANSWER: Final = Struct("<I4xQ")
_WORD: Final = Struct("<Q")
_MODEL: Final = Struct("<4xI")


class Asked(IntFlag):
    """What a query asks for."""

    SERVER_CAPABILITIES = 1
    VOLUME_CAPABILITIES = 2
    MODEL = 4


class ServerCapability(IntFlag):
    """What a client, or a server, can do."""

    READ_DIR_ATTR = 1
    OSX_COPYFILE = 2
    UNIX_BASED = 4
    NFS_ACE = 8


class VolumeCapability(IntFlag):
    """What a share can do."""

    RESOLVE_ID = 1
    CASE_SENSITIVE = 2
    FULL_SYNC = 4


class ServerQuery(NamedTuple):
    """A query: what is asked for, and what the client can do."""

    asked: Asked
    client: ServerCapability


def parse_query(data: bytes | memoryview) -> ServerQuery | None:
    """The query in a context; None for another command, or for what is no query at all."""
    if len(data) < _QUERY.size:
        return None
    command, asked, client = _QUERY.unpack_from(data)
    if command != SERVER_QUERY:
        return None
    return ServerQuery(Asked(asked & 0x7), ServerCapability(client & 0xF))


def pack_answer(asked: Asked, server: ServerCapability, volume: VolumeCapability, model: str) -> bytes:
    """The answer to what is `asked`."""
    answer = _ANSWER.pack(SERVER_QUERY, asked)
    if Asked.SERVER_CAPABILITIES in asked:
        answer += _WORD.pack(server)
    if Asked.VOLUME_CAPABILITIES in asked:
        answer += _WORD.pack(volume)
    if Asked.MODEL in asked:
        encoded = model.encode("utf-16-le")
        answer += _MODEL.pack(len(encoded)) + encoded
    return answer
