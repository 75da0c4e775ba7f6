"""What a module adds to the protocol: control codes, information classes and create contexts of its own.

A module marks a method, and the chain has a table of all that are marked. Nobody asks a module that marks nothing, and
a server whose modules mark nothing does not look for it: what Lamina serves itself is always found first. Like
operations, the methods get the token of whom it is done for, and a failure is an `OSError`; one that has no errno is a
`StatusError`.

What clients send is bounded by the largest message, what is answered to it by the room they have for it.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, Flag, auto
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import EXTENSION_MARK, ModuleError, VfsModule
from lamina.vfs_modules.operations import FileStat, Operation, Target
from lamina.vfs_modules.token import ImpersonationToken

MAX_ANSWER: Final = 65_536
"""Bytes that a create context may be answered with."""

_ERROR_SEVERITY: Final = 0xC0000000
_READ_DATA: Final = 0x1
_WRITE_DATA: Final = 0x2
_READ_ATTRIBUTES: Final = 0x80
_WRITE_ATTRIBUTES: Final = 0x100
_READ_BIT: Final = 0x4000
_WRITE_BIT: Final = 0x8000


class StatusError(OSError):
    """A failure that clients are to see as a certain NTSTATUS, where no errno says it; `status` is an error's."""

    def __init__(self, status: int, reason: str) -> None:
        if not _ERROR_SEVERITY <= status <= 0xFFFFFFFF:
            raise ValueError(f"{status:#x} is no status of a failure")
        super().__init__(reason)
        self.status = status


class ClientTrait(Flag):
    """What a client and a module may have agreed that the NT level does otherwise, for one connected share.

    RICH_ENTRIES: `FileIdBothDirectoryInformation` says what the module's `directory_entries` knows. ZERO_FILE_IDS: file
    ids are told as 0. OPEN_TREES_MOVE: a directory is renamed though something in it is open. EMPTY_STREAMS_VANISH: a
    named stream that is cut to nothing is deleted when it is closed. UNIX_ACES: descriptors tell of owner and mode, and
    change the mode, in entries for the SIDs S-1-5-88-1, -2 and -3. WHOLE_COPIES: a server-side copy without any
    range copies the file with its streams.
    """

    RICH_ENTRIES = auto()
    ZERO_FILE_IDS = auto()
    OPEN_TREES_MOVE = auto()
    EMPTY_STREAMS_VANISH = auto()
    UNIX_ACES = auto()
    WHOLE_COPIES = auto()


NO_TRAITS: Final = ClientTrait(0)
"""Nothing has been agreed, as with most clients."""


@dataclass(slots=True)
class Client:
    """What has been agreed with a client about one connected share; a module changes `traits` in a create context."""

    traits: ClientTrait = NO_TRAITS


class OpenedFile(NamedTuple):
    """The open that a client asks of. `handle` is that of the file, also where a named `stream` of it is open.

    `path`: from the share's root; `access`: the rights that the open was granted (MS-SMB2 2.2.13.1).
    """

    handle: VfsHandle
    path: str
    stream: str
    access: int


class EntryDetails(NamedTuple):
    """What takes the place of the short name and the reserved field of an entry (MS-FSCC 2.4.20).

    `short_name`: at most 24 bytes; `reserved`: 16 bits. `maximal_access`: whether EaSize is to be the rights that the
    user has to the file.
    """

    short_name: bytes
    reserved: int
    maximal_access: bool = True


class InfoType(Enum):
    """What an information class is about (MS-SMB2 2.2.37)."""

    FILE = 1
    VOLUME = 2


class Kind(Enum):
    """The kinds of extensions, each with the parameters that a method of the kind has."""

    CONTROL = ("self", "token", "opened", "data", "room")
    QUERY = ("self", "token", "opened", "room")
    SET = ("self", "token", "opened", "data")
    CREATE_CONTEXT = ("self", "token", "opened", "data", "client")
    ENTRIES = ("self", "token", "handle", "stat")
    OPENED = ("self", "token", "opened", "share")
    SHORT_NAMES = ("self", "name", "number")


@dataclass(frozen=True, slots=True)
class Mark:
    """What is written on a marked method. `key`: the code, class or tag; `access`: rights that the open must have."""

    kind: Kind
    key: Any
    access: int = 0
    mutates: bool = False

    def __str__(self) -> str:
        match self.kind:
            case Kind.CONTROL:
                return f"control code {self.key:#010x}"
            case Kind.QUERY | Kind.SET:
                verb = "query" if self.kind is Kind.QUERY else "set"
                return f"{verb} of {self.key[0].name.lower()} information class {self.key[1]}"
            case Kind.CREATE_CONTEXT:
                return f"create context {self.key!r}"
            case Kind.ENTRIES:
                return "the details of directory entries"
            case Kind.SHORT_NAMES:
                return "short names"
            case _:
                return "the sharing of files that are opened"


_Method = TypeVar("_Method", bound=Callable[..., Any])


def _marking(mark: Mark) -> Callable[[_Method], _Method]:
    def apply(method: _Method) -> _Method:
        parameters = tuple(inspect.signature(method).parameters)
        if parameters != mark.kind.value:
            raise ModuleError(
                f"{method.__qualname__}({', '.join(parameters)}) serves {mark} and must be a plain method with the "
                f"parameters {', '.join(mark.kind.value)}"
            )
        setattr(method, EXTENSION_MARK, mark)
        return method

    return apply


def control(code: int) -> Callable[[_Method], _Method]:
    """Serve an FSCTL: `(self, token, opened, data, room) -> bytes`, at most `room` of them.

    The rights that the code itself asks for (its bits 14 and 15: to read, to write) have been checked.
    """
    if not 0 <= code <= 0xFFFFFFFF:
        raise ModuleError(f"{code:#x} is no control code of 32 bits")
    access = (_READ_DATA if code & _READ_BIT else 0) | (_WRITE_DATA if code & _WRITE_BIT else 0)
    return _marking(Mark(Kind.CONTROL, code, access, bool(code & _WRITE_BIT)))


def query_information(about: InfoType, info_class: int, access: int = _READ_ATTRIBUTES) -> Callable[[_Method], _Method]:
    """Answer QUERY_INFO of a class: `(self, token, opened, room) -> bytes`; what has no room is cut off.

    `access`: rights that the open must have, by default those to read attributes.
    """
    return _marking(Mark(Kind.QUERY, (about, _checked_class(info_class)), access))


def set_information(about: InfoType, info_class: int, access: int = _WRITE_ATTRIBUTES) -> Callable[[_Method], _Method]:
    """Take SET_INFO of a class: `(self, token, opened, data) -> None`.

    `access`: rights that the open must have, by default those to write attributes.
    """
    return _marking(Mark(Kind.SET, (about, _checked_class(info_class)), access, True))


def _checked_class(info_class: int) -> int:
    if not 0 <= info_class <= 0xFF:
        raise ModuleError(f"{info_class} is no information class of 8 bits")
    return info_class


def create_context(tag: bytes) -> Callable[[_Method], _Method]:
    """Answer a create context: `(self, token, opened, data, client) -> bytes | None`; None is no answer.

    Asked when the file has been opened; what it raises fails the CREATE, and the open is closed again. `client` is
    what has been agreed with the client about this share: change its `traits` to agree on more.
    """
    if len(tag) not in {4, 16}:
        raise ModuleError(f"{tag!r} is no name of a create context: 4 bytes, or the 16 of a GUID")
    return _marking(Mark(Kind.CREATE_CONTEXT, tag))


def directory_entries(method: _Method) -> _Method:
    """Tell more of directory entries: `(self, token, handle, stat) -> EntryDetails | None`.

    Asked for clients with the trait RICH_ENTRIES. `handle` is one of the entry, opened for PATH.
    """
    return _marking(Mark(Kind.ENTRIES, ""))(method)


def file_sharing(method: _Method) -> _Method:
    """Learn how files are shared: `(self, token, opened, share) -> None`.

    Asked when a file, or a stream of one, has been opened, as far as other opens of this server let it: for who shares
    its files with another server. `share`: FILE_SHARE_* (MS-SMB2 2.2.13). What it raises, such as EBUSY (a sharing
    violation), fails the CREATE. It ends with the handle.
    """
    return _marking(Mark(Kind.OPENED, ""))(method)


def short_names(method: _Method) -> _Method:
    """Give files short names: `(self, name, number) -> str | None`, None where a name needs none.

    `name` is as clients see it, in upper case (MS-FSCC 2.1.5.2 Filename). The answer is to be a name of 8.3 characters
    (2.1.5.2.1), in upper case, too, and always the same for the same arguments: nothing is asked of the module when a
    client uses a short name, since the NT level has made all those of the directory. `number` is 0 for the short name
    that the name is to have, and counts on where another in the directory has that already.
    """
    return _marking(Mark(Kind.SHORT_NAMES, ""))(method)


ShortNameRule = Callable[[str, int], str | None]
"""What makes short names (`short_names`)."""

Entries = Callable[[ImpersonationToken, VfsHandle, FileStat], EntryDetails | None]


class Extension(NamedTuple):
    """One extension of a chain: whose it is, and the bound method that serves it."""

    mark: Mark
    owner: str
    call: Callable[..., Any]


_NONE: Final[Mapping[Any, Extension]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Extensions:
    """All extensions of a chain, by code, class and tag. Empty for most."""

    controls: Mapping[int, Extension] = field(default_factory=lambda: _NONE)
    queries: Mapping[tuple[InfoType, int], Extension] = field(default_factory=lambda: _NONE)
    settings: Mapping[tuple[InfoType, int], Extension] = field(default_factory=lambda: _NONE)
    contexts: Mapping[bytes, Extension] = field(default_factory=lambda: _NONE)
    entries: Entries | None = None
    opened: Callable[[ImpersonationToken, OpenedFile, int], None] | None = None
    short_names: ShortNameRule | None = None

    def all(self) -> list[Extension]:
        """Those that have a code, a class or a tag."""
        return [
            each for table in (self.controls, self.queries, self.settings, self.contexts) for each in table.values()
        ]


# These are no requests of a client, but parts of many.
_PARTS: Final = (Kind.ENTRIES, Kind.OPENED, Kind.SHORT_NAMES)

NO_EXTENSIONS: Final = Extensions()
"""The table of a chain whose modules mark nothing."""


def _marks(module: VfsModule) -> list[tuple[str, Mark]]:
    found = {}
    for base in reversed(type(module).__mro__):
        for name, value in vars(base).items():
            mark = getattr(value, EXTENSION_MARK, None)
            if mark is not None:
                found[name] = mark
            else:
                found.pop(name, None)
    return list(found.items())


def collect(modules: Sequence[VfsModule], where: str) -> Extensions:
    """The extensions of a chain's modules, from the top. Raises ModuleError where two serve the same."""
    taken: dict[tuple[Kind, Any], Extension] = {}
    for height, module in enumerate(modules):
        owner = module.name or type(module).__qualname__
        for name, mark in _marks(module):
            other = taken.get((mark.kind, mark.key))
            if other is not None:
                raise ModuleError(
                    f"{where}: modules {other.owner!r} and {owner!r} both serve {mark}; a chain can have one of them"
                )
            call = getattr(module, name)
            if mark.kind not in _PARTS:
                call = _seen_by(modules[: height + 1], mark, call)
            taken[mark.kind, mark.key] = Extension(mark, owner, call)
    if not taken:
        return NO_EXTENSIONS
    return Extensions(
        _of(taken, Kind.CONTROL),
        _of(taken, Kind.QUERY),
        _of(taken, Kind.SET),
        _of(taken, Kind.CREATE_CONTEXT),
        *(taken[kind, ""].call if (kind, "") in taken else None for kind in _PARTS),
    )


def _of(taken: Mapping[tuple[Kind, Any], Extension], kind: Kind) -> Mapping[Any, Extension]:
    return MappingProxyType({key: extension for (each, key), extension in taken.items() if each is kind})


def _seen_by(modules: Sequence[VfsModule], mark: Mark, call: Callable[..., Any]) -> Callable[..., Any]:
    """`call` as the modules above it let it be called: who sees every operation sees extensions too."""
    operation = Operation(str(mark), Target.HANDLE, mark.mutates, True)
    for module in reversed(modules):
        call = module.around(operation, call)
    return call
