"""NDR, the transfer syntax of version 2.0 (C706 chapter 14, MS-RPCE 2.2.5), as far as the interfaces here use it.

Little-endian integers, conformant varying strings, unique pointers, and structures of those as described by a tuple of
`Kind`. What belongs here is the representation only; what the fields mean is the interfaces'.

It is our own and small because the alternative, impacket, brings flask, ldap3 and pyOpenSSL along as dependencies and
takes 180 ms and 22 MiB to import, while listing shares has to work in a plain installation. impacket is the oracle of
the tests.
"""

from collections.abc import Sequence
from enum import Enum, auto
from struct import Struct
from typing import Final

_U16: Final = Struct("<H")
_U32: Final = Struct("<I")
_U64: Final = Struct("<Q")
_VARYING: Final = Struct("<III")
_FIRST_REFERENT: Final = 0x00020000

Value = int | str | bytes | None
"""What a field of a structure holds: a number, or the referent of a pointer, None for a null pointer."""


class NdrError(ValueError):
    """The bytes are no representation of what was expected of them."""


class Kind(Enum):
    """How a field of a structure is represented."""

    U32 = auto()
    STRING = auto()  # [string] wchar_t * : unique pointer to a conformant varying string
    BYTES = auto()  # [size_is] unsigned char * : unique pointer to a conformant array


class NdrReader:
    """Reads the stub of a request, front to back; every method raises `NdrError` at the end of the data."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._data = memoryview(data)
        self._at = 0

    def _take(self, size: int, alignment: int) -> memoryview:
        start = self._at + -self._at % alignment
        if size > len(self._data) - start:
            raise NdrError(f"{size} bytes wanted at {start} of {len(self._data)}")
        self._at = start + size
        return self._data[start : self._at]

    def u16(self) -> int:
        """An unsigned short."""
        value: int = _U16.unpack(self._take(2, 2))[0]
        return value

    def u32(self) -> int:
        """An unsigned long."""
        value: int = _U32.unpack(self._take(4, 4))[0]
        return value

    def u64(self) -> int:
        """An unsigned hyper."""
        value: int = _U64.unpack(self._take(8, 8))[0]
        return value

    def octets(self, size: int, alignment: int = 1) -> memoryview:
        """So many bytes as they are."""
        return self._take(size, alignment)

    @property
    def left(self) -> int:
        """The bytes that have not been read."""
        return len(self._data) - self._at

    def string(self) -> str:
        """A conformant varying string of wchar_t, without its terminator."""
        maximum, offset, count = _VARYING.unpack(self._take(12, 4))
        if offset or count > maximum:
            raise NdrError(f"string of {count} characters at {offset} of {maximum}")
        # Names on NT are sequences of 16-bit units, with halves of surrogate pairs among them.
        text = str(self._take(2 * count, 2), "utf-16-le", "surrogatepass")
        return text.partition("\0")[0]

    def unique_string(self) -> str | None:
        """A unique pointer to a string, directly followed by its referent."""
        return self.string() if self.u32() else None

    def unique_u32(self) -> int | None:
        """A unique pointer to an unsigned long, directly followed by its referent."""
        present = self.u32()
        return self.u32() if present else None

    def structures(self, kinds: Sequence[Kind]) -> list[tuple[Value, ...]]:
        """A conformant array of structures with fields of these kinds."""
        count = self.u32()
        if 4 * count * len(kinds) > len(self._data) - self._at:
            raise NdrError(f"array of {count} structures")
        flat = [[self.u32() for _ in kinds] for _ in range(count)]
        return [tuple(map(self._referent, kinds, row)) for row in flat]

    def _referent(self, kind: Kind, flat: int) -> Value:
        if kind is Kind.U32:
            return flat
        if not flat:
            return None
        return self.string() if kind is Kind.STRING else bytes(self._take(self.u32(), 1))


class NdrWriter:
    """Builds the stub of a response."""

    __slots__ = ("_data", "_referent")

    def __init__(self) -> None:
        self._data = bytearray()
        self._referent = _FIRST_REFERENT

    def finish(self) -> bytes:
        """What was written."""
        return bytes(self._data)

    def _align(self, alignment: int) -> None:
        self._data += bytes(-len(self._data) % alignment)

    def u32(self, value: int) -> None:
        """An unsigned long; too large values are cut, as counters that wrap are."""
        self._align(4)
        self._data += _U32.pack(value & 0xFFFFFFFF)

    def pointer(self, present: bool) -> None:
        """A unique pointer; the referent is for the caller to write at its place."""
        self.u32(self._referent if present else 0)
        self._referent += 4 if present else 0

    def string(self, text: str) -> None:
        """A conformant varying string of wchar_t, with a terminator."""
        encoded = (text + "\0").encode("utf-16-le", "surrogatepass")
        self._align(4)
        self._data += _VARYING.pack(len(encoded) // 2, 0, len(encoded) // 2)
        self._data += encoded

    def varying_string(self, text: str) -> None:
        """A string in an array of fixed size: varying, but not conformant."""
        encoded = (text + "\0").encode("utf-16-le", "surrogatepass")
        self.u32(0)
        self.u32(len(encoded) // 2)
        self._data += encoded

    def unique_u32(self, value: int | None) -> None:
        """A unique pointer to an unsigned long, with its referent."""
        self.pointer(value is not None)
        if value is not None:
            self.u32(value)

    def structure(self, kinds: Sequence[Kind], row: Sequence[Value]) -> None:
        """A structure and what its fields point to."""
        self._flat(kinds, row)
        self._referents(kinds, row)

    def structures(self, kinds: Sequence[Kind], rows: Sequence[Sequence[Value]]) -> None:
        """A conformant array of structures: first all of them, then all that they point to (C706 14.3.12.3)."""
        self.u32(len(rows))
        for row in rows:
            self._flat(kinds, row)
        for row in rows:
            self._referents(kinds, row)

    def _flat(self, kinds: Sequence[Kind], row: Sequence[Value]) -> None:
        for kind, value in zip(kinds, row, strict=True):
            if kind is Kind.U32:
                assert isinstance(value, int)
                self.u32(value)
            else:
                self.pointer(value is not None)

    def _referents(self, kinds: Sequence[Kind], row: Sequence[Value]) -> None:
        for kind, value in zip(kinds, row, strict=True):
            if kind is Kind.STRING and isinstance(value, str):
                self.string(value)
            elif kind is Kind.BYTES and isinstance(value, bytes):
                self.u32(len(value))
                self._data += value
