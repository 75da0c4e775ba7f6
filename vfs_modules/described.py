"""A call in words: the arguments of an operation by their names in the contract, its result, its error.

For audit records and traces.

The path of a handle is that by which it was opened: a module keeps it for each (`Trace`).
"""

import errno
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import OPERATIONS, Operations


class Trace(NamedTuple):
    """What is remembered of an open handle: a number of its own, and the path from the share's root."""

    number: int
    path: str


Traces = Callable[[VfsHandle], Trace | None]
"""What is remembered of a handle; None for the root, and where nothing is."""

_NAMES: Final = MappingProxyType(
    {name: tuple(inspect.signature(getattr(Operations, name)).parameters)[2:] for name in OPERATIONS}
)
_PLAIN: Final = ("name", "target", "offset", "length", "mode", "uid", "gid", "replace", "compressed", "deallocate")


def named(operation: str, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call after the token, by name."""
    return dict(zip(_NAMES.get(operation, ("opened",)), arguments, strict=False)) | dict(keywords)


def describe(operation: str, values: Mapping[str, Any], traces: Traces) -> dict[str, Any]:
    """The fields of a record that say on what an operation was done, and with which arguments."""
    special = _SPECIAL.get(operation)
    if special is not None:
        return special(values, traces)
    if "opened" in values:
        return {"path": values["opened"].path}
    if "directory" in values:
        found: dict[str, Any] = {"path": _beneath(values["directory"], values.get("path", ""), traces)}
    elif "handle" in values:
        found = _of_handle(values["handle"], traces)
    else:
        found = {}
    found |= {key: values[key] for key in _PLAIN if key in values}
    for data in ("buffer", "data"):
        if data in values:
            found["length"] = len(values[data])
    return found


def error_name(error: BaseException) -> str:
    """The name of an error's number, or that of the exception where it has none."""
    number = error.errno if isinstance(error, OSError) else None
    return errno.errorcode.get(number, "EIO") if number is not None else type(error).__name__


def path_of(handle: VfsHandle, traces: Traces) -> str:
    """The path that a handle was opened by; "" for the root."""
    trace = traces(handle)
    return trace.path if trace is not None else ""


def _of_handle(handle: VfsHandle, traces: Traces) -> dict[str, Any]:
    trace = traces(handle)
    return {"path": trace.path, "handle": trace.number} if trace is not None else {"path": ""}


def _beneath(directory: VfsHandle, path: str, traces: Traces) -> str:
    above = path_of(directory, traces)
    return f"{above}/{path}" if above and path else above or path


def _open(values: Mapping[str, Any], traces: Traces) -> dict[str, Any]:
    how = values["how"]
    path = _beneath(values["directory"], values["path"], traces)
    return {"path": path, "access": how.access.name.lower(), "create": how.create}


def _open_stream(values: Mapping[str, Any], traces: Traces) -> dict[str, Any]:
    how = values["how"]
    path = f"{path_of(values['handle'], traces)}:{values['name']}"
    return {"path": path, "access": how.access.name.lower(), "create": how.create}


def _rename(values: Mapping[str, Any], traces: Traces) -> dict[str, Any]:
    return {
        "path": _beneath(values["source_directory"], values["source"], traces),
        "target": _beneath(values["target_directory"], values["target"], traces),
        "replace": values["replace"],
    }


def _rename_stream(values: Mapping[str, Any], traces: Traces) -> dict[str, Any]:
    path = path_of(values["handle"], traces)
    return {"path": f"{path}:{values['source']}", "target": f"{path}:{values['target']}", "replace": values["replace"]}


def _link(values: Mapping[str, Any], traces: Traces) -> dict[str, Any]:
    target = _beneath(values["directory"], values["path"], traces)
    return {"path": path_of(values["handle"], traces), "target": target}


def _between(values: Mapping[str, Any], traces: Traces) -> dict[str, Any]:
    return {
        "path": path_of(values["source"], traces),
        "target": path_of(values["target"], traces),
        "offset": values["source_offset"],
        "target_offset": values["target_offset"],
        "length": values["length"],
    }


_SPECIAL: Final[Mapping[str, Callable[[Mapping[str, Any], Traces], dict[str, Any]]]] = MappingProxyType(
    {
        "open": _open,
        "open_stream": _open_stream,
        "rename": _rename,
        "rename_stream": _rename_stream,
        "link": _link,
        "copy_range": _between,
        "clone_range": _between,
    }
)
