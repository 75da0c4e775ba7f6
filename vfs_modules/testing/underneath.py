"""A layer that the suite puts right above the backend: it knows what is open there, and lets something happen there."""

from collections.abc import Callable
from typing import Any

from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Operation

_OPENS = frozenset({"open_root", "open", "open_stream", "durable_open"})


class Underneath(VfsModule, public=("happen", "opened")):
    """Calls `happen` with the name of each operation before it goes on, except `close`: that must always be done.

    `opened` are the handles that the layers above have not given back.
    """

    name = "underneath"

    def __init__(self) -> None:
        super().__init__()
        self.opened: dict[int, Any] = {}
        self.happen: Callable[[str], None] | None = None

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        """Take part in every operation that may wait."""
        name = operation.name
        if name == "close":
            return self._closing(call)
        if not operation.waits:
            return call
        opens = name in _OPENS

        def watched(*arguments: Any, **keywords: Any) -> Any:
            if self.happen is not None:
                self.happen(name)
            result = call(*arguments, **keywords)
            if opens:
                self.opened[id(result)] = result
            return result

        return watched

    def _closing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def close(token: Any, handle: Any) -> Any:
            self.opened.pop(id(handle), None)
            return call(token, handle)

        return close


__all__ = ["Underneath"]
