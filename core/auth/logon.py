"""The decision behind every mechanism: which account a name is, whether it may log on, and how guessing is slowed.

Mechanisms prove; this decides. One `Logon` belongs to one exchange with one client.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from lamina.core.auth.account import (
    GUEST_RID,
    GUESTS_RID,
    Account,
    AccountStore,
    nobody_ids,
)
from lamina.core.auth.pac import Pac
from lamina.core.auth.settings import AuthSettings
from lamina.core.auth.throttle import Throttle
from lamina.core.identity.domain_users import DomainUser, NoIdError, add_pac, domain_token, system_ids
from lamina.core.identity.identities import Identities
from lamina.ntfsa.security.sid import ANONYMOUS, BUILTIN_GUESTS, EVERYONE, NETWORK
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules import engine
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

_NO_ACCOUNT_HASH: Final = secrets.token_bytes(16)
"""What an unknown user's response is checked against, so that the check takes as long as a known one's."""

TIME_FORMAT: Final = "%Y-%m-%d_%H.%M.%S"
"""The form of %T, with nothing in it that a path or Windows would mind."""

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


class Ticket(NamedTuple):
    """What a Kerberos ticket says. `expires_at`: its end, as time.time() counts; `pac`: None if it has none."""

    principal: str
    key: bytes
    expires_at: float | None
    pac: Pac | None = None


Proof = Callable[[bytes], bytes | None]
"""Given the NT hash of an account: the exported session key if the client knows the password, else None."""


class Logon:
    """The policy of logging on, for one exchange from `address`."""

    def __init__(self, identities: Identities, settings: AuthSettings, throttle: Throttle, address: str) -> None:
        self._identities = identities
        self._accounts: AccountStore = identities.accounts
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
        own = claim._replace(domain=self._settings.domain or self._settings.server_name)
        # The client may call the domain what it likes; where files are is not for it to say.
        return self._admit(account, own, key, None)._replace(domain=claim.domain)

    def with_ticket(self, claim: Claim, ticket: Ticket) -> Authenticated:
        """Decide on a user whom a Kerberos ticket names: an account, or a user of a domain that is configured.

        Raises NtStatusError(LOGON_FAILURE | ACCOUNT_DISABLED).
        """
        account = self._find(ticket.principal) or (self._find(claim.user) if claim.user else None)
        if account is not None:
            return self._admit(account, claim, ticket.key, ticket)
        return self._admit_domain_user(self._domain_user(ticket), ticket)

    def _domain_user(self, ticket: Ticket) -> DomainUser:
        name, _, realm = ticket.principal.rpartition("@")
        identities = self._identities
        if ticket.pac is not None:
            domain = identities.domain_of(ticket.pac.user_sid) or identities.domain_of_realm(realm)
            if domain is not None and domain.sid in ("", ticket.pac.domain_sid):
                return DomainUser(ticket.pac.user, domain, ticket.pac)
            why = f"and its domain {ticket.pac.domain} ({ticket.pac.domain_sid}) is not in [identity.domain]"
        else:
            domain = identities.domain_of_realm(realm)
            if domain is not None:
                return DomainUser(name, domain, None)
            why = "and its realm is of no [identity.domain]"
        raise NtStatusError(NtStatus.LOGON_FAILURE, f"no account for the principal {ticket.principal!r}, {why}")

    def _admit_domain_user(self, who: DomainUser, ticket: Ticket) -> Authenticated:
        domain = who.domain.name
        substitutions = self._substitutions(Claim(who.name, domain), f"{domain}+{who.name}")
        try:
            system = system_ids(who.name, who.domain, self._identities)
            token = engine.offload(SERVER_TOKEN, domain_token, who, system, self._identities, substitutions)
        except (NoIdError, OSError) as error:
            raise NtStatusError(NtStatus.LOGON_FAILURE, f"{ticket.principal} cannot log on: {error}") from error
        return Authenticated(who.name, domain, ticket.key, token, False, False, ticket.expires_at)

    def anonymous(self, key: bytes) -> Authenticated:
        """Decide on a logon without a user. Raises NtStatusError(LOGON_FAILURE) where that is not allowed."""
        if not self._settings.allow_anonymous:
            raise NtStatusError(NtStatus.LOGON_FAILURE, "anonymous logon is not allowed")
        groups = frozenset({EVERYONE, NETWORK})
        token = self._nobody("", ANONYMOUS, groups, Claim("", ""))
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

    def _admit(self, account: Account, claim: Claim, key: bytes, ticket: Ticket | None) -> Authenticated:
        if account.disabled:
            raise NtStatusError(NtStatus.ACCOUNT_DISABLED, f"the account {account.name!r} is disabled")
        self._throttle.succeeded(self.address, claim.user)
        token = self._token_of(account, claim, ticket.pac if ticket is not None else None)
        expires_at = ticket.expires_at if ticket is not None else None
        return Authenticated(account.name, claim.domain, key, token, False, False, expires_at)

    def _token_of(self, account: Account, claim: Claim, pac: Pac | None) -> ImpersonationToken:
        identities = self._identities
        if account.groups is None:
            groups = identities.groups_of_uid(account.uid, account.gid)
            account = replace(account, groups=groups)
        token = engine.offload(SERVER_TOKEN, account.make_token, identities, self._substitutions(claim, account.name))
        return token if pac is None else engine.offload(SERVER_TOKEN, add_pac, token, pac, identities)

    def _substitutions(self, claim: Claim, unix_name: str) -> Mapping[str, str]:
        """The values of %U and its like; who is known by a ticket has told no name of his machine."""
        return {
            "U": (claim.user or unix_name).lower(),
            "u": unix_name,
            "D": claim.domain,
            "I": self.address,
            "m": (claim.workstation or self.address).lower(),
            "h": self._settings.dns_name or self._settings.server_name.lower(),
            "T": time.strftime(TIME_FORMAT),
        }

    def _guest(self, claim: Claim) -> Authenticated:
        if not self._settings.allow_guest:
            raise self.failure(claim)
        groups = frozenset({EVERYONE, NETWORK, BUILTIN_GUESTS, f"{self._accounts.machine_sid}-{GUESTS_RID}"})
        token = self._nobody("guest", f"{self._accounts.machine_sid}-{GUEST_RID}", groups, claim)
        return Authenticated(
            claim.user, claim.domain, NO_KEY, token, is_guest=True, is_anonymous=False, expires_at=None
        )

    def _nobody(self, name: str, sid: str, groups: frozenset[str], claim: Claim) -> ImpersonationToken:
        """The token of who has no account: the guest account's POSIX side if there is one, else the system's nobody.

        The name that a guest has given is nobody's, and stands for nothing.
        """
        account = self._find(self._settings.guest_account) if self._settings.guest_account else None
        uid, gid = (account.uid, account.gid) if account else nobody_ids()
        owner = frozenset({self._accounts.sid_of_uid(uid), self._accounts.sid_of_gid(gid)})
        own = self._settings.domain or self._settings.server_name
        substitutions = self._substitutions(Claim(name, own, claim.workstation), name)
        return ImpersonationToken(
            sid, groups | owner, uid, gid, (gid,), user_name=name, substitutions=dict(substitutions)
        )
