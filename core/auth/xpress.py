"""Decompression of "LZ77+Huffman" (MS-XCA 2.2.4), which domain controllers compress a user's claims with.

Blocks of 64 KiB, each with the lengths of its 512 Huffman codes before it. The bits come from words of 16, the longer
lengths of matches as bytes from between these words.
"""

from struct import Struct
from typing import Final

_TABLE_SIZE: Final = 256
_BLOCK_SIZE: Final = 65536
_LONGEST_CODE: Final = 15
_WORD: Final = Struct("<H")
_LONG: Final = Struct("<I")


class XpressError(ValueError):
    """The bytes were not compressed like this."""


class _Bits:
    """The input: a window of bits that is filled up in words, and the bytes behind it."""

    __slots__ = ("_at", "_data", "_extra", "_window")

    def __init__(self, data: memoryview, at: int) -> None:
        self._data = data
        self._at = at
        self._window = (self._word() << 16) | self._word()
        self._extra = 16

    def _word(self) -> int:
        # Behind the end there are zeros: the last code may need fewer bits than the window holds.
        word = self._data[self._at : self._at + 2]
        self._at += 2
        return _WORD.unpack(word)[0] if len(word) == 2 else 0

    def peek(self) -> int:
        """The next 15 bits."""
        return self._window >> 17

    def skip(self, count: int) -> None:
        """Go on by so many bits, up to 16."""
        self._window = (self._window << count) & 0xFFFFFFFF
        self._extra -= count
        if self._extra < 0:
            self._window |= self._word() << -self._extra
            self._extra += 16

    def take(self, count: int) -> int:
        """The next bits as a number."""
        value = self._window >> (32 - count)
        self.skip(count)
        return value

    def number(self, form: Struct) -> int:
        """A number from the bytes behind the window."""
        if self._at + form.size > len(self._data):
            raise XpressError("the compressed data ends too early")
        value: int = form.unpack_from(self._data, self._at)[0]
        self._at += form.size
        return value

    def byte(self) -> int:
        """A byte from behind the window."""
        if self._at >= len(self._data):
            raise XpressError("the compressed data ends too early")
        self._at += 1
        return self._data[self._at - 1]

    @property
    def at(self) -> int:
        """Where the next block begins: what the window holds more than is used belongs to it."""
        return self._at

    def end_of_data(self) -> bool:
        """Whether more has been read than there is."""
        return self._at > len(self._data) + 4


def decompress(data: memoryview, size: int) -> bytes:
    """The `size` bytes that `data` holds compressed. Raises XpressError."""
    out = bytearray()
    at = 0
    while len(out) < size:
        if len(data) - at < _TABLE_SIZE + 4:
            raise XpressError("the compressed data ends too early")
        codes = _code_table(data[at : at + _TABLE_SIZE])
        bits = _Bits(data, at + _TABLE_SIZE)
        _block(bits, codes, out, min(size, len(out) + _BLOCK_SIZE))
        at = bits.at
    if len(out) != size:
        raise XpressError(f"{len(out)} bytes instead of {size}")
    return bytes(out)


def _code_table(packed: memoryview) -> list[tuple[int, int]]:
    """For each value of 15 bits the symbol whose code it begins with, and the code's length."""
    lengths = [(value >> shift) & 15 for value in packed for shift in (0, 4)]
    table: list[tuple[int, int]] = []
    for length in range(1, _LONGEST_CODE + 1):
        for symbol, its in enumerate(lengths):
            if its == length:
                table += [(symbol, length)] * (1 << (_LONGEST_CODE - length))
    if len(table) != 1 << _LONGEST_CODE:
        raise XpressError("lengths of codes that make no Huffman tree")
    return table


def _block(bits: _Bits, codes: list[tuple[int, int]], out: bytearray, end: int) -> None:
    while len(out) < end:
        if bits.end_of_data():
            raise XpressError("the compressed data ends too early")
        symbol, length = codes[bits.peek()]
        bits.skip(length)
        if symbol < 256:
            out.append(symbol)
        else:
            _match(bits, symbol - 256, out, end)


def _match(bits: _Bits, symbol: int, out: bytearray, end: int) -> None:
    length, offset_bits = symbol & 15, symbol >> 4
    if length == 15:
        length = _long_length(bits)
    length += 3
    offset = (1 << offset_bits) + (bits.take(offset_bits) if offset_bits else 0)
    if offset > len(out) or length > end - len(out):
        raise XpressError("a match with what is not there")
    for _ in range(length):
        out.append(out[-offset])


def _long_length(bits: _Bits) -> int:
    length = bits.byte()
    if length < 255:
        return length + 15
    length = bits.number(_WORD) or bits.number(_LONG)
    if length < 15:
        raise XpressError("a long match that is short")
    return length
