"""The authenticator: what MS-SMB2 3.3.5.5.3 calls the GSS-API, as the session setup sees it.

One for the server, one exchange for each authentication: a first one, one more on an existing session, or one for a
further channel are all the same here.
"""

import logging
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final, NamedTuple

from lamina.core.auth import spnego_tokens as tokens
from lamina.core.auth.accounts import AccountStore
from lamina.core.auth.kerberos import KerberosService
from lamina.core.auth.logon import Authenticated, Logon
from lamina.core.auth.ntlm import NtlmAcceptor
from lamina.core.auth.settings import AuthSettings
from lamina.core.auth.spnego_acceptor import Mechanism, SpnegoAcceptor
from lamina.core.auth.throttle import Throttle
from lamina.core.identity.identities import Identities
from lamina.ntfsa.status import NtStatus, NtStatusError

log = logging.getLogger(__name__)


class AuthStep(NamedTuple):
    """The answer to one token; `authenticated` is None while more is to come."""

    output: bytes
    authenticated: Authenticated | None


class AuthExchange:
    """One authentication of one client. It cannot be used again after it succeeded or failed."""

    def __init__(self, acceptor: SpnegoAcceptor) -> None:
        self._acceptor: SpnegoAcceptor | None = acceptor

    def step(self, token: bytes) -> AuthStep:
        """Take the client's token of one SESSION_SETUP.

        May wait (engine.wait): for the accounts, and before a failure is answered. Raises NtStatusError and nothing
        else, whatever the token holds: LOGON_FAILURE, INVALID_PARAMETER, ACCOUNT_DISABLED.
        """
        acceptor, self._acceptor = self._acceptor, None
        if acceptor is None:
            raise NtStatusError(NtStatus.INVALID_PARAMETER, "a token for an authentication that is over")
        try:
            output = acceptor.step(token)
        except NtStatusError as error:
            log.warning("refused: %s", error)
            raise
        except Exception as error:
            # The parsers check what they can foresee; for the rest a client must not be able to choose our exception.
            log.exception("an authentication token caused an unexpected error; this is a bug in Lamina")
            raise NtStatusError(NtStatus.LOGON_FAILURE, f"unexpected: {error}") from error
        if acceptor.authenticated is None:
            self._acceptor = acceptor
        return AuthStep(output, acceptor.authenticated)


class Authenticator:
    """Makes exchanges against `accounts`. One per server: the failures of its clients are counted here."""

    # Clients look for Kerberos under the name that Windows puts first.
    _KERBEROS: Final = (tokens.MS_KERBEROS_OID, tokens.KERBEROS_OID)

    def __init__(
        self,
        accounts: AccountStore,
        settings: AuthSettings,
        throttle: Throttle | None = None,
        identities: Identities | None = None,
    ) -> None:
        """`throttle`, `identities`: those of an authenticator which this one replaces: its failures stay counted.

        Raises KerberosUnavailableError, an OSError, if `settings.keytab` is set and cannot be used.
        """
        self.accounts = accounts
        self.settings = settings
        self.throttle = throttle or Throttle(settings.throttle, monotonic)
        self.identities = identities or Identities(accounts, settings.identity)
        self._kerberos = KerberosService(settings) if settings.keytab else None
        ntlm = (tokens.NTLM_OID,) if settings.allow_ntlm else ()
        self._hint = tokens.make_hint((*self._KERBEROS, *ntlm) if self._kerberos else ntlm)

    def hint(self) -> bytes:
        """The security buffer of a NEGOTIATE response (MS-SMB2 2.2.4): a NegTokenInit2 of what is offered."""
        return self._hint

    def begin(self, client_address: str) -> AuthExchange:
        """A new exchange with the client at `client_address` (an IP address, for counting failures)."""
        logon = Logon(self.identities, self.settings, self.throttle, client_address)
        offered: dict[bytes, Callable[[], Mechanism]] = {}
        if self._kerberos is not None:
            offered[tokens.KERBEROS_OID] = partial(self._kerberos.acceptor, logon)
        if self.settings.allow_ntlm:
            offered[tokens.NTLM_OID] = partial(NtlmAcceptor, self.settings, logon)
        return AuthExchange(SpnegoAcceptor(offered))


__all__ = ["AuthExchange", "AuthSettings", "AuthStep", "Authenticated", "Authenticator"]
