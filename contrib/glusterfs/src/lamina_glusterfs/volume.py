"""A volume: one connection of this process to it, however many shares it serves, and how it is asked.

The library's calls block, until a brick answers or is taken for gone. They run on threads of the volume's own
(`Workers`), with a time limit, as whoever the token says; reads, writes and syncs need no threads, as the library calls
back. Where bricks are away an operation is tried again until they are back or its time is over. Once they have been
away for longer than that, operations fail at once.
"""

import errno
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final, NamedTuple, TypeVar

from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken
from lamina.vfs_modules.workers import Workers

from lamina_glusterfs.binding import HANDLE_LENGTH, NUMBER, Gfapi, error_of, gfapi
from lamina_glusterfs.options import LOG_LEVELS, GlusterOptions, Place, place_of
from lamina_glusterfs.patience import Patience
from lamina_glusterfs.pins import Pins
from lamina_glusterfs.watching import Watching

_T = TypeVar("_T")
LARGEST_VALUE: Final = 65536
"""Bytes of an extended attribute, as on Linux."""

_USUAL_VALUE: Final = 4096
_OWNER_BYTES: Final = 16
_IS_ROOT: Final = os.geteuid() == 0
# Those that answer without asking a brick, or before one has answered.
_CACHES: Final = ("quick-read", "md-cache", "io-cache", "read-ahead", "nl-cache", "readdir-ahead", "parallel-readdir")
_ALWAYS_OFF: Final = ("write-behind", "open-behind", "io-threads")


class _Identity(threading.local):
    cache_id = -1
    token: ImpersonationToken | None = None


_identity = _Identity()


def act_as(api: Gfapi, token: ImpersonationToken) -> None:
    """Let the calls that this thread makes be those of `token`, until they are another's.

    A thread that already acts for it is left alone, which costs a comparison instead of three calls. Without root
    everything is done as who started the server, as on a folder: bricks would believe anything.
    """
    if not _IS_ROOT:
        token = SERVER_TOKEN
    if _identity.cache_id == token.cache_id:
        return
    _identity.cache_id = -1
    # To set no groups is to have those of the process.
    groups = token.groups or (token.gid,)
    lib = api.lib
    if lib.glfs_setfsgroups(len(groups), list(groups)) or lib.glfs_setfsgid(token.gid) or lib.glfs_setfsuid(token.uid):
        raise PermissionError(errno.EPERM, f"cannot act for uid {token.uid} on a volume")
    _identity.cache_id, _identity.token = token.cache_id, token


class _Key(NamedTuple):
    """What must be the same for two shares to have one connection."""

    volume: str
    places: tuple[Place, ...]
    threads: int
    ping_timeout: int
    caches: bool
    log: tuple[str, str]


class Volume:
    """A connection to a volume. `fs` is the library's."""

    _all: ClassVar[dict[_Key, "Volume"]] = {}
    _turns: ClassVar[dict[_Key, threading.Lock]] = {}
    _making: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, key: _Key) -> None:
        """Connect. Raises OSError where the volume is not there; that takes the library some seconds."""
        self.api = gfapi()
        self.name = key.volume
        self.patience = Patience()
        self.workers = Workers(key.threads, f"gluster-{key.volume}")
        self.fs = self._connect(key)
        self.number = self._volume_number()
        self.pins = Pins(self)
        self.watching = Watching(self)
        self.renaming = threading.Lock()

    @classmethod
    def of(cls, options: GlusterOptions) -> "Volume":
        """The connection that these options ask for, which who comes first makes; to be called on a worker thread.

        It is kept until the process ends: to close one takes the library more than ten seconds, and nothing that was
        acknowledged depends on it.
        """
        key = _Key(
            options.volume,
            tuple(place_of(text) for text in options.servers),
            options.threads,
            options.ping_timeout,
            options.client_caches == "volume",
            (options.log_file, options.log_level),
        )
        with cls._making:
            alone = cls._turns.setdefault(key, threading.Lock())
        # One volume that does not answer keeps nobody from another.
        with alone:
            if key not in cls._all:
                cls._all[key] = cls(key)
            return cls._all[key]

    def _connect(self, key: _Key) -> Any:
        lib, ffi = self.api.lib, self.api.ffi
        fs = lib.glfs_new(key.volume.encode())
        if fs == ffi.NULL:
            raise error_of(ffi.errno)
        for place in key.places:
            if lib.glfs_set_volfile_server(fs, place.transport.encode(), place.host.encode(), place.port):
                raise error_of(ffi.errno, place.host)
        log_file, log_level = key.log
        lib.glfs_set_logging(fs, os.fsencode(log_file), LOG_LEVELS.index(log_level))
        for name in _ALWAYS_OFF if key.caches else _ALWAYS_OFF + _CACHES:
            lib.glfs_set_xlator_option(fs, f"*-{name}".encode(), b"pass-through", b"true")
        if key.ping_timeout:
            lib.glfs_set_xlator_option(fs, b"*-client-*", b"ping-timeout", str(key.ping_timeout).encode())
        act_as(self.api, SERVER_TOKEN)
        if lib.glfs_init(fs):
            number = ffi.errno
            # What the library says of a volume that no server knows, or that is stopped, is anything.
            raise OSError(number or errno.ENOTCONN, f"volume {key.volume!r} cannot be reached: {os.strerror(number)}")
        return fs

    def _volume_number(self) -> int:
        ffi = self.api.ffi
        raw = ffi.new("char[16]")
        if self.api.lib.glfs_get_volumeid(self.fs, raw, 16) != 16:
            return 1
        return int(NUMBER.unpack_from(ffi.buffer(raw))[0])

    def call(
        self,
        token: ImpersonationToken,
        seconds: float,
        function: Callable[..., _T],
        *arguments: Any,
        late: Callable[[_T], object] | None = None,
    ) -> _T:
        """Call `function(*arguments)` on one of the volume's threads as `token`, again and again while bricks are away.

        `late` is given what it returns where nobody waits for that any more.
        """

        def attempt(left: float) -> _T:
            result: _T = self.workers.call(left, self._as, token, function, arguments, late=late)
            return result

        return self.patience.keep(seconds, attempt)

    def call_each(
        self, token: ImpersonationToken, seconds: float, function: Callable[..., _T], several: Sequence[tuple[Any, ...]]
    ) -> list[_T]:
        """As `call` for each of several arguments, at the same time on several threads: the results in order."""

        def attempt(left: float) -> list[_T]:
            told = [(token, function, arguments) for arguments in several]
            results: list[_T] = self.workers.call_each(left, self._as, told)
            return results

        return self.patience.keep(seconds, attempt)

    def _as(self, token: ImpersonationToken, function: Callable[..., _T], arguments: tuple[Any, ...]) -> _T:
        act_as(self.api, token)
        result: _T = function(*arguments)
        return result

    def become(self, token: ImpersonationToken) -> None:
        """Let the calls of this thread be those of `token`."""
        act_as(self.api, token)

    @contextmanager
    def as_server(self) -> Iterator[None]:
        """For the time of a with block, in the middle of what is done for somebody."""
        token = _identity.token or SERVER_TOKEN
        act_as(self.api, SERVER_TOKEN)
        try:
            yield
        finally:
            act_as(self.api, token)

    def open_file(self, object_: Any, flags: int) -> Any:
        """A descriptor of a file, with an owner of locks of its own."""
        descriptor = self.api.lib.glfs_h_open(self.fs, object_, flags)
        if descriptor == self.api.ffi.NULL:
            raise self.failure()
        return self.own_locks(descriptor)

    def own_locks(self, descriptor: Any) -> Any:
        """Give a descriptor an owner of locks of its own.

        Without one it has that of the thread which happens to use it, which is that of whatever the thread locked last:
        and to close it would end those locks.
        """
        owner = secrets.token_bytes(_OWNER_BYTES)
        self.api.lib.glfs_fd_set_lkowner(descriptor, self.api.ffi.from_buffer(owner), _OWNER_BYTES)
        return descriptor

    def value(self, object_: Any, name: Any) -> bytes:
        """The value of an extended attribute of a file; the list of its names where `name` is NULL."""
        api, size = self.api, _USUAL_VALUE
        while True:
            room = api.ffi.new(f"char[{size}]")
            length = api.lib.glfs_h_getxattrs(self.fs, object_, name, room, size)
            if length >= 0:
                return bytes(api.ffi.buffer(room, length))
            error = self.failure()
            if error.errno != errno.ERANGE or size > LARGEST_VALUE:
                raise error
            size *= 64

    def gfid(self, object_: Any) -> bytes:
        """The number of a file in its volume, which no other ever has."""
        ffi = self.api.ffi
        raw = ffi.new(f"unsigned char[{HANDLE_LENGTH}]")
        if self.api.lib.glfs_h_extract_handle(object_, raw, HANDLE_LENGTH) != HANDLE_LENGTH:
            raise self.failure()
        return bytes(ffi.buffer(raw))

    def failure(self, path: str | bytes | None = None) -> OSError:
        """What the last call of this thread has failed with."""
        return error_of(self.api.ffi.errno, path)
