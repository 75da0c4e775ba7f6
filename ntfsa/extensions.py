"""What modules add to the protocol, at the NT level: asked where Lamina serves nothing itself, with the rights checked.

MS-FSA 2.1.5.10 (FSCTL), 2.1.5.12 and 2.1.5.15 (information), MS-SMB2 3.3.5.9 (create contexts).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.result import Information, fitted
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.extensions import MAX_ANSWER, Extension, Extensions, InfoType, Kind, OpenedFile
from lamina.vfs_modules.module import ModuleError

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.open_state import NtOpen

PROTOCOL_CONTROLS: Final = frozenset(
    {
        0x00060194,
        0x000601B0,
        0x0011400C,
        0x00110018,
        0x0011C017,
        0x00140078,
        0x001401D4,
        0x001401FC,
        0x00140204,
        0x001440F2,
        0x001480F2,
        0x00098344,
        0x000983E8,
    }
)
"""The control codes that belong to the protocol (MS-SMB2 2.2.31): they never reach the file system."""

PROTOCOL_CONTEXTS: Final = frozenset(
    {
        b"ExtA",
        b"SecD",
        b"AlSi",
        b"TWrp",
        b"MxAc",
        b"QFid",
        b"DHnQ",
        b"DHnC",
        b"DH2Q",
        b"DH2C",
        b"RqLs",
        bytes.fromhex("45BCA66AEFA7F74A9008FA462E144D74"),
        bytes.fromhex("B982D0B73B56074FA07B524A8116A010"),
        bytes.fromhex("9CCBCF9E04C1E643980E158DA1F6EC83"),
        bytes.fromhex("93AD25509CB411E7B42383DE968BCD7C"),
    }
)
"""The create contexts of the protocol itself (MS-SMB2 2.2.13.2, and that of the POSIX extensions)."""

_LOCAL: Final = frozenset(
    {
        c.FILE_NAME_INFORMATION,
        26,  # FileMailslotQueryInformation
        27,  # FileMailslotSetInformation
        c.FILE_OBJECT_ID_INFORMATION,
        c.FILE_REPARSE_POINT_INFORMATION,
        36,  # FileTrackingInformation
        44,  # FileSfioReserveInformation
        46,  # FileHardLinkInformation
        50,  # FileIdGlobalTxDirectoryInformation
        c.FILE_STANDARD_LINK_INFORMATION,
    }
)

NOT_SET: Final = _LOCAL | {c.FILE_QUOTA_INFORMATION}
"""Classes of MS-FSCC 2.4 that are set, or are for local use, and that MS-SMB2 2.2.39 does not have."""

NOT_QUERIED: Final = NOT_SET | frozenset(
    {
        c.FILE_DIRECTORY_INFORMATION,
        c.FILE_FULL_DIRECTORY_INFORMATION,
        c.FILE_BOTH_DIRECTORY_INFORMATION,
        c.FILE_RENAME_INFORMATION,
        c.FILE_LINK_INFORMATION,
        c.FILE_NAMES_INFORMATION,
        c.FILE_DISPOSITION_INFORMATION,
        c.FILE_ALLOCATION_INFORMATION,
        c.FILE_END_OF_FILE_INFORMATION,
        c.FILE_ID_BOTH_DIRECTORY_INFORMATION,
        c.FILE_ID_FULL_DIRECTORY_INFORMATION,
        c.FILE_VALID_DATA_LENGTH_INFORMATION,
        c.FILE_SHORT_NAME_INFORMATION,
        c.FILE_ID_EXTD_DIRECTORY_INFORMATION,
    }
)
"""Classes of MS-FSCC 2.4 that MS-SMB2 2.2.37 does not have."""

NO_ANSWERS: Final[Mapping[bytes, bytes]] = MappingProxyType({})


def opened_file(open_: "NtOpen") -> OpenedFile:
    """An open as modules see it."""
    return OpenedFile(open_.handle, open_.vfs_path, open_.stream, open_.granted_access)


def require_free(extensions: Extensions, served: Mapping[Kind, frozenset[object]]) -> None:
    """Refuse extensions that nobody would ever reach, since Lamina serves the same itself. Raises ModuleError."""
    for extension in extensions.all():
        mark = extension.mark
        if mark.key in served.get(mark.kind, ()):
            raise ModuleError(f"module {extension.owner!r} serves {mark}, which is Lamina's own; choose another")


def _found(extension: Extension | None, open_: "NtOpen", otherwise: NtStatus) -> Extension:
    if extension is None:
        raise NtStatusError(otherwise)
    if extension.mark.access & ~open_.granted_access:
        raise NtStatusError(NtStatus.ACCESS_DENIED)
    return extension


def _not_served(about: InfoType, info_class: int, known: frozenset[int]) -> NtStatus:
    is_known = about is InfoType.FILE and info_class in known
    return NtStatus.NOT_SUPPORTED if is_known else NtStatus.INVALID_INFO_CLASS


def module_control(context: "NtContext", open_: "NtOpen", code: int, data: memoryview, room: int) -> Information:
    """Run a control code that a module serves. Raises INVALID_DEVICE_REQUEST where none does, BUFFER_TOO_SMALL."""
    extensions = open_.volume.extensions
    found = _found(extensions.controls.get(code), open_, NtStatus.INVALID_DEVICE_REQUEST)
    output = found.call(context.token, opened_file(open_), data, room)
    if len(output) > room:
        raise NtStatusError(NtStatus.BUFFER_TOO_SMALL)
    return Information(NtStatus.SUCCESS, output)


def module_query(context: "NtContext", open_: "NtOpen", about: InfoType, info_class: int, room: int) -> Information:
    """Answer a query of a class that a module serves.

    Raises INVALID_INFO_CLASS where none does, NOT_SUPPORTED of a class that is not for this (MS-SMB2 3.3.5.20.1).
    """
    otherwise = _not_served(about, info_class, NOT_QUERIED)
    found = _found(open_.volume.extensions.queries.get((about, info_class)), open_, otherwise)
    return fitted(found.call(context.token, opened_file(open_), room), room)


def module_set(context: "NtContext", open_: "NtOpen", about: InfoType, info_class: int, data: memoryview) -> None:
    """Set a class that a module serves.

    Raises INVALID_INFO_CLASS where none does, NOT_SUPPORTED of a class that is not for this (MS-SMB2 3.3.5.21.1),
    ACCESS_DENIED if read-only.
    """
    otherwise = _not_served(about, info_class, NOT_SET)
    found = _found(open_.volume.extensions.settings.get((about, info_class)), open_, otherwise)
    if open_.volume.settings.read_only:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "the share is read-only")
    found.call(context.token, opened_file(open_), data)


def answer_contexts(context: "NtContext", open_: "NtOpen", asked: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The answers of modules to the create contexts `asked`, all of which some module serves."""
    answers = {}
    for tag, data in asked.items():
        answer = open_.volume.extensions.contexts[tag].call(
            context.token, opened_file(open_), memoryview(data), context.client
        )
        if answer is None:
            continue
        if len(answer) > MAX_ANSWER:
            raise NtStatusError(NtStatus.INTERNAL_ERROR, f"{len(answer)} bytes in answer to create context {tag!r}")
        answers[tag] = answer
    return answers
