"""Announcements: what the server tells everybody who wants to know. One to many, through pluggy.

Operations never go through here: they are compiled (`chain`). A module listens by marking a method with `listens`::

    class Recycle(VfsModule):
        @listens
        def share_connected(self, share: ShareInfo) -> None: ...

A listener may take fewer arguments than the specification has, so announcements can grow. What a listener raises is
logged and stops neither the server nor the other listeners.
"""

import difflib
import logging
from collections.abc import Mapping
from typing import Any

import pluggy

from lamina.vfs_modules.module import ModuleError, ShareInfo, VfsModule
from lamina.vfs_modules.operations import OPERATIONS

log = logging.getLogger(__name__)

PROJECT = "lamina"

_announcement = pluggy.HookspecMarker(PROJECT)
listens = pluggy.HookimplMarker(PROJECT)
"""Marks a method that listens to the announcement of its name."""


class Announcements:
    """The specification of every announcement."""

    @_announcement
    def server_started(self, addresses: tuple[str, ...]) -> None:
        """The server accepts connections on `addresses`, each "host:port"."""

    @_announcement
    def server_stopping(self) -> None:
        """The server is about to end its connections."""

    @_announcement
    def share_connected(self, share: ShareInfo) -> None:
        """The chain of a share is connected and may be used."""

    @_announcement
    def share_disconnected(self, share: ShareInfo) -> None:
        """The chain of a share is no longer in use."""

    @_announcement
    def event(self, kind: str, details: Mapping[str, Any]) -> None:
        """Something happened that an administrator may want to know: `kind` is a dotted name ("access.audited").

        May be called on any thread, and may take its time.
        """

    @_announcement
    def add_commands(self, commands: Any) -> None:
        """The command line is being made; a listener may add commands of its own to `commands`."""


class HookBus:
    """The typed facade of the registry: register listeners, announce to all."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Announcements)

    def block(self, name: str) -> None:
        """Never register a plugin under `name`, and forget the one that is."""
        self._manager.set_blocked(name)

    def register(self, plugin: object, name: str) -> None:
        """Let `plugin` listen. Raises ModuleError for a mark on an operation, an unknown name, a wrong argument."""
        _check_marks(plugin)
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            if self._manager.has_plugin(name) and self._manager.get_plugin(name) is plugin:
                self._manager.unregister(plugin)
            raise ModuleError(f"{name} ({type(plugin).__module__}.{type(plugin).__qualname__}): {error}") from error

    def unregister(self, plugin: object) -> None:
        """Let `plugin` listen no more; harmless when it does not."""
        if self._manager.is_registered(plugin):
            self._manager.unregister(plugin)

    def names(self) -> list[str]:
        """Who listens."""
        return [name for name, plugin in self._manager.list_name_plugin() if plugin is not None]

    def server_started(self, addresses: tuple[str, ...]) -> None:
        """Announce that the server accepts connections."""
        self._announce("server_started", addresses=addresses)

    def server_stopping(self) -> None:
        """Announce that the server is about to end."""
        self._announce("server_stopping")

    def share_connected(self, share: ShareInfo) -> None:
        """Announce that a share may be used."""
        self._announce("share_connected", share=share)

    def share_disconnected(self, share: ShareInfo) -> None:
        """Announce that a share is no longer in use."""
        self._announce("share_disconnected", share=share)

    def event(self, kind: str, details: Mapping[str, Any]) -> None:
        """Announce that something happened."""
        self._announce("event", kind=kind, details=details)

    def add_commands(self, commands: Any) -> None:
        """Ask for further commands."""
        self._announce("add_commands", commands=commands)

    def _announce(self, name: str, **arguments: Any) -> None:
        # Not through pluggy's own caller: there the first listener that fails would silence the rest.
        for listener in reversed(getattr(self._manager.hook, name).get_hookimpls()):
            try:
                listener.function(*(arguments[argument] for argument in listener.argnames))
            except Exception:
                log.exception("%s failed to handle %s", listener.plugin_name, name)


def _check_marks(plugin: object) -> None:
    where = f"{type(plugin).__module__}.{type(plugin).__qualname__}"
    known = [name for name in vars(Announcements) if not name.startswith("_")]
    for name, value in _marked(plugin):
        if name in OPERATIONS:
            raise ModuleError(f"{where}.{name}: an operation is overridden, not listened to; remove the mark")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.6)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise ModuleError(f"{where}.{name}: nobody announces {name!r} ({hint})")
        if value.get("hookwrapper") or value.get("wrapper"):
            raise ModuleError(f"{where}.{name}: a listener cannot be a wrapper")


def _marked(plugin: object) -> list[tuple[str, Mapping[str, Any]]]:
    kind = plugin if isinstance(plugin, type) else type(plugin)
    marks = (
        (name, getattr(value, f"{PROJECT}_impl", None)) for base in kind.__mro__ for name, value in vars(base).items()
    )
    return [(name, mark) for name, mark in marks if mark is not None]


def listener_name(module: VfsModule) -> str:
    """The name a module of a connected chain registers under: its share and its place in the chain."""
    share = module.share.name if module.share is not None else "-"
    return f"{share}/{module.slot}:{module.name or type(module).__qualname__}"
