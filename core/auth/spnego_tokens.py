"""SPNEGO tokens (RFC 4178 4.2, MS-SPNG 2.2.1): reading the client's, making the server's.

Mechanism identifiers are kept as the bytes of their DER encoding: compared, echoed, and never interpreted.
"""

from typing import Final, NamedTuple

from spnego._spnego import NegState, NegTokenInit, NegTokenResp

from lamina.core.auth import der

SPNEGO_OID: Final = bytes.fromhex("2b0601050502")
NTLM_OID: Final = bytes.fromhex("2b06010401823702020a")
KERBEROS_OID: Final = bytes.fromhex("2a864886f712010202")
MS_KERBEROS_OID: Final = bytes.fromhex("2a864882f712010202")
"""Kerberos as Windows 2000 misspelt it, which clients still name first."""

ACCEPT_COMPLETED: Final = 0
ACCEPT_INCOMPLETE: Final = 1
REJECT: Final = 2
REQUEST_MIC: Final = 3

_DOTTED: Final = {
    NTLM_OID: "1.3.6.1.4.1.311.2.2.10",
    KERBEROS_OID: "1.2.840.113554.1.2.2",
    MS_KERBEROS_OID: "1.2.840.48018.1.2.2",
}
_HINT_NAME: Final = b"not_defined_in_RFC4178@please_ignore"
_MOST_MECHANISMS: Final = 64


class Init(NamedTuple):
    """A client's NegTokenInit. `mech_list` is the encoded list, which a mechListMIC protects."""

    mechanisms: tuple[bytes, ...]
    mech_list: bytes
    token: bytes | None
    mic: bytes | None


class Response(NamedTuple):
    """A client's NegTokenResp."""

    state: int | None
    token: bytes | None
    mic: bytes | None


def first_mechanism(token: bytes) -> bytes | None:
    """The mechanism of a GSS-API initial token (RFC 2743 3.1), or None if it is none."""
    try:
        outer, _ = der.read(memoryview(token))
        if outer.tag != der.APPLICATION_0:
            return None
        return bytes(der.expect(outer.content, der.OBJECT_IDENTIFIER).content)
    except der.DerError:
        return None


def read_token(token: bytes) -> Init | Response:
    """A token of the client, with or without the GSS-API framing. Raises DerError."""
    element, _ = der.read(memoryview(token))
    if element.tag == der.APPLICATION_0:
        mechanism, rest = der.read(element.content)
        if mechanism.tag != der.OBJECT_IDENTIFIER or mechanism.content != SPNEGO_OID:
            raise der.DerError("a token of another mechanism than SPNEGO")
        element, _ = der.read(rest)
    if element.tag == der.CONTEXT_0:
        return _read_init(_fields(element))
    if element.tag == der.CONTEXT_0 + 1:
        return _read_response(_fields(element))
    raise der.DerError("neither a NegTokenInit nor a NegTokenResp")


def _fields(choice: der.Element) -> dict[int, memoryview]:
    """The tagged fields of a token, by number; more than a handful are not a token."""
    fields: dict[int, memoryview] = {}
    for element in der.elements(der.expect(choice.content, der.SEQUENCE).content):
        number = element.tag - der.CONTEXT_0
        if not 0 <= number <= 4 or number in fields:
            raise der.DerError("an unknown or repeated field")
        fields[number] = element.content
    return fields


def _read_init(fields: dict[int, memoryview]) -> Init:
    if 0 not in fields:
        raise der.DerError("a NegTokenInit without mechanisms")
    mech_list = der.expect(fields[0], der.SEQUENCE)
    mechanisms: list[bytes] = []
    for element in der.elements(mech_list.content):
        if element.tag != der.OBJECT_IDENTIFIER or len(mechanisms) >= _MOST_MECHANISMS:
            raise der.DerError("a list of mechanisms with something else in it")
        mechanisms.append(bytes(element.content))
    # Field 3 of a NegTokenInit2 is a hint and the MIC is field 4; nobody acts on the hint.
    mic = _octets(fields, 4) if 4 in fields else _octets_if_any(fields, 3)
    return Init(tuple(mechanisms), bytes(mech_list.whole), _octets(fields, 2), mic)


def _read_response(fields: dict[int, memoryview]) -> Response:
    state = None
    if 0 in fields:
        value = der.expect(fields[0], der.ENUMERATED).content
        if len(value) != 1:
            raise der.DerError("a negState that is no number")
        state = value[0]
    return Response(state, _octets(fields, 2), _octets(fields, 3))


def _octets(fields: dict[int, memoryview], number: int) -> bytes | None:
    return bytes(der.expect(fields[number], der.OCTET_STRING).content) if number in fields else None


def _octets_if_any(fields: dict[int, memoryview], number: int) -> bytes | None:
    if number not in fields:
        return None
    element, _ = der.read(fields[number])
    return bytes(element.content) if element.tag == der.OCTET_STRING else None


def make_hint(mechanisms: tuple[bytes, ...]) -> bytes:
    """The NegTokenInit2 that a server sends in its NEGOTIATE response (MS-SPNG 3.2.5.2)."""
    token: bytes = NegTokenInit([_DOTTED[oid] for oid in mechanisms], hint_name=_HINT_NAME).pack()
    return token


def make_response(
    state: int, mechanism: bytes | None = None, token: bytes | None = None, mic: bytes | None = None
) -> bytes:
    """A NegTokenResp; `mechanism` only in the first one, one of those the client named."""
    dotted = _DOTTED[mechanism] if mechanism else None
    packed: bytes = NegTokenResp(NegState(state), dotted, token or None, mic).pack()
    return packed
