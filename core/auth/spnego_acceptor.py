"""The SPNEGO acceptor (RFC 4178 3.2, 5; MS-SPNG 3.2.5): picks the mechanism and protects the choice.

Clients that offer something else first, that name a mechanism without a token, or that speak NTLM or Kerberos without
SPNEGO are all served. pyspnego has a state machine for this too; it feeds a token made for a mechanism that we lack
to the one that we have, and decides on the MIC by what is installed and not by what is offered.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from lamina.core.auth import spnego_tokens as tokens
from lamina.core.auth.der import DerError
from lamina.core.auth.logon import Authenticated
from lamina.core.auth.ntlm_messages import SIGNATURE as NTLM_SIGNATURE
from lamina.ntfsa.status import NtStatus, NtStatusError


class Mechanism(Protocol):
    """One exchange of an authentication mechanism, on the server's side."""

    authenticated: Authenticated | None

    def step(self, token: bytes) -> bytes:
        """Take the client's next token; the answer. Raises NtStatusError."""

    @property
    def can_sign(self) -> bool:
        """Whether there is a key that both sides know, once it is authenticated."""

    def mic(self, data: bytes) -> bytes:
        """The server's signature of `data`."""

    def verify(self, data: bytes, mic: bytes) -> bool:
        """Whether `mic` is the client's signature of `data`."""


Mechanisms = Mapping[bytes, Callable[[], Mechanism]]
"""What is offered, by encoded identifier, in order of preference."""


def _invalid(explanation: str) -> NtStatusError:
    return NtStatusError(NtStatus.INVALID_PARAMETER, explanation)


class SpnegoAcceptor:
    """One negotiation. `authenticated` is set when it is over."""

    def __init__(self, offered: Mechanisms) -> None:
        self._offered = offered
        self._mechanism: Mechanism | None = None
        self._raw = False
        self._mech_list = b""
        self._mic_required = False
        self.authenticated: Authenticated | None = None

    def step(self, token: bytes) -> bytes:
        """Take the client's next token; the answer. Raises NtStatusError."""
        if self.authenticated is not None:
            raise _invalid("a token after the authentication was over")
        if self._raw:
            return self._step_raw(token)
        if self._mechanism is None and (mechanism := self._raw_mechanism(token)):
            self._raw = True
            self._mechanism = self._make(mechanism)
            return self._step_raw(token)
        try:
            message = tokens.read_token(token)
        except DerError as error:
            raise _invalid(f"malformed SPNEGO token: {error}") from None
        if isinstance(message, tokens.Init):
            return self._begin(message)
        return self._continue(message)

    def _make(self, mechanism: bytes) -> Mechanism:
        if mechanism not in self._offered:
            raise NtStatusError(NtStatus.LOGON_FAILURE, "a mechanism that is not offered")
        return self._offered[mechanism]()

    @staticmethod
    def _raw_mechanism(token: bytes) -> bytes | None:
        """The mechanism of a token that is not wrapped in SPNEGO, or None."""
        if token.startswith(NTLM_SIGNATURE):
            return tokens.NTLM_OID
        return tokens.KERBEROS_OID if tokens.first_mechanism(token) == tokens.KERBEROS_OID else None

    def _step_raw(self, token: bytes) -> bytes:
        assert self._mechanism is not None
        answer = self._mechanism.step(token)
        self.authenticated = self._mechanism.authenticated
        return answer

    def _begin(self, init: tokens.Init) -> bytes:
        if self._mechanism is not None:
            raise _invalid("a second NegTokenInit")
        chosen = next((oid for oid in init.mechanisms if self._known(oid) in self._offered), None)
        if chosen is None:
            raise NtStatusError(NtStatus.LOGON_FAILURE, "the client offers no mechanism that the server has")
        self._mech_list = init.mech_list
        self._mechanism = self._make(self._known(chosen))
        optimistic = chosen == init.mechanisms[0] or self._known(chosen) == self._known(init.mechanisms[0])
        # Another mechanism than the client's first: its token is not for us, and only a MIC over the list shows that
        # nobody on the way took the better ones out of it (RFC 4178 5). Where we have but one, there is no better.
        self._mic_required = not optimistic and len({self._known(oid) for oid in self._offered}) > 1
        incomplete = tokens.ACCEPT_INCOMPLETE if optimistic else tokens.REQUEST_MIC
        if not optimistic or init.token is None:
            return tokens.make_response(incomplete, chosen)
        answer = self._mechanism.step(init.token)
        if self._mechanism.authenticated is None:
            return tokens.make_response(incomplete, chosen, answer)
        return self._finish(answer, init.mic, chosen)

    def _continue(self, response: tokens.Response) -> bytes:
        if self._mechanism is None:
            raise _invalid("a NegTokenResp before any NegTokenInit")
        if response.state == tokens.REJECT:
            raise NtStatusError(NtStatus.LOGON_FAILURE, "the client rejects the mechanism")
        if response.token is None:
            raise _invalid("a NegTokenResp without a token")
        answer = self._mechanism.step(response.token)
        if self._mechanism.authenticated is None:
            return tokens.make_response(tokens.ACCEPT_INCOMPLETE, token=answer)
        # Very old clients repeat the token where the MIC belongs (RFC 2478 had it so by mistake).
        mic = None if response.mic == response.token else response.mic
        return self._finish(answer, mic, None)

    def _finish(self, answer: bytes, mic: bytes | None, chosen: bytes | None) -> bytes:
        """The last token: with the server's MIC over the list of mechanisms if the client sent its own."""
        mechanism = self._mechanism
        assert mechanism is not None
        own_mic = None
        if mechanism.can_sign:
            if mic is not None:
                if not mechanism.verify(self._mech_list, mic):
                    raise NtStatusError(NtStatus.LOGON_FAILURE, "wrong mechListMIC")
                own_mic = mechanism.mic(self._mech_list)
            elif self._mic_required:
                raise NtStatusError(NtStatus.LOGON_FAILURE, "the mechListMIC that was asked for is missing")
        self.authenticated = mechanism.authenticated
        return tokens.make_response(tokens.ACCEPT_COMPLETED, chosen, answer, own_mic)

    @staticmethod
    def _known(oid: bytes) -> bytes:
        return tokens.KERBEROS_OID if oid == tokens.MS_KERBEROS_OID else oid
