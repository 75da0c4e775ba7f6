"""How a module is: well, not quite, or not at all, and why. The server shows it, logs changes and announces them."""

import time
from enum import Enum
from typing import Final, NamedTuple

from lamina.vfs_modules.services.log import ModuleLog
from lamina.vfs_modules.services.surroundings import Owner, tell

EVENT: Final = "module.health"
"""The announcement of a change: share, module, state, reason, before."""


class HealthState(Enum):
    """OK: it does what it is for. DEGRADED: less than that, or slower. FAILED: it does not."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


class Health(NamedTuple):
    """How a module is, why in a sentence, and since when in seconds since 1970."""

    state: HealthState = HealthState.OK
    reason: str = ""
    since: float = 0.0


class HealthReport:
    """What a module says of how it is; well, until it says otherwise. Saying the same again costs a comparison."""

    __slots__ = ("_log", "_owner", "current")

    def __init__(self, owner: Owner, log: ModuleLog) -> None:
        self._owner = owner
        self._log = log
        self.current = Health()

    def ok(self) -> None:
        """All is well again."""
        self._become(HealthState.OK, "")

    def degraded(self, reason: str) -> None:
        """It does less than it should; `reason` is a sentence for the administrator."""
        self._become(HealthState.DEGRADED, reason)

    def failed(self, reason: str) -> None:
        """It does not do what it is for; `reason` is a sentence for the administrator."""
        self._become(HealthState.FAILED, reason)

    def _become(self, state: HealthState, reason: str) -> None:
        before = self.current
        if (before.state, before.reason) == (state, reason):
            return
        self.current = Health(state, reason, time.time())
        if state is HealthState.OK:
            self._log.info("the module works again")
        elif state is HealthState.DEGRADED:
            self._log.warning(f"the module is degraded: {reason}")
        else:
            self._log.error(f"the module has failed: {reason}")
        tell(self._owner, EVENT, {"state": state.value, "reason": reason, "before": before.state.value})
