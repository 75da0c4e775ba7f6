"""The chain: a share's modules compiled into one bound function per operation.

Folded once, from the backend up. What no module touches *is* the backend's bound method (`chain.pread ==
backend.pread`), so a module costs nothing where it does nothing. The order is the administrator's and no other.

Where a module keeps streams itself (`streams`), a function on handles may be one of two. Modules above it see both
kinds through one function; `Chain.files` has the functions for handles that are known to be no stream's.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from types import MethodType
from typing import Any, NamedTuple

from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.extensions import Extensions, collect
from lamina.vfs_modules.module import Backend, ModuleError, ShareInfo, VfsModule, implements
from lamina.vfs_modules.operations import BACKEND_MUST_IMPLEMENT, OPERATIONS, Capability, Operation, Operations
from lamina.vfs_modules.order import declared, judge
from lamina.vfs_modules.streams import ON_STREAMS, either
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

log = logging.getLogger(__name__)

__all__ = ["Chain", "ShareInfo", "build_chain"]


_Wrap = Callable[[Operation, Callable[..., Any]], Callable[..., Any]]

Tap = Callable[[VfsModule, Operation, Callable[..., Any]], Callable[..., Any]]
"""What stands in the place of a module's function of an operation, while somebody looks at what modules do."""

_DEFAULTS = Operations()
_DATA = ("pread", "pwrite")
_NEEDED_FOR = {
    "clone_range": Capability.REFLINK,
    "zero_range": Capability.SPARSE,
    "allocated_ranges": Capability.SPARSE,
}


class Next(Operations):
    """Everything below one module: each operation is the bound function that answers it."""

    __slots__ = tuple(OPERATIONS)

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        for name, function in functions.items():
            setattr(self, name, function)


class _Views(NamedTuple):
    """The functions at one height, for the handles of files and for those of streams that a module keeps itself."""

    files: Mapping[str, Callable[..., Any]]
    streams: Mapping[str, Callable[..., Any]]

    def both(self) -> dict[str, Callable[..., Any]]:
        """Those for any handle."""
        return {name: either(name, call, self.streams[name]) for name, call in self.files.items()}


class Chain(Next):
    """A compiled chain. Every operation is an attribute; `modules` from the top, the backend last.

    `capabilities` are what the chain can do: none until it is connected. `files` are the same operations for handles
    that `open_stream` has not made: what streams cost, files do not pay there. `extensions`: what the modules add to
    the protocol.
    """

    __slots__ = (
        "_compiled",
        "_connected",
        "_taking_part",
        "_views",
        "_wrap",
        "capabilities",
        "extensions",
        "files",
        "modules",
        "share",
    )

    def __init__(
        self,
        modules: tuple[VfsModule, ...],
        share: ShareInfo,
        views: tuple[_Views, ...],
        taking_part: Mapping[str, tuple[VfsModule, ...]],
        extensions: Extensions,
    ) -> None:
        super().__init__(views[0].both())
        self.files = Next(views[0].files)
        self._compiled = self._views = views
        self._wrap: _Wrap | None = None
        self.modules = modules
        self.share = share
        self.extensions = extensions
        self.capabilities = Capability(0)
        self._taking_part = taking_part
        self._connected: list[VfsModule] = []

    def connect(self, token: ImpersonationToken = SERVER_TOKEN) -> None:
        """Connect the modules from the backend up. If one refuses, those that had connected are disconnected again."""
        capabilities = Capability(0)
        try:
            for module in reversed(self.modules):
                assume(token)
                module.connect(self.share)
                self._connected.append(module)
                capabilities = module.capabilities(capabilities) & ~_hidden(module)
        except BaseException:
            self.disconnect(token)
            raise
        self.capabilities = capabilities

    def take_over(self, previous: "Chain", token: ImpersonationToken = SERVER_TOKEN) -> None:
        """Let each module take over from that of its class in `previous`, the chain of the share until now.

        Raises what a module's `reload` does.
        """
        left = list(previous.modules)
        for module in reversed(self.modules):
            before = next((one for one in reversed(left) if type(one) is type(module)), None)
            if before is not None:
                left.remove(before)
                assume(token)
                module.reload(before)

    def disconnect(self, token: ImpersonationToken = SERVER_TOKEN) -> None:
        """Disconnect what is connected, from the top down. Harmless when nothing is; a fault does not stop the rest."""
        self.capabilities = Capability(0)
        while self._connected:
            module = self._connected.pop()
            try:
                assume(token)
                module.disconnect()
            except Exception:
                log.exception("share %s: %s failed to disconnect", self.share.name, title(module))
        for module in self.modules:
            module.share = None

    def interpose(self, wrap: _Wrap) -> None:
        """Put `wrap(operation, function)` in the place of each operation's function, until `restore`.

        For who must know for a while of all that is done through the chain. At other times it costs nothing.
        """
        self._wrap = wrap
        self._install()

    def restore(self) -> None:
        """Undo `interpose`."""
        self._wrap = None
        self._install()

    def tap(self, tap: Tap | None) -> None:
        """Put `tap(module, operation, function)` in the place of each module's functions, for what begins now.

        The chain is compiled anew in its place, so that what is open goes through it too. With None it is as it was
        built: where nobody looks it costs nothing. Raises what a module's `around` does.
        """
        try:
            self._views = self._compiled if tap is None else _compile(self.modules, {}, tap)
        finally:
            _join(self.modules, self._views)
        self._install()

    def _install(self) -> None:
        top = self._views[0]
        for view, functions in ((self, top.both()), (self.files, top.files)):
            for name, function in functions.items():
                setattr(view, name, function if self._wrap is None else self._wrap(OPERATIONS[name], function))

    def explain(self) -> dict[str, tuple[str, ...]]:
        """For each operation the names of the modules that take part in it, from the top to the backend."""
        return {name: tuple(map(title, modules)) for name, modules in self._taking_part.items()}


def title(module: VfsModule) -> str:
    """What a module is called in messages: its name, or its class's."""
    return module.name or type(module).__qualname__


def build_chain(modules: Sequence[VfsModule], share: ShareInfo) -> Chain:
    """Compile `modules`, from the top to the backend, for `share`. Raises ModuleError for what cannot work."""
    pieces = tuple(modules)
    _check(pieces, share)
    for slot, module in enumerate(pieces):
        module.share, module.slot, module.slot_count = share, slot, len(pieces)
        before = sum(title(other) == title(module) for other in pieces[:slot])
        module.title = f"{title(module)}#{before + 1}" if before else title(module)
    taking_part: dict[str, tuple[VfsModule, ...]] = dict.fromkeys(OPERATIONS, ())
    for module in pieces[:-1]:
        module.next = Next({})
    views = _compile(pieces, taking_part, None)
    return Chain(pieces, share, views, taking_part, collect(pieces, f"share {share.name!r}"))


def _compile(
    modules: tuple[VfsModule, ...], taking_part: dict[str, tuple[VfsModule, ...]], tap: Tap | None
) -> tuple[_Views, ...]:
    """Fold the modules from the backend up; the functions at the height of each, from the top."""
    views: tuple[_Views, ...] = ()
    for height in reversed(range(len(modules))):
        _join(modules[height : height + 1], (None, *views[:1]))
        views = (_fold(modules[height], views[0] if views else None, taking_part, tap), *views)
    return views


def _join(modules: Sequence[VfsModule], views: Sequence[_Views | None]) -> None:
    """Let the `next` of each module be the functions at the height below it."""
    for module, below in zip(modules, views[1:], strict=False):
        for name, function in below.both().items() if below is not None else ():
            setattr(module.next, name, function)


def _fold(
    module: VfsModule, below: _Views | None, taking_part: dict[str, tuple[VfsModule, ...]], tap: Tap | None
) -> _Views:
    files: dict[str, Callable[..., Any]] = {}
    streams: dict[str, Callable[..., Any]] = {}
    under = {} if below is None else below.both()
    hides = below is not None and any(implements(type(module), name) for name in _DATA)
    for name, operation in OPERATIONS.items():
        is_own = below is None or implements(type(module), name)
        is_hidden = hides and operation.around_data and not is_own
        call = getattr(_DEFAULTS if is_hidden else module, name) if is_own or is_hidden else under[name]
        sees_each = _sees_each(module, operation)
        if sees_each:
            call = _each_of(operation, files)
        done = module.around(operation, call)
        if done is call and operation.instead_of and below is not None and not (is_own or sees_each):
            # Who has something around one of them alone is to have it around each.
            sees_each = any(files[one] != below.files[one] for one in operation.instead_of)
            done = _each_of(operation, files) if sees_each else done
        takes_part = is_own or sees_each or (done is not call and not is_hidden)
        if takes_part:
            taking_part[name] = (module, *taking_part.get(name, ()))
        elif below is not None and not is_hidden:
            files[name], streams[name] = below.files[name], below.streams[name]
            continue
        files[name] = streams[name] = done if tap is None else tap(module, operation, done)
    if module.keeps_streams:
        own = (
            ON_STREAMS
            if tap is None
            else {name: tap(module, OPERATIONS[name], ON_STREAMS[name]) for name in ON_STREAMS}
        )
        streams |= own
    return _Views(files, streams)


def _sees_each(module: VfsModule, operation: Operation) -> bool:
    """Whether what an operation does at once is to be done one after the other, as the module has its way with each."""
    if not operation.instead_of or implements(type(module), operation.name):
        return False
    return isinstance(module, Backend) or any(implements(type(module), name) for name in operation.instead_of)


def _each_of(operation: Operation, functions: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """The contract's default of an operation, which does the others, as they are at this height."""
    return MethodType(getattr(Operations, operation.name), Next(functions))


def _hidden(module: VfsModule) -> Capability:
    """What the layers below can do and the chain above the module cannot, as its data would be gone around."""
    if isinstance(module, Backend) or not any(implements(type(module), name) for name in _DATA):
        return Capability(0)
    hidden = Capability(0)
    for name, capability in _NEEDED_FOR.items():
        if not implements(type(module), name):
            hidden |= capability
    return hidden


def _check(modules: tuple[VfsModule, ...], share: ShareInfo) -> None:
    where = f"share {share.name!r}"
    judgement = judge([declared(type(module)) for module in modules])
    if judgement.faults:
        raise ModuleError(f"{where}: {judgement}")
    for module in modules:
        if module.share is not None or modules.count(module) > 1:
            raise ModuleError(
                f"{where}: this instance of {title(module)!r} is part of another chain; make one for each"
            )
    _check_holes(modules[-1], where)


def _check_holes(backend: VfsModule, where: str) -> None:
    holes = [name for name in OPERATIONS if name in BACKEND_MUST_IMPLEMENT and not implements(type(backend), name)]
    if holes:
        raise ModuleError(f"{where}: backend {title(backend)!r} does not implement {', '.join(holes)}")
