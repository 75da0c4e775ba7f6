"""What an RPC interface is here: an identity and a table of operations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar
from uuid import UUID

from lamina.core.rpc.ndr import NdrReader
from lamina.core.rpc.view import ServerView
from lamina.vfs_modules.token import ImpersonationToken

_ADMINISTRATORS: Final = "S-1-5-32-544"

Arguments = TypeVar("Arguments")


class Caller(NamedTuple):
    """Who calls, and what there is to see."""

    view: ServerView
    token: ImpersonationToken

    @property
    def is_administrator(self) -> bool:
        """Whether the caller is one of BUILTIN\\Administrators (MS-DTYP 2.4.2.4)."""
        return self.token.has_sid(_ADMINISTRATORS)


@dataclass(frozen=True, slots=True)
class Operation(Generic[Arguments]):
    """One procedure: `decode` reads the arguments from the request's stub, `handle` returns the response's stub."""

    name: str
    decode: Callable[[NdrReader], Arguments]
    handle: Callable[[Arguments, Caller], bytes]


class Syntax(NamedTuple):
    """An abstract or transfer syntax: a UUID and a version (C706 12.6.3.1 p_syntax_id_t)."""

    uuid: UUID
    major: int
    minor: int = 0


class Interface(NamedTuple):
    """An interface: its abstract syntax, and its operations by number."""

    syntax: Syntax
    operations: Mapping[int, Operation[Any]]

    def serves(self, wanted: Syntax) -> bool:
        """Whether a client of `wanted` is served: same major version, and no newer minor one (C706 6.1.3)."""
        mine = self.syntax
        return wanted.uuid == mine.uuid and wanted.major == mine.major and wanted.minor <= mine.minor
