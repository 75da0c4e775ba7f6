"""Querying extended attributes (MS-FSA 2.1.5.12.10 FileFullEaInformation, MS-SMB2 2.2.37)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.extended_attributes import ExtendedAttribute, pack_full_ea, parse_get_ea
from lamina.ntfsa.metadata.extended_attributes import get_extended_attributes
from lamina.ntfsa.result import Information
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.operations import Capability

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.open_state import NtOpen


def attributes_of(context: "NtContext", open_: "NtOpen") -> list[ExtendedAttribute]:
    """The attributes of an open file; none where there is no place for them."""
    if Capability.XATTRS not in open_.volume.capabilities:
        return []
    return get_extended_attributes(open_.volume, context.token, open_.handle)


def query_full_ea(
    context: "NtContext", open_: "NtOpen", max_length: int, asked: bytes, flags: int, index: int
) -> Information:
    """Attributes by name (`asked`: FILE_GET_EA_INFORMATION), or one after the other.

    `flags` are SL_*: from the first, from the `index`th (the first is 1), a single one; otherwise from where the last
    query through this open ended. BUFFER_OVERFLOW where not all have room. Raises ACCESS_DENIED, NO_EAS_ON_FILE,
    NO_MORE_EAS, NONEXISTENT_EA_ENTRY, BUFFER_TOO_SMALL (no room for one), EA_LIST_INCONSISTENT, INVALID_EA_NAME.
    """
    if not open_.granted_access & c.FILE_READ_EA:
        raise NtStatusError(NtStatus.ACCESS_DENIED)
    attributes = attributes_of(context, open_)
    if asked:
        by_name = {attribute.name.lower(): attribute for attribute in attributes}
        wanted = [by_name.get(name.lower(), ExtendedAttribute(name, b"")) for name in parse_get_ea(asked)]
        return _pack(wanted, max_length)[0]
    if not attributes:
        raise NtStatusError(NtStatus.NO_EAS_ON_FILE)
    start = _start(open_, flags, index, len(attributes))
    end = start + 1 if flags & c.SL_RETURN_SINGLE_ENTRY else len(attributes)
    answer, count = _pack(attributes[start:end], max_length)
    open_.next_ea = start + count
    return answer


def _start(open_: "NtOpen", flags: int, index: int, count: int) -> int:
    if flags & c.SL_INDEX_SPECIFIED:
        if not 1 <= index <= count + 1:
            raise NtStatusError(NtStatus.NONEXISTENT_EA_ENTRY)
        start = index - 1
    else:
        start = 0 if flags & c.SL_RESTART_SCAN else open_.next_ea
    if start >= count:
        raise NtStatusError(NtStatus.NO_MORE_EAS)
    return start


def _pack(attributes: Sequence[ExtendedAttribute], max_length: int) -> tuple[Information, int]:
    packed, count = pack_full_ea(attributes, max_length)
    if not count:
        raise NtStatusError(NtStatus.BUFFER_TOO_SMALL)
    status = NtStatus.SUCCESS if count == len(attributes) else NtStatus.BUFFER_OVERFLOW
    return Information(status, packed), count
