"""The little of DER (X.690) that SPNEGO tokens are made of: reading, with every length checked, in linear time."""

from collections.abc import Iterator
from typing import Final, NamedTuple

SEQUENCE: Final = 0x30
OCTET_STRING: Final = 0x04
ENUMERATED: Final = 0x0A
OBJECT_IDENTIFIER: Final = 0x06
APPLICATION_0: Final = 0x60
CONTEXT_0: Final = 0xA0


class DerError(Exception):
    """Not the DER that was expected."""


class Element(NamedTuple):
    """A tag (one byte, class and form included), its content, and all of its bytes."""

    tag: int
    content: memoryview
    whole: memoryview


def read(data: memoryview) -> tuple[Element, memoryview]:
    """The first element of `data`, and what follows it. Raises DerError."""
    if len(data) < 2:
        raise DerError("an element is cut short")
    start, length = 2, data[1]
    if length & 0x80:
        octets = length & 0x7F
        start += octets
        if not 1 <= octets <= 4 or len(data) < start:
            raise DerError("a length of an unknown form")
        length = int.from_bytes(data[2:start], "big")
    end = start + length
    if end > len(data):
        raise DerError("an element is longer than what it stands in")
    return Element(data[0], data[start:end], data[:end]), data[end:]


def expect(data: memoryview, tag: int) -> Element:
    """The first element of `data`, which must have this tag. Raises DerError."""
    element, _ = read(data)
    if element.tag != tag:
        raise DerError(f"tag {element.tag:#04x} where {tag:#04x} was expected")
    return element


def elements(content: memoryview) -> Iterator[Element]:
    """The elements that stand one after the other in `content`. Raises DerError."""
    while content:
        element, content = read(content)
        yield element
