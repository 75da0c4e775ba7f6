"""Arguments and results of operations as JSON has them, and back. Pure.

Numbers, texts and truth values are themselves. Everything else is an object with one key that says what it is: the name
of a class of the contract, with its fields; `handle` with a number; `bytes` in base64; `object` for what lives only as
long as the server does (a watch, a callback) and cannot be had back.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import (
    Access,
    DirectoryEntry,
    DosAttributes,
    EntryXattrs,
    FileStat,
    OpenHow,
    StreamEntry,
    Times,
    VolumeStatistics,
)
from lamina.vfs_modules.outside import FileLease, RangeLock
from lamina.vfs_modules.quotas import Quota, QuotaKind

_KINDS: Final[Mapping[str, type]] = MappingProxyType(
    {
        kind.__name__: kind
        for kind in (
            Access, DirectoryEntry, DosAttributes, EntryXattrs, FileLease, FileStat, OpenHow, Quota, QuotaKind,
            RangeLock, StreamEntry, Times, VolumeStatistics,
        )
    }
)  # fmt: skip

OBJECT: Final = "object"
HANDLE: Final = "handle"
BYTES: Final = "bytes"


def encode(value: Any, number_of: Callable[[VfsHandle], int]) -> Any:
    """A value as JSON has it; `number_of` numbers handles."""
    name = type(value).__name__
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return {BYTES: base64.b64encode(value).decode()}
    if isinstance(value, VfsHandle):
        return {HANDLE: number_of(value)}
    if type(value) in (list, tuple):
        return [encode(one, number_of) for one in value]
    if name not in _KINDS:
        return {OBJECT: name}
    content = value.name if isinstance(value, Enum) else {k: encode(v, number_of) for k, v in _fields(value).items()}
    return {name: content}


def _fields(value: Any) -> dict[str, Any]:
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return dict(value._asdict())


def decode(value: Any, handle_of: Callable[[int], VfsHandle]) -> Any:
    """The value that `encode` made this of. Raises ValueError for what is none, and what `handle_of` raises."""
    if isinstance(value, list):
        return [decode(one, handle_of) for one in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise ValueError(f"{value!r} is no value of a recording")
    ((name, content),) = value.items()
    if name == HANDLE:
        return handle_of(content)
    if name == BYTES:
        return base64.b64decode(content)
    kind = _KINDS.get(name)
    if kind is None:
        raise ValueError(f"a {content if name == OBJECT else name} cannot be had back from a recording")
    if issubclass(kind, Enum):
        return kind[content]
    return kind(**{key: decode(one, handle_of) for key, one in content.items()})


def kind_of(value: Any) -> str:
    """The one key of an encoded value that is an object; "" for others."""
    return str(next(iter(value))) if isinstance(value, dict) and len(value) == 1 else ""
