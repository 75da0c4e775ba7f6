"""The privilege attribute certificate of a ticket: who somebody is in a Windows domain, and his groups (MS-PAC).

What belongs here is reading its bytes, and nothing of what is made of them. The certificate is signed with the server's
own key, which the Kerberos library has verified before the bytes come here; they are read as if it had not. impacket
reads it too, and is the oracle of the tests, but would bring flask and ldap3 along.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from struct import Struct
from types import MappingProxyType
from typing import Final

from lamina.core.auth.pac_claims import read_claims
from lamina.core.auth.pickled import open_pickled, read_sid
from lamina.core.rpc.ndr import NdrError, NdrReader
from lamina.ntfsa.security.sid import parse_sid
from lamina.ntfsa.status import NtStatusError

LOGON_INFO: Final = 1
UPN_DNS_INFO: Final = 12
CLIENT_CLAIMS: Final = 13

MAX_GROUPS: Final = 4096
"""Groups of one kind that are taken; Windows puts no more than 1,015 into a token."""

_TYPE: Final = Struct("<II")
_BUFFER: Final = Struct("<IIQ")
_MAX_BUFFERS: Final = 64
_UPN: Final = Struct("<HHHHI")
_UPN_EXTENDED: Final = Struct("<HHHH")
_HAS_SAM_NAME_AND_SID: Final = 0x2
_ENABLED: Final = 0x4
_DENY_ONLY: Final = 0x10

_NO_CLAIMS: Final[Mapping[str, tuple[int | str | bytes, ...]]] = MappingProxyType({})


class PacError(ValueError):
    """The bytes are no PAC."""


@dataclass(frozen=True, slots=True)
class Pac:
    """What a PAC says of a user.

    `user` and `domain`: his name and the NetBIOS name of his domain. `group_sids`: of all groups that are enabled, his
    primary group and the further SIDs among them. `claims`: by lower-case name. `upn` and `dns_domain` may be empty.
    """

    user: str
    domain: str
    domain_sid: str
    user_sid: str
    primary_group_sid: str
    group_sids: frozenset[str]
    full_name: str = ""
    upn: str = ""
    dns_domain: str = ""
    claims: Mapping[str, tuple[int | str | bytes, ...]] = field(default_factory=lambda: _NO_CLAIMS)


@dataclass(frozen=True, slots=True)
class _Upn:
    upn: str = ""
    dns_domain: str = ""
    sid: str = ""


def read_pac(data: bytes) -> Pac | None:
    """What a PAC says; None for one without logon information, as MIT's KDC makes it. Raises PacError."""
    try:
        buffers = _buffers(memoryview(data))
        if LOGON_INFO not in buffers:
            return None
        upn = _read_upn(buffers[UPN_DNS_INFO]) if UPN_DNS_INFO in buffers else _Upn()
        claims = read_claims(buffers[CLIENT_CLAIMS]) if CLIENT_CLAIMS in buffers else _NO_CLAIMS
        pac = _read_logon_info(buffers[LOGON_INFO], upn, claims)
    except (NdrError, NtStatusError, UnicodeDecodeError) as error:
        raise PacError(f"malformed PAC: {error}") from None
    if upn.sid and upn.sid != pac.user_sid:
        raise PacError(f"a PAC of {pac.user_sid} and of {upn.sid}")
    return pac


def _buffers(data: memoryview) -> dict[int, memoryview]:
    """The parts of a PAC by their type (MS-PAC 2.3 PACTYPE, 2.4 PAC_INFO_BUFFER)."""
    if len(data) < _TYPE.size:
        raise PacError("a PAC without a header")
    count, version = _TYPE.unpack_from(data)
    if version or count > _MAX_BUFFERS or len(data) < _TYPE.size + count * _BUFFER.size:
        raise PacError(f"a PAC of version {version} with {count} parts in {len(data)} bytes")
    buffers: dict[int, memoryview] = {}
    for index in range(count):
        kind, size, offset = _BUFFER.unpack_from(data, _TYPE.size + index * _BUFFER.size)
        if offset > len(data) or size > len(data) - offset:
            raise PacError(f"part {kind} lies outside of the PAC")
        if kind in buffers:
            raise PacError(f"two parts {kind}")
        buffers[kind] = data[offset : offset + size]
    return buffers


def _read_logon_info(data: memoryview, upn: _Upn, claims: Mapping[str, tuple[int | str | bytes, ...]]) -> Pac:
    """KERB_VALIDATION_INFO (MS-PAC 2.5): first what stands in it, then what that points to, in the same order."""
    reader = open_pickled(data)
    reader.octets(6 * 8, 4)  # six times
    names = [_string_at(reader) for _ in range(6)]
    reader.octets(4, 2)  # counts of logons and of wrong passwords
    user, primary, group_count, groups_at, _ = (reader.u32() for _ in range(5))
    reader.octets(16, 1)  # UserSessionKey
    server, domain = _string_at(reader), _string_at(reader)
    domain_sid_at = reader.u32()
    reader.octets(10 * 4, 4)  # reserved, account control, status and times of interactive logons
    sid_count, sids_at, resource_sid_at, resource_count, resources_at = (reader.u32() for _ in range(5))
    user_name, full_name = [reader.string() if at else "" for at in names][:2]
    groups = _memberships(reader, group_count) if groups_at else []
    if server:
        reader.string()
    domain_name = reader.string() if domain else ""
    domain_sid = read_sid(reader) if domain_sid_at else ""
    extra = _extra_sids(reader, sid_count) if sids_at else []
    resource_domain = read_sid(reader) if resource_sid_at else ""
    resources = _memberships(reader, resource_count) if resources_at else []
    if (resources and not resource_domain) or not domain_sid:
        raise PacError("groups without a domain")
    user_sid = f"{domain_sid}-{user}" if user else next((sid for sid, _ in extra), "")
    if not user_sid or not user_name:
        raise PacError("a PAC of nobody")
    memberships = [(f"{domain_sid}-{rid}", attributes) for rid, attributes in groups]
    memberships += extra
    memberships += [(f"{resource_domain}-{rid}", attributes) for rid, attributes in resources]
    primary_group = f"{domain_sid}-{primary}"
    enabled = {sid for sid, attributes in memberships if attributes & (_ENABLED | _DENY_ONLY) == _ENABLED}
    return Pac(
        user=user_name,
        domain=domain_name,
        domain_sid=domain_sid,
        user_sid=user_sid,
        primary_group_sid=primary_group,
        group_sids=frozenset({*enabled, primary_group} - {user_sid}),
        full_name=full_name,
        upn=upn.upn,
        dns_domain=upn.dns_domain,
        claims=claims,
    )


def _string_at(reader: NdrReader) -> int:
    """The pointer of an RPC_UNICODE_STRING (MS-DTYP 2.3.10); its lengths are told again where the text is."""
    reader.octets(4, 4)
    return reader.u32()


def _memberships(reader: NdrReader, count: int) -> list[tuple[int, int]]:
    """An array of GROUP_MEMBERSHIP (MS-PAC 2.2.2): relative id and attributes."""
    _check_count(reader, count)
    return [(reader.u32(), reader.u32()) for _ in range(count)]


def _extra_sids(reader: NdrReader, count: int) -> list[tuple[str, int]]:
    """An array of KERB_SID_AND_ATTRIBUTES (MS-PAC 2.2.1)."""
    _check_count(reader, count)
    flat = [(reader.u32(), reader.u32()) for _ in range(count)]
    return [(read_sid(reader), attributes) for at, attributes in flat if at]


def _check_count(reader: NdrReader, count: int) -> None:
    if reader.u32() != count or count > MAX_GROUPS:
        raise PacError(f"{count} groups")


def _read_upn(data: memoryview) -> _Upn:
    """UPN_DNS_INFO (MS-PAC 2.10)."""
    if len(data) < _UPN.size:
        raise PacError("the part with the UPN is too short")
    upn_size, upn_at, dns_size, dns_at, flags = _UPN.unpack_from(data)
    sid = ""
    if flags & _HAS_SAM_NAME_AND_SID:
        if len(data) < _UPN.size + _UPN_EXTENDED.size:
            raise PacError("the part with the UPN is too short")
        _, _, sid_size, sid_at = _UPN_EXTENDED.unpack_from(data, _UPN.size)
        sid = parse_sid(_slice(data, sid_at, sid_size))
    return _Upn(_text(data, upn_at, upn_size), _text(data, dns_at, dns_size), sid)


def _slice(data: memoryview, offset: int, size: int) -> memoryview:
    if offset > len(data) or size > len(data) - offset:
        raise PacError("a text outside of its part")
    return data[offset : offset + size]


def _text(data: memoryview, offset: int, size: int) -> str:
    return str(_slice(data, offset, size), "utf-16-le")
