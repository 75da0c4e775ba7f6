import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.core.auth.account import Account, nt_hash_of
from lamina.core.auth.accounts import MemoryAccounts
from lamina.ntfsa.security.identities import unix_gid_of, unix_group_sid, unix_uid_of, unix_user_sid


def test_the_nt_hash_is_the_published_one() -> None:
    """MS-NLMP 4.2.2.1.2: NTOWFv1("Password")."""
    assert nt_hash_of("Password").hex() == "a4f49c406510bdcab6824ee7c30fd852"


def test_an_account_is_found_in_any_case_and_has_the_processes_ids() -> None:
    accounts = MemoryAccounts()
    added = accounts.add("Alice", "x")
    assert accounts.lookup("aLiCe") is added
    assert (added.uid, added.gid) == (os.geteuid(), os.getegid())
    assert added.sid == f"{accounts.machine_sid}-1000"
    assert accounts.add("bob", "x").sid == f"{accounts.machine_sid}-1001"
    assert accounts.lookup("carol") is None


def test_a_new_password_keeps_the_sid() -> None:
    accounts = MemoryAccounts()
    assert accounts.add("alice", "x").sid == accounts.add("Alice", "y").sid


def test_the_token_has_the_well_known_groups_and_the_files_owner() -> None:
    accounts = MemoryAccounts()
    accounts.add("first", "x", uid=4321, gid=8765)
    token = accounts.add("second", "x", uid=4321, gid=8765).make_token(accounts, {"U": "second"})
    for sid in (f"{accounts.machine_sid}-513", "S-1-1-0", "S-1-5-2", "S-1-5-11", "S-1-5-32-545", "S-1-22-2-8765"):
        assert token.has_sid(sid), sid
    assert token.has_sid(accounts.sid_of_uid(4321))
    assert not token.has_sid("S-1-5-32-544")
    assert (token.uid, token.gid, token.groups) == (4321, 8765, (8765,))
    assert token.substitutions == {"U": "second"}


def test_administrators_are_members_of_the_builtin_group() -> None:
    accounts = MemoryAccounts()
    token = accounts.add("root", "x", groups=["administrators"]).make_token(accounts)
    assert token.has_sid("S-1-5-32-544")


def test_groups_that_the_account_names_are_not_looked_up() -> None:
    account = Account("a", bytes(16), "S-1-5-21-1-2-3-1000", 0, 0, groups=(1, 2), extra_groups=(3,))
    assert account.make_token(MemoryAccounts()).groups == (1, 2, 3)


@given(st.integers(0, 0xFFFFFFFE))
def test_unix_ids_have_sids_and_come_back(number: int) -> None:
    assert unix_uid_of(unix_user_sid(number)) == number
    assert unix_gid_of(unix_group_sid(number)) == number
    assert unix_uid_of(unix_group_sid(number)) is None


@pytest.mark.parametrize(
    "sid", ["S-1-22-1-", "S-1-22-1-x", "S-1-22-1--1", "S-1-22-1-4294967295", "S-1-22-1-²", "S-1-5-7"]
)
def test_other_sids_are_no_unix_ids(sid: str) -> None:
    assert unix_uid_of(sid) is None


def test_removed_and_disabled_accounts() -> None:
    accounts = MemoryAccounts()
    accounts.add("alice", "x")
    accounts.set_disabled("Alice")
    assert accounts.lookup("alice").disabled  # type: ignore[union-attr]
    accounts.remove("ALICE")
    assert accounts.names() == []
