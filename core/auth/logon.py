"""The decision behind every mechanism: which account a name is, whether it may log on, and how guessing is slowed.

Mechanisms prove; this decides. One `Logon` belongs to one exchange with one client.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Final, NamedTuple

from lamina.core.auth.account import (
    GUEST_RID,
    GUESTS_RID,
    Account,
    AccountStore,
    nobody_ids,
)
from lamina.core.auth.settings import AuthSettings
from lamina.core.auth.throttle import Throttle
from lamina.ntfsa.security.sid import ANONYMOUS, BUILTIN_GUESTS, EVERYONE, NETWORK
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules import engine
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

_NO_ACCOUNT_HASH: Final = secrets.token_bytes(16)
"""What an unknown user's response is checked against, so that the check takes as long as a known one's."""

NO_KEY: Final = bytes(16)
"""The key of a session that nobody proved a password for (MS-NLMP 3.2.5.1.2: anonymous has a key of zeros)."""


class Authenticated(NamedTuple):
    """A successful authentication.

    `session_key`: the whole key of the mechanism (MS-SMB2 Session.FullSessionKey); for a guest, who proved nothing, 16
    zero bytes that protect nothing. `expires_at`: when the credentials end, as time.time() counts, or None.
    """

    user: str
    domain: str
    session_key: bytes
    token: ImpersonationToken
    is_guest: bool
    is_anonymous: bool
    expires_at: float | None


class Claim(NamedTuple):
    """Who somebody says he is; `workstation` only serves the substitutions of paths."""

    user: str
    domain: str
    workstation: str = ""


Proof = Callable[[bytes], bytes | None]
"""Given the NT hash of an account: the exported session key if the client knows the password, else None."""


class Logon:
    """The policy of logging on, for one exchange from `address`."""

    def __init__(self, accounts: AccountStore, settings: AuthSettings, throttle: Throttle, address: str) -> None:
        self._accounts = accounts
        self._settings = settings
        self._throttle = throttle
        self.address = address

    def with_password(self, claim: Claim, proof: Proof) -> Authenticated:
        """Decide on a user who proves that he knows a password.

        Raises NtStatusError: LOGON_FAILURE for a wrong password and an unknown user alike, ACCOUNT_DISABLED only to
        who knows the password. May wait: for the store, and before it refuses.
        """
        self._refuse_guessers(claim)
        account = self._find(claim.user)
        # Others may have failed while the store was asked; nothing waits from here to the counting of a failure.
        self._refuse_guessers(claim)
        key = proof(account.nt_hash if account else _NO_ACCOUNT_HASH)
        if account is None:
            return self._guest(claim)
        if key is None:
            raise self.failure(claim)
        return self._admit(account, claim, key, None)

    def with_ticket(self, claim: Claim, principal: str, key: bytes, expires_at: float | None) -> Authenticated:
        """Decide on a user whom a Kerberos ticket names. Raises NtStatusError(LOGON_FAILURE | ACCOUNT_DISABLED)."""
        account = self._find(principal) or (self._find(claim.user) if claim.user else None)
        if account is None:
            raise NtStatusError(NtStatus.LOGON_FAILURE, f"no account for the principal {principal!r}")
        return self._admit(account, claim, key, expires_at)

    def anonymous(self, key: bytes) -> Authenticated:
        """Decide on a logon without a user. Raises NtStatusError(LOGON_FAILURE) where that is not allowed."""
        if not self._settings.allow_anonymous:
            raise NtStatusError(NtStatus.LOGON_FAILURE, "anonymous logon is not allowed")
        groups = frozenset({EVERYONE, NETWORK})
        token = self._nobody("", ANONYMOUS, groups)
        return Authenticated("", "", key, token, is_guest=False, is_anonymous=True, expires_at=None)

    def failure(self, claim: Claim) -> NtStatusError:
        """Count a failed attempt and sit out its delay; the error to raise then."""
        delay = self._throttle.failed(self.address, claim.user)
        if delay and engine.current_task() is not None:
            engine.wait(asyncio.sleep(delay))
        return NtStatusError(NtStatus.LOGON_FAILURE, f"logon of {claim.user!r} from {self.address} failed")

    def _refuse_guessers(self, claim: Claim) -> None:
        if self._throttle.refuses(self.address, claim.user):
            raise NtStatusError(
                NtStatus.LOGON_FAILURE, f"too many failed logons from {self.address} or as {claim.user!r}"
            )

    def _find(self, user: str) -> Account | None:
        try:
            return engine.offload(SERVER_TOKEN, self._accounts.lookup, user)
        except OSError as error:
            raise NtStatusError(NtStatus.LOGON_FAILURE, f"the accounts cannot be read: {error}") from error

    def _admit(self, account: Account, claim: Claim, key: bytes, expires_at: float | None) -> Authenticated:
        if account.disabled:
            raise NtStatusError(NtStatus.ACCOUNT_DISABLED, f"the account {account.name!r} is disabled")
        self._throttle.succeeded(self.address, claim.user)
        token = self._token_of(account, claim)
        return Authenticated(account.name, claim.domain, key, token, False, False, expires_at)

    def _token_of(self, account: Account, claim: Claim) -> ImpersonationToken:
        substitutions = {
            "U": claim.user,
            "u": account.name,
            "D": claim.domain,
            "I": self.address,
            "m": claim.workstation.lower(),
            "h": self._settings.dns_name or self._settings.server_name.lower(),
        }
        # The system's databases of users and groups may ask the network.
        return engine.offload(SERVER_TOKEN, account.make_token, self._accounts, substitutions)

    def _guest(self, claim: Claim) -> Authenticated:
        if not self._settings.allow_guest:
            raise self.failure(claim)
        groups = frozenset({EVERYONE, NETWORK, BUILTIN_GUESTS, f"{self._accounts.machine_sid}-{GUESTS_RID}"})
        token = self._nobody("guest", f"{self._accounts.machine_sid}-{GUEST_RID}", groups)
        return Authenticated(
            claim.user, claim.domain, NO_KEY, token, is_guest=True, is_anonymous=False, expires_at=None
        )

    def _nobody(self, name: str, sid: str, groups: frozenset[str]) -> ImpersonationToken:
        """The token of who has no account: the guest account's POSIX side if there is one, else the system's nobody."""
        account = self._find(self._settings.guest_account) if self._settings.guest_account else None
        uid, gid = (account.uid, account.gid) if account else nobody_ids()
        owner = frozenset({self._accounts.sid_of_uid(uid), self._accounts.sid_of_gid(gid)})
        return ImpersonationToken(
            sid, groups | owner, uid, gid, (gid,), user_name=name, substitutions={"I": self.address}
        )
