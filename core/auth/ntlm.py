"""The NTLM acceptor: NTLMv2 only, with the MIC checked where the client says there is one (MS-NLMP 3.2.5, 3.3.2).

It proves; whom it proves to be whom is decided by `Logon`. LM and NTLMv1 responses are refused whatever they say.
"""

import hmac
import os
from hmac import compare_digest
from typing import Final

from spnego._ntlm_raw.crypto import RC4Handle, hmac_md5, rc4init, rc4k, sealkey, signkey
from spnego._ntlm_raw.messages import NegotiateFlags
from spnego._ntlm_raw.security import sign

from lamina.core.auth.logon import NO_KEY, Authenticated, Claim, Logon
from lamina.core.auth.ntlm_messages import (
    Authenticate,
    challenge_flags,
    is_ntlm_v2,
    make_challenge,
    malformed,
    negotiate_flags,
    read_authenticate,
    wants_mic,
)
from lamina.core.auth.settings import AuthSettings

OID: Final = "1.3.6.1.4.1.311.2.2.10"
_KEY_LENGTH: Final = 16
_ZEROS: Final = bytes(16)


def upper(name: str) -> str:
    """`name` in upper case as Windows has it: letter by letter, so that the length stays (MS-NLMP 6)."""
    return "".join(large if len(large := letter.upper()) == 1 else letter for letter in name)


class NtlmAcceptor:
    """One NTLM exchange. `authenticated` is set when it has succeeded."""

    oid = OID

    def __init__(self, settings: AuthSettings, logon: Logon) -> None:
        self._settings = settings
        self._logon = logon
        self._negotiate = b""
        self._challenge = b""
        self._server_challenge = b""
        self._flags = 0
        self.authenticated: Authenticated | None = None

    def step(self, token: bytes) -> bytes:
        """Take the client's next message; what to answer, empty at the end. Raises NtStatusError."""
        if self.authenticated is not None:
            raise malformed("a message after the last one")
        if self._challenge:
            self.authenticated = self._accept(token)
            return b""
        self._flags = challenge_flags(negotiate_flags(token))
        self._negotiate = token
        self._server_challenge = os.urandom(8)
        self._challenge = make_challenge(self._flags, self._server_challenge, self._settings)
        return self._challenge

    def _accept(self, token: bytes) -> Authenticated:
        message = read_authenticate(token)
        self._flags = message.flags
        if not message.user and len(message.nt_response) == 0 and len(message.lm_response) <= 1:
            return self._logon.anonymous(_exported_key(message, NO_KEY))
        claim = Claim(message.user, message.domain, message.workstation)
        if not is_ntlm_v2(message.nt_response):
            raise self._logon.failure(claim)
        mic = self._mic_input(token, message) if wants_mic(message.nt_response) else None
        return self._logon.with_password(claim, lambda nt_hash: self._prove(nt_hash, message, mic))

    def _mic_input(self, token: bytes, message: Authenticate) -> tuple[bytes, bytes]:
        """The MIC that was sent, and what it must be the MIC of (MS-NLMP 3.1.5.1.2, 3.2.5.1.2)."""
        at = message.mic_offset
        if not at:
            raise malformed("the MIC that it says it has is missing")
        return token[at : at + 16], self._negotiate + self._challenge + token[:at] + _ZEROS + token[at + 16 :]

    def _prove(self, nt_hash: bytes, message: Authenticate, mic: tuple[bytes, bytes] | None) -> bytes | None:
        """The exported session key if the response, and the MIC, are right for `nt_hash`; None otherwise.

        Everything is computed before anything is compared, so that the time tells nothing.
        """
        key = hmac_md5(nt_hash, (upper(message.user) + message.domain).encode("utf-16-le", "surrogatepass"))
        proof, blob = message.nt_response[:16], message.nt_response[16:]
        right = compare_digest(hmac_md5(key, self._server_challenge + blob), proof)
        exported = _exported_key(message, hmac_md5(key, proof))
        if mic is not None:
            given, text = mic
            right &= compare_digest(hmac.digest(exported, text, "md5"), given)
        return exported if right else None

    @property
    def can_sign(self) -> bool:
        """Whether both sides have a key to protect the list of mechanisms with: not with a guest."""
        return self.authenticated is not None and not self.authenticated.is_guest

    def mic(self, data: bytes) -> bytes:
        """The signature of `data` by the server (MS-NLMP 3.4.4)."""
        return self._signature(data, "accept")

    def verify(self, data: bytes, mic: bytes) -> bool:
        """Whether `mic` is the client's signature of `data`."""
        return compare_digest(self._signature(data, "initiate"), mic)

    def _signature(self, data: bytes, by: str) -> bytes:
        assert self.authenticated is not None
        key = self.authenticated.session_key
        # The list is the first and only thing either side signs, so the sequence number is 0 and the state fresh.
        handle: RC4Handle = rc4init(sealkey(self._flags, key, by))
        signature: bytes = sign(self._flags | NegotiateFlags.sign, handle, signkey(self._flags, key, by), 0, data)
        return signature


def _exported_key(message: Authenticate, key_exchange_key: bytes) -> bytes:
    """ExportedSessionKey (MS-NLMP 3.2.5.1.2): the client's own, if keys are exchanged."""
    flags = message.flags
    if not flags & NegotiateFlags.key_exch or not flags & (NegotiateFlags.sign | NegotiateFlags.seal):
        return key_exchange_key
    if len(message.encrypted_key) != _KEY_LENGTH:
        raise malformed("an exchanged key that is not 16 bytes long")
    exported: bytes = rc4k(key_exchange_key, message.encrypted_key)
    return exported
