"""A module that makes operations wait, so that a test can prove that waiting stops nobody else.

With `seconds` every chosen operation sleeps that long; between `hold` and `release` it is parked until the test lets it
go on. Everything runs on the event loop; a request that is cancelled while it is parked never reaches the layers below.
"""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import Field, field_validator

from lamina.vfs_modules.engine import wait
from lamina.vfs_modules.module import ModuleOptions, VfsModule
from lamina.vfs_modules.operations import OPERATIONS, Operation


class DelayOptions(ModuleOptions):
    """Options of `delay`."""

    seconds: float = Field(default=0.0, ge=0, description="how long each chosen operation waits")
    operations: frozenset[str] = Field(
        default=frozenset({"pread", "pwrite", "fsync"}), description="the operations that wait, by name"
    )

    @field_validator("operations")
    @classmethod
    def _known(cls, names: frozenset[str]) -> frozenset[str]:
        unknown = names - {name for name, operation in OPERATIONS.items() if operation.waits}
        if unknown:
            raise ValueError(f"no operation that may wait is called {', '.join(sorted(unknown))}")
        return names


class DelayModule(VfsModule, public=("hold", "release", "parked")):
    """Makes operations wait."""

    Options = DelayOptions
    name: ClassVar[str] = "delay"

    options: DelayOptions

    def __init__(self, options: DelayOptions | None = None) -> None:
        super().__init__(options)
        self._held = False
        self._parked: list[asyncio.Future[None]] = []

    def one_process(self) -> str:
        """All that it keeps is in the files."""
        return ""

    @property
    def parked(self) -> int:
        """How many operations are held just now."""
        return len(self._parked)

    def hold(self) -> None:
        """Park every chosen operation from now on."""
        self._held = True

    def release(self, count: int | None = None) -> None:
        """Let `count` parked operations go on, the oldest first; without a number all, and those to come."""
        if count is None:
            self._held = False
        for future in self._parked[:count]:
            if not future.done():
                future.set_result(None)

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        """Let the chosen operations pause first."""
        if operation.name not in self.options.operations:
            return call

        def delayed(*arguments: Any, **keywords: Any) -> Any:
            self._pause()
            return call(*arguments, **keywords)

        return delayed

    def _pause(self) -> None:
        if self.options.seconds:
            wait(asyncio.sleep(self.options.seconds))
        if not self._held:
            return
        future = asyncio.get_running_loop().create_future()
        self._parked.append(future)
        try:
            wait(future)
        finally:
            self._parked.remove(future)
