"""The operation specification, version 1: every operation a module may implement, declared once.

`Operations` is the whole contract of the file-system level, put together from groups that each stand in a file.
Everything else is derived from it: the checks at registration, the compiled chain, the groups of audit, the reference
pages and the conformance kit. Module writers import from here, whatever file of this package a name stands in.

Rules that hold for every operation:

* The first argument is the token of whom it is done for; the second says on what (a handle).
* A *name* or *path* is a `str` relative to a directory handle, with "/" between components, never
  absolute, never "." or "..": ntfsa has validated it. Characters that UTF-8 cannot hold are passed as
  surrogates (bytes that are not UTF-8 as U+DC80..U+DCFF, PEP 383); the backend encodes.
* Resolution never leaves the share's root, whatever symbolic links say.
* A failure is an `OSError` with its errno; `None` is an ordinary result. `ENOTSUP` says "not here".
* Times are nanoseconds since 1970-01-01 UTC; sizes and offsets are bytes.
* Any operation may wait (`engine.wait`, `engine.offload`) unless it is marked `waits=False`.
* While one waits, others run: also on the same handle, as far as "Overlaps" says so. Requests of one server run on one
  thread, so nothing overlaps where nothing waits.

The docstring of an operation always has the same parts in the same order (`described.PARTS`).
"""

from collections.abc import Mapping
from types import MappingProxyType

from lamina.vfs_modules.operations.attributes import Attributes
from lamina.vfs_modules.operations.capability import Capability
from lamina.vfs_modules.operations.data import Data
from lamina.vfs_modules.operations.directories import Directories
from lamina.vfs_modules.operations.durability import Durability
from lamina.vfs_modules.operations.locks import Locks
from lamina.vfs_modules.operations.names import Names
from lamina.vfs_modules.operations.opening import Opening
from lamina.vfs_modules.operations.quotas import Quotas
from lamina.vfs_modules.operations.ranges import Ranges
from lamina.vfs_modules.operations.security import Security
from lamina.vfs_modules.operations.streams import Streams
from lamina.vfs_modules.operations.table import Operation, Target, declared_in, operation
from lamina.vfs_modules.operations.values import (
    Access,
    DirectoryEntry,
    DosAttributes,
    EntryXattrs,
    FileStat,
    NameEvent,
    OpenHow,
    StreamEntry,
    Times,
    VolumeStatistics,
    Watch,
)
from lamina.vfs_modules.operations.xattrs import Xattrs

__all__ = [
    "API_VERSION",
    "BACKEND_MUST_IMPLEMENT",
    "OPERATIONS",
    "Access",
    "Capability",
    "DirectoryEntry",
    "DosAttributes",
    "EntryXattrs",
    "FileStat",
    "NameEvent",
    "OpenHow",
    "Operation",
    "Operations",
    "StreamEntry",
    "Target",
    "Times",
    "VolumeStatistics",
    "Watch",
    "operation",
]

API_VERSION = (1, 9)
"""The version of this specification. Operations are only ever appended, with a default, in a minor version."""


class Operations(
    Opening,
    Names,
    Directories,
    Data,
    Ranges,
    Attributes,
    Xattrs,
    Security,
    Streams,
    Locks,
    Quotas,
    Durability,
):
    """The contract. Each default is what a chain does when nobody implements the operation."""


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {row.name: row for group in Operations.__bases__ for row in declared_in(group)}
)
"""The operation table, by name, in the order of the contract."""

BACKEND_MUST_IMPLEMENT = frozenset({"open_root", "open", "stat", "close", "fstat", "pread", "readdir"})
"""Operations without which nothing can be shared."""
