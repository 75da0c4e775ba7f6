"""Accounts in a SQLite file that only its owner may read: who reads it can log on as anybody in it.

The file is made with mode 0600 and refused when it has any other. The machine SID is drawn when it is made; relative
ids are handed out in turn and never twice, so that a SID in an old security descriptor never becomes somebody else.
All access to the file is made as the server itself, whoever the thread was acting for.
"""

import errno
import os
import pwd
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final, NamedTuple

from lamina.core.auth.account import (
    BUILTIN_GROUPS,
    Account,
    check_name,
    nt_hash_of,
)
from lamina.core.auth.account_file import check_private, make_private_file
from lamina.core.auth.account_import import SkippedLine, parse_smbpasswd
from lamina.core.auth.account_schema import open_schema
from lamina.ntfsa.security.access_check import PRIVILEGES
from lamina.ntfsa.security.identities import unix_gid_of, unix_group_sid, unix_uid_of, unix_user_sid
from lamina.ntfsa.security.sid import pack_sid
from lamina.ntfsa.status import NtStatusError
from lamina.vfs_modules.credentials import server_identity

_BUSY_SECONDS: Final = 5.0
_IDENTITIES_SECONDS: Final = 1.0
"""How long the map of identities is believed before the file is asked whether another process changed it."""


class Group(NamedTuple):
    """A group of accounts. `gid` is None for one that has no counterpart in the system."""

    name: str
    sid: str
    gid: int | None


class Imported(NamedTuple):
    """What an import did: names added, names that got the hash of the file, and lines left out."""

    added: list[str]
    updated: list[str]
    skipped: list[SkippedLine]


class _Identities(NamedTuple):
    """Both directions of the identity map, from one reading of the file."""

    sid_of_uid: dict[int, str]
    sid_of_gid: dict[int, str]
    uid_of_sid: dict[str, int]
    gid_of_sid: dict[str, int]
    sid_of_name: dict[str, str]
    version: int


class SqliteAccounts:
    """The accounts in the file at `path`, which is made if there is none. Safe to use from threads and processes."""

    def __init__(self, path: Path | str) -> None:
        """Raises OSError: PermissionError for a file that others may read, EINVAL for one that is something else."""
        self.path = Path(path)
        self._lock = threading.RLock()
        self._map: _Identities | None = None
        self._map_checked = 0.0
        with self._as_server():
            make_private_file(self.path)
            check_private(self.path)
            self._connection = sqlite3.connect(
                self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                self._machine_sid = open_schema(self._connection, self.path)
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    # -- accounts

    @property
    def machine_sid(self) -> str:
        """See AccountStore."""
        return self._machine_sid

    def lookup(self, name: str) -> Account | None:
        """See AccountStore."""
        with self._as_server():
            row = self._one(
                "SELECT rid, name, nt_hash, uid, gid, disabled, full_name FROM accounts WHERE folded = ?",
                name.lower(),
            )
            return self._account(row) if row else None

    def names(self) -> list[str]:
        """The names of all accounts."""
        with self._as_server():
            return [row[0] for row in self._connection.execute("SELECT name FROM accounts ORDER BY folded")]

    def add(
        self,
        name: str,
        password: str,
        uid: int | None = None,
        gid: int | None = None,
        groups: Collection[str] = (),
        full_name: str = "",
    ) -> Account:
        """Add an account; `groups` are made if there are none of these names.

        Without `uid` and `gid` they are the process's own. Raises ValueError for a name that is impossible or taken.
        """
        uid = os.geteuid() if uid is None else uid
        gid = os.getegid() if gid is None else gid
        return self._add(name, nt_hash_of(password), (uid, gid), groups, full_name=full_name)

    def set_password(self, name: str, password: str) -> None:
        """Give an account another password; LookupError if there is none."""
        self._change(name, "nt_hash", nt_hash_of(password))

    def set_disabled(self, name: str, disabled: bool = True) -> None:
        """Disable or enable an account; LookupError if there is none."""
        self._change(name, "disabled", int(disabled))

    def remove(self, name: str) -> None:
        """Forget an account; its SID is not given to another. LookupError if there is none."""
        with self._transaction():
            self._changed(self._connection.execute("DELETE FROM accounts WHERE folded = ?", (name.lower(),)), name)

    def set_privileges(self, name: str, privileges: Collection[str]) -> None:
        """Give an account these privileges and no others, besides its groups'; ValueError for an unknown one."""
        unknown = set(privileges) - PRIVILEGES
        if unknown:
            raise ValueError(f"{min(unknown)!r} is none of the privileges {', '.join(sorted(PRIVILEGES))}")
        with self._details_of(name, "privileges") as rid:
            rows = [(rid, privilege) for privilege in set(privileges)]
            self._connection.executemany("INSERT INTO privileges VALUES (?, ?)", rows)

    def set_claims(self, name: str, claims: Mapping[str, Collection[int | str]]) -> None:
        """Give an account these claims and no others; LookupError if there is no such account."""
        with self._details_of(name, "claims") as rid:
            rows = [(rid, claim.lower(), value) for claim, values in claims.items() for value in set(values)]
            self._connection.executemany("INSERT INTO claims VALUES (?, ?, ?)", rows)

    def set_sids(self, name: str, sids: Collection[str]) -> None:
        """Let these SIDs, as of another server or a domain, mean the account too; ValueError for one that is taken."""
        with self._details_of(name, "account_sids") as rid:
            self._add_sids("account_sids", rid, sids)

    @contextmanager
    def _details_of(self, name: str, table: str) -> Iterator[int]:
        """A transaction in which the rows of an account in `table` are gone, to be made anew."""
        with self._transaction():
            row = self._one("SELECT rid FROM accounts WHERE folded = ?", name.lower())
            if row is None:
                raise LookupError(f"there is no account {name!r}")
            self._connection.execute(f"DELETE FROM {table} WHERE account = ?", row)  # noqa: S608  # a name from here
            yield row[0]

    def _add_sids(self, table: str, rid: int, sids: Collection[str]) -> None:
        for sid in set(sids):
            try:
                pack_sid(sid)
                self._connection.execute(f"INSERT INTO {table} VALUES (?, ?)", (sid, rid))  # noqa: S608  # as above
            except NtStatusError as error:
                raise ValueError(f"{sid!r} is not a SID") from error
            except sqlite3.IntegrityError as error:
                raise ValueError(f"{sid} means another already") from error

    # -- groups

    def groups(self) -> list[Group]:
        """All groups."""
        with self._as_server():
            rows = self._connection.execute("SELECT name, rid, gid FROM groups ORDER BY folded")
            return [Group(name, self._sid(rid), gid) for name, rid, gid in rows]

    def add_group(self, name: str, gid: int | None = None) -> Group:
        """Add a group, or give the one of that name a gid. Raises ValueError if another group has the gid."""
        with self._transaction():
            rid = self._group_rid(name)
            try:
                self._connection.execute("UPDATE groups SET gid = ? WHERE rid = ?", (gid, rid))
            except sqlite3.IntegrityError as error:
                raise ValueError(f"another group has the gid {gid}") from error
        return Group(name, self._sid(rid), gid)

    def set_group_sids(self, name: str, sids: Collection[str]) -> None:
        """Let these SIDs mean the group too; ValueError for one that is taken, LookupError without the group."""
        with self._transaction():
            row = self._one("SELECT rid FROM groups WHERE folded = ?", name.lower())
            if row is None:
                raise LookupError(f"there is no group {name!r}")
            self._connection.execute("DELETE FROM group_sids WHERE member_of = ?", row)
            self._add_sids("group_sids", row[0], sids)

    def remove_group(self, name: str) -> None:
        """Forget a group; LookupError if there is none."""
        with self._transaction():
            self._changed(self._connection.execute("DELETE FROM groups WHERE folded = ?", (name.lower(),)), name)

    def set_groups(self, name: str, groups: Collection[str]) -> None:
        """Make an account a member of these groups and no others; LookupError if there is no such account."""
        with self._transaction():
            row = self._one("SELECT rid FROM accounts WHERE folded = ?", name.lower())
            if row is None:
                raise LookupError(f"there is no account {name!r}")
            self._connection.execute("DELETE FROM members WHERE account = ?", row)
            self._join(row[0], groups)

    # -- import

    def import_smbpasswd(self, text: str) -> Imported:
        """Take over the accounts of an smbpasswd file or of `pdbedit -Lw`; all of them, or on an error none.

        The uid is the file's, else the system's for that name; without one, or without a group, the line is skipped.
        """
        done = Imported([], [], [])
        with self._transaction():
            for number, entry in enumerate(parse_smbpasswd(text), 1):
                if isinstance(entry, SkippedLine):
                    done.skipped.append(entry)
                elif self.lookup(entry.name) is not None:
                    self._change(entry.name, "nt_hash", entry.nt_hash)
                    self._change(entry.name, "disabled", int(entry.disabled))
                    done.updated.append(entry.name)
                elif (ids := _system_ids(entry.name, entry.uid)) is None:
                    done.skipped.append(SkippedLine(number, entry.name, "the system has no such user"))
                else:
                    self._add(entry.name, entry.nt_hash, ids, (), disabled=entry.disabled)
                    done.added.append(entry.name)
        return done

    # -- the identity map of ntfsa

    def sid_of_name(self, name: str) -> str | None:
        """See AccountStore."""
        return self._identities().sid_of_name.get(name.lower())

    def sid_of_uid(self, uid: int) -> str:
        """See AccountStore."""
        return self._identities().sid_of_uid.get(uid) or unix_user_sid(uid)

    def sid_of_gid(self, gid: int) -> str:
        """See AccountStore."""
        return self._identities().sid_of_gid.get(gid) or unix_group_sid(gid)

    def uid_of_sid(self, sid: str) -> int | None:
        """See AccountStore."""
        uid = self._identities().uid_of_sid.get(sid)
        return unix_uid_of(sid) if uid is None else uid

    def gid_of_sid(self, sid: str) -> int | None:
        """See AccountStore."""
        gid = self._identities().gid_of_sid.get(sid)
        return unix_gid_of(sid) if gid is None else gid

    def _identities(self) -> _Identities:
        now = monotonic()
        known = self._map
        if known is not None and now - self._map_checked < _IDENTITIES_SECONDS:
            return known
        with self._as_server():
            version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
            if known is None or known.version != version:
                self._map = known = self._read_identities(version)
            self._map_checked = now
        return known

    def _read_identities(self, version: int) -> _Identities:
        # Of several accounts with one uid the oldest is whom files belong to; the dictionaries keep the last written.
        users = self._connection.execute("SELECT uid, rid FROM accounts ORDER BY rid DESC").fetchall()
        groups = self._connection.execute("SELECT gid, rid FROM groups WHERE gid IS NOT NULL").fetchall()
        further_users = self._connection.execute("SELECT sid, uid FROM account_sids JOIN accounts ON account = rid")
        further_groups = self._connection.execute(
            "SELECT sid, gid FROM group_sids JOIN groups ON member_of = rid WHERE gid IS NOT NULL"
        )
        named = self._connection.execute("SELECT folded, rid FROM groups UNION ALL SELECT folded, rid FROM accounts")
        return _Identities(
            {uid: self._sid(rid) for uid, rid in users},
            {gid: self._sid(rid) for gid, rid in groups},
            dict(further_users) | {self._sid(rid): uid for uid, rid in users},
            dict(further_groups) | {self._sid(rid): gid for gid, rid in groups},
            {folded: self._sid(rid) for folded, rid in named} | BUILTIN_GROUPS,
            version,
        )

    # -- the file

    @contextmanager
    def _as_server(self) -> Iterator[None]:
        """One thread at a time, as the server; the database's errors become OSError."""
        with self._lock, server_identity():
            try:
                yield
            except sqlite3.Error as error:
                raise OSError(errno.EIO, f"the accounts database cannot be used: {error}", str(self.path)) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._as_server():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
            self._map = None

    def _one(self, statement: str, *parameters: object) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._connection.execute(statement, parameters).fetchone()
        return row

    def _sid(self, rid: int) -> str:
        return f"{self._machine_sid}-{rid}"

    def _take_rid(self) -> int:
        row = self._connection.execute("UPDATE settings SET value = value + 1 WHERE name = 'next_rid' RETURNING value")
        rid: int = row.fetchall()[0][0]
        return rid - 1

    def _add(
        self,
        name: str,
        nt_hash: bytes,
        ids: tuple[int, int],
        groups: Collection[str],
        *,
        full_name: str = "",
        disabled: bool = False,
    ) -> Account:
        check_name(name)
        with self._joined():
            rid = self._take_rid()
            try:
                self._connection.execute(
                    "INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (rid, name.lower(), name, nt_hash, *ids, int(disabled), full_name),
                )
            except sqlite3.IntegrityError as error:
                raise ValueError(f"there is an account {name!r} already") from error
            self._join(rid, groups)
            account = self.lookup(name)
        assert account is not None
        return account

    @contextmanager
    def _joined(self) -> Iterator[None]:
        """A transaction, or the one that is under way on this thread."""
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            with self._transaction():
                yield

    def _join(self, account: int, groups: Collection[str]) -> None:
        for group in groups:
            rid = self._group_rid(group)
            self._connection.execute("INSERT OR IGNORE INTO members VALUES (?, ?)", (account, rid))

    def _group_rid(self, name: str) -> int:
        row = self._connection.execute("SELECT rid FROM groups WHERE folded = ?", (name.lower(),)).fetchone()
        if row is not None:
            known: int = row[0]
            return known
        rid = self._take_rid()
        values = (rid, check_name(name).lower(), name)
        self._connection.execute("INSERT INTO groups (rid, folded, name) VALUES (?, ?, ?)", values)
        return rid

    def _change(self, name: str, column: str, value: object) -> None:
        statement = f"UPDATE accounts SET {column} = ? WHERE folded = ?"  # noqa: S608  # the column is a name from here
        with self._joined():
            self._changed(self._connection.execute(statement, (value, name.lower())), name)

    @staticmethod
    def _changed(cursor: sqlite3.Cursor, name: str) -> None:
        if cursor.rowcount == 0:
            raise LookupError(f"there is no {name!r}")

    def _account(self, row: tuple[Any, ...]) -> Account:
        rid, name, nt_hash, uid, gid, disabled, full_name = row
        groups = self._connection.execute(
            "SELECT folded, rid, gid FROM groups JOIN members ON member_of = rid WHERE account = ?", (rid,)
        ).fetchall()
        sids = {self._sid(group_rid) for _, group_rid, _ in groups}
        sids.update(BUILTIN_GROUPS[folded] for folded, _, _ in groups if folded in BUILTIN_GROUPS)
        sids.update(self._column("SELECT sid FROM account_sids WHERE account = ?", rid))
        sids.update(self._column("SELECT sid FROM group_sids JOIN members USING (member_of) WHERE account = ?", rid))
        return Account(
            name=name,
            nt_hash=nt_hash,
            sid=self._sid(rid),
            uid=uid,
            gid=gid,
            extra_groups=tuple(gid for _, _, gid in groups if gid is not None),
            group_sids=frozenset(sids),
            disabled=bool(disabled),
            full_name=full_name,
            privileges=frozenset(self._column("SELECT name FROM privileges WHERE account = ?", rid)),
            claims=self._claims(rid),
        )

    def _column(self, statement: str, rid: int) -> list[Any]:
        return [row[0] for row in self._connection.execute(statement, (rid,))]

    def _claims(self, rid: int) -> dict[str, tuple[int | str | bytes, ...]]:
        claims: dict[str, tuple[int | str | bytes, ...]] = {}
        for name, value in self._connection.execute("SELECT name, value FROM claims WHERE account = ?", (rid,)):
            claims[name] = (*claims.get(name, ()), value)
        return claims


def _system_ids(name: str, uid: int | None) -> tuple[int, int] | None:
    """The uid and gid of an imported account: the file's uid if it gives one that exists, else the namesake's."""
    try:
        user = pwd.getpwuid(uid) if uid is not None else pwd.getpwnam(name)
    except KeyError:
        return None
    return user.pw_uid, user.pw_gid
