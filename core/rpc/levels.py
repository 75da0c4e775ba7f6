"""Information levels: the tables behind every Enum and GetInfo procedure, and the two shapes that they answer in.

MS-SRVS and MS-WKST return the same thing at several levels, each a structure of its own, chosen by a number that is
also the discriminant of a union. A `Level` describes one structure and how to fill it; the rest is the same for all
(MS-SRVS 2.2.3 "Unions", MS-WKST 2.2.5).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from lamina.core.rpc.errors import ERROR_ACCESS_DENIED, ERROR_INVALID_LEVEL, ERROR_MORE_DATA, NERR_SUCCESS
from lamina.core.rpc.interface import Caller
from lamina.core.rpc.ndr import Kind, NdrError, NdrReader, NdrWriter, Value

MAX_PREFERRED_LENGTH: Final = 0xFFFFFFFF
"""PreferedMaximumLength of a client that wants everything at once."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Level(Generic[Item]):
    """One information level: the fields of its structure, how to fill them, and whether it is for administrators."""

    kinds: tuple[Kind, ...]
    row: Callable[[Item], tuple[Value, ...]]
    administrators: bool = False


Levels = Mapping[int, Level[Item]]


class EnumArguments(NamedTuple):
    """What every enumeration asks: a level, about how many bytes at most, and from where (None: no handle)."""

    level: int
    maximum: int
    resume: int | None


def decode_enumeration(reader: NdrReader, levels: Levels[Item]) -> EnumArguments:
    """Read InfoStruct, PreferedMaximumLength and ResumeHandle. Entries that a client sends along are stepped over."""
    level = reader.u32()
    if reader.u32() != level:
        raise NdrError("the union's discriminant is not the level")
    # A level that the union does not know has no arm to read.
    if level in levels and reader.u32():
        _skip_container(reader, levels[level].kinds)
    return EnumArguments(level, reader.u32(), reader.unique_u32())


def _skip_container(reader: NdrReader, kinds: Sequence[Kind]) -> None:
    reader.u32()
    if reader.u32():
        reader.structures(kinds)


def refusal(level: int, levels: Levels[Item], caller: Caller) -> int:
    """The error for asking at `level`, NERR_SUCCESS if `caller` may."""
    if level not in levels:
        return ERROR_INVALID_LEVEL
    if levels[level].administrators and not caller.is_administrator:
        return ERROR_ACCESS_DENIED
    return NERR_SUCCESS


def answer_enumeration(asked: EnumArguments, levels: Levels[Item], items: Sequence[Item]) -> bytes:
    """The items from where the caller left off, as many as fit into what it would like to get.

    One is always returned, so that a caller who asks for too little still gets on.
    """
    start = min(asked.resume or 0, len(items))
    level = levels[asked.level]
    rows = _fitting([level.row(item) for item in items[start:]], asked.maximum)
    complete = start + len(rows) == len(items)
    writer = NdrWriter()
    _put_union_head(writer, asked.level, levels)
    writer.u32(len(rows))
    writer.pointer(True)
    writer.structures(level.kinds, rows)
    resume = 0 if complete else start + len(rows)
    _put_enumeration_end(writer, len(items) - start, asked, resume)
    writer.u32(NERR_SUCCESS if complete else ERROR_MORE_DATA)
    return writer.finish()


def refuse_enumeration(asked: EnumArguments, levels: Levels[Item], error: int) -> bytes:
    """An enumeration's answer that holds nothing but `error`."""
    writer = NdrWriter()
    _put_union_head(writer, asked.level, levels)
    if asked.level in levels:
        writer.u32(0)
        writer.pointer(False)
    _put_enumeration_end(writer, 0, asked, asked.resume or 0)
    writer.u32(error)
    return writer.finish()


def _put_union_head(writer: NdrWriter, level: int, levels: Levels[Item]) -> None:
    writer.u32(level)
    writer.u32(level)
    if level in levels:
        writer.pointer(True)


def _put_enumeration_end(writer: NdrWriter, total: int, asked: EnumArguments, resume: int) -> None:
    writer.u32(total)
    writer.unique_u32(None if asked.resume is None else resume)


def _fitting(rows: list[tuple[Value, ...]], maximum: int) -> list[tuple[Value, ...]]:
    if maximum == MAX_PREFERRED_LENGTH:
        return rows
    used = 0
    for count, row in enumerate(rows):
        used += sum(map(_size, row))
        if used > maximum and count:
            return rows[:count]
    return rows


def _size(value: Value) -> int:
    if isinstance(value, bytes):
        return 4 + len(value)
    return 4 + (2 * len(value) + 2 if isinstance(value, str) else 0)


def answer_information(level: int, levels: Levels[Item], item: Item) -> bytes:
    """The answer of a GetInfo procedure: a union of pointers to structures."""
    writer = NdrWriter()
    writer.u32(level)
    writer.pointer(True)
    writer.structure(levels[level].kinds, levels[level].row(item))
    writer.u32(NERR_SUCCESS)
    return writer.finish()


def refuse_information(level: int, arms: frozenset[int], error: int) -> bytes:
    """A GetInfo procedure's answer that holds nothing but `error`; `arms` are the levels that the union knows."""
    writer = NdrWriter()
    writer.u32(level)
    if level in arms:
        writer.pointer(False)
    writer.u32(error)
    return writer.finish()
