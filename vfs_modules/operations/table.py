"""The operation table: what is known of each operation beside its signature, declared where it is specified."""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

_MARK = "lamina_operation"

DEPRECATED: Final = "lamina_deprecated"
"""What `deprecated` leaves: the deprecations by argument, that of the whole under ""."""

Version = tuple[int, int]


class Target(Enum):
    """What an operation acts on, which decides how audit, faults and the reference pages group it."""

    SHARE = auto()
    PATH = auto()
    HANDLE = auto()


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the operation table, made by the `operation` decorator.

    `around_data`: it reaches the bytes of a file past `pread` and `pwrite`. Above a module that has one of those and
    not this operation the chain answers with the contract's default, so that no module is gone around unawares.
    `instead_of`: it does at once what these would do one after the other. Above a module that has to do with one of
    them and not with this operation the chain does them one after the other, and the module sees each.
    """

    name: str
    target: Target
    mutates: bool
    waits: bool
    around_data: bool = False
    instead_of: tuple[str, ...] = ()


_Method = TypeVar("_Method", bound=Callable[..., Any])


def operation(
    target: Target,
    *,
    mutates: bool = False,
    waits: bool = True,
    around_data: bool = False,
    instead_of: tuple[str, ...] = (),
) -> Callable[[_Method], _Method]:
    """Declare a method of `Operations` as an operation and give it its row of the table."""

    def declare(method: _Method) -> _Method:
        setattr(method, _MARK, Operation(method.__name__, target, mutates, waits, around_data, instead_of))
        return method

    return declare


class Deprecation(NamedTuple):
    """Since which version something is deprecated, with which it goes, and what to do instead, as an imperative."""

    since: Version
    removed: Version
    instead: str


def deprecated(since: Version, removed: Version, instead: str, argument: str = "") -> Callable[[_Method], _Method]:
    """Mark an operation or an announcement as deprecated, or one argument of it; outermost of its decorators."""
    if removed[0] <= since[0]:
        raise ValueError("what is deprecated goes with a major version")

    def mark(method: _Method) -> _Method:
        marks = dict(getattr(method, DEPRECATED, {}))
        setattr(method, DEPRECATED, marks | {argument: Deprecation(since, removed, instead)})
        return method

    return mark


def declared_in(group: type) -> Iterator[Operation]:
    """The rows of the operations that a class declares itself, in the order of its source."""
    for value in vars(group).values():
        row = getattr(value, _MARK, None)
        if row is not None:
            yield row


def unsupported(name: str) -> NoReturn:
    """The default of most operations: ENOTSUP, "not here"."""
    raise OSError(errno.ENOTSUP, f"{os.strerror(errno.ENOTSUP)}: {name}")
