"""Entries of quotas (MS-FSCC 2.4.40 FileQuotaInformation, 2.4.40.1 FILE_GET_QUOTA_INFORMATION)."""

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from lamina.ntfsa.fscc.fields import UINT32, Bytes
from lamina.ntfsa.security.sid import pack_sid, parse_sid, sid_size
from lamina.ntfsa.status import NtStatus, NtStatusError

_ENTRY: Final = Struct("<IIQqqq")  # next entry, length of the SID, change time, used, threshold, limit
_WANTED: Final = Struct("<II")

NO_LIMIT: Final = -1
NO_ENTRY: Final = -2
"""A limit that deletes the entry."""

MOST_ENTRIES: Final = 4096
"""Entries that a client may name in one request: the file system is asked for each."""


class QuotaEntry(NamedTuple):
    """What a principal has and may have, in bytes; NO_LIMIT for no threshold or limit."""

    sid: str
    used: int
    threshold: int
    limit: int


def _invalid(why: str) -> NtStatusError:
    return NtStatusError(NtStatus.INVALID_PARAMETER, why)


def _sid_at(data: Bytes, offset: int, length: int) -> str:
    sid = bytes(data[offset : offset + length])
    if len(sid) != length or sid_size(sid) != length:
        raise _invalid("a quota entry with a SID of another length")
    return parse_sid(sid)


def _walk(data: Bytes, fixed: Struct) -> Iterator[tuple[Bytes, tuple[int, ...]]]:
    for _ in range(MOST_ENTRIES):
        if len(data) < fixed.size:
            raise _invalid("a quota entry cut short")
        fields = fixed.unpack_from(data)
        following = fields[0]
        if following and (following < fixed.size or following >= len(data)):
            raise _invalid(f"a quota entry that is followed by one at {following}")
        yield data[: following or len(data)], fields
        if not following:
            return
        data = data[following:]
    raise _invalid(f"more than {MOST_ENTRIES} quota entries")


def parse_wanted(data: Bytes) -> list[str]:
    """The SIDs that a list of FILE_GET_QUOTA_INFORMATION asks for. Raises INVALID_PARAMETER."""
    return [_sid_at(entry, _WANTED.size, length) for entry, (_, length) in _walk(memoryview(data), _WANTED)]


def parse_start(data: Bytes) -> str:
    """The SID to begin with. Raises INVALID_PARAMETER."""
    return _sid_at(data, 0, len(data))


def parse_quotas(data: Bytes) -> list[QuotaEntry]:
    """The entries that a client sets. Raises INVALID_PARAMETER."""
    found = []
    for entry, (_, length, _, used, threshold, limit) in _walk(memoryview(data), _ENTRY):
        if threshold < NO_ENTRY or limit < NO_ENTRY:
            raise _invalid("a negative limit")
        found.append(QuotaEntry(_sid_at(entry, _ENTRY.size, length), used, threshold, limit))
    return found


class QuotaBuffer:
    """The answer to a query, of at most `max_length` bytes."""

    __slots__ = ("_data", "_last", "_max_length", "count")

    def __init__(self, max_length: int) -> None:
        self.count = 0
        self._data = bytearray()
        self._last = 0
        self._max_length = max_length

    def append(self, entry: QuotaEntry) -> bool:
        """Add an entry; False and nothing added if it does not fit."""
        sid = pack_sid(entry.sid)
        start = (len(self._data) + 7) & ~7
        size = _ENTRY.size + len(sid)
        if start + size > self._max_length:
            return False
        self._data += bytes(start - len(self._data))
        self._data += _ENTRY.pack((size + 7) & ~7, len(sid), 0, entry.used, entry.threshold, entry.limit) + sid
        self._last = start
        self.count += 1
        return True

    def finish(self) -> bytes:
        """The entries as they are sent; the last says that nothing follows."""
        if self.count:
            UINT32.pack_into(self._data, self._last, 0)
        return bytes(self._data)
