"""What a server gives to the chains of its shares, and who a module is in messages about it.

Outside a server, as in a test, events go nowhere and what modules store lives in memory.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.services.shared import SharedStore, SharedValues, store_of_server
from lamina.vfs_modules.services.stores import Stores
from lamina.vfs_modules.services.turns import Turns
from lamina.vfs_modules.token import SERVER_TOKEN

Announce = Callable[[str, Mapping[str, Any]], None]
"""Tells everybody who listens of an event, by its kind and its details. Called on any thread; never waits."""


def _to_nobody(kind: str, details: Mapping[str, Any]) -> None:
    """There is no server, and nobody who listens."""


class Surroundings:
    """What is around the chains of one server. `stores`: where modules keep what is their own."""

    __slots__ = ("_shared", "_turns", "announce", "stores")

    def __init__(self, announce: Announce = _to_nobody, state_folder: str = "") -> None:
        """`state_folder`: an absolute path, made if need be; without one, nothing outlives the server."""
        self.announce = announce
        self.stores = Stores(state_folder)
        self._turns: dict[str, Turns] = {}
        self._shared: SharedStore | None = None

    def turns(self, scope: str) -> Turns:
        """The turns of a scope: the same for all chains that it has had."""
        found = self._turns.get(scope)
        if found is None:
            found = self._turns[scope] = Turns(scope)
        return found

    def shared(self, scope: str) -> SharedValues:
        """What all processes of the server agree upon in a scope."""
        if self._shared is None:
            # Whoever asks first is somebody's request, and the folder is the server's.
            assume(SERVER_TOKEN)
            self._shared = store_of_server()
        return SharedValues(self._shared, scope)


class Where(NamedTuple):
    """Which module of which share something is about; the share is "" while the module is in no chain."""

    share: str
    module: str


class Owner(Protocol):
    """A module, as its services know it."""

    def where(self) -> Where:
        """Which one it is."""
        ...

    def surroundings(self) -> Surroundings | None:
        """What is around its chain; None while it is in none."""
        ...


def surrounded(owner: Owner, what: str) -> Surroundings:
    """What is around the chain of a module. Raises RuntimeError while it is in none."""
    around = owner.surroundings()
    if around is None:
        raise RuntimeError(f"a module has {what} while it is in a chain: from `connect` to `disconnect`")
    return around


MODULE_LOGGER: Final = "lamina.module"
"""Under which loggers of modules stand, each by its module's name."""


def tell(owner: Owner, kind: str, details: Mapping[str, Any]) -> None:
    """Announce an event of a module, with its share and its name."""
    around = owner.surroundings()
    if around is not None:
        where = owner.where()
        around.announce(kind, {"share": where.share, "module": where.module, **details})
