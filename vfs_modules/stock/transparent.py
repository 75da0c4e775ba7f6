"""A module that passes operations on and does nothing else: what a layer costs is measured with it."""

from collections.abc import Callable
from typing import Any

from pydantic import Field

from lamina.vfs_modules.chosen import OperationNames
from lamina.vfs_modules.module import ModuleOptions, VfsModule
from lamina.vfs_modules.operations import Operation


class TransparentOptions(ModuleOptions):
    """Options of `transparent`."""

    operations: OperationNames = Field(
        default=frozenset(),
        description='the operations that are passed on by a function of this module, or "all"; the others go past it',
    )


class TransparentModule(VfsModule):
    """Passes operations on."""

    Options, name = TransparentOptions, "transparent"
    options: TransparentOptions

    def one_process(self) -> str:
        """All that it keeps is in the files."""
        return ""

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        """One frame in between for the chosen operations, none for the others."""
        if operation.name not in self.options.operations:
            return call

        def forward(*arguments: Any, **keywords: Any) -> Any:
            return call(*arguments, **keywords)

        return forward
