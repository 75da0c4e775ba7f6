"""Querying and setting information about the volume (MS-FSA 2.1.5.13, 2.1.5.16; MS-FSCC 2.5)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.borders import translated
from lamina.ntfsa.context import NtContext
from lamina.ntfsa.extensions import module_query, module_set
from lamina.ntfsa.file_state import creation_ns
from lamina.ntfsa.fscc import filesystem_information as fs
from lamina.ntfsa.fscc.fields import FILESYSTEM_MINIMUM, check_room
from lamina.ntfsa.fscc.posix_information import PosixFileSystem, pack_posix_file_system
from lamina.ntfsa.metadata.quota import within_quota
from lamina.ntfsa.naming.names import MAX_COMPONENT
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.result import Information, fitted
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.times.filetime import to_filetime
from lamina.vfs_modules.extensions import InfoType
from lamina.vfs_modules.operations import Capability, DosAttributes

if TYPE_CHECKING:
    from lamina.ntfsa.volume import NtVolume

_ALWAYS: Final = c.FILE_CASE_PRESERVED_NAMES | c.FILE_UNICODE_ON_DISK | c.FILE_PERSISTENT_ACLS
# What a chain can do and this layer serves: a flag is a promise to clients.
_FLAGS: Final = (
    (Capability.CASE_SENSITIVE, c.FILE_CASE_SENSITIVE_SEARCH),
    (Capability.HARD_LINKS, c.FILE_SUPPORTS_HARD_LINKS),
    (Capability.STREAMS, c.FILE_NAMED_STREAMS),
    (Capability.XATTRS, c.FILE_SUPPORTS_EXTENDED_ATTRIBUTES),
    (Capability.OBJECT_IDS, c.FILE_SUPPORTS_OBJECT_IDS),
    (Capability.SPARSE | Capability.DOS_ATTRIBUTES, c.FILE_SUPPORTS_SPARSE_FILES),
    (Capability.XATTRS | Capability.DOS_ATTRIBUTES, c.FILE_SUPPORTS_REPARSE_POINTS),
    (Capability.COMPRESSION, c.FILE_FILE_COMPRESSION),
    (Capability.QUOTAS, c.FILE_VOLUME_QUOTAS),
    (Capability.REFLINK, c.FILE_SUPPORTS_BLOCK_REFCOUNTING),
)


def filesystem_attributes(volume: "NtVolume") -> int:
    """The flags of FileFsAttributeInformation (MS-FSCC 2.5.1), from the chain's capabilities."""
    attributes = _ALWAYS
    for capability, flag in _FLAGS:
        if capability in volume.capabilities:
            attributes |= flag
    return attributes | c.FILE_READ_ONLY_VOLUME if volume.settings.read_only else attributes


def _sizes(context: NtContext, open_: NtOpen) -> fs.VolumeSizes:
    volume, token, handle = open_.volume, context.token, open_.handle
    found = within_quota(volume, token, handle, volume.chain.statfs(token, handle))
    return fs.volume_sizes(found.total, found.free, found.available, found.block_size)


def _volume(context: NtContext, open_: NtOpen) -> bytes:
    volume = open_.volume
    created = to_filetime(creation_ns(volume.root_stat, DosAttributes(0, None)))
    return fs.pack_volume(created, volume.serial, volume.label)


def _size(context: NtContext, open_: NtOpen) -> bytes:
    return fs.pack_size(_sizes(context, open_))


def _full_size(context: NtContext, open_: NtOpen) -> bytes:
    return fs.pack_full_size(_sizes(context, open_))


def _device(context: NtContext, open_: NtOpen) -> bytes:
    characteristics = c.FILE_DEVICE_IS_MOUNTED
    if open_.volume.settings.read_only:
        characteristics |= c.FILE_READ_ONLY_DEVICE
    return fs.pack_device(c.FILE_DEVICE_DISK, characteristics)


def _attribute(context: NtContext, open_: NtOpen) -> bytes:
    return fs.pack_attribute(filesystem_attributes(open_.volume), MAX_COMPONENT, "NTFS")


def _control(context: NtContext, open_: NtOpen) -> bytes:
    # Where there are quotas they are enforced; nobody has one by default.
    has_quotas = Capability.QUOTAS in open_.volume.capabilities
    return fs.pack_control(flags=fs.FILE_VC_QUOTA_ENFORCE if has_quotas else 0)


def _object_id(context: NtContext, open_: NtOpen) -> bytes:
    return fs.pack_object_id(open_.volume.guid)


def _sector_size(context: NtContext, open_: NtOpen) -> bytes:
    volume = open_.volume
    return fs.pack_sector_size(volume.settings.sector_size, trims=Capability.SPARSE in volume.capabilities)


def _posix(context: NtContext, open_: NtOpen) -> bytes:
    if not open_.posix:
        raise NtStatusError(NtStatus.INVALID_INFO_CLASS, "for opens with the POSIX create context")
    found = open_.volume.chain.statfs(context.token, open_.handle)
    return pack_posix_file_system(
        PosixFileSystem(
            found.block_size, found.total, found.free, found.available, found.files, found.free_files, found.volume_id
        )
    )


CLASSES: Final[dict[int, Callable[[NtContext, NtOpen], bytes]]] = {
    c.FILE_FS_VOLUME_INFORMATION: _volume,
    c.FILE_FS_SIZE_INFORMATION: _size,
    c.FILE_FS_DEVICE_INFORMATION: _device,
    c.FILE_FS_ATTRIBUTE_INFORMATION: _attribute,
    c.FILE_FS_CONTROL_INFORMATION: _control,
    c.FILE_FS_FULL_SIZE_INFORMATION: _full_size,
    c.FILE_FS_OBJECT_ID_INFORMATION: _object_id,
    c.FILE_FS_SECTOR_SIZE_INFORMATION: _sector_size,
    c.FILE_FS_POSIX_INFORMATION: _posix,
}


NEVER_SET: Final = frozenset(
    {c.FILE_FS_CONTROL_INFORMATION, c.FILE_FS_OBJECT_ID_INFORMATION, c.FILE_FS_LABEL_INFORMATION}
)
"""Classes that are known and refused."""


@translated
def query_filesystem(context: NtContext, open_: NtOpen, info_class: int, max_length: int) -> Information:
    """Answer a query about the volume of an open. Raises INVALID_INFO_CLASS, INFO_LENGTH_MISMATCH."""
    answer = CLASSES.get(info_class)
    if answer is None:
        return module_query(context, open_, InfoType.VOLUME, info_class, max_length)
    check_room(FILESYSTEM_MINIMUM, info_class, max_length)
    return fitted(answer(context, open_), max_length)


@translated
def set_filesystem(context: NtContext, open_: NtOpen, info_class: int, data: memoryview) -> None:
    """Refuse what cannot be set: labels and quota defaults are the administrator's (MS-SMB2 3.3.5.21.2)."""
    if info_class in NEVER_SET:
        raise NtStatusError(NtStatus.ACCESS_DENIED)
    module_set(context, open_, InfoType.VOLUME, info_class, data)
