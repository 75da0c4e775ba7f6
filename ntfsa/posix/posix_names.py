"""Names in opens with the POSIX create context: every character but "/" and NUL stands for itself, and case counts.

Only "/" stands between components. The characters that NT reserves are sent as they are, or mapped by clients that do
so for other servers as well: at U+F000 + code (see `names`), or from U+F020 on, as Services for Macintosh had them and
Linux has when it is mounted with mapposix. All mean the same file. There are no streams.
"""

from typing import TYPE_CHECKING, Final

from lamina.ntfsa.file_state import is_directory
from lamina.ntfsa.naming.lookup import Resolved, exact_path, join, resolve, stat_or_none
from lamina.ntfsa.naming.names import MAX_COMPONENT, MAX_PATH, ROOT, NtPath, parse_path, to_posix
from lamina.ntfsa.status import NtStatus, NtStatusError

_MAPPED: Final = dict(zip(range(0xF020, 0xF028), '"*:<>?\\|', strict=True))
_AT_THE_END: Final = {"\uf028": " ", "\uf029": "."}

if TYPE_CHECKING:
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.token import ImpersonationToken


def parse_posix_path(path: str) -> NtPath:
    """Split and check a path from the share's root.

    Raises INVALID_PARAMETER for a leading "/", OBJECT_PATH_SYNTAX_BAD for "..", OBJECT_NAME_INVALID for everything
    else that no file can be called.
    """
    if not path:
        return ROOT
    if path[0] == "/":
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a path must not begin with a separator")
    if len(path) > MAX_PATH or "\0" in path:
        raise NtStatusError(NtStatus.OBJECT_NAME_INVALID, "a path too long, or with NUL in it")
    trailing = path.endswith("/")
    components = tuple(map(unmapped, (path[:-1] if trailing else path).split("/")))
    for component in components:
        if component == "..":
            raise NtStatusError(NtStatus.OBJECT_PATH_SYNTAX_BAD)
        if component in {"", "."} or len(component) > MAX_COMPONENT:
            raise NtStatusError(NtStatus.OBJECT_NAME_INVALID, f"not a valid name: {component!r}")
    return NtPath(components, trailing_separator=trailing)


def unmapped(component: str) -> str:
    """A name as it is on disk, whichever way its client has mapped what NT reserves."""
    if component.isascii():
        return component
    last = _AT_THE_END.get(component[-1:])
    return (component if last is None else component[:-1] + last).translate(_MAPPED)


def parse_as(posix: bool, path: str) -> NtPath:
    """A client's path, as it is meant in an open with the POSIX create context or in one without."""
    return parse_posix_path(path) if posix else parse_path(path)


def resolve_as(posix: bool, volume: "NtVolume", token: "ImpersonationToken", components: tuple[str, ...]) -> Resolved:
    """Where a path leads (see `lookup.resolve`): with `posix` to exactly these names and no others."""
    return _resolve_exact(volume, token, components) if posix and components else resolve(volume, token, components)


def _resolve_exact(volume: "NtVolume", token: "ImpersonationToken", components: tuple[str, ...]) -> Resolved:
    parent = exact_path(components[:-1])
    stat = stat_or_none(volume, token, parent)
    if stat is None or not is_directory(stat):
        raise NtStatusError(NtStatus.OBJECT_PATH_NOT_FOUND)
    name = to_posix(components[-1])
    found = stat_or_none(volume, token, join(parent, name), follow=False) is not None
    return Resolved(parent, stat, name, found)
