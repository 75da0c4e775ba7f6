"""Finding modules by name: entry points of the group `lamina.vfs_modules`, loaded only when a share names them.

Stock modules and a vendor's come through the same door. A name that is missing, claimed twice, blocked, not a module,
or written for another version of the specification is refused with what to do about it.
"""

import difflib
from collections.abc import Collection
from importlib.metadata import EntryPoint, entry_points
from typing import NamedTuple

from lamina.vfs_modules.deprecation import warn_of_deprecated
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import API_VERSION

GROUP = "lamina.vfs_modules"
"""The entry point group."""


class LoadError(LookupError):
    """A module cannot be loaded; the message says why and, where there is one, names what was probably meant."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


def installed_modules() -> dict[str, str]:
    """The names of all modules that are installed, with the distribution that each comes from; nothing is imported."""
    return {point.name: _distribution(point) for point in entry_points(group=GROUP)}


class Installed(NamedTuple):
    """An installed module: its name, the distribution that brings it with its version, and where its class is."""

    name: str
    distribution: str
    version: str
    place: str


def all_installed() -> list[Installed]:
    """All modules that are installed, by name; nothing is imported. A name claimed twice is there twice."""
    found = {
        Installed(point.name, _distribution(point), point.dist.version if point.dist is not None else "", point.value)
        for point in entry_points(group=GROUP)
    }
    return sorted(found)


def load_module(name: str, blocked: Collection[str] = ()) -> type[VfsModule]:
    """The class of the module called `name`. Those in `blocked` are refused before any import. Raises LoadError."""
    if name in blocked:
        raise LoadError(f"module {name!r} is blocked by the configuration")
    kind = _import(_find(name))
    vet(name, kind)
    if not kind.name:
        kind.name = name
    return kind


def vet(name: str, kind: type[VfsModule]) -> None:
    """Refuse a class that does not work with this contract, and warn of what it uses that is on its way out."""
    check_version(name, kind)
    warn_of_deprecated(kind)


def check_version(name: str, kind: type[VfsModule]) -> None:
    """Refuse a module whose range of versions of the contract does not have ours in it. Raises LoadError."""
    least, before = kind.api_version, kind.api_before or (kind.api_version[0] + 1, 0)
    if before <= least:
        raise LoadError(
            f"module {name!r} works with no version of the contract: from {_version(least)} to before "
            f"{_version(before)}; its author must mend api_version or api_before"
        )
    if least <= API_VERSION < before:
        return
    what = "an older" if least > API_VERSION else "a newer"
    todo = "upgrade Lamina, or install an older version of the module" if least > API_VERSION else "upgrade the module"
    raise LoadError(
        f"module {name!r} works with versions {_version(least)} to before {_version(before)} of the contract with "
        f"modules; this Lamina has {what} one, {_version(API_VERSION)}: {todo}"
    )


def _version(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _find(name: str) -> EntryPoint:
    found = {(point.value, _distribution(point)): point for point in entry_points(group=GROUP, name=name)}
    if len(found) > 1:
        claims = " and ".join(sorted(f"{distribution} ({value})" for value, distribution in found))
        raise LoadError(f"module {name!r} is claimed by {claims}; uninstall one of them")
    if not found:
        raise LoadError(_missing(name))
    return next(iter(found.values()))


def _missing(name: str) -> str:
    names = sorted(installed_modules())
    near = difflib.get_close_matches(name, names, 1, 0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"there is no module {name!r}; {hint}installed: {', '.join(names) or 'none'}"


def _import(point: EntryPoint) -> type[VfsModule]:
    try:
        kind = point.load()
    except Exception as error:
        # Whatever a vendor's code raises at import, the administrator needs to know whose it is.
        raise LoadError(f"module {point.name!r} of {_distribution(point)} cannot be imported: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, VfsModule)):
        raise LoadError(f"module {point.name!r} of {_distribution(point)}: {point.value} is not a VfsModule class")
    return kind


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unnamed distribution"
