"""PACs: one that a Samba domain controller made, and a maker of others with impacket's independent NDR."""

import base64
import struct
from collections.abc import Mapping, Sequence

from impacket.dcerpc.v5.dtypes import NULL, RPC_SID, SID
from impacket.dcerpc.v5.ndr import NULL as NDR_NULL
from impacket.dcerpc.v5.samr import GROUP_MEMBERSHIP
from impacket.krb5.pac import (
    KERB_SID_AND_ATTRIBUTES,
    VALIDATION_INFO,
)

DOMAIN_SID = "S-1-5-21-2639735479-33507111-1788776303"
ENABLED = 7
DENY_ONLY = 0x10

# Of a user in a group that is in a group that is in a domain local group.
SAMBA = base64.b85decode(
    "2LJ#7000000RR91$N>NVcmMzZ000003IG5A5C8xGKmq^&000003;+NChyVZpPyzq|000001^@s65C8xG*a83m000002LJ#75C8xG"
    "=mG!$000005C8xG5C8xG_yPa`000006951J5C8xG2m=5B000000T2iP%*@QpxB&nF00000000620000000000|NsC0|NsAg|NsC0"
    "|NsAgaNWhZz<J#PaGfvYiF(}ua9tm-!J6Fx1^@;C1ONg6000002mk^A000003;+TE000005C8%I000006aWGM000007ytqQ00000"
    "P6Pk|0RjL31ONa48~_3UAOHXW000000000000000000001^@^EAOHdY3IGfMBme>cC;$Qg00000000005C8xG000000000000000"
    "000000000000000000000RR91EC2!k0000000000000000{{R3000000{{R3VE|+RVE_OC000000000000000000000000000000"
    "0000000000000000000000000000000000000000000001ONa40RjL32LJ#7Py_$~2LJ#7Q3L=02LJ#7QUm}12LJ#71ONa400000"
    "0{{R3L;ynoF#rGn1^@s6000001poj5OaMUuO#ndvL;wH)1ONa40R#X5000056#xJLw<=eiCrAGQZ;zg80RR91FaQDo2LJ#70RR91"
    "0RaF20000I0RR9100000fCb*Uz<J#P1^{6IWB_3RBmfuy8~{K70ssI21^{3H8~|nj00000VE|+RVE{k?VE|+RE&yx*VE}CaX#j2j"
    "VE`@wbO2=la{zPz00000K>$PmE&xmbK>$qvNdQg&K>#iQQ~*T)Qvg%|00000VE|+RVE_RI0000000k8Q006ftSDhzE{{e50o@!16"
    "00000000005C8xGJ1qRnE*@MEN`4cy5C8xGVcLEZ{8L#5?0i<%5C8xGjq3u5F!9R!W^2<V5C8xG!0QZ}2hvmA%Lj~^"
)


def logon_info(
    user_rid: int = 1102,
    groups: Sequence[tuple[int, int]] = ((513, ENABLED),),
    extra: Sequence[tuple[str, int]] = (),
    resources: tuple[str, Sequence[tuple[int, int]]] | None = None,
    name: str = "ada",
) -> bytes:
    """A KERB_VALIDATION_INFO."""
    info = VALIDATION_INFO()
    data = info["Data"]
    for field in ("FullName", "LogonScript", "ProfilePath", "HomeDirectory", "HomeDirectoryDrive"):
        data[field] = ""
    data["EffectiveName"], data["LogonServer"], data["LogonDomainName"] = name, "DC1", "LAMAD"
    data["UserId"], data["PrimaryGroupId"] = user_rid, 513
    data["UserSessionKey"], data["LMKey"] = b"\0" * 16, b"\0" * 8
    data["LogonDomainId"] = _sid(RPC_SID(), DOMAIN_SID)
    data["GroupCount"] = len(groups)
    data["GroupIds"] = [_membership(*group) for group in groups] if groups else NULL
    data["SidCount"] = len(extra)
    data["ExtraSids"] = [_sid_and_attributes(*item) for item in extra] if extra else NDR_NULL
    data["ResourceGroupDomainSid"] = _sid(RPC_SID(), resources[0]) if resources else NDR_NULL
    data["ResourceGroupCount"] = len(resources[1]) if resources else 0
    data["ResourceGroupIds"] = [_membership(*group) for group in resources[1]] if resources else NULL
    return bytes(info.getData() + info.getDataReferents())


def pac(parts: Mapping[int, bytes]) -> bytes:
    """A PAC of these parts, by their types."""
    header, body = struct.pack("<II", len(parts), 0), b""
    for kind, part in parts.items():
        header += struct.pack("<IIQ", kind, len(part), 8 + 16 * len(parts) + len(body))
        body += part + bytes(-len(part) % 8)
    return header + body


def upn_dns_info(sid: str, upn: str = "ada@ad.test", domain: str = "AD.TEST") -> bytes:
    """A UPN_DNS_INFO with a SID."""
    texts = [text.encode("utf-16-le") for text in (upn, domain, "ada")]
    packed = SID()
    packed.fromCanonical(sid)
    pieces = [*texts, bytes(packed.getData())]
    offsets = [20 + sum(map(len, pieces[:index])) for index in range(4)]
    (u, d, n, s), (at, bt, ct, dt) = map(len, pieces), offsets
    return struct.pack("<HHHHIHHHH", u, at, d, bt, 2, n, ct, s, dt) + b"".join(pieces)


def claims(entries: Mapping[str, Sequence[int] | Sequence[str]], kind: int = 0) -> bytes:
    """A set of claims as it is before compression; numbers are of type 1 unless `kind` says otherwise."""
    out = bytearray()

    def put(form: str, *values: int) -> None:
        size = struct.calcsize("<" + form[-1])
        out.extend(bytes(-len(out) % size))
        out.extend(struct.pack("<" + form, *values))

    def text(value: str) -> None:
        units = (value + "\0").encode("utf-16-le")
        put("III", len(units) // 2, 0, len(units) // 2)
        out.extend(units)

    put("IIIHxxIII", 0x20000, 1, 0x20004, 0, 0, 0, 1)
    put("HxxIII", 1, len(entries), 0x20008, len(entries))
    for values in entries.values():
        its = kind or (3 if isinstance(values[0], str) else 1)
        put("IHHII", 0x2000C, its, its, len(values), 0x20010)
    for name, values in entries.items():
        text(name)
        put("I", len(values))
        if isinstance(values[0], str):
            for _ in values:
                put("I", 0x20014)
            for value in values:
                text(str(value))
        else:
            for value in values:
                put("q", int(value))
    return pickled(bytes(out))


def pickled(data: bytes) -> bytes:
    """The headers of a structure that was serialized alone."""
    data += bytes(-len(data) % 8)
    return struct.pack("<BBHIII", 1, 0x10, 8, 0xCCCCCCCC, len(data), 0) + data


def claims_info(packed: bytes, form: int = 0, size: int | None = None) -> bytes:
    """A CLAIMS_SET_METADATA around a set of claims."""
    whole = len(packed) if size is None else size
    fixed = struct.pack("<IIIHxxIHxxII", 0x20000, len(packed), 0x20004, form, whole, 0, 0, 0)
    return pickled(fixed + struct.pack("<I", len(packed)) + packed)


def compressed(data: bytes) -> bytes:
    """LZ77+Huffman of the dullest kind: every symbol has a code of nine bits, and nothing is ever repeated."""
    words, bits, count = bytearray(), 0, 0
    for symbol in (*data, 256):
        bits, count = (bits << 9) | symbol, count + 9
        while count >= 16:
            count -= 16
            words += struct.pack("<H", (bits >> count) & 0xFFFF)
    words += struct.pack("<H", (bits << (16 - count)) & 0xFFFF) + bytes(4)
    return bytes([0x99] * 256) + bytes(words)


def _sid(made: RPC_SID, sid: str) -> RPC_SID:
    made.fromCanonical(sid)
    return made


def _membership(rid: int, attributes: int) -> GROUP_MEMBERSHIP:
    made = GROUP_MEMBERSHIP()
    made["RelativeId"], made["Attributes"] = rid, attributes
    return made


def _sid_and_attributes(sid: str, attributes: int) -> KERB_SID_AND_ATTRIBUTES:
    made = KERB_SID_AND_ATTRIBUTES()
    made["Sid"], made["Attributes"] = _sid(RPC_SID(), sid), attributes
    return made
