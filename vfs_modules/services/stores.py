"""Where modules keep what is their own: for each module of each share a folder and in it a small database.

What a change returns from is on stable storage (SQLite's journal, synced), and a change that a crash interrupts is done
or not done, never half. Everything here may sleep and is done as the server: `Storage` sees to both.
"""

import errno
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from typing import Final
from urllib.parse import quote

from lamina.vfs_modules.syscalls.state_folder import TemporaryFolder, private_folder

_LONGEST: Final = 100
_BUSY_SECONDS: Final = 5.0
_SCHEMA: Final = "CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
_SIZE: Final = "SELECT COALESCE(SUM(LENGTH(CAST(key AS BLOB)) + LENGTH(value)), 0) FROM entries"
_CHANGES: Final = "PRAGMA data_version"
"""A number that is another one after other connections have changed something, and only then."""

_SIZE_OF: Final = f"{_SIZE} WHERE key = ?"


class Stores:
    """The stores of all modules of a server; one for a share and module, whatever chains that share has had."""

    def __init__(self, folder: str = "") -> None:
        """`folder` is made when something is first stored; without one, everything goes with this object."""
        self._folder = folder
        self._temporary: TemporaryFolder | None = None
        self._open: dict[tuple[str, str], Store] = {}
        self._lock = threading.Lock()

    def open(self, share: str, module: str) -> "Store":
        """The store of one module; by the share's name, whatever its case. Raises OSError."""
        key = (share.casefold(), module)
        with self._lock:
            store = self._open.get(key)
            if store is None:
                store = self._open[key] = Store(self._folder_of(*key))
            return store

    def _folder_of(self, share: str, module: str) -> str:
        try:
            return private_folder(self._base(), component(share), component(module))
        except OSError as error:
            # Who reads it knows nothing of modules that store: the setting is what he can change.
            why = f"module {module} cannot keep anything in {error.filename}: {error.strerror}; see server.state"
            raise OSError(error.errno, why, error.filename) from error

    def _base(self) -> str:
        if self._folder:
            return self._folder
        if self._temporary is None:
            self._temporary = TemporaryFolder()
        return self._temporary.name

    def close(self) -> None:
        """Give everything back; nothing is stored any more."""
        with self._lock:
            for store in self._open.values():
                store.close()
            self._open = {}
            if self._temporary is not None:
                self._temporary.cleanup()


def component(name: str) -> str:
    """`name` as one component of a path: itself where that is harmless, never "." or "..", never too long."""
    quoted = quote(name, safe=" #")
    quoted = f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted or "%"
    if len(quoted) <= _LONGEST:
        return quoted
    return f"{quoted[:_LONGEST]}~{blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"


class Store:
    """The database of one module. Safe to use from several threads, and from several processes of one server."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        with _as_os_error(folder):
            self._connection = sqlite3.connect(
                f"{folder}/store.db", timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(_SCHEMA)
            self._seen = self._number(_CHANGES)
            self._size = self._number(_SIZE)

    def get(self, key: str) -> bytes | None:
        """A value; None where there is none."""
        with self._lock, _as_os_error(self.folder):
            row = self._connection.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def items(self, prefix: str) -> list[tuple[str, bytes]]:
        """Keys that begin with `prefix`, with their values, in order."""
        with self._lock, _as_os_error(self.folder):
            rows = self._connection.execute(
                "SELECT key, value FROM entries WHERE key >= ? AND SUBSTR(key, 1, ?) = ? ORDER BY key",
                (prefix, len(prefix), prefix),
            ).fetchall()
        return [(key, bytes(value)) for key, value in rows]

    def size(self) -> int:
        """The bytes of all keys and values."""
        with self._lock, _as_os_error(self.folder):
            return self._counted()

    def _counted(self) -> int:
        """The bytes, counted anew where another process has changed something."""
        changes = self._number(_CHANGES)
        if changes != self._seen:
            self._seen, self._size = changes, self._number(_SIZE)
        return self._size

    def change(self, changes: Mapping[str, bytes | None], limit: int) -> None:
        """Set and remove (None) values, all or none. ENOSPC where more than `limit` bytes would come of it."""
        with self._lock, _as_os_error(self.folder):
            with self._transaction():
                before = self._counted()
                size = before + sum(self._put(key, value) for key, value in changes.items())
                if size > max(limit, before):
                    raise OSError(errno.ENOSPC, f"a module stores more than its limit of {limit} bytes", self.folder)
            self._size = size

    def _put(self, key: str, value: bytes | None) -> int:
        """Set or remove one value; how many bytes more there are now."""
        before = self._number(_SIZE_OF, key)
        if value is None:
            self._connection.execute("DELETE FROM entries WHERE key = ?", (key,))
            return -before
        self._connection.execute("INSERT OR REPLACE INTO entries VALUES (?, ?)", (key, value))
        return len(key.encode()) + len(value) - before

    def _number(self, query: str, *values: str) -> int:
        return int(self._connection.execute(query, values).fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def files(self) -> str:
        """A folder for files of the module's own."""
        return private_folder(self.folder, "files")

    def close(self) -> None:
        """Give it back."""
        with self._lock:
            self._connection.close()


@contextmanager
def _as_os_error(folder: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        number = errno.ENOSPC if "full" in str(error) else errno.EIO
        raise OSError(number, f"what a module stores cannot be reached: {error}", folder) from error
