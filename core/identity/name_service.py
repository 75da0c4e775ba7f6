"""The system's users and groups (passwd(5), group(5), LDAP, winbind, sssd: whatever nsswitch.conf names), from a cache.

A name service may ask the network and hang there. It is asked on threads of its own, which nothing else waits for, and
for so long: then what was known before holds, and until a moment later nobody asks again. Neither the event loop nor
the threads that read files ever wait for it.
"""

import asyncio
import errno
import grp
import logging
import os
import pwd
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from time import monotonic
from typing import Any, Final, NamedTuple, TypeVar

from lamina.vfs_modules import engine
from lamina.vfs_modules.credentials import server_identity

log = logging.getLogger(__name__)

_QUESTIONS: Final = 16
"""How many may be unanswered at a time; each has a thread."""

RETRY_SECONDS: Final = 10.0
"""How long a name service that did not answer is left alone."""

T = TypeVar("T")


class SystemUser(NamedTuple):
    """A user as the system knows him."""

    name: str
    uid: int
    gid: int


class SystemGroup(NamedTuple):
    """A group as the system knows it."""

    name: str
    gid: int


class NameServiceError(OSError):
    """The name service does not answer."""


class SystemNames:
    """The name service itself; a call may take any time."""

    def user(self, name: str) -> SystemUser | None:
        """The user of a name."""
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            return None
        return SystemUser(entry.pw_name, entry.pw_uid, entry.pw_gid)

    def user_of_uid(self, uid: int) -> SystemUser | None:
        """The user of a uid."""
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return None
        return SystemUser(entry.pw_name, entry.pw_uid, entry.pw_gid)

    def group(self, name: str) -> SystemGroup | None:
        """The group of a name."""
        try:
            entry = grp.getgrnam(name)
        except KeyError:
            return None
        return SystemGroup(entry.gr_name, entry.gr_gid)

    def group_of_gid(self, gid: int) -> SystemGroup | None:
        """The group of a gid."""
        try:
            entry = grp.getgrgid(gid)
        except KeyError:
            return None
        return SystemGroup(entry.gr_name, entry.gr_gid)

    def groups(self, name: str, gid: int) -> tuple[int, ...]:
        """The gids of a user's groups, `gid` among them."""
        return tuple(os.getgrouplist(name, gid))


class _Known(NamedTuple):
    answer: Any
    until: float


class NameService:
    """The name service behind a cache. Usable in a request, which waits, and outside of one."""

    def __init__(
        self,
        names: SystemNames | None = None,
        *,
        timeout: float = 5.0,
        cache: float = 300.0,
        cache_unknown: float = 30.0,
        cache_entries: int = 10_000,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Times in seconds; see `IdentitySettings`."""
        self._names = names or SystemNames()
        self.timeout, self.cache, self.cache_unknown, self.cache_entries = timeout, cache, cache_unknown, cache_entries
        self._clock = clock
        self._known: OrderedDict[Hashable, _Known] = OrderedDict()
        self._asked: dict[Hashable, Future[Any]] = {}
        self._lock = threading.Lock()
        self._silent_until = 0.0

    def user(self, name: str) -> SystemUser | None:
        """The user of a name, or None. Raises NameServiceError."""
        return self._look_up(("user", name), self._names.user, name)

    def user_of_uid(self, uid: int) -> SystemUser | None:
        """The user of a uid, or None. Raises NameServiceError."""
        return self._look_up(("uid", uid), self._names.user_of_uid, uid)

    def group(self, name: str) -> SystemGroup | None:
        """The group of a name, or None. Raises NameServiceError."""
        return self._look_up(("group", name), self._names.group, name)

    def group_of_gid(self, gid: int) -> SystemGroup | None:
        """The group of a gid, or None. Raises NameServiceError."""
        return self._look_up(("gid", gid), self._names.group_of_gid, gid)

    def groups(self, name: str, gid: int) -> tuple[int, ...]:
        """The gids of a user's groups. Raises NameServiceError."""
        return self._look_up(("groups", name, gid), self._names.groups, name, gid) or (gid,)

    def forget(self) -> None:
        """Believe nothing any more."""
        with self._lock:
            self._known.clear()
            self._silent_until = 0.0

    def _look_up(self, key: Hashable, ask: Callable[..., T], *arguments: Any) -> T:
        now = self._clock()
        known = self._known.get(key)
        if known is not None and now < known.until:
            answer: T = known.answer
            return answer
        if now >= self._silent_until:
            try:
                return self._keep(key, self._wait(self._ask(key, ask, arguments)))
            except (TimeoutError, OSError) as error:
                self._silent_until = self._clock() + RETRY_SECONDS
                log.warning("the name service does not answer for %s: %s", key, error or "no answer in time")
        if known is not None:
            stale: T = known.answer
            return stale
        raise NameServiceError(errno.EAGAIN, f"the name service does not answer for {key}")

    def _keep(self, key: Hashable, answer: T) -> T:
        seconds = self.cache if answer else self.cache_unknown
        with self._lock:
            self._known[key] = _Known(answer, self._clock() + seconds)
            self._known.move_to_end(key)
            while len(self._known) > self.cache_entries:
                self._known.popitem(last=False)
        return answer

    def _ask(self, key: Hashable, ask: Callable[..., T], arguments: tuple[Any, ...]) -> "Future[T]":
        """Ask on a thread, unless somebody waits for the same answer already. Raises TimeoutError if many do wait."""
        with self._lock:
            asked = self._asked.get(key)
            if asked is not None:
                return asked
            if len(self._asked) >= _QUESTIONS:
                raise TimeoutError("too many questions are unanswered")
            asked = self._asked[key] = Future()
        # Not of a pool, whose threads a process that ends waits for.
        threading.Thread(target=self._answer, args=(key, asked, ask, arguments), daemon=True).start()
        return asked

    def _answer(self, key: Hashable, asked: "Future[T]", ask: Callable[..., T], arguments: tuple[Any, ...]) -> None:
        try:
            with server_identity():
                answer = ask(*arguments)
        except BaseException as error:  # whatever it is, somebody waits
            asked.set_exception(error)
        else:
            asked.set_result(answer)
        finally:
            with self._lock:
                self._asked.pop(key, None)

    def _wait(self, asked: "Future[T]") -> T:
        if engine.current_task() is None:
            return asked.result(self.timeout)
        # Shielded: others may wait for the same answer.
        return engine.wait(asyncio.wait_for(asyncio.shield(asyncio.wrap_future(asked)), self.timeout))
