"""A backend that claims nothing: what is required of everybody, and no more, with `memory` behind it.

Whoever begins a backend can compare with it; and the suite is run on it, so that both values of every capability are.
"""

import errno
import os
from collections.abc import Callable
from typing import Any, Final

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Capability, DosAttributes, FileStat, Operation, Times
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.memory_node import Node
from lamina.vfs_modules.token import ImpersonationToken

ABSENT: Final = frozenset(
    {"link", "symlink", "readlink", "getxattr", "setxattr", "removexattr", "listxattr", "copy_range", "zero_range"}
    | {"open_stream", "remove_stream", "rename_stream", "set_security", "fallocate"}
)
"""The optional operations that `memory` has and this has not."""


def _absent(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


class MinimalBackend(MemoryBackend):
    """Files and directories whose names differ by more than case, and nothing else."""

    name = "minimal"
    provides = ()

    def capabilities(self, below: Capability) -> Capability:
        """None."""
        return Capability(0)

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        """What is optional is not there."""
        return _absent if operation.name in ABSENT else call

    def _spelt(self, directory: Node, name: str) -> str:
        """The name as the directory has it, whatever its case."""
        if name in directory.children:
            return name
        return next((one for one in directory.children if one.casefold() == name.casefold()), name)

    def _child(self, directory: Node, name: str) -> Node:
        return super()._child(directory, self._spelt(directory, name) if directory.is_directory else name)

    def _parent_of(self, directory: Node, path: str) -> tuple[Node, str]:
        parent, name = super()._parent_of(directory, path)
        return parent, self._spelt(parent, name)

    def fstat(self, token: ImpersonationToken, handle: VfsHandle) -> FileStat:
        """Without a time of birth."""
        return super().fstat(token, handle)._replace(btime_ns=None)

    def get_dos_attributes(self, token: ImpersonationToken, handle: VfsHandle, stat: FileStat) -> DosAttributes:
        """None, and no time of birth."""
        return DosAttributes(0, None)

    def set_times(self, token: ImpersonationToken, handle: VfsHandle, times: Times) -> None:
        """The two that everybody keeps."""
        super().set_times(token, handle, times._replace(change_ns=None, creation_ns=None))


__all__ = ["ABSENT", "MinimalBackend"]
