"""The stores of accounts: in memory here, in a file in `account_database`; what other layers import is named here."""

import os
import threading
from collections.abc import Collection
from dataclasses import replace

from lamina.core.auth.account import (
    BUILTIN_GROUPS,
    FIRST_RID,
    Account,
    AccountStore,
    check_name,
    make_machine_sid,
    nt_hash_of,
)
from lamina.core.auth.account_database import SqliteAccounts
from lamina.ntfsa.security.identities import unix_gid_of, unix_group_sid, unix_uid_of, unix_user_sid


class MemoryAccounts:
    """Accounts that live as long as the process: for `lamina serve`, embedding and tests. Safe to use from threads."""

    def __init__(self, machine_sid: str = "") -> None:
        """`machine_sid`: whose users these are, the same at every start; by default a new machine's."""
        self._machine_sid = machine_sid or make_machine_sid()
        self._accounts: dict[str, Account] = {}
        self._next_rid = FIRST_RID
        self._lock = threading.Lock()

    @property
    def machine_sid(self) -> str:
        """See AccountStore."""
        return self._machine_sid

    def add(
        self,
        name: str,
        password: str,
        uid: int | None = None,
        gid: int | None = None,
        groups: Collection[str] = (),
        privileges: Collection[str] = (),
    ) -> Account:
        """Add an account, or replace the one of that name and keep its SID.

        Without `uid` and `gid` they are the process's own. Of `groups` only `BUILTIN_GROUPS` mean something here.
        Raises ValueError for a name that no account can have.
        """
        check_name(name)
        known = self._accounts.get(name.lower())
        account = Account(
            name=name,
            nt_hash=nt_hash_of(password),
            sid=known.sid if known else self._new_sid(),
            uid=os.geteuid() if uid is None else uid,
            gid=os.getegid() if gid is None else gid,
            group_sids=frozenset(BUILTIN_GROUPS[group] for group in groups if group in BUILTIN_GROUPS),
            privileges=frozenset(privileges),
        )
        self._accounts[name.lower()] = account
        return account

    def _new_sid(self) -> str:
        with self._lock:
            rid = self._next_rid
            self._next_rid += 1
        return f"{self._machine_sid}-{rid}"

    def set_disabled(self, name: str, disabled: bool = True) -> None:
        """Disable or enable an account; KeyError if there is none."""
        self._accounts[name.lower()] = replace(self._accounts[name.lower()], disabled=disabled)

    def remove(self, name: str) -> None:
        """Forget an account; KeyError if there is none."""
        del self._accounts[name.lower()]

    def names(self) -> list[str]:
        """The names of all accounts."""
        return [account.name for account in self._accounts.values()]

    def lookup(self, name: str) -> Account | None:
        """See AccountStore."""
        return self._accounts.get(name.lower())

    def sid_of_name(self, name: str) -> str | None:
        """See AccountStore."""
        account = self.lookup(name)
        return account.sid if account is not None else BUILTIN_GROUPS.get(name.lower())

    def sid_of_uid(self, uid: int) -> str:
        """See AccountStore: of several accounts with one uid, the first added."""
        found = (account.sid for account in list(self._accounts.values()) if account.uid == uid)
        return next(found, unix_user_sid(uid))

    def sid_of_gid(self, gid: int) -> str:
        """See AccountStore: there are no groups of our own in memory."""
        return unix_group_sid(gid)

    def uid_of_sid(self, sid: str) -> int | None:
        """See AccountStore."""
        found = (account.uid for account in list(self._accounts.values()) if account.sid == sid)
        return next(found, unix_uid_of(sid))

    def gid_of_sid(self, sid: str) -> int | None:
        """See AccountStore."""
        return unix_gid_of(sid)


__all__ = ["Account", "AccountStore", "MemoryAccounts", "SqliteAccounts", "nt_hash_of"]
