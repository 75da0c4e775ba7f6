"""Files and directories in a SQLite database: what is kept, and how it is found. Nothing of SMB, nothing of Lamina.

Every method is one transaction: it is done as a whole or not at all. Names are bytes, because a file's name need not be
text. Calls may come from any thread, one at a time.
"""

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

CHUNK = 65536
"""Bytes of one row of content."""

ROOT = 1
LARGEST = 1 << 53

_TABLES = """
CREATE TABLE IF NOT EXISTS nodes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, mode INTEGER, uid INTEGER, gid INTEGER, links INTEGER, size INTEGER,
    accessed INTEGER, written INTEGER, changed INTEGER, born INTEGER);
CREATE TABLE IF NOT EXISTS names (
    directory INTEGER, name BLOB, number INTEGER, PRIMARY KEY (directory, name)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS names_of ON names (number);
CREATE TABLE IF NOT EXISTS content (
    number INTEGER, chunk INTEGER, data BLOB, PRIMARY KEY (number, chunk)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS synced (number INTEGER PRIMARY KEY, at INTEGER);
"""


class Node(NamedTuple):
    """A file or directory, as a row of the database."""

    number: int
    mode: int
    uid: int
    gid: int
    links: int
    size: int
    accessed: int
    written: int
    changed: int
    born: int


class Store:
    """The database in the file `path`. Raises sqlite3.Error."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        # One server at a time; a commit that was not synced is lost with the machine's power, but whole or not there.
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(_TABLES)
        with self._transaction() as db:
            # What was open and had no name any more when the server ended.
            db.execute("DELETE FROM content WHERE number IN (SELECT number FROM nodes WHERE links = 0)")
            db.execute("DELETE FROM nodes WHERE links = 0")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._database.close()

    def sync(self) -> None:
        """Return when all that was done is on stable storage: a commit that is synced takes those before it along."""
        with self._lock:
            self._database.execute("PRAGMA synchronous = FULL")
            try:
                self._database.execute("INSERT OR REPLACE INTO synced VALUES (1, ?)", (time.time_ns(),))
            finally:
                self._database.execute("PRAGMA synchronous = NORMAL")

    def used(self) -> int:
        """Bytes that the content takes."""
        with self._lock:
            row = self._database.execute("SELECT COALESCE(SUM(LENGTH(data)), 0) FROM content").fetchone()
        return int(row[0])

    # Nodes and names.

    def node(self, number: int) -> Node:
        """A node that has a name or is open."""
        with self._lock:
            row = self._database.execute("SELECT * FROM nodes WHERE number = ?", (number,)).fetchone()
        return Node(*row)

    def child(self, directory: int, name: bytes) -> Node | None:
        """What a name in a directory means."""
        query = "SELECT nodes.* FROM names JOIN nodes USING (number) WHERE directory = ? AND name = ?"
        with self._lock:
            row = self._database.execute(query, (directory, name)).fetchone()
        return None if row is None else Node(*row)

    def children(self, directory: int) -> list[tuple[bytes, Node]]:
        """All that a directory has."""
        query = "SELECT name, nodes.* FROM names JOIN nodes USING (number) WHERE directory = ?"
        with self._lock:
            rows = self._database.execute(query, (directory,)).fetchall()
        return [(bytes(row[0]), Node(*row[1:])) for row in rows]

    def is_empty(self, directory: int) -> bool:
        """Whether a directory has nothing."""
        with self._lock:
            row = self._database.execute("SELECT 1 FROM names WHERE directory = ? LIMIT 1", (directory,)).fetchone()
        return row is None

    def parent(self, number: int) -> int:
        """The directory that a directory is in; 0 for the root."""
        with self._lock:
            row = self._database.execute("SELECT directory FROM names WHERE number = ?", (number,)).fetchone()
        return 0 if row is None else int(row[0])

    def make_root(self, mode: int, uid: int, gid: int) -> None:
        """Make the root, if there is none yet."""
        with self._transaction() as db:
            now = time.time_ns()
            row = (ROOT, mode, uid, gid, 2, 0, now, now, now, now)
            db.execute("INSERT OR IGNORE INTO nodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def make(self, directory: int, name: bytes, mode: int, uid: int, gid: int, links: int) -> Node:
        """Make a node under a name that is not taken."""
        now = time.time_ns()
        with self._transaction() as db:
            row = (mode, uid, gid, links, 0, now, now, now, now)
            number = db.execute("INSERT INTO nodes VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row).lastrowid
            assert number is not None
            db.execute("INSERT INTO names VALUES (?, ?, ?)", (directory, name, number))
            _touch(db, directory)
        return Node(number, *row)

    def remove(self, directory: int, name: bytes, number: int, is_open: bool) -> None:
        """Take a name away; its content goes with it, unless the node is open."""
        with self._transaction() as db:
            _unname(db, directory, name, number, is_open)
            _touch(db, directory)

    def forget(self, number: int) -> None:
        """The last handle of a node that has no name is closed."""
        with self._transaction() as db:
            _drop(db, number)

    def rename(
        self, source: tuple[int, bytes], target: tuple[int, bytes], number: int, replaced: tuple[int, bool] | None
    ) -> None:
        """Move a name; `replaced`: the node that has the target, and whether it is open."""
        with self._transaction() as db:
            if replaced is not None:
                _unname(db, *target, *replaced)
            change = "UPDATE names SET directory = ?, name = ? WHERE directory = ? AND name = ?"
            db.execute(change, (*target, *source))
            db.execute("UPDATE nodes SET changed = ? WHERE number = ?", (time.time_ns(), number))
            _touch(db, source[0])
            _touch(db, target[0])

    def touch_attributes(self, number: int, values: dict[str, int]) -> None:
        """Set columns of a node, which has changed by that."""
        columns = {**values, "changed": time.time_ns()}
        assignments = ", ".join(f"{column} = ?" for column in columns)
        with self._transaction() as db:
            db.execute(f"UPDATE nodes SET {assignments} WHERE number = ?", (*columns.values(), number))

    # Content.

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Bytes of a file; holes are zeros, and what lies beyond the end is not there."""
        with self._lock:
            (size,) = self._database.execute("SELECT size FROM nodes WHERE number = ?", (number,)).fetchone()
            length = min(length, size - offset)
            if length <= 0:
                return b""
            first, last = offset // CHUNK, (offset + length - 1) // CHUNK
            query = "SELECT chunk, data FROM content WHERE number = ? AND chunk BETWEEN ? AND ?"
            rows = self._database.execute(query, (number, first, last)).fetchall()
        found = bytearray((last - first + 1) * CHUNK)
        for chunk, data in rows:
            start = (chunk - first) * CHUNK
            found[start : start + len(data)] = data
        start = offset - first * CHUNK
        return bytes(found[start : start + length])

    def write(self, number: int, offset: int, data: bytes) -> None:
        """Put bytes into a file, which grows to hold them."""
        with self._transaction() as db:
            for chunk, start, part in _parts(offset, data):
                _put(db, number, chunk, start, part)
            grown = "UPDATE nodes SET size = MAX(size, ?), written = ?, changed = ? WHERE number = ?"
            now = time.time_ns()
            db.execute(grown, (offset + len(data), now, now, number))

    def truncate(self, number: int, size: int) -> None:
        """Set a file's end. What lies beyond it reads as zeros should the file grow again."""
        with self._transaction() as db:
            whole, rest = divmod(size, CHUNK)
            db.execute("DELETE FROM content WHERE number = ? AND chunk > ?", (number, whole))
            cut = "UPDATE content SET data = SUBSTR(data, 1, ?) WHERE number = ? AND chunk = ?"
            db.execute(cut, (rest, number, whole))
            now = time.time_ns()
            ended = "UPDATE nodes SET size = ?, written = ?, changed = ? WHERE number = ?"
            db.execute(ended, (size, now, now, number))


def _touch(db: sqlite3.Connection, number: int) -> None:
    now = time.time_ns()
    db.execute("UPDATE nodes SET written = ?, changed = ? WHERE number = ?", (now, now, number))


def _unname(db: sqlite3.Connection, directory: int, name: bytes, number: int, is_open: bool) -> None:
    db.execute("DELETE FROM names WHERE directory = ? AND name = ?", (directory, name))
    if is_open:
        db.execute("UPDATE nodes SET links = 0, changed = ? WHERE number = ?", (time.time_ns(), number))
    else:
        _drop(db, number)


def _drop(db: sqlite3.Connection, number: int) -> None:
    db.execute("DELETE FROM content WHERE number = ?", (number,))
    db.execute("DELETE FROM nodes WHERE number = ?", (number,))


def _parts(offset: int, data: bytes) -> Iterable[tuple[int, int, bytes]]:
    """The data by chunks: the chunk's number, where in it, and the bytes."""
    done = 0
    while done < len(data):
        chunk, start = divmod(offset + done, CHUNK)
        part = data[done : done + CHUNK - start]
        yield chunk, start, part
        done += len(part)


def _put(db: sqlite3.Connection, number: int, chunk: int, start: int, part: bytes) -> None:
    row = db.execute("SELECT data FROM content WHERE number = ? AND chunk = ?", (number, chunk)).fetchone()
    before = b"" if row is None else bytes(row[0])
    after = before[:start].ljust(start, b"\0") + part + before[start + len(part) :]
    db.execute("INSERT OR REPLACE INTO content VALUES (?, ?, ?)", (number, chunk, after))
