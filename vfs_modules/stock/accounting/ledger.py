"""The ledger of a share: bytes of each user, each group and all together, limits, and what is still allowed. Pure.

A hard limit is never passed. A soft one may be for a grace period, from the moment on that it was; then it is as
hard. What only shrinks is always allowed.
"""

import errno
import json
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from lamina.vfs_modules.quotas import Quota, QuotaKind

FORM: Final = 1
"""The version of the form in which a ledger is kept."""

Owner = tuple[QuotaKind, int]
"""Whose account: a user's or a group's, by number."""


class Limits(NamedTuple):
    """What an account may have, in bytes; None: any amount."""

    soft: int | None = None
    hard: int | None = None


UNLIMITED: Final = Limits()


@dataclass(slots=True)
class Account:
    """What somebody has. `over_since`: when the soft limit was passed, in seconds since 1970."""

    used: int = 0
    over_since: float | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What configuration says: limits by owner, of those whom it does not name, and of all together.

    `grace`: seconds for which a soft limit may be passed. The user with the number 0 has no default.
    """

    named: Mapping[Owner, Limits]
    defaults: Mapping[QuotaKind, Limits]
    share: Limits = UNLIMITED
    grace: float = 604_800.0

    def of(self, owner: Owner) -> Limits:
        """The limits of somebody."""
        found = self.named.get(owner)
        if found is not None:
            return found
        return UNLIMITED if owner == (QuotaKind.USER, 0) else self.defaults.get(owner[0], UNLIMITED)


class Ledger:
    """The accounts of a share. Limits that clients have set (`chosen`) go before those of configuration."""

    def __init__(
        self,
        rules: Rules,
        accounts: MutableMapping[Owner, Account] | None = None,
        chosen: MutableMapping[Owner, Limits] | None = None,
        total: Account | None = None,
    ) -> None:
        """`accounts`, `chosen`, `total`: where they are, if they are kept elsewhere than in this object."""
        self.rules = rules
        self.total = Account() if total is None else total
        self._accounts: MutableMapping[Owner, Account] = {} if accounts is None else accounts
        self.chosen: MutableMapping[Owner, Limits] = {} if chosen is None else chosen

    # What there is.

    def used(self, owner: Owner) -> int:
        """The bytes that somebody has."""
        found = self._accounts.get(owner)
        return 0 if found is None else found.used

    def limits(self, owner: Owner) -> Limits:
        """What somebody may have."""
        found = self.chosen.get(owner)
        return self.rules.of(owner) if found is None else found

    def quota(self, owner: Owner) -> Quota:
        """The account as an entry."""
        return Quota(*owner, self.used(owner), *self.limits(owner))

    def entries(self, kind: QuotaKind, start: int, limit: int) -> list[Quota]:
        """The accounts from a number on that have something or a limit of their own, in order."""
        owners = {*self._accounts, *self.chosen, *self.rules.named}
        numbers = sorted(number for each, number in owners if each is kind and number >= start)
        quotas = (self.quota((kind, number)) for number in numbers)
        return [quota for quota in quotas if quota[2:] != (0, None, None)][:limit]

    def room(self, uid: int, gid: int) -> int | None:
        """What a user may still add to files of a group; None where nothing limits it."""
        rooms = [
            max(limits.hard - account.used, 0)
            for account, limits in self._concerned(uid, gid)
            if limits.hard is not None
        ]
        return min(rooms, default=None)

    # What changes.

    def refusal(self, uid: int, gid: int, growth: int, now: float) -> int:
        """The errno with which growth is refused: EDQUOT, or ENOSPC where the share is full; 0 where it is allowed."""
        if growth <= 0:
            return 0
        for account, limits in self._concerned(uid, gid):
            if self._is_beyond(account, limits, growth, now):
                return errno.ENOSPC if account is self.total else errno.EDQUOT
        return 0

    def _concerned(self, uid: int, gid: int) -> Iterator[tuple[Account, Limits]]:
        for owner in ((QuotaKind.USER, uid), (QuotaKind.GROUP, gid)):
            yield self._accounts.get(owner) or Account(), self.limits(owner)
        yield self.total, self.rules.share

    def _is_beyond(self, account: Account, limits: Limits, growth: int, now: float) -> bool:
        after = account.used + growth
        if limits.hard is not None and after > limits.hard:
            return True
        if limits.soft is None or after <= limits.soft or account.over_since is None:
            return False
        return now - account.over_since >= self.rules.grace

    def book(self, uid: int, gid: int, change: int, now: float) -> None:
        """Add bytes to the accounts of a file's owner and group, or take them."""
        if not change:
            return
        for owner in ((QuotaKind.USER, uid), (QuotaKind.GROUP, gid)):
            account = self._accounts.setdefault(owner, Account())
            self._change(account, self.limits(owner), change, now)
            if not account.used:
                del self._accounts[owner]
        self._change(self.total, self.rules.share, change, now)

    @staticmethod
    def _change(account: Account, limits: Limits, change: int, now: float) -> None:
        # Others may have removed what was never counted.
        account.used = max(account.used + change, 0)
        if limits.soft is None or account.used <= limits.soft:
            account.over_since = None
        elif account.over_since is None:
            account.over_since = now

    def choose(self, owner: Owner, limits: Limits, now: float) -> None:
        """Set the limits of somebody."""
        if limits == self.rules.of(owner):
            self.chosen.pop(owner, None)
        else:
            self.chosen[owner] = limits
        account = self._accounts.get(owner)
        if account is not None:
            self._change(account, limits, 0, now)

    def count_as(self, counted: Mapping[Owner, int], total: int, now: float) -> None:
        """Let what was counted be what there is."""
        for owner in [*self._accounts]:
            if not counted.get(owner):
                del self._accounts[owner]
        for owner, used in counted.items():
            if used > 0:
                account = self._accounts.setdefault(owner, Account())
                self._change(account, self.limits(owner), used - account.used, now)
        self._change(self.total, self.rules.share, total - self.total.used, now)

    def become(self, other: "Ledger") -> None:
        """Have what another ledger has."""
        self._accounts.clear()
        self._accounts.update(other._accounts)
        self.chosen.clear()
        self.chosen.update(other.chosen)
        self.total = other.total

    # How it is kept.

    def pack(self, is_exact: bool) -> bytes:
        """The ledger as a value to keep; `is_exact`: nothing changes between this and the next start."""
        accounts = [[kind.value, number, each.used, each.over_since] for (kind, number), each in self._accounts.items()]
        chosen = [[kind.value, number, *limits] for (kind, number), limits in self.chosen.items()]
        total = [self.total.used, self.total.over_since]
        fields = {"form": FORM, "exact": is_exact, "accounts": accounts, "chosen": chosen, "total": total}
        return json.dumps(fields, separators=(",", ":")).encode("ascii")

    def unpack(self, value: bytes) -> bool:
        """Take over what was kept; whether it is exact. Raises ValueError for what is none, and changes nothing."""
        try:
            fields = json.loads(value)
            if fields["form"] != FORM:
                raise ValueError(f"the ledger has the form {fields['form']!r}")
            accounts = {_owner(row): Account(_natural(row[2]), _moment(row[3])) for row in fields["accounts"]}
            chosen = {_owner(row): Limits(*(_limit(each) for each in row[2:4])) for row in fields["chosen"]}
            total = Account(_natural(fields["total"][0]), _moment(fields["total"][1]))
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"no ledger: {error}") from error
        self._accounts, self.chosen, self.total = accounts, chosen, total
        return fields["exact"] is True


def _owner(row: Any) -> Owner:
    return QuotaKind(row[0]), _natural(row[1])


def _natural(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no number of bytes, or of an owner")
    return value


def _limit(value: Any) -> int | None:
    return None if value is None else _natural(value)


def _moment(value: Any) -> float | None:
    return None if value is None else float(value)
