"""The base of every module that gives it the services: one attribute for each, made when it is first used."""

import functools
from typing import TYPE_CHECKING, Any, ClassVar

from lamina.vfs_modules.places import Places
from lamina.vfs_modules.services.health import HealthReport
from lamina.vfs_modules.services.log import ModuleLog
from lamina.vfs_modules.services.metrics import Metrics
from lamina.vfs_modules.services.shared import SharedValues
from lamina.vfs_modules.services.storage import Storage
from lamina.vfs_modules.services.surroundings import Surroundings, Where, surrounded, tell
from lamina.vfs_modules.services.turns import Turns, places
from lamina.vfs_modules.turn import Turn

if TYPE_CHECKING:
    from lamina.vfs_modules.module import ShareInfo


class ModuleServices:
    """What the server does for a module.

    `storage_limit`: how many bytes of keys and values `storage` keeps at most. `title`: what this instance is called
    in messages: its name, or its class's; "name#2" for the second of that name in a chain.
    """

    storage_limit: ClassVar[int] = 16 * 1024 * 1024

    share: "ShareInfo | None"
    title: str

    @functools.cached_property
    def log(self) -> ModuleLog:
        """Logs for the administrator, with the share and the module's title in each message."""
        return ModuleLog(self)

    @functools.cached_property
    def metrics(self) -> Metrics:
        """Counters, gauges and histograms, which `lamina status` shows."""
        return Metrics()

    @functools.cached_property
    def health(self) -> HealthReport:
        """Where the module says that it is well, degraded or has failed."""
        return HealthReport(self, self.log)

    @functools.cached_property
    def storage(self) -> Storage:
        """What the module keeps of its own, for this share and beyond a restart; from `connect` to `disconnect`."""
        return Storage(self, self.storage_limit)

    @functools.cached_property
    def shared(self) -> SharedValues:
        """What all processes of the server agree upon, while it runs; from `connect` to `disconnect`."""
        return surrounded(self, "shared values").shared(self._scope())

    @functools.cached_property
    def _turns_of_scope(self) -> Turns:
        return surrounded(self, "turns").turns(self._scope())

    def _scope(self) -> str:
        # A share whose folder depends on who connects has many chains.
        where, folder = self.where(), "" if self.share is None else self.share.path
        return f"{where.share.casefold()}\0{where.module}\0{folder}"

    def turn(self, *key: int | str, kind: str = "") -> Turn:
        """The turn for what `key` names: in a with block, one request at a time, in all processes of the server.

        Who holds one takes no other of the same `kind`, of those that the module has. From `connect` to `disconnect`.
        """
        return self._turns_of_scope.of(key, kind)

    def places(self, count: int) -> Places:
        """So many places, each for a request in a with block, in all processes of the server together; more wait."""
        return places(self._scope(), count)

    def announce(self, kind: str, **details: Any) -> None:
        """Tell those who listen to `event`: `kind` is a dotted name, the details are plain values.

        The share and the module's title are added. Returns at once; listeners are called on another thread.
        """
        tell(self, kind, details)

    def where(self) -> Where:
        """The share and the title, by which the server knows the module."""
        return Where("" if self.share is None else self.share.name, self.title)

    def surroundings(self) -> Surroundings | None:
        """For the framework: what is around the chain."""
        return None if self.share is None else self.share.surroundings
