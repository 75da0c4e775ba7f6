"""A module that makes operations fail: errors, delays, short reads and torn writes, the same ones for the same seed.

For tests of what stands above it: a client, a module, an application. Each rule draws its own random numbers, so that
what one rule does is not changed by another. With `changeable` a test gives it other rules while it runs.
"""

import errno
import itertools
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from lamina.vfs_modules.chosen import OperationNames
from lamina.vfs_modules.described import Trace, describe, named
from lamina.vfs_modules.engine import sleep
from lamina.vfs_modules.module import ModuleOptions, VfsModule
from lamina.vfs_modules.operations import OPERATIONS, Operation
from lamina.vfs_modules.token import ImpersonationToken

_NUMBERS: Final[Mapping[str, int]] = MappingProxyType({name: number for number, name in errno.errorcode.items()})

_REMEMBERED: Final = 10_000
_OPENING: Final = frozenset({"open", "open_stream"})


def _known_error(name: str) -> str:
    if name not in _NUMBERS:
        raise ValueError(f"no error is called {name!r}; write one such as EIO or ENOSPC")
    return name


class Fault(ModuleOptions):
    """One rule: to which operations something happens, how often, and what."""

    operations: OperationNames = Field(description='the operations that it happens to, or "all"')
    error: Annotated[str, AfterValidator(_known_error)] | None = Field(
        default=None, description='the error that they fail with instead of being done, such as "EIO"'
    )
    delay: float = Field(default=0.0, ge=0, description="seconds that they wait before they are done")
    short_read: bool = Field(default=False, description="a `pread` that answers with fewer bytes than there are")
    torn_write: bool = Field(default=False, description="a `pwrite` that writes a part, and fails then")
    path: str = Field(
        default="",
        description='only to files of this name (a pattern with *, ?), or, with a "/" in it, of this path in the share',
    )
    probability: float = Field(default=1.0, ge=0, le=1, description="how likely it is each time")
    after: int = Field(default=0, ge=0, description="how many calls are spared first")
    times: int | None = Field(default=None, ge=1, description="how often it happens at most; without, for ever")

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.error is None and not (self.delay or self.short_read or self.torn_write):
            raise ValueError("a fault needs error, delay, short_read or torn_write")
        if self.short_read and self.operations != {"pread"}:
            raise ValueError("short_read is for pread, and no other operation")
        if self.torn_write and self.operations != {"pwrite"}:
            raise ValueError("torn_write is for pwrite, and no other operation")
        return self


class FaultsOptions(ModuleOptions):
    """Options of `faults`."""

    seed: int = Field(default=0, description="what chance starts from: the same number, the same faults")
    faults: tuple[Fault, ...] = Field(default=(), description="the rules; all that fit an operation happen to it")
    changeable: bool = Field(
        default=False, description="whether a program may give it other rules later: every operation passes through it"
    )


class Injected(NamedTuple):
    """One fault that happened: the operation, the rule's number, which call it was for that rule, and of which file.

    `path` is only known where a rule is about paths, or the rules may change.
    """

    operation: str
    rule: int
    call: int
    path: str = ""


class _Rule:
    """A fault and where it has come to."""

    def __init__(self, number: int, fault: Fault, seed: int) -> None:
        self.number = number
        self.fault = fault
        self.chance = random.Random(f"{seed}/{number}")  # noqa: S311 - it is to be repeatable
        self.calls = 0
        self.happened = 0

    def concerns(self, operation: str, paths: Iterable[str]) -> bool:
        """Whether it is about an operation on these paths: of a rename, the old one and the new one."""
        if operation not in self.fault.operations:
            return False
        pattern = self.fault.path.lower()
        names = paths if "/" in pattern else (path.rpartition("/")[2] for path in paths)
        return not pattern or any(fnmatchcase(name.lower(), pattern.lstrip("/")) for name in names)

    def strikes(self) -> bool:
        """Whether it happens this time."""
        self.calls += 1
        fault = self.fault
        if self.calls <= fault.after or (fault.times is not None and self.happened >= fault.times):
            return False
        if self.chance.random() >= fault.probability:
            return False
        self.happened += 1
        return True


class FaultsModule(VfsModule, public=("inject", "injected", "set_faults")):
    """Makes operations fail. `injected` are the last faults that happened, in order."""

    Options = FaultsOptions
    name: ClassVar[str] = "faults"

    options: FaultsOptions

    def __init__(self, options: FaultsOptions | None = None) -> None:
        super().__init__(options)
        self.injected: deque[Injected] = deque(maxlen=_REMEMBERED)
        self._numbers = itertools.count()
        self._rules: tuple[_Rule, ...] = tuple(map(self._rule, self.options.faults))

    def _rule(self, fault: Fault) -> _Rule:
        return _Rule(next(self._numbers), fault, self.options.seed)

    def one_process(self) -> str:
        """The same faults for the same seed: of several processes the first call is now one's, now another's."""
        return "lets faults happen after so many calls, in an order that several processes do not have"

    def inject(self, *operations: str, **what: Any) -> int:
        """One more rule from now on: `inject("pwrite", error="ENOSPC", times=1)`; its number, as in `Injected`.

        `what`: the fields of `Fault`. For a module that is `changeable`; raises ValueError for what is no fault.
        """
        rule = self._rule(self._checked(Fault(operations=frozenset(operations), **what)))
        self._rules = (*self._rules, rule)
        return rule.number

    def set_faults(self, *faults: Fault) -> None:
        """Let these rules hold from now on and no others; without any nothing fails any more."""
        self._rules = tuple(self._rule(self._checked(fault)) for fault in faults)

    def _checked(self, fault: Fault) -> Fault:
        if not self.options.changeable:
            raise ValueError("these faults cannot be changed: make the module with FaultsOptions(changeable=True)")
        return fault

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        """Let faults happen to the operations that a rule names."""
        name = operation.name
        knows_paths = self.options.changeable or any(rule.fault.path for rule in self._rules)
        concerned = self.options.changeable or any(name in rule.fault.operations for rule in self._rules)
        if name not in OPERATIONS or not (concerned or (knows_paths and name in _OPENING)):
            return call

        def faulty(token: ImpersonationToken, *arguments: Any, **keywords: Any) -> Any:
            paths = self._paths(name, arguments, keywords) if knows_paths else ()
            struck = [rule for rule in self._rules if rule.concerns(name, paths) and rule.strikes()]
            done = call
            for rule in struck:
                self.injected.append(Injected(name, rule.number, rule.calls, paths[0] if paths else ""))
                done = self._with_fault(rule, name, done)
            result = done(token, *arguments, **keywords)
            if knows_paths and name in _OPENING:
                self.set_state(result, Trace(0, paths[0] if paths else ""))
            return result

        return faulty

    def _paths(self, name: str, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> tuple[str, ...]:
        """The paths from the share's root that an operation is about; that of a handle is the one it was opened by."""
        told = describe(name, named(name, arguments, keywords), self.state)
        return tuple(str(told[key]) for key in ("path", "target") if told.get(key))

    def _with_fault(self, rule: _Rule, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        fault = rule.fault

        def act(*arguments: Any, **keywords: Any) -> Any:
            if fault.delay:
                (sleep if OPERATIONS[name].waits else time.sleep)(fault.delay)
            if fault.torn_write:
                _tear(rule, call, *arguments)
            if fault.error is not None and not fault.short_read:
                # What `close` had to give back it gives back: a failing close is no leak (`Operations.close`).
                if name == "close":
                    call(*arguments, **keywords)
                _fail(fault.error)
            return _read_short(rule, call, *arguments) if fault.short_read else call(*arguments, **keywords)

        return act


def _fail(name: str) -> None:
    raise OSError(_NUMBERS[name], f"{os.strerror(_NUMBERS[name])} (injected)")


def _tear(rule: _Rule, write: Callable[..., int], token: Any, handle: Any, data: memoryview, offset: int) -> None:
    part = rule.chance.randrange(len(data)) if data else 0
    if part:
        write(token, handle, data[:part], offset)
    _fail(rule.fault.error or "EIO")


def _read_short(rule: _Rule, read: Callable[..., int], token: Any, handle: Any, buffer: memoryview, offset: int) -> int:
    got = read(token, handle, buffer, offset)
    return rule.chance.randrange(got) if got else 0
