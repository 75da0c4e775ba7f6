"""Small values that all processes of a server agree upon, for as long as the server runs.

In one process they are in its memory. In several they are rows of an LMDB environment in the memory that the processes
share: a step is a transaction, with a lock that is free again when its holder is killed, and what a killed process has
left half done was never there. What is to outlive the server belongs into `storage`.
"""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import blake2b
from typing import Any, Final, Protocol

from lamina.vfs_modules.processes import Place, place

_MAP: Final = 1 << 30
_READERS: Final = 1024
_LONGEST_KEY: Final = 400
_SCOPE: Final = 16


class Values(Protocol):
    """The values while a step is made. Keys are at most 400 bytes."""

    def get(self, key: bytes) -> bytes | None:
        """A value, or None."""
        ...

    def put(self, key: bytes, value: bytes) -> None:
        """Set a value."""
        ...

    def delete(self, key: bytes) -> None:
        """Forget a value, if there is one."""
        ...

    def items(self, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        """The keys that begin with `prefix` and their values, in the order of the keys."""
        ...


class SharedStore(Protocol):
    """Where the values of all scopes are."""

    def get(self, scope: bytes, key: bytes) -> bytes | None:
        """A value, or None."""
        ...

    def step(self, scope: bytes) -> AbstractContextManager[Values]:
        """One step."""
        ...


class SharedValues:
    """The values of one `scope`: a module of a share. Raises OSError (ENOSPC, ENOMEM) where there is no memory."""

    __slots__ = ("_scope", "_store")

    def __init__(self, store: SharedStore, scope: str) -> None:
        self._store = store
        self._scope = blake2b(scope.encode("utf-8", "surrogatepass"), digest_size=_SCOPE).digest()

    def get(self, key: bytes) -> bytes | None:
        """A value as it is now, or None."""
        return self._store.get(self._scope, key)

    def step(self) -> AbstractContextManager[Values]:
        """Read and change values as one step, in a with block: all of it, or nothing where the block raises.

        All other processes wait meanwhile: nothing in the block may wait, and no other step may be begun in it.
        """
        return self._store.step(self._scope)


class _OneAtATime:
    """Steps of one process: a thread waits for another's, and is told where it waits for its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder = 0

    def __enter__(self) -> None:
        me = threading.get_ident()
        if self._holder == me:
            raise RuntimeError("a step of `shared` is begun inside another one, or has waited for something")
        self._lock.acquire()
        self._holder = me

    def __exit__(self, *raised: object) -> None:
        self._holder = 0
        self._lock.release()


class MemoryStore:
    """The values of a server of one process."""

    def __init__(self) -> None:
        self._values: dict[bytes, dict[bytes, bytes]] = {}
        self._stepping = _OneAtATime()

    def get(self, scope: bytes, key: bytes) -> bytes | None:
        """A value, or None."""
        return self._values.get(scope, {}).get(key)

    @contextmanager
    def step(self, scope: bytes) -> Iterator[Values]:
        """A step, which is undone where it raises."""
        with self._stepping:
            step = _MemoryStep(self._values.setdefault(scope, {}))
            try:
                yield step
            except BaseException:
                step.undo()
                raise


class _MemoryStep:
    def __init__(self, values: dict[bytes, bytes]) -> None:
        self._values = values
        self._before: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        _check(key)
        self._before.setdefault(key, self._values.get(key))
        self._values[key] = value

    def delete(self, key: bytes) -> None:
        before = self._values.pop(key, None)
        if before is not None:
            self._before.setdefault(key, before)

    def items(self, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        return sorted((key, value) for key, value in self._values.items() if key.startswith(prefix))

    def undo(self) -> None:
        for key, value in self._before.items():
            if value is None:
                self._values.pop(key, None)
            else:
                self._values[key] = value


def _check(key: bytes) -> None:
    if len(key) > _LONGEST_KEY:
        raise ValueError(f"a key of {len(key)} bytes: use a hash of it")


class LmdbStore:
    """The values of a server of several processes, as one of them has them."""

    def __init__(self, where: Place) -> None:
        import lmdb

        self._full: type[Exception] = lmdb.MapFullError
        self._error: type[Exception] = lmdb.Error
        self._env = lmdb.open(
            f"{where.folder}/modules",
            map_size=_MAP,  # what is not used takes no memory
            max_readers=_READERS,
            sync=False,
            metasync=False,
            writemap=False,  # written in place, who writes would be killed where others have filled the file system
            meminit=False,
            mode=0o600,
        )
        self._env.reader_check()  # a process that was killed looks at nothing any more
        self._stepping = _OneAtATime()

    def get(self, scope: bytes, key: bytes) -> bytes | None:
        """A value, or None."""
        with self._reported(), self._env.begin() as transaction:
            value: bytes | None = transaction.get(scope + key)
            return value

    @contextmanager
    def step(self, scope: bytes) -> Iterator[Values]:
        """A step: a transaction."""
        with self._stepping, self._reported(), self._env.begin(write=True) as transaction:
            yield _LmdbStep(transaction, scope)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            number = errno.ENOSPC if isinstance(error, self._full) else errno.ENOMEM
            raise OSError(number, f"no memory for what processes share: {os.strerror(number)}") from error


class _LmdbStep:
    def __init__(self, transaction: Any, scope: bytes) -> None:
        self._transaction = transaction
        self._scope = scope

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._transaction.get(self._scope + key)
        return value

    def put(self, key: bytes, value: bytes) -> None:
        _check(key)
        self._transaction.put(self._scope + key, value)

    def delete(self, key: bytes) -> None:
        self._transaction.delete(self._scope + key)

    def items(self, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        start, found = self._scope + prefix, []
        cursor = self._transaction.cursor()
        there = cursor.set_range(start)
        while there and cursor.key().startswith(start):
            found.append((cursor.key()[_SCOPE:], cursor.value()))
            there = cursor.next()
        return found


_of_processes: dict[str, LmdbStore] = {}
"""By its folder: LMDB lets a process open an environment once."""

_making = threading.Lock()


def store_of_server() -> SharedStore:
    """Where a server keeps what is shared: one place for all of it, or, in one process, a new one."""
    where = place()
    if where is None:
        return MemoryStore()
    with _making:
        store = _of_processes.get(where.folder)
        if store is None:
            store = _of_processes[where.folder] = LmdbStore(where)
        return store
