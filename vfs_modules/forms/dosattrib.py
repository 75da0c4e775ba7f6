"""The value of the extended attribute user.DOSATTRIB, as Samba lays it out on disk.

It is NDR (C706 chapter 14), little endian: the attributes as text in hexadecimal, ended by NUL (empty in versions 4 and
5); at the next even offset a 16-bit version; the same again as the discriminant of a union; and at the next multiple of
four that version's structure. Version 3 is what Samba wrote for most of its life and every release reads, so new values
are written in it; a value of version 4 or 5 keeps its version and its other fields when it is rewritten.

A change time that a client has set needs version 3, which has a field and a flag for it that Samba leaves alone. It
counts until the file changes: the field of the file's size, which Samba has given up, says until which status change.
"""

import struct
from functools import lru_cache
from typing import NamedTuple

_VALID_ATTRIBUTES = 0x01
_VALID_SIZE = 0x04
_VALID_CREATION = 0x10
_VALID_CHANGE = 0x20

_EPOCH = 116_444_736_000_000_000  # 1970-01-01 as a FILETIME
_VERSIONS = struct.Struct("<HH")
# By version: the structure, whether valid_flags comes first (version 2 has other flags there), and where attributes
# and creation time stand among the fields.
_LAYOUTS: dict[int, tuple[struct.Struct, bool, int, int]] = {
    1: (struct.Struct("<IIQQQQ"), False, 0, 4),
    2: (struct.Struct("<IIIQQQQQ"), False, 1, 5),
    3: (struct.Struct("<IIIQQQQ"), True, 1, 5),
    4: (struct.Struct("<IIQQ"), True, 1, 3),
    5: (struct.Struct("<IIQ"), True, 1, 2),
}
_BOTH = _VALID_ATTRIBUTES | _VALID_CREATION
_KNOWN = _BOTH | _VALID_CHANGE
_SIZE_AT, _CHANGE_AT = 3, 6  # in version 3
_NO_TIME = 1 << 63
# By length: how to read it, its version and its first byte. Version 5, and version 3 with one or two digits of text.
_COMMON = {
    24: (struct.Struct("<2xHH2xIIQ").unpack, 5, 0),
    52: (struct.Struct("<4xHHII20xQ8x").unpack, 3, 0x30),
    56: (struct.Struct("<6xHH2xII20xQ8x").unpack, 3, 0x30),
}
_WRITABLE = frozenset({3, 4, 5})
_VERSION_3 = [0] * 7
LASTING_NS = 1_000_000_000
"""How long before the end of its time a change time that was set may begin to count."""


class ChangeTime(NamedTuple):
    """A change time that was set, and the status change time up to which the file is as it was then; nanoseconds."""

    change_ns: int
    until_ns: int

    def counts(self, ctime_ns: int) -> bool:
        """Whether a file that was last changed at `ctime_ns`, by its file system, has not changed since."""
        # Much earlier is no answer either: the value came from another file, or the clock was set back.
        return 0 <= self.until_ns - ctime_ns <= LASTING_NS


class StoredAttributes(NamedTuple):
    """A decoded value. None where the value does not say; `fields` are those of its version, for rewriting."""

    attributes: int | None
    creation_ns: int | None
    version: int
    fields: tuple[int, ...]
    change: ChangeTime | None = None


NOTHING = StoredAttributes(None, None, 3, tuple(_VERSION_3))
"""What a file without a value has."""


def decode(value: bytes) -> StoredAttributes:
    """Read a value of versions 1 to 5, or the text alone that the first releases wrote. ValueError if it is neither."""
    end = value.find(b"\0")
    text = value if end < 0 else value[:end]
    offset = (len(text) + 2) & ~1
    if offset >= len(value):
        return NOTHING._replace(attributes=int(text, 16))
    try:
        version, level = _VERSIONS.unpack_from(value, offset)
        layout, flagged, attributes_at, creation_at = _LAYOUTS[version]
        fields = layout.unpack_from(value, (offset + _VERSIONS.size + 3) & ~3)
    except (struct.error, KeyError) as error:
        raise ValueError("not a DOSATTRIB value of a known version") from error
    if version != level:
        raise ValueError("the two versions of a DOSATTRIB value differ")
    valid = fields[0] if flagged else _VALID_ATTRIBUTES | _VALID_CREATION
    creation = fields[creation_at] if valid & _VALID_CREATION else 0
    attributes = fields[attributes_at] if valid & _VALID_ATTRIBUTES else None
    return StoredAttributes(attributes, _to_ns(creation), version, fields, _change_of(version, valid, fields))


def _change_of(version: int, valid: int, fields: tuple[int, ...]) -> ChangeTime | None:
    if version != 3 or valid & (_VALID_CHANGE | _VALID_SIZE) != _VALID_CHANGE:
        return None
    change_ns = _to_ns(fields[_CHANGE_AT])
    return None if change_ns is None else ChangeTime(change_ns, fields[_SIZE_AT])


def read(value: bytes) -> tuple[int | None, int | None, ChangeTime | None]:
    """Attributes, creation and change time, as `decode` but three times as fast for the forms that are common."""
    form = _COMMON.get(len(value))
    if form is not None:
        version, level, valid, attributes, creation = form[0](value)
        if version == level == form[1] and value[0] == form[2]:
            known = valid & _KNOWN
            if known == _BOTH and 0 < creation < _NO_TIME:
                return attributes, (creation - _EPOCH) * 100, None
            if known == _VALID_ATTRIBUTES:
                return attributes, None, None
    stored = decode(value)
    return stored.attributes, stored.creation_ns, stored.change


def encode(
    attributes: int,
    creation_ns: int | None,
    previous: StoredAttributes = NOTHING,
    change: ChangeTime | None = None,
) -> bytes:
    """A value with these attributes, creation time (None keeps the previous one) and change time; else as it was."""
    if previous is NOTHING and creation_ns is None and change is None:
        return _first(attributes)
    return _rewritten(attributes, creation_ns, previous, change)


@lru_cache(maxsize=256)
def _first(attributes: int) -> bytes:
    # What every new file gets, and of few kinds.
    return _rewritten(attributes, None, NOTHING, None)


def _rewritten(
    attributes: int, creation_ns: int | None, previous: StoredAttributes, change: ChangeTime | None
) -> bytes:
    version = previous.version if previous.version in _WRITABLE and change is None else 3
    layout, _, attributes_at, creation_at = _LAYOUTS[version]
    fields = list(previous.fields) if previous.version == version else list(_VERSION_3)
    if change is not None or previous.change is not None:
        _put_change(fields, change)
    fields[attributes_at] = attributes
    fields[0] |= _VALID_ATTRIBUTES
    creation_ns = previous.creation_ns if creation_ns is None else creation_ns
    if creation_ns is not None:
        fields[creation_at] = _from_ns(creation_ns)
        fields[0] |= _VALID_CREATION
    text = b"0x%x\0" % attributes if version == 3 else b"\0"
    head = text + bytes(len(text) & 1) + _VERSIONS.pack(version, version)
    return head + bytes(-len(head) & 3) + layout.pack(*fields)


def _put_change(fields: list[int], change: ChangeTime | None) -> None:
    if change is None:
        fields[0] &= ~_VALID_CHANGE
        fields[_CHANGE_AT] = fields[_SIZE_AT] = 0
    else:
        fields[0] = fields[0] & ~_VALID_SIZE | _VALID_CHANGE
        fields[_CHANGE_AT] = _from_ns(change.change_ns)
        fields[_SIZE_AT] = min(max(change.until_ns, 0), _NO_TIME)


def _to_ns(filetime: int) -> int | None:
    # Zero and everything from the sign bit up are "no time" in Samba's on-disk form, as they are in a request.
    return (filetime - _EPOCH) * 100 if 0 < filetime < _NO_TIME else None


def _from_ns(ns: int) -> int:
    return min(max(ns // 100 + _EPOCH, 1), (1 << 63) - 1)
