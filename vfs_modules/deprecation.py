"""What of the contract is on its way out: who still uses it is told once, when the module is loaded.

Something is deprecated in a minor version and goes in a major one, never sooner than it was announced. Until then it
works as ever. Operations, their arguments and announcements are marked where they are declared; attributes of module
classes stand in `ATTRIBUTES`.
"""

import inspect
import warnings
from collections.abc import Iterator, Mapping
from typing import Final

from lamina.vfs_modules.hooks import Announcements
from lamina.vfs_modules.module import VfsModule, implements
from lamina.vfs_modules.operations import OPERATIONS, Operations
from lamina.vfs_modules.operations.table import DEPRECATED, Deprecation

ATTRIBUTES: Final[dict[str, Deprecation]] = {}
"""Deprecated attributes of module classes, by name. A class that has one of its own is told of."""


class ContractDeprecationWarning(DeprecationWarning):
    """A module uses what a coming version of the contract will not have any more."""


_told: set[type[VfsModule]] = set()


def warn_of_deprecated(kind: type[VfsModule]) -> None:
    """Tell, the first time that a class is loaded, what deprecated parts of the contract it uses."""
    if kind in _told:
        return
    _told.add(kind)
    for sentence in deprecated_uses(kind):
        warnings.warn(sentence, ContractDeprecationWarning, stacklevel=2)


def deprecated_uses(kind: type[VfsModule]) -> list[str]:
    """A sentence for each deprecated part of the contract that a class uses."""
    where = f"{kind.__module__}.{kind.__qualname__}"
    return [f"{where} {use}" for use in (*_attributes(kind), *_operations(kind), *_announcements(kind))]


def _attributes(kind: type[VfsModule]) -> Iterator[str]:
    for name, deprecation in ATTRIBUTES.items():
        if any(name in vars(base) for base in kind.__mro__ if base.__module__ != VfsModule.__module__):
            yield _sentence(f"has the attribute {name!r}", deprecation)


def _operations(kind: type[VfsModule]) -> Iterator[str]:
    for name in OPERATIONS:
        if implements(kind, name):
            yield from _marks(f"implements the operation {name!r}", getattr(Operations, name), None)


def _announcements(kind: type[VfsModule]) -> Iterator[str]:
    for name, announcement in vars(Announcements).items():
        listener = getattr(kind, name, None)
        if inspect.isfunction(listener):
            taken = frozenset(inspect.signature(listener).parameters)
            yield from _marks(f"listens to {name!r}", announcement, taken)


def _marks(use: str, declared: object, taken: frozenset[str] | None) -> Iterator[str]:
    """`taken`: the arguments that are used; None for all."""
    marks: Mapping[str, Deprecation] = getattr(declared, DEPRECATED, {})
    for argument, deprecation in marks.items():
        if not argument:
            yield _sentence(use, deprecation)
        elif taken is None or argument in taken:
            yield _sentence(f"{use} with its argument {argument!r}", deprecation)


def _sentence(use: str, deprecation: Deprecation) -> str:
    since, removed = (".".join(map(str, version)) for version in (deprecation.since, deprecation.removed))
    return (
        f"{use}, which is deprecated since version {since} of the contract and goes with {removed}: "
        f"{deprecation.instead}"
    )
