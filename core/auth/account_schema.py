"""The tables of the accounts database, and bringing an older file up to them."""

import errno
import sqlite3
from pathlib import Path
from typing import Final

from lamina.core.auth.account import FIRST_RID, make_machine_sid

SCHEMA_VERSION: Final = 2
_APPLICATION_ID: Final = 0x4C414D41  # "LAMA": tells the file from another program's database

_FIRST: Final = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE accounts (
    rid INTEGER PRIMARY KEY, folded TEXT UNIQUE NOT NULL, name TEXT NOT NULL, nt_hash BLOB NOT NULL,
    uid INTEGER NOT NULL, gid INTEGER NOT NULL, disabled INTEGER NOT NULL DEFAULT 0, full_name TEXT NOT NULL DEFAULT ''
);
CREATE TABLE groups (
    rid INTEGER PRIMARY KEY, folded TEXT UNIQUE NOT NULL, name TEXT NOT NULL, gid INTEGER UNIQUE
);
CREATE TABLE members (
    account INTEGER NOT NULL REFERENCES accounts (rid) ON DELETE CASCADE,
    member_of INTEGER NOT NULL REFERENCES groups (rid) ON DELETE CASCADE,
    PRIMARY KEY (account, member_of)
) WITHOUT ROWID;
"""
_SECOND: Final = """
CREATE TABLE privileges (
    account INTEGER NOT NULL REFERENCES accounts (rid) ON DELETE CASCADE, name TEXT NOT NULL,
    PRIMARY KEY (account, name)
) WITHOUT ROWID;
CREATE TABLE claims (
    account INTEGER NOT NULL REFERENCES accounts (rid) ON DELETE CASCADE, name TEXT NOT NULL, value NOT NULL,
    PRIMARY KEY (account, name, value)
) WITHOUT ROWID;
CREATE TABLE account_sids (
    sid TEXT PRIMARY KEY, account INTEGER NOT NULL REFERENCES accounts (rid) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE group_sids (
    sid TEXT PRIMARY KEY, member_of INTEGER NOT NULL REFERENCES groups (rid) ON DELETE CASCADE
) WITHOUT ROWID;
"""


def open_schema(connection: sqlite3.Connection, path: Path) -> str:
    """Make the tables, or those that an older file lacks; the machine SID. Raises OSError for another sort of file."""
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")
    # Two processes may make the file at the same time: whoever has the lock looks again.
    connection.execute("BEGIN IMMEDIATE")
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        _create(connection)
    elif application == _APPLICATION_ID and version == 1:
        _run(connection, _SECOND)
        _mark(connection)
    elif application != _APPLICATION_ID or version != SCHEMA_VERSION:
        connection.execute("ROLLBACK")
        raise _unknown_file(path, application, version)
    connection.execute("COMMIT")
    return str(connection.execute("SELECT value FROM settings WHERE name = 'machine_sid'").fetchone()[0])


def _create(connection: sqlite3.Connection) -> None:
    _run(connection, _FIRST + _SECOND)
    values = [("machine_sid", make_machine_sid()), ("next_rid", FIRST_RID)]
    connection.executemany("INSERT INTO settings VALUES (?, ?)", values)
    _mark(connection)


def _mark(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _run(connection: sqlite3.Connection, statements: str) -> None:
    # One by one: `executescript` would end the transaction.
    for statement in statements.split(";"):
        connection.execute(statement)


def _unknown_file(path: Path, application: int, version: int) -> OSError:
    if application != _APPLICATION_ID:
        return OSError(errno.EINVAL, "this is a database, but not one of accounts", str(path))
    return OSError(
        errno.EINVAL, f"its schema is version {version}, this server knows version {SCHEMA_VERSION}", str(path)
    )
