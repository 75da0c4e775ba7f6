"""A profile for a module of which nothing is known but its class: on what it is tried unless something else is said."""

import importlib
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from lamina.vfs_modules.loader import load_module
from lamina.vfs_modules.module import Backend, ModuleError, VfsModule
from lamina.vfs_modules.order import Declared, declared, judge
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.testing import make_token
from lamina.vfs_modules.testing.profile import Modules, Profile, find_profile
from lamina.vfs_modules.token import ImpersonationToken

GROUP: Final = "lamina.conformance"
"""The entry point group of profiles."""

USUAL: tuple[type[VfsModule], ...] = (StreamsXattrModule, DosAttributesModule, PosixBackend)
"""What a module that is no backend is tried with unless something else is asked for."""

Kind = type[VfsModule]


def profile_of(kind: Kind, options: Mapping[str, Any] | None = None, others: Sequence[Kind] | None = None) -> Profile:
    """The profile of a module class: with these options, in a chain with these `others` (the last a backend)."""
    given = dict(options or {})

    def make(folder: Path) -> Modules:
        kinds = kinds_of(kind, others)
        return [one(one.Options(**given)) if one is kind else one() for one in kinds]

    backend = kinds_of(kind, others)[-1]
    users = default_users() if issubclass(backend, Backend) and backend.kernel_files else None
    # Who makes it anew has the class, and no more.
    place = "" if given or others is not None else place_of(kind)
    return Profile(kind.name or kind.__qualname__, make, users=users, processes=place)


def place_of(kind: Kind) -> str:
    """Where another process finds a class; "" for one that is in a function, or in the program itself."""
    hidden = "<locals>" in kind.__qualname__ or kind.__module__ == "__main__"
    return "" if hidden else f"{kind.__module__}:{kind.__qualname__}"


def subject_at(place: str) -> Profile:
    """The profile at "package.module:name", or that of the module class there. Raises LookupError."""
    module, _, name = place.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return profile_of(found) if isinstance(found, type) else find_profile(place)


def default_users() -> tuple[ImpersonationToken, ImpersonationToken] | None:
    """Two users of this machine that are nobody else's; None where this process cannot be another user."""
    return (make_token(61001, 61001), make_token(61002, 61002)) if os.geteuid() == 0 else None


def profile_named(name: str) -> Profile:
    """The profile of an installed module: the one that its distribution announces, or what its class makes of it.

    A distribution announces one as an entry point of the group `lamina.conformance`, under the module's name. Raises
    LoadError where there is no such module, LookupError where the profile is none.
    """
    for point in entry_points(group=GROUP, name=name):
        return find_profile(point.value)
    return profile_of(load_module(name))


def kinds_of(kind: Kind, others: Sequence[Kind] | None = None) -> tuple[Kind, ...]:
    """The classes of the chain, in an order that suits their declarations. Raises ModuleError if there is none."""
    own = declared(kind)
    if others is not None:
        pieces: tuple[Kind, ...] = (kind, *others)
    elif issubclass(kind, Backend):
        pieces = (kind,)
    else:
        pieces = (kind, *(one for one in USUAL if not excludes(own, declared(one))))
    judgement = judge([declared(one) for one in pieces])
    if judgement.order is None:
        raise ModuleError(f"{own.name!r} cannot be tried: {judgement}")
    return tuple(pieces[position] for position in judgement.order)


def excludes(own: Declared, other: Declared) -> bool:
    """Whether a module leaves no place for another one: it is that one, or does the same, or says so."""
    same = own.name == other.name or set(own.provides) & set(other.provides)
    return bool(same) or any(map(other.answers_to, own.conflicts)) or any(map(own.answers_to, other.conflicts))


__all__ = ["GROUP", "USUAL", "default_users", "excludes", "kinds_of", "profile_named", "profile_of"]
