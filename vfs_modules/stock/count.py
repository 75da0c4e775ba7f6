"""A module that counts operations: how often each was done, and how often it failed."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from lamina.vfs_modules.chosen import OperationNames
from lamina.vfs_modules.module import ModuleOptions, VfsModule
from lamina.vfs_modules.operations import OPERATIONS, Operation

log = logging.getLogger(__name__)


class CountOptions(ModuleOptions):
    """Options of `count`."""

    operations: OperationNames = Field(
        default=frozenset(OPERATIONS), description='the operations that are counted, or "all"'
    )
    log: bool = Field(default=True, description="whether the counts are logged when the share is no longer served")


class Count(NamedTuple):
    """How often an operation was called, and how many of these calls failed."""

    calls: int
    failures: int


class CountModule(VfsModule, public=("counts", "reset")):
    """Counts operations."""

    Options = CountOptions
    name: ClassVar[str] = "count"

    options: CountOptions

    def __init__(self, options: CountOptions | None = None) -> None:
        super().__init__(options)
        self._calls: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()

    def one_process(self) -> str:
        """A test asks it what was done, and asks one."""
        return "counts what one process does, which of several nobody could ask (`lamina status` counts for all)"

    def counts(self) -> Mapping[str, Count]:
        """What has been counted, by operation; those that were not called are left out."""
        return {name: Count(calls, self._failures[name]) for name, calls in sorted(self._calls.items())}

    def reset(self) -> None:
        """Start again from nothing."""
        self._calls.clear()
        self._failures.clear()

    def disconnect(self) -> None:
        """Say what was counted."""
        if self.options.log and self.share is not None:
            log.info("share %s: %s", self.share.name, _in_words(self.counts()) or "nothing was done")

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        """Count the chosen operations, and what modules add to the protocol with them."""
        name = operation.name
        if name in OPERATIONS and name not in self.options.operations:
            return call
        calls, failures = self._calls, self._failures

        def counted(*arguments: Any, **keywords: Any) -> Any:
            calls[name] += 1
            try:
                return call(*arguments, **keywords)
            except BaseException:
                failures[name] += 1
                raise

        return counted


def _in_words(counts: Mapping[str, Count]) -> str:
    return ", ".join(
        f"{name} {count.calls}" + (f" ({count.failures} failed)" if count.failures else "")
        for name, count in counts.items()
    )
