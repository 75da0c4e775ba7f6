import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lamina.vfs_modules.chain import Chain, build_chain
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import Backend, ModuleError, ModuleOptions, ShareInfo, VfsModule
from lamina.vfs_modules.operations import OPERATIONS, Access, Capability, FileStat, OpenHow, Operation
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.token import ImpersonationToken

SHARE = ShareInfo("data", "/nowhere")
TOKEN = make_token()


class Upper(VfsModule):
    """Calls another operation below than the one it was asked for."""

    name = "upper"

    def readlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> str:
        return self.next.readlink(token, directory, path).upper()

    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        self.next.rename(token, directory, path, directory, path + ".deleted", True)


class Recorder(VfsModule):
    """Sees what mutates."""

    name = "recorder"

    def __init__(self) -> None:
        super().__init__()
        self._asked: list[str] = []
        self._seen: list[str] = []

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        self._asked.append(operation.name)
        if not operation.mutates:
            return call

        def record(*arguments: Any) -> Any:
            self._seen.append(operation.name)
            return call(*arguments)

        return record


class Lifecycle(VfsModule):
    """Notes when it is connected, and may refuse."""

    def __init__(self, log: list[str], letter: str, fail: str = "") -> None:
        super().__init__()
        self._log, self._letter, self._fail = log, letter, fail

    def connect(self, share: ShareInfo) -> None:
        if self._fail == "connect":
            raise OSError(2, "refused")
        self._log.append(f"+{self._letter}")

    def disconnect(self) -> None:
        self._log.append(f"-{self._letter}")
        if self._fail == "disconnect":
            raise RuntimeError("broken")

    def capabilities(self, below: Capability) -> Capability:
        self._log.append(f"?{self._letter}")
        return below


def test_what_nobody_implements_is_the_backend_itself() -> None:
    backend = MemoryBackend()
    chain = build_chain([Upper(), Recorder(), DosAttributesModule(), backend], SHARE)
    assert chain.pread == backend.pread
    assert chain.fstat == backend.fstat
    assert chain.modules[0].next.readlink == backend.readlink
    assert chain.readlink == chain.modules[0].readlink


def test_a_module_may_call_another_operation_below() -> None:
    chain = build_chain([Upper(), MemoryBackend()], SHARE)
    root = chain.open_root(TOKEN)
    chain.open(TOKEN, root, "file", OpenHow(Access.READ, create=True))
    chain.unlink(TOKEN, root, "file")
    chain.symlink(TOKEN, "target", root, "link")
    assert [entry.name for entry in chain.readdir(TOKEN, root)] == ["file.deleted", "link"]
    assert chain.readlink(TOKEN, root, "link") == "TARGET"


def test_the_order_is_the_one_given() -> None:
    above, below = Recorder(), Recorder()
    chain = build_chain([above, Upper(), below, MemoryBackend()], SHARE)
    root = chain.open_root(TOKEN)
    chain.open(TOKEN, root, "file", OpenHow(create=True))
    chain.unlink(TOKEN, root, "file")
    assert above._seen == ["open", "unlink"]
    assert below._seen == ["open", "rename"]


def test_around_is_asked_once_for_each_operation_and_costs_nothing_where_it_declines() -> None:
    recorder, backend = Recorder(), MemoryBackend()
    chain = build_chain([recorder, backend], SHARE)
    assert recorder._asked == list(OPERATIONS)
    assert chain.pread == backend.pread
    assert chain.pwrite != backend.pwrite


def test_explain_names_who_takes_part() -> None:
    chain = build_chain([Recorder(), Upper(), DosAttributesModule(), MemoryBackend()], SHARE)
    explained = chain.explain()
    assert list(explained) == list(OPERATIONS)
    assert explained["pread"] == ("memory",)
    assert explained["unlink"] == ("recorder", "upper", "memory")
    assert explained["readdir"] == ("dos_attributes", "memory")


def test_modules_are_connected_from_the_backend_up_and_disconnected_from_the_top() -> None:
    log: list[str] = []
    chain = build_chain([Lifecycle(log, "a"), Lifecycle(log, "b"), MemoryBackend()], SHARE)
    assert chain.capabilities == Capability(0)
    chain.connect()
    assert Capability.HARD_LINKS in chain.capabilities
    chain.disconnect()
    chain.disconnect()
    assert log == ["+b", "?b", "+a", "?a", "-a", "-b"]
    assert chain.capabilities == Capability(0)


def test_a_refused_connection_disconnects_what_was_connected() -> None:
    log: list[str] = []
    modules = [Lifecycle(log, "a"), Lifecycle(log, "b", "connect"), Lifecycle(log, "c"), MemoryBackend()]
    chain = build_chain(modules, SHARE)
    with pytest.raises(OSError, match="refused"):
        chain.connect()
    assert log == ["+c", "?c", "-c"]


def test_a_module_that_fails_to_disconnect_does_not_keep_the_others() -> None:
    log: list[str] = []
    chain = build_chain([Lifecycle(log, "a", "disconnect"), Lifecycle(log, "b"), MemoryBackend()], SHARE)
    chain.connect()
    chain.disconnect()
    assert log[-2:] == ["-a", "-b"]


class Counting(VfsModule):
    def close(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        self.set_state(handle, (self.state(handle) or 0) + 1)
        self.next.close(token, handle)


def test_each_module_has_its_own_place_in_a_handle() -> None:
    first, second = Counting(), Counting()
    chain = build_chain([first, second, MemoryBackend()], SHARE)
    handle = chain.open_root(TOKEN)
    assert handle.slots is None
    assert first.state(handle) is None
    first.set_state(handle, 10)
    chain.close(TOKEN, handle)
    assert (first.state(handle), second.state(handle)) == (11, 1)


def test_an_uncompiled_module_forwards() -> None:
    module = VfsModule()
    module.next = MemoryBackend()
    handle = module.open_root(TOKEN)
    assert module.fstat(TOKEN, handle).nlink == 2


class Hollow(Backend):
    name = "hollow"

    def open_root(self, token: ImpersonationToken) -> VfsHandle:
        raise NotImplementedError

    def fstat(self, token: ImpersonationToken, handle: VfsHandle) -> FileStat:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([], "must be a backend"),
        ([Upper()], "must be a backend, such as 'posix', not 'upper'"),
        ([MemoryBackend(), MemoryBackend()], "'memory' is a backend and must stand last"),
        ([Hollow()], "backend 'hollow' does not implement open, close, stat, readdir, pread"),
    ],
)
def test_a_chain_that_cannot_work_is_refused_by_name(modules: list[VfsModule], message: str) -> None:
    with pytest.raises(ModuleError, match=f"share 'data': .*{message}"):
        build_chain(modules, SHARE)


def test_an_instance_belongs_to_one_chain_until_that_is_disconnected() -> None:
    upper = Upper()
    with pytest.raises(ModuleError, match="part of another chain"):
        build_chain([upper, upper, MemoryBackend()], SHARE)
    chain = build_chain([upper, MemoryBackend()], SHARE)
    with pytest.raises(ModuleError, match="part of another chain"):
        build_chain([upper, MemoryBackend()], SHARE)
    chain.disconnect()
    assert isinstance(build_chain([upper, MemoryBackend()], SHARE), Chain)


def define(**members: Any) -> type[VfsModule]:
    return type("Faulty", (VfsModule,), {"__module__": "vendor", **members})


def drifted(self: Any, token: Any, handle: Any, data: Any, offset: Any) -> int:
    return 0


async def coroutine(self: Any, token: Any, handle: Any) -> None: ...


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"prread": drifted}, "vendor.Faulty: 'prread' is no operation .*did you mean 'pread'"),
        ({"helper": drifted}, "'helper' is no operation .*underscore"),
        ({"pread": drifted}, r"vendor.Faulty.pread\(self, token, handle, data, offset\).* differs .*buffer"),
        ({"close": coroutine}, "vendor.Faulty.close: an operation is a plain method"),
        ({"close": staticmethod(drifted)}, "an operation is a plain method"),
        ({"close": None}, "an operation is a plain method"),
    ],
)
def test_a_faulty_class_is_refused_where_it_is_defined(members: dict[str, Any], message: str) -> None:
    with pytest.raises(ModuleError, match=message):
        define(**members)


def test_further_public_names_can_be_declared() -> None:
    class Helpful(VfsModule, public=("purge",)):
        def purge(self) -> int:
            return 1

    class Derived(Helpful):
        def purge(self) -> int:
            return 2

    assert Derived().purge() == 2


def test_options_are_checked_and_of_the_module() -> None:
    class Sized(ModuleOptions):
        size: int = 1

    class Module(VfsModule):
        Options = Sized
        options: Sized

    assert Module().options.size == 1
    assert Module(Sized(size=3)).options.size == 3
    with pytest.raises(ValueError, match="sise"):
        Sized(sise=3)  # type: ignore[call-arg]
    with pytest.raises(ModuleError, match="its own Options"):
        Module(ModuleOptions())


class Scrambling(VfsModule):
    """Alters data, and knows of no ranges."""

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        return self.next.pread(token, handle, buffer, offset)


class KnowsOfHoles(Scrambling):
    def zero_range(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, deallocate: bool
    ) -> None:
        self.next.zero_range(token, handle, offset, length, deallocate)

    def allocated_ranges(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, limit: int
    ) -> list[tuple[int, int]]:
        return self.next.allocated_ranges(token, handle, offset, length, limit)


@pytest.mark.parametrize(("module", "sparse"), [(VfsModule, True), (Scrambling, False), (KnowsOfHoles, True)])
def test_a_chain_claims_no_ranges_that_a_module_keeps_from_it(
    tmp_path: Path, module: type[VfsModule], sparse: bool
) -> None:
    chain = local_chain(tmp_path, module())
    assert (Capability.SPARSE in chain.capabilities) is sparse
    chain.disconnect()


# What is done at once instead of one after the other.


class Looking(VfsModule):
    """Notes what passes of the operations that it takes part in, by having them or by something around them."""

    def __init__(self, *around: str) -> None:
        super().__init__()
        self._around = around
        self._seen: list[str] = []

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        if operation.name not in self._around:
            return call

        def noted(*arguments: Any) -> Any:
            seen(self).append(operation.name)
            return call(*arguments)

        return noted


class Opening(Looking):
    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        seen(self).append("open")
        return self.next.open(token, directory, path, how)


class OpeningOrMany(Opening):
    def getxattrs_in(self, token, directory, entries, names):
        seen(self).append("getxattrs_in")
        return self.next.getxattrs_in(token, directory, entries, names)


def seen(module: Looking) -> list[str]:
    return module._seen


def asked_for_two(tmp_path: Path, module: Looking) -> list[str]:
    """What `module` has seen when two entries were asked for one attribute, which one of them has."""
    chain = local_chain(tmp_path, module)
    root = chain.open_root(TOKEN)
    for name in ("bare", "with"):
        chain.close(TOKEN, chain.open(TOKEN, root, name, OpenHow(Access.READ_WRITE, create=True)))
    handle = chain.open(TOKEN, root, "with", OpenHow())
    chain.setxattr(TOKEN, handle, "user.one", b"1")
    seen(module).clear()
    bare, with_one = chain.getxattrs_in(TOKEN, root, ["bare", "with"], ["user.one"])
    assert isinstance(bare.values[0], int)
    assert with_one == (("user.one",), (b"1",))
    for opened in (handle, root):
        chain.close(TOKEN, opened)
    chain.disconnect()
    return seen(module)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (Looking("stat", "setxattr"), []),
        (Looking("getxattrs_in"), ["getxattrs_in"]),
        (Looking("getxattrs_in", "getxattr", "open"), ["getxattrs_in"]),
        (Looking("open"), ["open", "open"]),
        (Looking("getxattr", "listxattr"), ["listxattr", "listxattr", "getxattr"]),
        (Opening(), ["open", "open"]),
        (Opening("getxattrs_in"), ["getxattrs_in", "open", "open"]),
        (OpeningOrMany(), ["getxattrs_in"]),
    ],
)
def test_who_has_a_say_in_one_of_many_is_not_gone_around(tmp_path: Path, module: Looking, expected: list[str]) -> None:
    assert asked_for_two(tmp_path, module) == expected


def test_what_is_done_at_once_is_the_backends_own_where_nobody_is_between(tmp_path: Path) -> None:
    chain = local_chain(tmp_path, Looking("stat"), DosAttributesModule())
    assert chain.getxattrs_in.__self__ is chain.modules[-1]  # type: ignore[attr-defined]
    assert chain.explain()["getxattrs_in"] == ("posix",)
    chain.disconnect()


def test_a_backend_that_does_not_do_it_at_once_is_asked_for_each() -> None:
    module = Looking("listxattr")
    chain = build_chain([module, MemoryBackend()], SHARE)
    chain.connect()
    root = chain.open_root(TOKEN)
    assert chain.getxattrs_in(TOKEN, root, ["gone"], ["user.x", "user.y"]) == [((), (errno.ENOENT, errno.ENOENT))]
    chain.mkdir(TOKEN, root, "folder", 0o755)
    assert chain.getxattrs_in(TOKEN, root, ["folder"], ()) == [((), ())]
    assert seen(module) == ["listxattr"]
    assert chain.explain()["getxattrs_in"] == ("Looking", "memory")


def test_a_store_that_is_away_is_waited_for_once() -> None:
    class Away(VfsModule):
        def listxattr(self, token, handle):
            opened.append(handle)
            raise OSError(errno.ETIMEDOUT, "away")

    opened: list[VfsHandle] = []
    chain = build_chain([Away(), MemoryBackend()], SHARE)
    chain.connect()
    root = chain.open_root(TOKEN)
    chain.mkdir(TOKEN, root, "folder", 0o755)
    with pytest.raises(TimeoutError):
        chain.getxattrs_in(TOKEN, root, ["folder"] * 3, ["user.x"])
    assert len(opened) == 1
