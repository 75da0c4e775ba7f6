"""Reading an NTLM AUTHENTICATE message and making a CHALLENGE (MS-NLMP 2.2.1), for a server that speaks NTLMv2 only.

Messages are made with pyspnego's classes. What comes from a client is read here: the library's parser cuts a field
that reaches beyond the message short instead of refusing it, and re-packs what must be compared as it was sent.
"""

import struct
import time
from typing import Final, NamedTuple

from spnego._ntlm_raw.messages import AvId, Challenge, NegotiateFlags, TargetInfo, Version

from lamina.core.auth.settings import AuthSettings
from lamina.ntfsa.status import NtStatus, NtStatusError

SIGNATURE: Final = b"NTLMSSP\0"
_NEGOTIATE: Final = 1
_AUTHENTICATE: Final = 3
_TYPE = struct.Struct("<8sI")
_FIELD = struct.Struct("<HHI")
_FLAGS = struct.Struct("<I")
_AV_PAIR = struct.Struct("<HH")
_AV_EOL: Final = 0
_AV_FLAGS: Final = 6
_AV_FLAG_MIC: Final = 2
_PROOF_LENGTH: Final = 16
_CLIENT_CHALLENGE: Final = 28
"""What stands before the AV pairs in an NTLMv2_CLIENT_CHALLENGE (MS-NLMP 2.2.2.7)."""
_NTLM_V1_LENGTH: Final = 24
_LONGEST_NAME: Final = 1024

_SUPPORTED = (
    NegotiateFlags.unicode
    | NegotiateFlags.oem
    | NegotiateFlags.request_target
    | NegotiateFlags.sign
    | NegotiateFlags.seal
    | NegotiateFlags.always_sign
    | NegotiateFlags.extended_session_security
    | NegotiateFlags.key_128
    | NegotiateFlags.key_56
    | NegotiateFlags.key_exch
    | NegotiateFlags.version
)
_ALWAYS = NegotiateFlags.ntlm | NegotiateFlags.target_info | NegotiateFlags.target_type_server
_UNIX_EPOCH_AS_FILETIME: Final = 116_444_736_000_000_000


class Authenticate(NamedTuple):
    """The fields of an AUTHENTICATE message that a server looks at. `mic_offset` is 0 if there is none."""

    flags: int
    user: str
    domain: str
    workstation: str
    lm_response: bytes
    nt_response: bytes
    encrypted_key: bytes
    mic_offset: int


def malformed(what: str) -> NtStatusError:
    """The error for a message that is not what the specification says."""
    return NtStatusError(NtStatus.INVALID_PARAMETER, f"malformed NTLM message: {what}")


def negotiate_flags(message: bytes) -> int:
    """The flags of a NEGOTIATE message (2.2.1.1). Raises NtStatusError."""
    if len(message) < 16 or _TYPE.unpack_from(message) != (SIGNATURE, _NEGOTIATE):
        raise malformed("not a NEGOTIATE message")
    flags: int = _FLAGS.unpack_from(message, 12)[0]
    return flags


def challenge_flags(asked: int) -> int:
    """The flags to answer `asked` with (3.2.5.1.1)."""
    flags = int((asked & _SUPPORTED) | _ALWAYS)
    if flags & NegotiateFlags.unicode:
        flags &= ~NegotiateFlags.oem
    return flags


def make_challenge(flags: int, server_challenge: bytes, settings: AuthSettings) -> bytes:
    """A CHALLENGE message (2.2.1.2). The time in it obliges current clients to send a MIC (3.1.5.1.2)."""
    name = settings.server_name
    dns_name = settings.dns_name or name.lower()
    info = TargetInfo()
    info[AvId.nb_domain_name] = settings.domain or name
    info[AvId.nb_computer_name] = name
    info[AvId.dns_domain_name] = dns_name.partition(".")[2]
    info[AvId.dns_computer_name] = dns_name
    info[AvId.timestamp] = struct.pack("<Q", time.time_ns() // 100 + _UNIX_EPOCH_AS_FILETIME)
    version = Version(6, 1, 0) if flags & NegotiateFlags.version else None
    packed: bytes = Challenge(flags, server_challenge, name, info, version).pack()
    return packed


def read_authenticate(message: bytes) -> Authenticate:
    """The fields of an AUTHENTICATE message (2.2.1.3). Raises NtStatusError(INVALID_PARAMETER)."""
    if len(message) < 64 or _TYPE.unpack_from(message) != (SIGNATURE, _AUTHENTICATE):
        raise malformed("not an AUTHENTICATE message")
    flags = _FLAGS.unpack_from(message, 60)[0]
    encoding = "utf-16-le" if flags & NegotiateFlags.unicode else "cp437"
    return Authenticate(
        flags=flags,
        user=_text(message, 36, encoding),
        domain=_text(message, 28, encoding),
        workstation=_text(message, 44, encoding),
        lm_response=_field(message, 12),
        nt_response=_field(message, 20),
        encrypted_key=_field(message, 52),
        mic_offset=_mic_offset(message),
    )


def _field(message: bytes, at: int) -> bytes:
    length, _, offset = _FIELD.unpack_from(message, at)
    if length and offset + length > len(message):
        raise malformed("a field beyond its end")
    return message[offset : offset + length] if length else b""


def _text(message: bytes, at: int, encoding: str) -> str:
    raw = _field(message, at)
    if len(raw) > _LONGEST_NAME:
        raise malformed("a name longer than any")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        raise malformed("a name that is no text") from None


def _mic_offset(message: bytes) -> int:
    # The MIC has no field of its own: it stands between the fixed part, with or without a version, and the payload.
    fields = [_FIELD.unpack_from(message, at) for at in (12, 20, 28, 36, 44, 52)]
    payload = min((offset for length, _, offset in fields if length), default=len(message))
    if payload >= 88:
        return 72
    return 64 if payload >= 80 else 0


def is_ntlm_v2(response: bytes) -> bool:
    """Whether `response` is an NTLMv2 response (2.2.2.8) and not one of NTLMv1 or LM, which have 24 bytes.

    Raises NtStatusError(INVALID_PARAMETER) for one that is longer and is not well formed: a server refuses it so
    before it looks at the password.
    """
    if len(response) <= _NTLM_V1_LENGTH:
        return False
    if len(response) < _PROOF_LENGTH + _CLIENT_CHALLENGE or response[16:18] != b"\x01\x01":
        raise malformed("an NTLMv2 response without its fixed part")
    return True


def wants_mic(response: bytes) -> bool:
    """Whether the AV pairs of an NTLMv2 response say that a MIC is present (2.2.2.1 MsvAvFlags).

    Raises NtStatusError(INVALID_PARAMETER) if the list of pairs does not end within the response.
    """
    at = _PROOF_LENGTH + _CLIENT_CHALLENGE
    flags = 0
    while at + _AV_PAIR.size <= len(response):
        av_id, length = _AV_PAIR.unpack_from(response, at)
        at += _AV_PAIR.size
        if av_id == _AV_EOL:
            return bool(flags & _AV_FLAG_MIC)
        if at + length > len(response):
            break
        if av_id == _AV_FLAGS:
            if length != _FLAGS.size:
                break
            (flags,) = _FLAGS.unpack_from(response, at)
        at += length
    raise malformed("a list of AV pairs that does not end")
