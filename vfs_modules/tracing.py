"""Following what a chain does: every call at every height as a tree of steps, with the time that each took.

A `Follower` taps one chain (`Chain.tap`) for as long as somebody looks, and gathers what is done under the request that
it is done for; who begins and ends requests is the protocol's business. Nothing here writes or waits. The chains of one
`Gathering` share what is under way: a request's steps in all of them are one tree.
"""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from time import perf_counter_ns
from types import MappingProxyType
from typing import Any, Final, TypeVar

from lamina.vfs_modules.chain import Chain, title
from lamina.vfs_modules.described import Trace, describe, error_name, named
from lamina.vfs_modules.engine import Task, current_task
from lamina.vfs_modules.extensions import Extension, Extensions
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import FileStat, Operation
from lamina.vfs_modules.token import ImpersonationToken

MAX_STEPS: Final = 500
"""How many steps of one request are kept; the rest is counted."""

_Key = TypeVar("_Key")
_OPENING: Final = frozenset({"open_root", "open", "open_stream"})
_COUNTING: Final = frozenset({"pread", "pwrite", "copy_range"})


class Step:
    """One call: the operation of a module, its arguments, what came of it, its nanoseconds, and the calls below it.

    `error`: the name of the errno, or of the exception; "" for a success. A root has no module.
    """

    __slots__ = ("arguments", "error", "module", "nanoseconds", "ongoing", "operation", "result", "steps")

    def __init__(self, module: str = "", operation: str = "", arguments: Mapping[str, Any] | None = None) -> None:
        self.module = module
        self.operation = operation
        self.arguments: Mapping[str, Any] = arguments or {}
        self.result: dict[str, Any] = {}
        self.error = ""
        self.nanoseconds = 0
        self.steps: list[Step] = []
        # The listings that go on in this request though they were begun in another call.
        self.ongoing: dict[Any, Step] | None = None

    @property
    def own_nanoseconds(self) -> int:
        """What it took without the calls below it."""
        return self.nanoseconds - sum(step.nanoseconds for step in self.steps)

    def all(self) -> "Iterator[Step]":
        """The steps below, in the order in which they began."""
        for step in self.steps:
            yield step
            yield from step.all()

    def as_record(self) -> dict[str, Any]:
        """Plain values, for JSON; times in microseconds."""
        record: dict[str, Any] = {"module": self.module, "operation": self.operation, "arguments": self.arguments}
        record |= {"error": self.error} if self.error else {"result": self.result}
        record |= {"us": _microseconds(self.nanoseconds), "own_us": _microseconds(self.own_nanoseconds)}
        return record | {"steps": [step.as_record() for step in self.steps]}


class Root(Step):
    """All that is done for one request. `left_out`: steps beyond `MAX_STEPS`."""

    __slots__ = ("count", "left_out")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.left_out = 0


def _microseconds(nanoseconds: int) -> float:
    return round(nanoseconds / 1000, 1)


class Gathering:
    """What is under way: for each request the step that it is in. Belongs to the thread that it is made in."""

    def __init__(self) -> None:
        self._current: dict[Task | None, tuple[Root, Step]] = {}
        self._thread = threading.get_ident()

    def begin(self, task: Task | None) -> Root:
        """A request begins; what is done in `task` belongs to it until `end`."""
        root = Root()
        self._current[task] = root, root
        return root

    def end(self, task: Task | None) -> None:
        """The request has ended."""
        self._current.pop(task, None)

    def is_elsewhere(self) -> bool:
        """Whether this is another thread, of which nothing is known."""
        return threading.get_ident() != self._thread

    def find(self, task: Task | None) -> tuple[Root, Step] | None:
        """The request of a task and the step that it is in; None where it is nobody's request."""
        return self._current.get(task)

    def run(self, task: Task | None, root: Root, step: Step, call: Callable[[], Any]) -> Any:
        """Call; what it does meanwhile is below `step`. What it raises becomes the step's error, and is raised."""
        before = self._current.get(task)
        self._current[task] = root, step
        begun = perf_counter_ns()
        try:
            return call()
        except StopIteration:
            raise
        except BaseException as error:
            step.error = error_name(error)
            raise
        finally:
            step.nanoseconds += perf_counter_ns() - begun
            if before is None:
                self._current.pop(task, None)
            else:
                self._current[task] = before


class Follower:
    """Follows one chain. `alone(token, root)` gets what nobody has asked for: the server's own doing."""

    def __init__(
        self,
        chain: Chain,
        gathering: Gathering,
        opened: Iterable[tuple[VfsHandle, str]],
        alone: Callable[[ImpersonationToken, Root], None],
    ) -> None:
        """`opened`: the handles that are open by now, with their paths from the share's root."""
        self._chain = chain
        self._gathering = gathering
        self._alone = alone
        self._numbers = itertools.count(1)
        self._traces = {handle: Trace(next(self._numbers), path) for handle, path in opened}

    def start(self) -> None:
        """Tap the chain. Raises what a module's `around` does."""
        self._chain.tap(self._tap)

    def stop(self) -> None:
        """Leave the chain as it was."""
        self._chain.tap(None)
        self._traces.clear()

    def extensions(self) -> Extensions:
        """What the modules add to the protocol, followed as operations are; the server is to use these meanwhile."""
        of = self._chain.extensions
        return replace(
            of,
            controls=self._extensions_of(of.controls),
            queries=self._extensions_of(of.queries),
            settings=self._extensions_of(of.settings),
            contexts=self._extensions_of(of.contexts),
        )

    def _extensions_of(self, table: Mapping[_Key, Extension]) -> Mapping[_Key, Extension]:
        followed = {
            key: one._replace(call=self._followed(one.owner, str(one.mark), one.call)) for key, one in table.items()
        }
        return MappingProxyType(followed)

    def _tap(self, module: VfsModule, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        return self._followed(title(module), operation.name, call)

    def _followed(self, module: str, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def followed(token: ImpersonationToken, *arguments: Any, **keywords: Any) -> Any:
            if self._gathering.is_elsewhere():
                return call(token, *arguments, **keywords)
            values = named(name, arguments, keywords)
            return self._follow(token, Step(module, name), values, lambda: call(token, *arguments, **keywords))

        # Modules may look whose a function is: see `reaches_kernel_files`.
        owner = getattr(call, "__self__", None)
        if owner is not None:
            followed.__self__ = owner  # type: ignore[attr-defined]
        return followed

    def _follow(self, token: ImpersonationToken, step: Step, values: Mapping[str, Any], call: Callable[[], Any]) -> Any:
        task = current_task()
        found = self._gathering.find(task)
        root, above = found if found is not None else (Root(),) * 2
        step.arguments = describe(step.operation, values, self._traces.get)
        _add(root, above, step)
        try:
            result = self._gathering.run(task, root, step, call)
            return self._noted(step, values, result)
        finally:
            if step.operation == "close":
                self._traces.pop(values["handle"], None)
            if found is None:
                root.nanoseconds = step.nanoseconds
                self._alone(token, root)

    def _noted(self, step: Step, values: Mapping[str, Any], result: Any) -> Any:
        """What to give back for a result, which the step tells of."""
        if step.operation in _OPENING and isinstance(result, VfsHandle):
            path = str(step.arguments.get("path", ""))
            known = self._traces.get(result)
            self._traces[result] = Trace(known.number if known is not None else next(self._numbers), path)
            step.result = {"handle": self._traces[result].number}
        elif step.operation == "readdir":
            step.result = {"entries": 0}
            return _Entries(self._gathering, step, iter(result))
        else:
            step.result = summary(step.operation, result)
        return result


def _add(root: Root, above: Step, step: Step) -> None:
    if root.count < MAX_STEPS:
        root.count += 1
        above.steps.append(step)
    else:
        root.left_out += 1


class _Entries:
    """A listing, which is read as it is asked for, perhaps in another request: there it is a step of its own."""

    def __init__(self, gathering: Gathering, step: Step, entries: Iterator[Any]) -> None:
        self._gathering = gathering
        self._first = step
        self._entries = entries

    def __iter__(self) -> "_Entries":
        return self

    def __next__(self) -> Any:
        task = current_task()
        found = None if self._gathering.is_elsewhere() else self._gathering.find(task)
        if found is None:
            return next(self._entries)
        root, above = found
        step = self._step(root, above)
        entry = self._gathering.run(task, root, step, self._entries.__next__)
        step.result["entries"] += 1
        return entry

    def _step(self, root: Root, above: Step) -> Step:
        ongoing = above.ongoing = above.ongoing if above.ongoing is not None else {}
        if self not in ongoing:
            first = self._first
            step = first if first in above.steps else Step(first.module, first.operation, first.arguments)
            if step is not first:
                step.result = {"entries": 0}
                _add(root, above, step)
            ongoing[self] = step
        return ongoing[self]

    def close(self) -> None:
        """Read no more of it."""
        close = getattr(self._entries, "close", None)
        if close is not None:
            close()


def summary(operation: str, result: Any) -> dict[str, Any]:
    """What is said of a result: how much was read or written, how long something is, how many there are."""
    if operation in _COUNTING:
        return {"count": result}
    if isinstance(result, FileStat):
        return {"size": result.size, "mode": f"{result.mode:o}", "ino": result.ino}
    if isinstance(result, bytes | bytearray | memoryview):
        return {"length": len(result)}
    if isinstance(result, list):
        return {"entries": len(result)}
    return {"target": result} if isinstance(result, str) else {}
