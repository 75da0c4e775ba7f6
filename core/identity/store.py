"""Ids that were given to SIDs, and stay theirs: a SQLite file that only its owner may write.

An id is written, and on the disk, before anybody acts with it; no id is ever given twice, whatever process asks at the
same time. Ids are for users and groups alike. All that is known stands in memory too, so that looking up costs no I/O:
it is bounded by the ranges, and only who logs on adds to it - what clients write into access lists does not.
"""

import errno
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

from lamina.core.auth.account_file import make_private_file
from lamina.vfs_modules.credentials import server_identity

_APPLICATION_ID: Final = 0x4C414D49  # "LAMI"
_SCHEMA_VERSION: Final = 1
_BUSY_SECONDS: Final = 5.0
_REFRESH_SECONDS: Final = 1.0
_SCHEMA: Final = (
    "CREATE TABLE ids (sid TEXT PRIMARY KEY, id INTEGER UNIQUE NOT NULL, domain TEXT NOT NULL) WITHOUT ROWID",
)


class RangeFullError(OSError):
    """There is no free id in a range."""


class IdStore:
    """The ids in the file at `path`, or in memory. Safe to use from threads and processes."""

    def __init__(self, path: Path | str = "") -> None:
        """Raises OSError: PermissionError for a file that others may write, EINVAL for one that is something else."""
        self._path = str(path)
        self._lock = threading.RLock()
        self._id_of: dict[str, int] = {}
        self._sid_of: dict[int, str] = {}
        self._version = -1
        self._looked_at = 0.0
        with self._as_server():
            if path:
                make_private_file(Path(path))
                _check_trustworthy(Path(path))
            self._connection = sqlite3.connect(
                self._path or ":memory:", timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                self._open()
            except BaseException:
                self._connection.close()
                raise

    def _open(self) -> None:
        self._connection.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            application = self._number("PRAGMA application_id")
            version = self._number("PRAGMA user_version")
            if not self._number("SELECT count(*) FROM sqlite_master"):
                for statement in _SCHEMA:
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                self._connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            elif (application, version) != (_APPLICATION_ID, _SCHEMA_VERSION):
                raise OSError(errno.EINVAL, "this is no file of ids of this version", self._path)
        self._read()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def id_of(self, sid: str) -> int | None:
        """The id that was given to a SID, or None."""
        found = self._id_of.get(sid)
        return found if found is not None or not self._is_stale() else self._id_of.get(sid)

    def sid_of(self, number: int) -> str | None:
        """The SID that an id was given to, or None."""
        found = self._sid_of.get(number)
        return found if found is not None or not self._is_stale() else self._sid_of.get(number)

    def allocate(self, sid: str, domain: str, low: int, high: int) -> int:
        """The id of a SID: the one it has, or the lowest one above all that `low` to `high` has given.

        Raises RangeFullError, or OSError where it cannot be written.
        """
        known = self._id_of.get(sid)
        if known is not None:
            return known
        with self._as_server(), self._transaction():
            row = self._connection.execute("SELECT id FROM ids WHERE sid = ?", (sid,)).fetchone()
            number = row[0] if row else self._next(low, high)
            if not low <= number <= high:
                raise RangeFullError(errno.ENOSPC, f"the range {low}-{high} of {domain} has no free id")
            if not row:
                self._connection.execute("INSERT INTO ids VALUES (?, ?, ?)", (sid, number, domain))
        self._keep(sid, number)
        return number

    def bind(self, sid: str, number: int, domain: str) -> None:
        """Note which id a SID has by the name service; it may have changed. Raises OSError."""
        if self._id_of.get(sid) == number and self._sid_of.get(number) == sid:
            return
        with self._as_server(), self._transaction():
            self._connection.execute("DELETE FROM ids WHERE sid = ? OR id = ?", (sid, number))
            self._connection.execute("INSERT INTO ids VALUES (?, ?, ?)", (sid, number, domain))
        with self._lock:
            self._sid_of.pop(self._id_of.get(sid, -1), None)
            self._id_of.pop(self._sid_of.get(number, ""), None)
        self._keep(sid, number)

    def _keep(self, sid: str, number: int) -> None:
        with self._lock:
            self._id_of[sid], self._sid_of[number] = number, sid

    def _next(self, low: int, high: int) -> int:
        highest = self._number("SELECT coalesce(max(id), ?) FROM ids WHERE id BETWEEN ? AND ?", low - 1, low, high)
        return highest + 1

    def _is_stale(self) -> bool:
        """Whether another process has written, so that what was not known is worth another look."""
        if not self._path or monotonic() - self._looked_at < _REFRESH_SECONDS:
            return False
        with self._as_server():
            self._looked_at = monotonic()
            if self._number("PRAGMA data_version") == self._version:
                return False
            self._read()
        return True

    def _read(self) -> None:
        self._version = self._number("PRAGMA data_version")
        rows = self._connection.execute("SELECT sid, id FROM ids").fetchall()
        self._id_of = dict(rows)
        self._sid_of = {number: sid for sid, number in rows}

    def _number(self, statement: str, *parameters: object) -> int:
        return int(self._connection.execute(statement, parameters).fetchone()[0])

    @contextmanager
    def _as_server(self) -> Iterator[None]:
        with self._lock, server_identity():
            try:
                yield
            except sqlite3.Error as error:
                raise OSError(errno.EIO, f"the file of ids cannot be used: {error}", self._path) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _check_trustworthy(path: Path) -> None:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "the file of ids must be a regular file", str(path))
    if found.st_mode & 0o022 or found.st_uid not in (os.geteuid(), 0):
        raise PermissionError(errno.EPERM, "others may write it, and so become anybody", str(path))
