import contextlib
import os
import pwd
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lamina.core.auth import account_database, account_schema
from lamina.core.auth.account import (
    nt_hash_of,
)
from lamina.core.auth.account_database import SqliteAccounts
from lamina.ntfsa.security.sid import BUILTIN_ADMINISTRATORS

HASH = "8846F7EAEE8FB117AD06BDD830B7586C"
NO_LM = "X" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "accounts.db"


@pytest.fixture
def accounts(path: Path) -> SqliteAccounts:
    return SqliteAccounts(path)


def test_only_the_owner_may_read_a_new_file_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        SqliteAccounts(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
def test_a_file_that_others_may_touch_is_refused(path: Path, mode: int) -> None:
    SqliteAccounts(path).close()
    path.chmod(mode)
    with pytest.raises(PermissionError, match="chmod 600"):
        SqliteAccounts(path)


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (x)")
    other.chmod(0o600)
    with pytest.raises(OSError, match="not one of accounts"):
        SqliteAccounts(other)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(b"not a database at all" * 100)
    other.chmod(0o600)
    with pytest.raises(OSError, match="cannot be used"):
        SqliteAccounts(other)


def test_a_newer_schema_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_schema, "SCHEMA_VERSION", 99)
    SqliteAccounts(path).close()
    monkeypatch.undo()
    with pytest.raises(OSError, match="version 99"):
        SqliteAccounts(path)


def test_a_file_of_the_first_version_is_brought_up_to_date(path: Path) -> None:
    accounts = SqliteAccounts(path)
    before = accounts.add("alice", "secret", groups=["staff"])
    machine_sid = accounts.machine_sid
    accounts.close()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for table in ("privileges", "claims", "account_sids", "group_sids"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 1")
    for _ in range(2):
        again = SqliteAccounts(path)
        assert (again.machine_sid, again.lookup("alice")) == (machine_sid, before)
        again.close()


def test_privileges_claims_and_further_sids_are_kept(accounts: SqliteAccounts) -> None:
    alice = accounts.add("alice", "secret", uid=501, gid=100, groups=["staff"])
    accounts.add_group("staff", gid=77)
    accounts.set_privileges("Alice", ["SeBackupPrivilege"])
    accounts.set_claims("alice", {"Department": ["Finance", "Law"], "level": [3]})
    accounts.set_sids("alice", ["S-1-5-21-9-9-9-1000"])
    accounts.set_group_sids("staff", ["S-1-5-21-9-9-9-513"])
    found = accounts.lookup("alice")
    assert found is not None
    assert found.privileges == {"SeBackupPrivilege"}
    assert {name: set(values) for name, values in found.claims.items()} == {
        "department": {"Finance", "Law"},
        "level": {3},
    }
    assert accounts.uid_of_sid("S-1-5-21-9-9-9-1000") == 501
    assert accounts.gid_of_sid("S-1-5-21-9-9-9-513") == 77
    assert accounts.sid_of_uid(501) == alice.sid
    token = found.make_token(accounts)
    assert token.has_sid("S-1-5-21-9-9-9-1000")
    assert token.has_sid("S-1-5-21-9-9-9-513")
    assert (token.privileges, token.claims) == (found.privileges, found.claims)
    accounts.set_privileges("alice", [])
    accounts.set_sids("alice", [])
    changed = accounts.lookup("alice")
    assert changed is not None
    assert not changed.privileges
    assert accounts.uid_of_sid("S-1-5-21-9-9-9-1000") is None
    accounts.remove("alice")


def test_details_that_make_no_sense_are_refused(accounts: SqliteAccounts) -> None:
    accounts.add("alice", "secret", groups=["staff"])
    accounts.add("bob", "secret")
    accounts.set_sids("alice", ["S-1-5-21-9-9-9-1000"])
    for call in (
        lambda: accounts.set_privileges("alice", ["SeTcbPrivilege"]),
        lambda: accounts.set_sids("alice", ["nonsense"]),
        lambda: accounts.set_sids("bob", ["S-1-5-21-9-9-9-1000"]),
    ):
        with pytest.raises(ValueError, match=r".+"):
            call()
    for call in (lambda: accounts.set_claims("carol", {}), lambda: accounts.set_group_sids("none", [])):
        with pytest.raises(LookupError):
            call()
    assert accounts.uid_of_sid("S-1-5-21-9-9-9-1000") is not None


@pytest.mark.parametrize(
    ("group", "privileges"),
    [
        ("administrators", {"SeBackup", "SeRestore", "SeSecurity", "SeTakeOwnership"}),
        ("Backup Operators", {"SeBackup", "SeRestore"}),
        ("staff", set()),
    ],
)
def test_built_in_groups_bring_their_privileges(accounts: SqliteAccounts, group: str, privileges: set[str]) -> None:
    token = accounts.add("alice", "secret", groups=[group]).make_token(accounts)
    assert token.privileges == {f"{name}Privilege" for name in privileges}


def test_accounts_and_the_machine_sid_are_there_the_next_time(path: Path, accounts: SqliteAccounts) -> None:
    added = accounts.add("Alice", "secret", uid=1234, gid=99, full_name="Alice A.")
    accounts.close()
    again = SqliteAccounts(path)
    assert again.lookup("aLICE") == added
    assert added.sid == f"{again.machine_sid}-1000"
    assert added.nt_hash == nt_hash_of("secret")
    assert (added.uid, added.gid, added.full_name, added.disabled) == (1234, 99, "Alice A.", False)


def test_a_password_is_changed_and_an_account_disabled(accounts: SqliteAccounts) -> None:
    accounts.add("alice", "old")
    accounts.set_password("Alice", "new")
    accounts.set_disabled("alice")
    found = accounts.lookup("alice")
    assert found is not None
    assert found.nt_hash == nt_hash_of("new")
    assert found.disabled


def test_a_removed_account_is_gone_and_its_sid_is_never_given_again(accounts: SqliteAccounts) -> None:
    old = accounts.add("alice", "x")
    accounts.remove("alice")
    assert accounts.lookup("alice") is None
    assert accounts.names() == []
    assert accounts.add("alice", "x").sid != old.sid


def test_what_is_not_there_cannot_be_changed(accounts: SqliteAccounts) -> None:
    for change in (
        lambda: accounts.remove("bob"),
        lambda: accounts.set_password("bob", "x"),
        lambda: accounts.set_disabled("bob"),
        lambda: accounts.set_groups("bob", ["g"]),
        lambda: accounts.remove_group("g"),
    ):
        with pytest.raises(LookupError, match="there is no"):
            change()


def test_a_name_is_given_once_in_any_case(accounts: SqliteAccounts) -> None:
    accounts.add("alice", "x")
    with pytest.raises(ValueError, match="already"):
        accounts.add("ALICE", "y")
    assert accounts.names() == ["alice"]


@pytest.mark.parametrize("name", ["", " x", "a/b", "a\\b", "a:b", "a\0b", "x" * 257])
def test_impossible_names_are_refused(accounts: SqliteAccounts, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        accounts.add(name, "x")
    assert accounts.names() == []


def test_groups_give_sids_and_gids(accounts: SqliteAccounts) -> None:
    staff = accounts.add_group("Staff", gid=777)
    account = accounts.add("alice", "x", groups=["staff", "Administrators"])
    assert staff.sid in account.group_sids
    assert BUILTIN_ADMINISTRATORS in account.group_sids
    assert account.extra_groups == (777,)
    assert 777 in account.make_token(accounts).groups
    accounts.set_groups("alice", [])
    assert not accounts.lookup("alice").group_sids  # type: ignore[union-attr]
    assert [group.name for group in accounts.groups()] == ["Administrators", "Staff"]


def test_two_groups_cannot_share_a_gid(accounts: SqliteAccounts) -> None:
    accounts.add_group("one", gid=5)
    with pytest.raises(ValueError, match="another group"):
        accounts.add_group("two", gid=5)


def test_the_identity_map_knows_accounts_groups_and_the_rest(accounts: SqliteAccounts) -> None:
    alice = accounts.add("alice", "x", uid=5000)
    accounts.add("alias", "x", uid=5000)
    staff = accounts.add_group("staff", gid=6000)
    assert accounts.sid_of_uid(5000) == alice.sid
    assert accounts.uid_of_sid(alice.sid) == 5000
    assert accounts.sid_of_gid(6000) == staff.sid
    assert accounts.gid_of_sid(staff.sid) == 6000
    assert accounts.sid_of_uid(5001) == "S-1-22-1-5001"
    assert accounts.uid_of_sid("S-1-22-1-5001") == 5001
    assert accounts.gid_of_sid("S-1-22-2-5001") == 5001
    assert accounts.uid_of_sid(staff.sid) is None
    assert accounts.gid_of_sid(alice.sid) is None


def test_the_identity_map_sees_what_another_process_changed(
    path: Path, accounts: SqliteAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert accounts.sid_of_uid(5000) == "S-1-22-1-5000"
    other = SqliteAccounts(path).add("alice", "x", uid=5000)
    monkeypatch.setattr(account_database, "_IDENTITIES_SECONDS", 0.0)
    assert accounts.sid_of_uid(5000) == other.sid


def test_an_smbpasswd_file_is_imported(accounts: SqliteAccounts) -> None:
    root = pwd.getpwuid(0)
    accounts.add("known", "old")
    done = accounts.import_smbpasswd(
        f"# comment\n\n"
        f"{root.pw_name}:0:{NO_LM}:{HASH}:[U          ]:LCT-5A2B3C4D:\n"
        f"known:0:{NO_LM}:{HASH}:[UD         ]:LCT-5A2B3C4D:\n"
        f"nobodyknows:4294967295:{NO_LM}:{HASH}:[U          ]:LCT-5A2B3C4D:\n"
        f"pc$:1001:{NO_LM}:{HASH}:[W          ]:LCT-5A2B3C4D:\n"
        f"empty:0:{NO_LM}:{NO_LM}:[NU         ]:LCT-5A2B3C4D:\n"
        f"rubbish\n"
    )
    assert done.added == [root.pw_name]
    assert done.updated == ["known"]
    assert [skipped.name for skipped in done.skipped] == ["nobodyknows", "pc$", "empty", "rubbish"]
    imported, known = accounts.lookup(root.pw_name), accounts.lookup("known")
    assert imported is not None
    assert known is not None
    assert imported.nt_hash == known.nt_hash == nt_hash_of("password")
    assert known.disabled


def test_threads_and_processes_get_different_rids(path: Path, accounts: SqliteAccounts) -> None:
    other = SqliteAccounts(path)

    def add(number: int) -> str:
        return (accounts if number % 2 else other).add(f"user{number}", "x").sid

    with ThreadPoolExecutor(8) as pool:
        sids = list(pool.map(add, range(40)))
    assert len(set(sids)) == 40
