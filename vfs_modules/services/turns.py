"""Turns of a module: parts of its work that requests do one after the other, in all processes of the server; places.

A module names what a turn is about; what has another name has, with one chance in many, the same turn. So whoever holds
one of a module's turns must not take another of the same kind. Modules above and below have turns of their own.
"""

import asyncio
import zlib
from collections.abc import Callable
from hashlib import blake2b
from types import TracebackType
from typing import Final

from lamina.vfs_modules import engine
from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.places import Places
from lamina.vfs_modules.processes import Place, place
from lamina.vfs_modules.syscalls.lock_file import LockFile
from lamina.vfs_modules.token import SERVER_TOKEN
from lamina.vfs_modules.turn import Turn

_TURNS: Final = 64
_MOST: Final = 1024
"""Turns, or places, that one kind may have."""

_PLACES: Final = "\0places"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.02


def locks_of(scope: str, kind: str = "") -> int:
    """The first of the bytes that are the locks of a kind of turns in a scope."""
    name = f"{scope}\0\0{kind}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(name, digest_size=6).digest()) * _MOST


class Turns:
    """The turns of one `scope`: a module of a share. Where there are several processes they are locks of a file."""

    __slots__ = ("_make", "_turns")

    def __init__(self, scope: str) -> None:
        self._turns: dict[tuple[str, int], Turn] = {}
        self._make: Callable[[str, int], Turn] = lambda kind, slot: Turn()
        where = place()
        if where is not None:
            file = _lock_file(where)
            self._make = lambda kind, slot: SharedTurn(file, locks_of(scope, kind) + slot)

    def of(self, key: tuple[int | str, ...], kind: str = "") -> Turn:
        """The turn for what a key names, which is the same in every process."""
        slot = zlib.crc32(repr(key).encode("utf-8", "backslashreplace")) % _TURNS
        turn = self._turns.get((kind, slot))
        if turn is None:
            turn = self._turns[kind, slot] = self._make(kind, slot)
        return turn


def _lock_file(where: Place) -> LockFile:
    # Whoever asks first is somebody's request, and the folder is the server's.
    assume(SERVER_TOKEN)
    return LockFile(f"{where.folder}/turns")


def places(scope: str, count: int) -> Places:
    """So many places in a scope, for the requests of all processes together."""
    where = place()
    return Places(count) if where is None else SharedPlaces(count, _lock_file(where), locks_of(scope, _PLACES))


class SharedPlaces(Places):
    """Places that are also taken between processes: bytes of a file, of which a request has any."""

    __slots__ = ("_bytes", "_file", "_held")

    def __init__(self, count: int, file: LockFile, first: int) -> None:
        super().__init__(count)
        self._file = file
        self._bytes = range(first, first + min(count, _MOST))
        self._held: set[int] = set()

    def __enter__(self) -> None:
        super().__enter__()
        pause = _FIRST_PAUSE
        try:
            while not self._took_one():
                engine.wait(asyncio.sleep(pause))
                pause = min(1.5 * pause, _LONGEST_PAUSE)
        except BaseException:
            super().__exit__(None, None, None)
            raise

    def _took_one(self) -> bool:
        for byte in self._bytes:
            if byte not in self._held and self._file.take(byte):
                self._held.add(byte)
                return True
        return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.give(self._held.pop())
        super().__exit__(kind, error, traceback)


class SharedTurn(Turn):
    """A turn that is also taken between processes: a byte of a file, free again when its holder is killed."""

    __slots__ = ("_byte", "_file")

    def __init__(self, file: LockFile, byte: int) -> None:
        super().__init__()
        self._file = file
        self._byte = byte

    def __enter__(self) -> None:
        super().__enter__()
        pause = _FIRST_PAUSE
        try:
            while not self._file.take(self._byte):
                # Most hold it for a system call or two.
                engine.wait(asyncio.sleep(pause))
                pause = min(1.5 * pause, _LONGEST_PAUSE)
        except BaseException:
            super().__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.give(self._byte)
        super().__exit__(kind, error, traceback)
