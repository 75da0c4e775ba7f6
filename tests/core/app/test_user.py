"""`lamina user`: the accounts database from the command line."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lamina.core.auth.account import nt_hash_of
from lamina.core.auth.account_database import SqliteAccounts
from lamina.ntfsa.security.sid import BUILTIN_ADMINISTRATORS

Command = Callable[..., Any]
IDS = ("--uid", "4001", "--gid", "4002")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "accounts.db"


@pytest.fixture
def user(lamina: Command, file: Path) -> Command:
    """Runs `lamina user ARGUMENTS…` with the test's own database."""
    return lambda *arguments, stdin="": lamina("user", *arguments, "--accounts", file, stdin=stdin)


def account(file: Path, name: str) -> Any:
    accounts = SqliteAccounts(file)
    try:
        return accounts.lookup(name)
    finally:
        accounts.close()


def test_a_user_that_is_added_is_listed_and_the_file_is_private(user: Command, file: Path) -> None:
    done = user("add", "alice", *IDS, "--group", "administrators", "--password-stdin", stdin="secret\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "added alice (uid 4001, gid 4002)\n", "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    alice = account(file, "ALICE")
    assert (alice.uid, alice.gid, alice.nt_hash) == (4001, 4002, nt_hash_of("secret"))
    assert BUILTIN_ADMINISTRATORS in alice.group_sids
    assert user("list").stdout.split() == ["alice", "uid", "4001", "gid", "4002", alice.sid]


def test_without_ids_the_user_is_its_namesake(user: Command, file: Path) -> None:
    assert user("add", "root", "--password-stdin", stdin="secret\n").returncode == 0
    assert (account(file, "root").uid, account(file, "root").gid) == (0, 0)


def test_a_changed_password_replaces_the_old_one(user: Command, file: Path) -> None:
    user("add", "alice", *IDS, "--password-stdin", stdin="old\n")
    done = user("passwd", "alice", "--password-stdin", stdin="new\n")
    assert (done.returncode, done.stdout) == (0, "changed the password of alice\n")
    assert account(file, "alice").nt_hash == nt_hash_of("new")


def test_who_is_removed_is_gone(user: Command, file: Path) -> None:
    user("add", "alice", *IDS, "--password-stdin", stdin="secret\n")
    assert user("remove", "alice").stdout == "removed alice\n"
    assert account(file, "alice") is None
    assert user("list").stdout == ""


def test_sambas_users_are_taken_over_and_who_is_left_out_is_named(user: Command, file: Path, tmp_path: Path) -> None:
    nt_hash = nt_hash_of("password").hex().upper()
    smbpasswd = tmp_path / "smbpasswd"
    lines = [f"root:0:{'X' * 32}:{nt_hash}:[U          ]:LCT-65000000:", f"pc$:0:{'X' * 32}:{nt_hash}:[W          ]:"]
    smbpasswd.write_text("\n".join(lines))
    done = user("import", smbpasswd)
    assert (done.returncode, done.stdout) == (0, "added root\n")
    assert done.stderr == "line 2: pc$ left out: a machine's account\n"
    assert account(file, "root").nt_hash == nt_hash_of("password")
    again = user("import", "-", stdin=lines[0].replace(nt_hash, nt_hash_of("other").hex()))
    assert (again.returncode, again.stdout) == (0, "changed the password of root\n")
    assert account(file, "root").nt_hash == nt_hash_of("other")


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (("add", "alice", *IDS, "--password-stdin"), "x\n", "there is a user 'alice' already"),
        (("add", "nobody-of-this-name", "--password-stdin"), "x\n", "say --uid and --gid"),
        (("add", "bob", *IDS, "--password-stdin"), "\n", "an empty password is no password"),
        (("add", "a/b", *IDS, "--password-stdin"), "x\n", "a/b"),
        (("passwd", "bob", "--password-stdin"), "x\n", "there is no user 'bob'"),
        (("remove", "bob"), "", "there is no user 'bob'"),
        (("import", "/does/not/exist"), "", "/does/not/exist: No such file or directory"),
        (("import", "-"), "nonsense\n", "nobody was imported"),
    ],
)
def test_mistakes_are_answered_in_words(user: Command, arguments: tuple[str, ...], stdin: str, message: str) -> None:
    user("add", "alice", *IDS, "--password-stdin", stdin="secret\n")
    done = user(*arguments, stdin=stdin)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_others_may_read_is_refused(user: Command, file: Path) -> None:
    file.touch()
    os.chmod(file, 0o644)
    done = user("list")
    assert done.returncode == 1
    assert "chmod 600" in done.stderr


def test_what_a_user_is_can_be_changed(user: Command, lamina: Command, file: Path) -> None:
    user("add", "alice", *IDS, "--group", "staff", "--password-stdin", stdin="secret\n")
    done = user(
        "set", "alice", "--group", "backup operators", "--privilege", "SeSecurityPrivilege",
        "--claim", "Department=Finance", "--claim", "level=3", "--sid", "S-1-5-21-7-7-7-1000",
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "changed alice\n", "")
    alice = account(file, "alice")
    assert alice.privileges == {"SeSecurityPrivilege"}
    assert alice.claims == {"department": ("Finance",), "level": (3,)}
    assert {"S-1-5-32-551", "S-1-5-21-7-7-7-1000"} <= alice.group_sids
    assert user("set", "alice", "--no-privilege").returncode == 0
    assert account(file, "alice").privileges == frozenset()
    assert account(file, "alice").claims


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--privilege", "SeTcbPrivilege"), "SeTcbPrivilege"),
        (("--claim", "department"), "NAME=VALUE"),
        (("--sid", "bob"), "not a SID"),
    ],
)
def test_what_makes_no_sense_is_refused(user: Command, options: tuple[str, ...], complaint: str) -> None:
    user("add", "alice", *IDS, "--password-stdin", stdin="secret\n")
    done = user("set", "alice", *options)
    assert done.returncode == 1
    assert complaint in done.stderr


def test_groups_are_added_listed_and_removed(lamina: Command, file: Path) -> None:
    def group(*arguments: str) -> Any:
        return lamina("group", *arguments, "--accounts", file)

    added = group("add", "staff", "--gid", "77", "--sid", "S-1-5-21-7-7-7-513")
    sid = added.stdout.split()[2]
    assert (added.returncode, added.stdout) == (0, f"staff is {sid} (gid 77)\n")
    assert group("list").stdout.split() == ["staff", "gid", "77", sid]
    accounts = SqliteAccounts(file)
    assert accounts.gid_of_sid("S-1-5-21-7-7-7-513") == 77
    accounts.close()
    assert group("remove", "staff").stdout == "removed staff\n"
    assert group("list").stdout == ""
