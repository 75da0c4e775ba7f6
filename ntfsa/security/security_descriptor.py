"""Security descriptors: the value, its self-relative form (MS-DTYP 2.4.6), and its text for people (2.5.1 SDDL).

Every offset and length of a descriptor that comes from outside is checked. ACE types that carry what is not understood
here are kept as they are and take no part in access checks.
"""

from struct import Struct
from typing import Final, NamedTuple

from lamina.ntfsa import constants as c
from lamina.ntfsa.security.sid import pack_sid, parse_sid, sid_size
from lamina.ntfsa.status import NtStatus, NtStatusError

# Control flags (MS-DTYP 2.4.6).
SE_OWNER_DEFAULTED: Final = 0x0001
SE_GROUP_DEFAULTED: Final = 0x0002
SE_DACL_PRESENT: Final = 0x0004
SE_DACL_DEFAULTED: Final = 0x0008
SE_SACL_PRESENT: Final = 0x0010
SE_SACL_DEFAULTED: Final = 0x0020
SE_DACL_AUTO_INHERIT_REQ: Final = 0x0100
SE_SACL_AUTO_INHERIT_REQ: Final = 0x0200
SE_DACL_AUTO_INHERITED: Final = 0x0400
SE_SACL_AUTO_INHERITED: Final = 0x0800
SE_DACL_PROTECTED: Final = 0x1000
SE_SACL_PROTECTED: Final = 0x2000
SE_SELF_RELATIVE: Final = 0x8000

# ACE types and flags (MS-DTYP 2.4.4.1).
ACCESS_ALLOWED_ACE_TYPE: Final = 0x00
ACCESS_DENIED_ACE_TYPE: Final = 0x01
SYSTEM_AUDIT_ACE_TYPE: Final = 0x02
SYSTEM_ALARM_ACE_TYPE: Final = 0x03
ACCESS_ALLOWED_CALLBACK_ACE_TYPE: Final = 0x09
ACCESS_DENIED_CALLBACK_ACE_TYPE: Final = 0x0A
SYSTEM_AUDIT_CALLBACK_ACE_TYPE: Final = 0x0D
SYSTEM_MANDATORY_LABEL_ACE_TYPE: Final = 0x11
SYSTEM_RESOURCE_ATTRIBUTE_ACE_TYPE: Final = 0x12
SYSTEM_SCOPED_POLICY_ID_ACE_TYPE: Final = 0x13

OBJECT_INHERIT_ACE: Final = 0x01
CONTAINER_INHERIT_ACE: Final = 0x02
NO_PROPAGATE_INHERIT_ACE: Final = 0x04
INHERIT_ONLY_ACE: Final = 0x08
INHERITED_ACE: Final = 0x10

_GENERIC: Final = c.GENERIC_READ | c.GENERIC_WRITE | c.GENERIC_EXECUTE | c.GENERIC_ALL

_MASK_AND_SID: Final = frozenset({0x00, 0x01, 0x02, 0x03, 0x09, 0x0A, 0x0D, 0x0E, 0x11, 0x12, 0x13})
"""Types that begin with an access mask and a SID; what follows is kept in `Ace.data`."""

_HEADER: Final = Struct("<BBHIIII")
_ACL: Final = Struct("<BBHHH")
_ACE: Final = Struct("<BBH")
_MASK: Final = Struct("<I")

MAX_SIZE: Final = 0x10000 * 3
"""Bytes of a descriptor: two lists of at most 65,535 and two SIDs."""


class Ace(NamedTuple):
    """One access control entry. `sid` is "" for a type that is not understood: `data` is then all after the header."""

    type: int
    flags: int
    mask: int
    sid: str
    data: bytes = b""


class Acl(NamedTuple):
    """An access control list (MS-DTYP 2.4.5)."""

    aces: tuple[Ace, ...] = ()
    revision: int = 2


class SecurityDescriptor(NamedTuple):
    """A descriptor as a value. `dacl` None with SE_DACL_PRESENT in `control` is the NULL DACL, which grants all."""

    owner: str | None = None
    group: str | None = None
    dacl: Acl | None = None
    sacl: Acl | None = None
    control: int = SE_SELF_RELATIVE


def _bad(what: str) -> NtStatusError:
    return NtStatusError(NtStatus.INVALID_SECURITY_DESCR, what)


def parse_security_descriptor(data: bytes | memoryview) -> SecurityDescriptor:
    """The descriptor in self-relative `data`. Raises INVALID_SECURITY_DESCR, INVALID_ACL or INVALID_SID."""
    if len(data) < _HEADER.size:
        raise _bad("too short")
    revision, _, control, owner, group, sacl, dacl = _HEADER.unpack_from(data)
    if revision != 1 or not control & SE_SELF_RELATIVE:
        raise _bad("not revision 1 and self-relative")
    if any(0 < offset < _HEADER.size or offset > len(data) for offset in (owner, group, sacl, dacl)):
        raise _bad("an offset leads out of the descriptor")
    return SecurityDescriptor(
        parse_sid(data, owner) if owner else None,
        parse_sid(data, group) if group else None,
        _parse_acl(data, dacl) if dacl and control & SE_DACL_PRESENT else None,
        _parse_acl(data, sacl) if sacl and control & SE_SACL_PRESENT else None,
        control,
    )


def _parse_acl(data: bytes | memoryview, offset: int) -> Acl:
    if offset + _ACL.size > len(data):
        raise NtStatusError(NtStatus.INVALID_ACL)
    revision, _, size, count, _ = _ACL.unpack_from(data, offset)
    end = offset + size
    if not 2 <= revision <= 4 or size < _ACL.size or end > len(data):
        raise NtStatusError(NtStatus.INVALID_ACL)
    offset += _ACL.size
    aces = []
    for _ in range(count):
        if offset + _ACE.size > end:
            raise NtStatusError(NtStatus.INVALID_ACL)
        ace_type, flags, ace_size = _ACE.unpack_from(data, offset)
        if ace_size < _ACE.size or ace_size % 4 or offset + ace_size > end:
            raise NtStatusError(NtStatus.INVALID_ACL)
        aces.append(_parse_ace(ace_type, flags, bytes(data[offset + _ACE.size : offset + ace_size])))
        offset += ace_size
    return Acl(tuple(aces), revision)


def _parse_ace(ace_type: int, flags: int, body: bytes) -> Ace:
    if ace_type not in _MASK_AND_SID:
        return Ace(ace_type, flags, 0, "", body)
    if len(body) < _MASK.size:
        raise NtStatusError(NtStatus.INVALID_ACL)
    (mask,) = _MASK.unpack_from(body)
    end = _MASK.size + sid_size(body, _MASK.size)
    return Ace(ace_type, flags, mask, parse_sid(body, _MASK.size), body[end:])


def pack_security_descriptor(descriptor: SecurityDescriptor) -> bytes:
    """The self-relative form. Raises INVALID_ACL if a list is longer than its 16-bit size can say."""
    owner, group, dacl, sacl, control = descriptor
    control |= SE_SELF_RELATIVE
    control |= SE_DACL_PRESENT if dacl is not None else 0
    control |= SE_SACL_PRESENT if sacl is not None else 0
    body = bytearray()
    offsets = []
    parts = (_pack_acl(sacl), _pack_acl(dacl), pack_sid(owner) if owner else b"", pack_sid(group) if group else b"")
    for part in parts:
        offsets.append(_HEADER.size + len(body) if part else 0)
        body += part
    sacl_at, dacl_at, owner_at, group_at = offsets
    return _HEADER.pack(1, 0, control, owner_at, group_at, sacl_at, dacl_at) + body


def _pack_acl(acl: Acl | None) -> bytes:
    if acl is None:
        return b""
    packed = b"".join(map(_pack_ace, acl.aces))
    size = _ACL.size + len(packed)
    if size > 0xFFFF:
        raise NtStatusError(NtStatus.INVALID_ACL, "too many entries")
    return _ACL.pack(acl.revision, 0, size, len(acl.aces), 0) + packed


def _pack_ace(ace: Ace) -> bytes:
    body = _MASK.pack(ace.mask) + pack_sid(ace.sid) + ace.data if ace.sid else ace.data
    body += bytes(-len(body) % 4)
    return _ACE.pack(ace.type, ace.flags, _ACE.size + len(body)) + body


# --- Parts of a descriptor, by SECURITY_INFORMATION (MS-DTYP 2.4.7) ------------------------------------------------

_SACL_KINDS: Final = (
    (c.LABEL_SECURITY_INFORMATION, SYSTEM_MANDATORY_LABEL_ACE_TYPE),
    (c.ATTRIBUTE_SECURITY_INFORMATION, SYSTEM_RESOURCE_ATTRIBUTE_ACE_TYPE),
    (c.SCOPE_SECURITY_INFORMATION, SYSTEM_SCOPED_POLICY_ID_ACE_TYPE),
)
"""Entries of the SACL that may be asked for, and set, without the others and the privilege that these take."""
_LABEL_AND_LIKE: Final = c.LABEL_SECURITY_INFORMATION | c.ATTRIBUTE_SECURITY_INFORMATION | c.SCOPE_SECURITY_INFORMATION
_WHOLE_SACL: Final = c.SACL_SECURITY_INFORMATION | c.BACKUP_SECURITY_INFORMATION
_SACL_PARTS: Final = _WHOLE_SACL | _LABEL_AND_LIKE
_EVERYTHING: Final = c.OWNER_SECURITY_INFORMATION | c.GROUP_SECURITY_INFORMATION | c.DACL_SECURITY_INFORMATION
_DACL_CONTROL: Final = (
    SE_DACL_PRESENT | SE_DACL_DEFAULTED | SE_DACL_AUTO_INHERIT_REQ | SE_DACL_AUTO_INHERITED | SE_DACL_PROTECTED
)
_SACL_CONTROL: Final = (
    SE_SACL_PRESENT | SE_SACL_DEFAULTED | SE_SACL_AUTO_INHERIT_REQ | SE_SACL_AUTO_INHERITED | SE_SACL_PROTECTED
)


def _kinds(security_information: int) -> frozenset[int]:
    return frozenset(ace_type for part, ace_type in _SACL_KINDS if security_information & part)


def _selected_sacl(sacl: Acl | None, security_information: int) -> Acl | None:
    if sacl is None or security_information & _WHOLE_SACL:
        return sacl
    kinds = _kinds(security_information)
    return sacl._replace(aces=tuple(ace for ace in sacl.aces if ace.type in kinds))


def _replaced_sacl(current: Acl | None, new: Acl | None, security_information: int) -> Acl | None:
    """The SACL with the entries of the named kinds taken from `new`; all of them where the whole is named."""
    if security_information & _WHOLE_SACL:
        return new
    kinds = _kinds(security_information)
    kept = tuple(ace for ace in (current.aces if current else ()) if ace.type not in kinds)
    given = tuple(ace for ace in (new.aces if new else ()) if ace.type in kinds)
    revision = (current or new or Acl()).revision
    return Acl((*kept, *given), revision) if kept or given or current is not None else None


def selected(descriptor: SecurityDescriptor, security_information: int) -> SecurityDescriptor:
    """Only the parts that are asked for (MS-FSA 2.1.5.14 Server Requests a Query of Security Information)."""
    if security_information & c.BACKUP_SECURITY_INFORMATION:
        security_information |= _EVERYTHING
    with_dacl = security_information & c.DACL_SECURITY_INFORMATION
    with_sacl = security_information & _SACL_PARTS
    control = SE_SELF_RELATIVE
    control |= descriptor.control & _DACL_CONTROL if with_dacl else 0
    control |= descriptor.control & _SACL_CONTROL if with_sacl else 0
    return SecurityDescriptor(
        descriptor.owner if security_information & c.OWNER_SECURITY_INFORMATION else None,
        descriptor.group if security_information & c.GROUP_SECURITY_INFORMATION else None,
        descriptor.dacl if with_dacl else None,
        _selected_sacl(descriptor.sacl, security_information) if with_sacl else None,
        control,
    )


def replaced(
    current: SecurityDescriptor, new: SecurityDescriptor, security_information: int, as_given: bool = False
) -> SecurityDescriptor:
    """`current` with the parts that `security_information` names taken from `new` (MS-FSA 2.1.5.17).

    A client that asks for automatic inheritance (…_AUTO_INHERIT_REQ) gets the list marked as inherited; with `as_given`
    also one that does not. Raises INVALID_OWNER or INVALID_PRIMARY_GROUP where a part that is to be set is missing.
    """
    owner, group, dacl, sacl, control = current
    if security_information & c.OWNER_SECURITY_INFORMATION:
        if new.owner is None:
            raise NtStatusError(NtStatus.INVALID_OWNER)
        owner = new.owner
    if security_information & c.GROUP_SECURITY_INFORMATION:
        if new.group is None:
            raise NtStatusError(NtStatus.INVALID_PRIMARY_GROUP)
        group = new.group
    if security_information & c.DACL_SECURITY_INFORMATION:
        dacl = with_generic_mapped(new.dacl)
        asked = _list_control(new.control & _DACL_CONTROL, SE_DACL_AUTO_INHERIT_REQ, as_given)
        control = control & ~_DACL_CONTROL | asked
        control |= SE_DACL_PRESENT
    if security_information & _SACL_PARTS:
        sacl = _replaced_sacl(sacl, new.sacl, security_information)
        asked = _list_control(new.control & _SACL_CONTROL, SE_SACL_AUTO_INHERIT_REQ, as_given)
        control = control & ~_SACL_CONTROL | asked
    return SecurityDescriptor(owner, group, dacl, sacl, control)


def with_generic_mapped(acl: Acl | None) -> Acl | None:
    """The list with generic rights replaced by those they stand for, but in entries that are only passed on."""
    if acl is None or not any(ace.mask & _GENERIC and not ace.flags & INHERIT_ONLY_ACE for ace in acl.aces):
        return acl
    return acl._replace(
        aces=tuple(
            ace if ace.flags & INHERIT_ONLY_ACE else ace._replace(mask=c.map_generic(ace.mask)) for ace in acl.aces
        )
    )


def _list_control(control: int, request: int, as_given: bool) -> int:
    # The request is not stored; with the "inherited" bit beside it, it is what makes that bit stick.
    inherited = request << 2
    keep = control & ~(request | inherited)
    return keep | inherited if control & inherited and (as_given or control & request) else keep


# --- SDDL ----------------------------------------------------------------------------------------------------------

_SDDL_TYPES: Final = {0: "A", 1: "D", 2: "AU", 3: "AL", 9: "XA", 10: "XD", 13: "XU", 17: "ML", 18: "RA", 19: "SP"}
_SDDL_FLAGS: Final = ((1, "OI"), (2, "CI"), (4, "NP"), (8, "IO"), (16, "ID"), (64, "SA"), (128, "FA"))
_SDDL_RIGHTS: Final = {
    c.FILE_ALL_ACCESS: "FA",
    c.FILE_GENERIC_READ: "FR",
    c.FILE_GENERIC_WRITE: "FW",
    c.FILE_GENERIC_EXECUTE: "FX",
}
_SDDL_SIDS: Final = {
    "S-1-1-0": "WD",
    "S-1-3-0": "CO",
    "S-1-3-1": "CG",
    "S-1-3-4": "OW",
    "S-1-5-11": "AU",
    "S-1-5-18": "SY",
    "S-1-5-32-544": "BA",
    "S-1-5-32-545": "BU",
}


def to_sddl(descriptor: SecurityDescriptor) -> str:
    """The descriptor as text, for logs and tests; what SDDL cannot say (opaque entries) is shown in hexadecimal."""
    text = f"O:{_sddl_sid(descriptor.owner)}" if descriptor.owner else ""
    text += f"G:{_sddl_sid(descriptor.group)}" if descriptor.group else ""
    control = descriptor.control
    if descriptor.dacl is not None or control & SE_DACL_PRESENT:
        text += "D:" + _sddl_acl(descriptor.dacl, control >> 8)
    if descriptor.sacl is not None:
        text += "S:" + _sddl_acl(descriptor.sacl, control >> 9)
    return text


def _sddl_sid(sid: str) -> str:
    return _SDDL_SIDS.get(sid, sid)


def _sddl_acl(acl: Acl | None, control: int) -> str:
    # The bits of either list, moved to the same places: 0x10 protected, 0x01 requested, 0x04 inherited.
    flags = ("P" if control & 0x10 else "") + ("AR" if control & 0x01 else "") + ("AI" if control & 0x04 else "")
    return flags + ("NO_ACCESS_CONTROL" if acl is None else "".join(map(_sddl_ace, acl.aces)))


def _sddl_ace(ace: Ace) -> str:
    name = _SDDL_TYPES.get(ace.type, f"{ace.type:#x}")
    flags = "".join(letters for bit, letters in _SDDL_FLAGS if ace.flags & bit)
    rights = _SDDL_RIGHTS.get(ace.mask, f"{ace.mask:#x}")
    extra = f";{ace.data.hex()}" if ace.data else ""
    return f"({name};{flags};{rights};;;{_sddl_sid(ace.sid)}{extra})"
