from importlib.metadata import EntryPoint
from typing import Any

import pytest

from lamina.vfs_modules import loader
from lamina.vfs_modules.hooks import HookBus, listens
from lamina.vfs_modules.loader import LoadError, check_version, installed_modules, load_module
from lamina.vfs_modules.module import ModuleError, ShareInfo, VfsModule
from lamina.vfs_modules.stock.posix.backend import PosixBackend


class Unnamed(VfsModule):
    pass


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, loader.GROUP)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    points = [entry("posix", "lamina.vfs_modules.stock.posix.backend:PosixBackend")]

    def find(group: str, name: str | None = None) -> list[EntryPoint]:
        return [point for point in points if name in {None, point.name}]

    monkeypatch.setattr(loader, "entry_points", find)
    return points


def test_stock_modules_come_through_the_entry_points() -> None:
    assert {"posix", "dos_attributes", "memory", "delay"} <= set(installed_modules())
    assert load_module("posix") is PosixBackend
    for name in ("posix", "dos_attributes", "memory", "delay"):
        assert load_module(name).name == name


def test_a_missing_name_is_answered_with_the_nearest(installed: list[EntryPoint]) -> None:
    with pytest.raises(LoadError) as caught:
        load_module("possix")
    assert str(caught.value) == "there is no module 'possix'; did you mean 'posix'? installed: posix"


def test_a_name_claimed_twice_is_refused(installed: list[EntryPoint]) -> None:
    installed.append(entry("posix", "vendor:Posix"))
    with pytest.raises(LoadError, match=r"claimed by .*PosixBackend.* and .*vendor:Posix"):
        load_module("posix")


def test_a_blocked_name_is_not_imported(installed: list[EntryPoint]) -> None:
    installed.append(entry("evil", "no_such_package_at_all:Evil"))
    with pytest.raises(LoadError, match="blocked"):
        load_module("evil", blocked={"evil"})
    with pytest.raises(LoadError, match="cannot be imported: No module named 'no_such_package_at_all'"):
        load_module("evil")


def test_what_is_no_module_class_is_refused(installed: list[EntryPoint]) -> None:
    installed.append(entry("path", "os.path:join"))
    with pytest.raises(LoadError, match=r"os\.path:join is not a VfsModule class"):
        load_module("path")


def test_a_class_without_a_name_gets_the_one_it_is_installed_under(installed: list[EntryPoint]) -> None:
    installed.append(entry("vendor", "lamina.vfs_modules.module:VfsModule"))
    installed[-1] = entry("vendor", f"{Unnamed.__module__}:Unnamed")
    import sys
    import types

    sys.modules.setdefault(Unnamed.__module__, types.ModuleType(Unnamed.__module__))
    sys.modules[Unnamed.__module__].Unnamed = Unnamed  # type: ignore[attr-defined]
    assert load_module("vendor").name == "vendor"


@pytest.mark.parametrize(
    ("version", "loads"), [((1, 0), True), ((1, 2), True), ((1, 3), False), ((2, 0), False), ((0, 9), False)]
)
def test_older_minor_versions_load_and_nothing_else(
    version: tuple[int, int], loads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "API_VERSION", (1, 2))

    class Module(VfsModule):
        api_version = version

    if loads:
        check_version("m", Module)
    else:
        with pytest.raises(LoadError, match=r"this Lamina has an? (older|newer) one, 1\.2: "):
            check_version("m", Module)


@pytest.mark.parametrize(
    ("first", "before", "loads"),
    [
        ((1, 0), (2, 0), True),
        ((1, 2), (1, 3), True),
        ((1, 0), (1, 2), False),
        ((1, 0), (3, 0), True),
        ((1, 3), (3, 0), False),
    ],
)
def test_a_module_says_with_which_versions_it_works(first, before, loads, monkeypatch):
    monkeypatch.setattr(loader, "API_VERSION", (1, 2))

    class Module(VfsModule):
        api_version = first
        api_before = before

    if loads:
        check_version("m", Module)
    else:
        with pytest.raises(
            LoadError, match=rf"works with versions {first[0]}\.{first[1]} to before {before[0]}\.{before[1]} "
        ):
            check_version("m", Module)


def test_a_range_without_a_version_is_refused():
    class Module(VfsModule):
        api_version = (1, 2)
        api_before = (1, 2)

    with pytest.raises(LoadError, match="works with no version of the contract"):
        check_version("m", Module)


@pytest.mark.parametrize("value", ["1.0", (1,), None, ("1", "0")])
def test_what_is_no_version_is_refused_where_the_class_is_defined(value):
    with pytest.raises(ModuleError, match=r"api_version: must be a version"):
        type("Module", (VfsModule,), {"api_version": value})


SHARE = ShareInfo("data", "/nowhere")


class Listener(VfsModule):
    def __init__(self, fail: bool = False) -> None:
        super().__init__()
        self._heard: list[Any] = []
        self._fail = fail

    @listens
    def share_connected(self, share: ShareInfo) -> None:
        self._heard.append(share)
        if self._fail:
            raise RuntimeError("broken")

    @listens
    def event(self, kind: str) -> None:
        self._heard.append(kind)


def test_all_who_listen_are_told_also_when_one_fails(caplog: pytest.LogCaptureFixture) -> None:
    bus = HookBus()
    listeners = [Listener(), Listener(fail=True), Listener()]
    for number, listener in enumerate(listeners):
        bus.register(listener, f"listener{number}")
    bus.share_connected(SHARE)
    bus.event("session.started", {"user": "u"})
    bus.server_started(("a:445",))
    assert [listener._heard for listener in listeners] == [[SHARE, "session.started"]] * 3
    assert "listener1 failed to handle share_connected" in caplog.text


def test_who_left_or_is_blocked_hears_nothing() -> None:
    bus = HookBus()
    listener, blocked = Listener(), Listener()
    bus.register(listener, "a")
    bus.block("b")
    bus.register(blocked, "b")
    bus.unregister(listener)
    bus.unregister(listener)
    bus.share_connected(SHARE)
    assert listener._heard == blocked._heard == []
    assert bus.names() == []


def mark(name: str, function: Any, **options: Any) -> VfsModule:
    kind = type("Faulty", (VfsModule,), {name: listens(function, **options)})
    return kind()


@pytest.mark.parametrize(
    ("name", "function", "options", "message"),
    [
        ("share_conected", lambda self: None, {}, "did you mean 'share_connected'"),
        ("event", lambda self, wrong: None, {}, r"x \(.*Faulty\): [\s\S]*wrong"),
        ("event", lambda self: (yield), {"wrapper": True}, "cannot be a wrapper"),
        ("close", lambda self, token, handle: None, {}, "an operation is overridden"),
    ],
)
def test_a_listener_that_cannot_work_is_refused(
    name: str, function: Any, options: dict[str, bool], message: str
) -> None:
    bus = HookBus()
    with pytest.raises(ModuleError, match=message):
        bus.register(mark(name, function, **options), "x")
    assert bus.names() == []
