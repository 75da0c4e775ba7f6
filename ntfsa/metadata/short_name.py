"""Setting the short name of a file (MS-FSA 2.1.5.15 FileShortNameInformation, MS-FSCC 2.4.40): refused, as where there
are none, since those that there are come of the long names and are not stored.
"""

from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.set_information import parse_short_name
from lamina.ntfsa.naming.names import fold
from lamina.ntfsa.naming.short_name_query import short_name_of
from lamina.ntfsa.status import NtStatus, NtStatusError

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.open_state import NtOpen

_EITHER: Final = c.FILE_WRITE_DATA | c.FILE_WRITE_ATTRIBUTES
_SE_RESTORE: Final = "SeRestorePrivilege"


def set_short_name(context: "NtContext", open_: "NtOpen", data: memoryview) -> None:
    """Give a file the short name that it has, or none where it has none; no other.

    Raises ACCESS_DENIED, INVALID_PARAMETER, PRIVILEGE_NOT_HELD, SHORT_NAMES_NOT_ENABLED_ON_VOLUME.
    """
    name = parse_short_name(data)
    if not open_.granted_access & _EITHER or open_.volume.registry.read(open_.file_key).delete_pending:
        raise NtStatusError(NtStatus.ACCESS_DENIED)
    if name.startswith("\\"):
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a short name is no path")
    if _SE_RESTORE not in context.token.privileges or not open_.options & c.FILE_OPEN_FOR_BACKUP_INTENT:
        raise NtStatusError(NtStatus.PRIVILEGE_NOT_HELD)
    if fold(name) != (short_name_of(context.token, open_) or ""):
        raise NtStatusError(NtStatus.SHORT_NAMES_NOT_ENABLED_ON_VOLUME, "short names come of the long ones here")
