"""The protocol of ClamAV's clamd, as clamd(8) describes it: what is sent, and what answers mean. Pure.

A command with the prefix "z" ends with a NUL, and so does its answer. INSTREAM is followed by chunks, each with its
length in four bytes before it; a chunk of no length ends them.
"""

import struct
from enum import Enum
from typing import Final, NamedTuple

LONGEST_ANSWER: Final = 4096
"""Bytes after which an answer that has not ended is none."""

INSTREAM: Final = b"zINSTREAM\0"
PING: Final = b"zPING\0"
VERSION: Final = b"zVERSION\0"
PONG: Final = b"PONG"
END_OF_STREAM: Final = bytes(4)

_LENGTH: Final = struct.Struct(">I")
_FOUND: Final = b" FOUND"
_PREFIX: Final = b"stream: "


class Outcome(Enum):
    """What came of a scan."""

    CLEAN = "clean"
    INFECTED = "infected"
    FAILED = "failed"


class Verdict(NamedTuple):
    """What a scanner says of a file; `detail` is the name of the virus, or why there is no answer."""

    outcome: Outcome
    detail: str = ""


CLEAN: Final = Verdict(Outcome.CLEAN)


def chunk_header(length: int) -> bytes:
    """What stands before a chunk of so many bytes."""
    return _LENGTH.pack(length)


def parse_verdict(answer: bytes) -> Verdict:
    """What an answer to INSTREAM means, without its NUL; one that makes no sense is a failure."""
    if answer == _PREFIX + b"OK":
        return CLEAN
    if answer.startswith(_PREFIX) and answer.endswith(_FOUND):
        return Verdict(Outcome.INFECTED, _text(answer[len(_PREFIX) : -len(_FOUND)]))
    return Verdict(Outcome.FAILED, _text(answer.removesuffix(b" ERROR")) or "the scanner has hung up")


def _text(raw: bytes) -> str:
    return "".join(character if character.isprintable() else "?" for character in raw.decode("utf-8", "replace"))
