"""A module that lets nobody do too much: bytes and operations a second, for each user and for the share.

Who is too fast waits; nobody else does. The first to come is the first to go on.
"""

import functools
import time
from collections.abc import Callable, Mapping
from struct import Struct
from types import MappingProxyType
from typing import Any, ClassVar, Final

from pydantic import Field

from lamina.vfs_modules.engine import sleep
from lamina.vfs_modules.module import ModuleOptions, VfsModule
from lamina.vfs_modules.operations import OPERATIONS, Operation
from lamina.vfs_modules.pace import Pace
from lamina.vfs_modules.processes import place
from lamina.vfs_modules.services import SharedValues, Values
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

_NEVER: Final = frozenset({"close", "open_root"})
_TELL_AFTER: Final = 1.0
_MANY_USERS: Final = 1_000

_Taken = list[tuple[Pace, float]]


class RateLimitOptions(ModuleOptions):
    """Options of `rate_limit`; 0 is no limit."""

    user_bandwidth: int = Field(default=0, ge=0, description="bytes a second that one user may read and write")
    user_operations: int = Field(default=0, ge=0, description="operations a second that one user may do")
    share_bandwidth: int = Field(default=0, ge=0, description="bytes a second that all users together may")
    share_operations: int = Field(default=0, ge=0, description="operations a second that all users together may")
    burst: float = Field(default=1.0, gt=0, le=3600, description="for how many seconds' worth one may save up")


_BYTES, _OPERATIONS = b"b", b"o"

_Make = Callable[[bytes, float, float], Pace]
"""Makes one of these two paces."""

_PAID: Final = Struct("<d")


class SharedPace(Pace):
    """A pace that all processes keep to together: each looks how far the others have come."""

    __slots__ = ("_key", "_values")

    def __init__(self, values: SharedValues, key: bytes, rate: float, burst: float) -> None:
        super().__init__(rate, burst)
        self._values = values
        self._key = key

    def take(self, amount: float, now: float) -> float:
        """Take some, after all that anybody has taken."""
        with self._values.step() as step:
            self._load(step)
            delay = super().take(amount, now)
            step.put(self._key, _PAID.pack(self.paid_until))
        return delay

    def give_back(self, amount: float) -> None:
        """Give back what was not used."""
        with self._values.step() as step:
            self._load(step)
            super().give_back(amount)
            step.put(self._key, _PAID.pack(self.paid_until))

    def _load(self, step: Values) -> None:
        value = step.get(self._key)
        if value is not None:
            self.paid_until = _PAID.unpack(value)[0]


class _Limits:
    """The paces of one user, or of the share; None where there is no limit."""

    __slots__ = ("bandwidth", "operations")

    def __init__(self, bandwidth: int, operations: int, burst: float, make: _Make) -> None:
        self.bandwidth = make(_BYTES, bandwidth, bandwidth * burst) if bandwidth else None
        self.operations = make(_OPERATIONS, operations, max(1.0, operations * burst)) if operations else None

    def paces(self) -> list[Pace]:
        return [pace for pace in (self.bandwidth, self.operations) if pace is not None]


def _length_of_data(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> int:
    data = keywords.get("buffer", keywords.get("data"))
    return len(arguments[1] if data is None else data)


def _length_of_range(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> int:
    return int(keywords["length"] if "length" in keywords else arguments[4])


_LENGTHS: Final[Mapping[str, Callable[[tuple[Any, ...], Mapping[str, Any]], int]]] = MappingProxyType(
    {"pread": _length_of_data, "pwrite": _length_of_data, "copy_range": _length_of_range}
)


class RateLimitModule(VfsModule):
    """Lets nobody do too much. `clock` gives seconds; `pause` lets a request wait."""

    Options = RateLimitOptions
    name: ClassVar[str] = "rate_limit"
    before: ClassVar[tuple[str, ...]] = ("streams", "security", "dos_attributes")

    options: RateLimitOptions

    def __init__(
        self,
        options: RateLimitOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float, bool], None] = sleep,
    ) -> None:
        super().__init__(options)
        self._clock = clock
        self._pause = pause
        chosen = self.options
        self._limits_bytes = bool(chosen.user_bandwidth or chosen.share_bandwidth)
        self._limits_operations = bool(chosen.user_operations or chosen.share_operations)
        self._users: dict[str, _Limits] = {}

    def one_process(self) -> str:
        """Where several processes limit somebody, they share what he has used; their clock is one."""
        return ""

    @functools.cached_property
    def _share(self) -> _Limits:
        chosen = self.options
        return _Limits(chosen.share_bandwidth, chosen.share_operations, chosen.burst, self._maker("share"))

    def _maker(self, whose: str) -> _Make:
        """Makes the paces of a user, by his SID, or of the share."""
        if place() is None:
            return lambda what, rate, burst: Pace(rate, burst)
        return lambda what, rate, burst: SharedPace(self.shared, what + whose.encode(), rate, burst)

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        """Let the operation wait for its turn, where there is a limit for it and it may wait."""
        name = operation.name
        length = _LENGTHS.get(name) if self._limits_bytes else None
        if name in _NEVER or not operation.waits or not (length or (self._limits_operations and name in OPERATIONS)):
            return call

        def limited(token: ImpersonationToken, *arguments: Any, **keywords: Any) -> Any:
            if token is SERVER_TOKEN:
                return call(token, *arguments, **keywords)
            amount = length(arguments, keywords) if length is not None else 0
            taken = self._take(token, amount)
            done = 0
            try:
                result = call(token, *arguments, **keywords)
                done = result if length is not None else 0
                return result
            finally:
                for pace, each in taken:
                    if each > done:
                        pace.give_back(each - done)

        return limited

    def _take(self, token: ImpersonationToken, amount: int) -> _Taken:
        """Wait until so many bytes, and an operation, may be used; the bytes that were taken, and of which pace."""
        now, delay, taken = self._clock(), 0.0, []
        for limits in (self._share, self._of_user(token, now)):
            if limits.bandwidth is not None and amount:
                delay = max(delay, limits.bandwidth.take(amount, now))
                taken.append((limits.bandwidth, float(amount)))
            if limits.operations is not None:
                delay = max(delay, limits.operations.take(1, now))
        if delay > 0:
            # A client that waits long is told that its request is pending, and does not give up on it.
            self._pause(delay, delay >= _TELL_AFTER)
        return taken

    def _of_user(self, token: ImpersonationToken, now: float) -> _Limits:
        found = self._users.get(token.user_sid)
        if found is None:
            if len(self._users) >= _MANY_USERS:
                self._forget_idle(now)
            chosen = self.options
            make = self._maker(token.user_sid)
            found = _Limits(chosen.user_bandwidth, chosen.user_operations, chosen.burst, make)
            self._users[token.user_sid] = found
        return found

    def _forget_idle(self, now: float) -> None:
        busy = {sid: limits for sid, limits in self._users.items() if not all(p.is_idle(now) for p in limits.paces())}
        self._users = busy
