"""A store of small records on stable storage: an SQLite database that is whole, ours and nobody else's, or refused.

SQLite rather than LMDB: a durable write of 700 bytes takes 120 to 240 µs with either, the disk deciding, and SQLite
comes with Python. The write-ahead log is synchronised at each commit (`synchronous = FULL`), so what `apply` has
returned from survives the loss of power; a tail of the log that was torn is an unfinished commit, and SQLite drops it.

Several worker processes of one server share a store: each has it open, and a commit is made by one of them at a time.
They wait for each other in the kernel (`CrewFile`), not as SQLite would, by trying again after a pause.

Each row carries a digest of its own, because SQLite does not notice a bit that has changed within a value. All rows
are read and judged before the first is given to anybody: half of a store is never loaded.
"""

import contextlib
import errno
import hashlib
import secrets
import sqlite3
import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from lamina.vfs_modules.syscalls.crew_file import CrewFile, has_crew
from lamina.vfs_modules.syscalls.log_file import make_private

APPLICATION_ID: Final = 0x4C414D48
"""What SQLite keeps in the header for whose file it is: "LAMH", the handles of Lamina."""

LAYOUT: Final = 1
"""Version of the tables (SQLite's `user_version`). What is in a value has its own."""

MAX_VALUE: Final = 1 << 24
"""Bytes of one record."""

_DIGEST: Final = 16
_CREW: Final = "-crew"
_SECONDS_TO_GO: Final = 30.0
"""How long the processes of a server that was killed may take to end after it."""
_PAUSE: Final = 0.02


class StoreError(Exception):
    """A store that cannot be used; the message says which file, what is wrong with it and what to do."""


class Change(NamedTuple):
    """A record to be kept under `key`, or to be forgotten (`value` None)."""

    key: bytes
    value: bytes | None


class RecordStore:
    """The store in the file `path`, which is made if there is none.

    One process at a time has it, or those that call themselves `crew`. Calls must not overlap, but may come from any
    thread but that of an event loop, which others may hold up. Raises StoreError.
    """

    def __init__(self, path: str, crew: str = "") -> None:
        self.path = path
        self._crew: CrewFile | None = None
        try:
            make_private(path)
            if crew or has_crew(path + _CREW):
                self._crew = _joined(path, crew or secrets.token_hex())
            with self._turn():
                self._database = _opened(path, shared=bool(crew))
        except OSError as error:
            self._leave()
            raise StoreError(f"{path}: cannot be opened or made ({error.strerror}); its folder must exist") from error
        except sqlite3.Error as error:
            self._leave()
            raise _refusal(path, error) from error
        except StoreError:
            self._leave()
            raise

    def _turn(self) -> contextlib.AbstractContextManager[None]:
        return self._crew or contextlib.nullcontext()

    def _leave(self) -> None:
        if self._crew is not None:
            self._crew.close()
            self._crew = None

    def load(self) -> dict[bytes, bytes]:
        """All records, by key. Raises StoreError if any of them is not what was written."""
        try:
            with self._turn():
                rows = self._database.execute("SELECT key, value, digest FROM records").fetchall()
        except sqlite3.Error as error:
            raise _refusal(self.path, error) from error
        for key, value, digest in rows:
            if not isinstance(key, bytes) or not isinstance(value, bytes) or digest != _digest(key, value):
                raise StoreError(
                    f"{self.path}: a record of a persistent open is damaged; nothing of the file is used. "
                    "Restore it from a backup, or remove it: the opens in it are lost then, the files are not touched"
                )
        return {key: value for key, value, _ in rows}

    def apply(self, changes: Iterable[Change]) -> None:
        """Make the changes in their order, all or none, on stable storage when this returns.

        Raises OSError: ENOSPC, EFBIG for a record that is too large, EIO for everything else.
        """
        try:
            with self._turn():
                self._commit(changes)
        except sqlite3.Error as error:
            number = errno.ENOSPC if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL" else errno.EIO
            raise OSError(number, f"the store of persistent opens cannot be written: {error}", self.path) from error

    def _commit(self, changes: Iterable[Change]) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            for change in changes:
                self._apply_one(change)
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def _apply_one(self, change: Change) -> None:
        key, value = change
        if value is None:
            self._database.execute("DELETE FROM records WHERE key = ?", (key,))
            return
        if len(value) > MAX_VALUE:
            raise OSError(errno.EFBIG, "the record of a persistent open is too large", self.path)
        self._database.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", (key, value, _digest(key, value)))

    def close(self) -> None:
        """Let go of the file."""
        with self._turn():
            self._database.close()
        self._leave()


def _joined(path: str, crew: str) -> CrewFile:
    """The file of those that share the store, once no other server's processes have it."""
    file = CrewFile(path + _CREW, crew)
    until = time.monotonic() + _SECONDS_TO_GO
    while not file.join():
        if time.monotonic() > until:
            file.close()
            raise _in_use(path)
        time.sleep(_PAUSE)
    return file


def _digest(key: bytes, value: bytes) -> bytes:
    return hashlib.blake2b(value, key=key[:64], digest_size=_DIGEST).digest()


def _opened(path: str, shared: bool) -> sqlite3.Connection:
    patience = _SECONDS_TO_GO if shared else 0
    database = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        if not shared:
            # One process has the file, and keeps it from the first read on.
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
        _judge(database, path)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("BEGIN IMMEDIATE")
        database.execute(
            "CREATE TABLE IF NOT EXISTS records (key BLOB PRIMARY KEY, value BLOB NOT NULL, digest BLOB NOT NULL)"
            " WITHOUT ROWID"
        )
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {LAYOUT}")
        database.execute("COMMIT")
    except BaseException:
        database.close()
        raise
    return database


def _judge(database: sqlite3.Connection, path: str) -> None:
    application = _pragma(database, "application_id")
    if application != APPLICATION_ID:
        if application == 0 and _pragma(database, "page_count") == 0:
            return
        raise StoreError(
            f"{path}: this is a database of another program, not a store of persistent opens; it is left alone. "
            "Name a file of its own in the module's options"
        )
    layout = _pragma(database, "user_version")
    if layout != LAYOUT:
        raise StoreError(
            f"{path}: the store has layout {layout}, and this release of Lamina reads layout {LAYOUT}; "
            "start the release that wrote it, or remove the file: the opens in it are lost then"
        )
    found = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise _refusal(path, sqlite3.DatabaseError(found))


def _pragma(database: sqlite3.Connection, name: str) -> int:
    value = database.execute(f"PRAGMA {name}").fetchone()[0]
    assert isinstance(value, int)
    return value


def _refusal(path: str, error: sqlite3.Error) -> StoreError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return _in_use(path)
    return StoreError(
        f"{path}: this is no store of persistent opens, or a damaged one ({error}); nothing of it is used. "
        "Restore it from a backup, or remove it: the opens in it are lost then, the files are not touched"
    )


def _in_use(path: str) -> StoreError:
    return StoreError(f"{path}: another process uses this store; each server needs a file of its own")
