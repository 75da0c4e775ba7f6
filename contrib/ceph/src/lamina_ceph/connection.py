"""A share's way to the cluster: its mount, the threads that ask it, and another mount when that one is lost.

Shares that say the same share one, as do the old and the new chain of a share whose configuration was read again.
Every call has a time limit; when the cluster does not answer, those who ask are told so in time, and when it has put
this client out, the next call mounts anew.
"""

import asyncio
import contextlib
import errno
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Final, NamedTuple, TypeVar

from lamina.vfs_modules.engine import aside
from lamina.vfs_modules.turn import Turn
from lamina.vfs_modules.workers import Workers

from lamina_ceph.errors import LOST, fail
from lamina_ceph.leaving import beside
from lamina_ceph.library import library
from lamina_ceph.mount import Mount, Settings
from lamina_ceph.permissions import PermissionCache

_T = TypeVar("_T")

_SECONDS_TO_SYNC: Final = 20.0


class Key(NamedTuple):
    """What makes one connection the same as another; those of two servers in one process are not."""

    settings: Settings
    threads: int
    seconds: float
    loop: asyncio.AbstractEventLoop | None


class _Call:
    """A call that has begun: whether it has ended, and whether nobody waits for it any more."""

    __slots__ = ("begun", "ended", "hangs")

    def __init__(self) -> None:
        self.begun = self.ended = self.hangs = False


class Connection:
    """What all chains with these settings have together. Used on the event loop's thread."""

    _all: ClassVar[dict[Key, "Connection"]] = {}

    def __init__(self, key: Key) -> None:
        self.settings, self.seconds = key.settings, key.seconds
        self.permissions = PermissionCache(library())
        self.lock = threading.Lock()
        self.mount: Mount | None = None
        self._key, self._users, self._turn = key, 0, Turn()
        self._hanging = self._tries = 0
        self._refusal: OSError | None = None
        self._discarded: deque[Callable[[], object]] = deque()
        self._discarding = False
        self._workers = Workers(key.threads, "lamina-ceph")

    @classmethod
    def join(cls, key: Key) -> "Connection":
        """The connection of these settings, mounted. Raises OSError where it cannot be had."""
        one = cls._all.get(key)
        if one is None:
            one = cls._all[key] = cls(key)
        one._users += 1
        try:
            one.mounted()
        except BaseException:
            one.leave()
            raise
        return one

    def leave(self) -> None:
        """Nobody of this chain asks any more; with the last one goes the mount."""
        self._users -= 1
        if self._users:
            return
        del self._all[self._key]
        mount, self.mount = self.mount, None
        if mount is not None:
            self._unmount(mount)
        self._workers.close()

    def _unmount(self, mount: Mount) -> None:
        if mount.lost or mount.running:
            # Something hangs in it.
            beside(mount.give_up)
            return
        with contextlib.suppress(OSError):
            self._workers.call(_SECONDS_TO_SYNC, self._finish, mount)
        beside(mount.unmount)

    def _finish(self, mount: Mount) -> None:
        self._drop()
        mount.sync()

    def discard(self, close: Callable[[], object]) -> None:
        """Have something closed soon, on a thread; nobody waits for it, nor hears what comes of it."""
        self._discarded.append(close)
        if not self._discarding:
            self._discarding = True
            aside(self._drop_all)

    def _drop_all(self) -> None:
        self._discarding = False
        if self._discarded and self._users:
            with contextlib.suppress(OSError):
                self._workers.call(self.seconds, self._drop)

    def _drop(self) -> None:
        while self._discarded:
            with contextlib.suppress(OSError, IndexError):
                self._discarded.popleft()()

    def mounted(self) -> Mount:
        """The mount, made anew where there is none that works. Raises OSError; ESHUTDOWN where everybody has left."""
        if not self._users:
            fail(errno.ESHUTDOWN)
        mount = self.mount
        if mount is not None and not mount.lost:
            return mount
        tries = self._tries
        with self._turn:
            if tries != self._tries and self._refusal is not None:
                raise self._refusal  # whoever was waited for has tried in vain
            if self.mount is None or self.mount.lost:
                self._mount_anew()
            assert self.mount is not None
            return self.mount

    def _mount_anew(self) -> None:
        old, self._refusal = self.mount, None
        try:
            self.mount = self._workers.call(self.seconds, Mount, self.settings, late=Mount.unmount)
        except OSError as error:
            self._refusal = OSError(error.errno, error.strerror)
            raise
        finally:
            self._tries += 1
        if old is not None:
            beside(old.give_up)

    def call(self, function: Callable[..., _T], *arguments: Any, late: Callable[[_T], object] | None = None) -> _T:
        """Call `function(mount, *arguments)` on a thread. Raises what it does, ETIMEDOUT where that takes too long.

        EHOSTDOWN where every thread hangs. ESHUTDOWN, ENOTCONN: the mount is lost, and the next call has another one.
        """
        if self._hanging >= self._key.threads:
            fail(errno.EHOSTDOWN)
        mount, call = self.mounted(), _Call()
        try:
            answer: _T = self._workers.call(self.seconds, self._run, call, mount, function, arguments, late=late)
            return answer
        except TimeoutError:
            with self.lock:
                call.hangs = call.begun and not call.ended
                self._hanging += call.hangs
            raise

    def _run(self, call: _Call, mount: Mount, function: Callable[..., _T], arguments: tuple[Any, ...]) -> _T:
        with self.lock:
            call.begun = True
            mount.running += 1
        try:
            return function(mount, *arguments)
        except OSError as error:
            if error.errno in LOST:
                mount.lost = True
            raise
        finally:
            with self.lock:
                call.ended = True
                mount.running -= 1
                self._hanging -= call.hangs

    @property
    def hanging(self) -> int:
        """How many calls nobody waits for any more, each of which keeps a thread."""
        return self._hanging
