"""The Kerberos acceptor, by the system's MIT libraries through the optional `gssapi` package (RFC 4121, MS-KILE 3.4).

The package is imported when a keytab is configured and not before: without one, Kerberos is simply not offered.
Tickets are opened on a worker thread with the server's identity: it reads the keytab and writes the replay cache.
The library verifies a ticket's PAC with the service's key (MS-PAC 2.8.1); one that it does not vouch for is not read.
"""

import importlib
import os
import time
from collections.abc import Iterator
from typing import Any, Final

from lamina.core.auth.logon import Authenticated, Claim, Logon, Ticket
from lamina.core.auth.pac import Pac, PacError, read_pac
from lamina.core.auth.settings import AuthSettings
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules import engine
from lamina.vfs_modules.credentials import server_identity
from lamina.vfs_modules.token import SERVER_TOKEN

_SESSION_KEY_OID: Final = "1.2.840.113554.1.2.2.5.5"  # GSS_C_INQ_SSPI_SESSION_KEY
_PAC_ATTRIBUTE: Final = b"urn:mspac:"
_SERVICE: Final = "cifs"
_LONGEST_LIFETIME: Final = 0xFFFFFFFF
"""What GSS-API calls indefinite."""


class KerberosUnavailableError(OSError):
    """Kerberos is configured and cannot be offered; the text says what to do.

    An OSError like that of any other file that a server needs at its start and cannot open.
    """


class KerberosService:
    """The server's own credentials: what tickets for it are opened with."""

    def __init__(self, settings: AuthSettings) -> None:
        """Raises KerberosUnavailableError if the package or a usable keytab is missing."""
        try:
            self.gssapi: Any = importlib.import_module("gssapi")
        except ImportError as error:
            raise KerberosUnavailableError(
                f"a keytab is configured, but Kerberos is not installed: pip install lamina[kerberos] ({error})"
            ) from error
        self.realm = settings.realm
        self._credentials = [self._acquire(keytab) for keytab in settings.keytab.split(os.pathsep)]

    def _acquire(self, keytab: str) -> Any:
        with server_identity():
            if not os.access(keytab, os.R_OK):
                raise KerberosUnavailableError(f"the keytab {keytab} does not exist or cannot be read")
            try:
                return self.gssapi.Credentials(usage="accept", store={"keytab": keytab})
            except self.gssapi.exceptions.GSSError as error:
                raise KerberosUnavailableError(f"the keytab {keytab} cannot be used: {error}") from error

    def acceptor(self, logon: Logon) -> "KerberosAcceptor":
        """A new exchange."""
        return KerberosAcceptor(self, logon)

    def contexts(self) -> Iterator[Any]:
        """A context for each keytab, in the order of the configuration."""
        for credentials in self._credentials:
            yield self.gssapi.SecurityContext(creds=credentials, usage="accept")

    def account_name(self, principal: str) -> str:
        """The name without the realm, if it is ours; else nothing: a foreign user is not his namesake here."""
        name, _, realm = principal.rpartition("@")
        return name if self.realm and realm.lower() == self.realm.lower() else ""


class KerberosAcceptor:
    """One Kerberos exchange, of one leg as clients do it for SMB."""

    def __init__(self, service: KerberosService, logon: Logon) -> None:
        self._service = service
        self._context: Any = None
        self._logon = logon
        self.authenticated: Authenticated | None = None

    def step(self, token: bytes) -> bytes:
        """Take the client's AP-REQ; the AP-REP, if it wants one. Raises NtStatusError(LOGON_FAILURE)."""
        answer, complete = self._call(self._step, token)
        if complete:
            self.authenticated = self._accept()
        return bytes(answer)

    def _step(self, token: bytes) -> tuple[bytes, bool]:
        if self._context is not None:
            return self._step_in(self._context, token)
        failure: BaseException | None = None
        for context in self._service.contexts():
            try:
                answer = self._step_in(context, token)
            except self._service.gssapi.exceptions.GSSError as error:
                # Of several keytabs one has the key; what the first one says is told where none has.
                failure = failure or error
            else:
                self._context = context
                return answer
        assert failure is not None
        raise failure

    @staticmethod
    def _step_in(context: Any, token: bytes) -> tuple[bytes, bool]:
        # A failure that has a token for the client is raised when the context is next looked at, and not by step().
        answer = context.step(token)
        return answer or b"", context.complete

    def _call(self, function: Any, *arguments: Any) -> Any:
        try:
            return engine.offload(SERVER_TOKEN, function, *arguments)
        except (self._service.gssapi.exceptions.GSSError, PacError) as error:
            raise NtStatusError(NtStatus.LOGON_FAILURE, f"Kerberos: {error}") from error

    def _accept(self) -> Authenticated:
        ticket, service = self._call(self._outcome)
        # The keytab may be of other services, too, whose clients have not meant this one.
        if service.partition("/")[0].lower() != _SERVICE and "/" in service:
            raise NtStatusError(NtStatus.LOGON_FAILURE, f"Kerberos: a ticket for {service}, which is no file service")
        claim = Claim(self._service.account_name(ticket.principal), ticket.principal.rpartition("@")[2])
        return self._logon.with_ticket(claim, ticket)

    def _outcome(self) -> tuple[Ticket, str]:
        context = self._context
        raw = self._service.gssapi.raw
        key = raw.inquire_sec_context_by_oid(context, self._service.gssapi.OID.from_int_seq(_SESSION_KEY_OID))[0]
        # The library's lifetime of an accepted ticket contains the clock skew it tolerates, by default five minutes.
        lifetime = int(context.lifetime)
        expires_at = None if lifetime >= _LONGEST_LIFETIME else time.time() + lifetime
        ticket = Ticket(str(context.initiator_name), bytes(key), expires_at, self._pac())
        return ticket, str(context.target_name)

    def _pac(self) -> Pac | None:
        """What the ticket's PAC says, if it has one that its signature proves to be of the KDC."""
        raw, name = self._service.gssapi.raw, self._context.initiator_name
        if _PAC_ATTRIBUTE not in (raw.inquire_name(name).attrs or ()):
            return None
        found = raw.get_name_attribute(name, _PAC_ATTRIBUTE)
        return read_pac(found.values[0]) if found.authenticated and found.values else None

    @property
    def can_sign(self) -> bool:
        """A ticket always brings a key."""
        return self.authenticated is not None

    def mic(self, data: bytes) -> bytes:
        """The server's signature of `data` (GSS_GetMIC)."""
        return bytes(self._context.get_signature(data))

    def verify(self, data: bytes, mic: bytes) -> bool:
        """Whether `mic` is the client's signature of `data` (GSS_VerifyMIC)."""
        try:
            self._context.verify_signature(data, mic)
        except self._service.gssapi.exceptions.GSSError:
            return False
        return True
