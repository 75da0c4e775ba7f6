"""The base classes of VFS modules: `VfsModule` for one that stands in a chain, `Backend` for the last of a chain.

A module overrides the operations it cares about; everything else forwards to the layers below and, in a compiled
chain, costs nothing. A class with a public name that is no operation, or an operation whose signature has drifted from
the specification, is refused where it is defined.
"""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import OPERATIONS, Capability, Operation, Operations
from lamina.vfs_modules.services.module_services import ModuleServices
from lamina.vfs_modules.services.surroundings import Surroundings

_LISTENER = "lamina_impl"  # what `hooks.listens` leaves on a method

EXTENSION_MARK = "lamina_extension"
"""What the decorators of `extensions` leave on a method."""

_DECLARATIONS = frozenset({"before", "after", "requires", "conflicts", "provides"})
_VERSIONS = frozenset({"api_version", "api_before"})

_NO_SUBSTITUTIONS: Mapping[str, str] = MappingProxyType({})


class ModuleError(TypeError):
    """A module class or a chain that cannot work; the message says which, where and what would."""


def named_by_samba(module: str, *same: str, **other: str) -> Mapping[str, str]:
    """The `samba_names` of a module's options: those with the `same` names under Samba's `module`, and the `other`s.

    A name with a colon is taken as it is; so are all where `module` is "", for options that are no module's there.
    """
    names = {name: name for name in same} | other
    return {name: theirs if ":" in theirs or not module else f"{module}:{theirs}" for name, theirs in names.items()}


class ModuleOptions(BaseModel):
    """The base of every module's `Options`: typed, documented, immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samba_names: ClassVar[Mapping[str, str]] = {}
    """What options that Samba has are called there, as "module:option"; they may be given by that name as well."""

    @model_validator(mode="before")
    @classmethod
    def _by_our_names(cls, given: Any) -> Any:
        if not cls.samba_names or not isinstance(given, Mapping):
            return given
        ours = {theirs: name for name, theirs in cls.samba_names.items()}
        ours |= {theirs.partition(":")[2]: name for theirs, name in ours.items() if ":" in theirs}
        renamed: dict[str, Any] = {}
        for key, value in given.items():
            name = str(key) if key in cls.model_fields else ours.get(key, str(key))
            if name in renamed:
                raise ValueError(f"{name!r} is given twice, once as Samba calls it")
            renamed[name] = value
        return renamed


@dataclass(frozen=True, slots=True)
class ShareInfo:
    """What a chain is built for. `path` is the share's folder; `substitutions` the values of %S, %h … for options.

    Without `follow_symlinks` a backend follows no symbolic link: where one is in the way it says ELOOP. `surroundings`
    is for the framework: modules have what comes of it as `self.log`, `self.storage` …
    """

    name: str
    path: str
    read_only: bool = False
    substitutions: Mapping[str, str] = field(default_factory=lambda: _NO_SUBSTITUTIONS)
    follow_symlinks: bool = True
    surroundings: Surroundings = field(default_factory=Surroundings, compare=False, repr=False)


class VfsModule(ModuleServices, Operations):
    """A piece of a chain. `next` is everything below it; `slot` its place in every handle's `slots`.

    Class attributes describe it: `name` (as configuration calls it), the first version of the contract that it works
    with (`api_version`) and the first that it does not (`api_before`; without one, the next major version), and what it
    wants of a chain (`order`): what it must stand somewhere above (`before`) and below (`after`), what must be there
    (`requires`) and must not (`conflicts`), each the name of a module or of what one `provides`;
    `keeps_streams`: its `open_stream` returns handles of its own kind (see `streams`).
    Public names other than operations are declared: `class Recycle(VfsModule, public=("purge",))`.
    """

    Options: ClassVar[type[ModuleOptions]] = ModuleOptions
    name: ClassVar[str] = ""
    api_version: ClassVar[tuple[int, int]] = (1, 0)
    api_before: ClassVar[tuple[int, int] | None] = None
    before: ClassVar[tuple[str, ...]] = ()
    after: ClassVar[tuple[str, ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ()
    conflicts: ClassVar[tuple[str, ...]] = ()
    provides: ClassVar[tuple[str, ...]] = ()
    keeps_streams: ClassVar[bool] = False

    options: ModuleOptions
    next: Operations
    share: ShareInfo | None
    slot: int
    slot_count: int

    def __init__(self, options: ModuleOptions | None = None) -> None:
        """`options`: an instance of this class's `Options`; without, all its defaults."""
        self.options = self.Options() if options is None else options
        if not isinstance(self.options, self.Options):
            raise ModuleError(f"{type(self).__qualname__} takes its own Options, not {type(options).__qualname__}")
        self.share = None
        self.title = self.name or type(self).__qualname__
        self.slot = -1
        self.slot_count = 0

    def __init_subclass__(cls, *, public: Iterable[str] = (), **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        allowed = _PUBLIC | set(public)
        for name, value in vars(cls).items():
            if name in OPERATIONS:
                _check_signature(cls, name, value)
            elif name in _DECLARATIONS:
                _check_declaration(cls, name, value)
            elif name in _VERSIONS:
                _check_version(cls, name, value)
            elif not (name.startswith("_") or name in allowed or _inherited(cls, name) or _is_marked(value)):
                raise ModuleError(_stranger(cls, name))

    def connect(self, share: ShareInfo) -> None:
        """Get ready to serve `share`; the layers below are connected. Raises OSError to refuse."""

    def reload(self, previous: "VfsModule") -> None:
        """Take over what is worth keeping from `previous`, whose place in a live share this module takes.

        Called after `connect`, when a configuration has been read again: with the module of the same class that the
        share's chain had until now, whose options may have been others. What is open stays with `previous`, which is
        disconnected when the last of it is closed; so what it needs may be shared or copied, and not taken from it.
        Raises OSError to refuse: everything then stays as it was, as it does where another module or share refuses.
        """

    def disconnect(self) -> None:
        """Give back what `connect` took; called only after it succeeded, from the top down."""

    def capabilities(self, below: Capability) -> Capability:
        """What the chain can do from here up, given what it can do below. Asked after `connect`."""
        return below

    def one_process(self) -> str:
        """Why a share with this module must be served by one process, in words that go on after its name; "" if not.

        Several worker processes each have a module of their own, and serve the same files with them at once. It may be
        among those that do where all it keeps is in the files, or need not be agreed upon. Asked before `connect`.
        """
        return "does not say that several worker processes may serve its files at once"

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        """The function to use for `operation` at this height.

        Asked when the chain is built, and again when somebody traces it. `call` is this module's own implementation, or
        else that of the layers below. A module that is not interested returns `call` itself, and then costs nothing.
        """
        return call

    def state(self, handle: VfsHandle) -> Any:
        """What this module keeps for an open handle, or None."""
        slots = handle.slots
        return None if slots is None else slots[self.slot]

    def set_state(self, handle: VfsHandle, state: Any) -> None:
        """Keep something for an open handle."""
        if handle.slots is None:
            handle.slots = [None] * self.slot_count
        handle.slots[self.slot] = state


def _forwarding(name: str, contract: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(contract)
    def forward(self: VfsModule, *arguments: Any, **keywords: Any) -> Any:
        return getattr(self.next, name)(*arguments, **keywords)

    return forward


for _name in OPERATIONS:
    setattr(VfsModule, _name, _forwarding(_name, getattr(Operations, _name)))

_PUBLIC = {name for kind in (VfsModule, ModuleServices) for name in vars(kind) if not name.startswith("_")}
_PUBLIC |= {"options", "next", "share", "slot"}


def _inherited(cls: type, name: str) -> bool:
    return any(name in vars(base) and base is not VfsModule for base in cls.__mro__[1:])


def _is_marked(value: object) -> bool:
    return hasattr(value, _LISTENER) or hasattr(value, EXTENSION_MARK)


def _where(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _stranger(cls: type, name: str) -> str:
    near = difflib.get_close_matches(name, OPERATIONS, 1, 0.6)
    hint = f"did you mean {near[0]!r}?" if near else "a helper's name starts with an underscore"
    return f"{_where(cls)}: {name!r} is no operation of the VFS specification ({hint})"


def _shape(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    return [(item.name, item.kind, item.default) for item in inspect.signature(function).parameters.values()]


def _check_signature(cls: type, name: str, value: object) -> None:
    contract = getattr(Operations, name)
    if not inspect.isfunction(value) or inspect.iscoroutinefunction(value):
        raise ModuleError(f"{_where(cls)}.{name}: an operation is a plain method; to wait, call engine.wait()")
    if _shape(value) != _shape(contract):
        raise ModuleError(
            f"{_where(cls)}.{name}{_parameters(value)} differs from the specification: {name}{_parameters(contract)}"
        )


def _check_declaration(cls: type, name: str, value: object) -> None:
    # A string is a sequence of strings too, and would be taken for the names of its letters.
    if not isinstance(value, tuple) or not all(isinstance(item, str) for item in value):
        raise ModuleError(f'{_where(cls)}.{name}: must be a tuple of names, such as ("streams",), not {value!r}')


def _check_version(cls: type, name: str, value: object) -> None:
    if value is None and name == "api_before":
        return
    if not (isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, int) for part in value)):
        raise ModuleError(f"{_where(cls)}.{name}: must be a version of the contract such as (1, 0), not {value!r}")


def _parameters(function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    bare = [item.replace(annotation=inspect.Parameter.empty) for item in signature.parameters.values()]
    return str(inspect.Signature(bare))


class Backend(VfsModule, public=("kernel_files", "sendable")):
    """The last module of a chain: nothing is below it, and what it does not implement is the contract's default.

    `kernel_files` says that `VfsHandle.fd` is a descriptor of the real file, so that a module above may use it.
    """

    kernel_files: ClassVar[bool] = False

    def sendable(self, handle: VfsHandle, offset: int, length: int) -> int:
        """How many bytes of a range the kernel can send from `handle.fd` without waiting (sendfile(2)).

        As many as a `pread` of the range would answer with, or 0: it is to be read. Asked only where no module above
        has to do with `pread`, for a handle open for READ.
        """
        return 0


for _name in OPERATIONS:
    setattr(Backend, _name, getattr(Operations, _name))


def implements(kind: type[VfsModule], name: str) -> bool:
    """Whether a module class has an implementation of its own for operation `name`."""
    base = Backend if issubclass(kind, Backend) else VfsModule
    return getattr(kind, name) is not getattr(base, name)


def reaches_kernel_files(module: VfsModule, operation: str) -> bool:
    """Whether `operation` below `module` is a backend's own, on real descriptors, with no module in between."""
    owner = getattr(getattr(module.next, operation), "__self__", None)
    return isinstance(owner, Backend) and owner.kernel_files
