"""Answers about a file system (MS-FSCC 2.5 File System Information Classes)."""

from struct import Struct
from typing import Final, NamedTuple

from lamina.ntfsa.fscc.fields import encode_name

_VOLUME: Final = Struct("<QIIBx")
_SIZE: Final = Struct("<QQII")
_FULL_SIZE: Final = Struct("<QQQII")
_ATTRIBUTE: Final = Struct("<III")
_DEVICE: Final = Struct("<II")
_CONTROL: Final = Struct("<5QI4x")
_OBJECT_ID: Final = Struct("<16s48s")
_SECTOR_SIZE: Final = Struct("<7I")

FILE_VC_QUOTA_ENFORCE: Final = 0x2

_NO_LIMIT: Final = 0xFFFFFFFFFFFFFFFF
_ALIGNED_DEVICE: Final = 0x1
_PARTITION_ALIGNED: Final = 0x2
_TRIM_ENABLED: Final = 0x8


class VolumeSizes(NamedTuple):
    """Sizes in allocation units, and what a unit is. `available` is what the asker may use, `free` what there is."""

    total_units: int
    available_units: int
    free_units: int
    sectors_per_unit: int
    bytes_per_sector: int


def volume_sizes(total: int, free: int, available: int, block_size: int) -> VolumeSizes:
    """Sizes in bytes as allocation units of `block_size`, in sectors of 512 bytes.

    A block size that is not a multiple of 512 counts as 512.
    """
    unit = block_size if block_size >= 512 and block_size % 512 == 0 else 512
    return VolumeSizes(total // unit, available // unit, free // unit, unit // 512, 512)


def pack_volume(creation_time: int, serial: int, label: str, supports_objects: bool = False) -> bytes:
    """MS-FSCC 2.5.9 FileFsVolumeInformation."""
    encoded = encode_name(label)
    return _VOLUME.pack(creation_time, serial & 0xFFFFFFFF, len(encoded), supports_objects) + encoded


def pack_size(sizes: VolumeSizes) -> bytes:
    """MS-FSCC 2.5.8 FileFsSizeInformation."""
    return _SIZE.pack(sizes.total_units, sizes.available_units, sizes.sectors_per_unit, sizes.bytes_per_sector)


def pack_full_size(sizes: VolumeSizes) -> bytes:
    """MS-FSCC 2.5.4 FileFsFullSizeInformation."""
    return _FULL_SIZE.pack(*sizes)


def pack_attribute(attributes: int, maximum_component: int, name: str) -> bytes:
    """MS-FSCC 2.5.1 FileFsAttributeInformation; `name` is the file system's ("NTFS")."""
    encoded = encode_name(name)
    return _ATTRIBUTE.pack(attributes, maximum_component, len(encoded)) + encoded


def pack_device(device_type: int, characteristics: int) -> bytes:
    """MS-FSCC 2.5.10 FileFsDeviceInformation."""
    return _DEVICE.pack(device_type, characteristics)


def pack_control(default_threshold: int = _NO_LIMIT, default_limit: int = _NO_LIMIT, flags: int = 0) -> bytes:
    """MS-FSCC 2.5.2 FileFsControlInformation; no quotas by default."""
    return _CONTROL.pack(0, 0, 0, default_threshold, default_limit, flags)


def pack_object_id(object_id: bytes, extended: bytes = bytes(48)) -> bytes:
    """MS-FSCC 2.5.6 FileFsObjectIdInformation: a GUID of 16 bytes and 48 bytes more."""
    return _OBJECT_ID.pack(object_id, extended)


def pack_sector_size(logical: int = 512, physical: int = 4096, trims: bool = False) -> bytes:
    """MS-FSCC 2.5.7 FileFsSectorSizeInformation, in bytes. `trims`: space can be given back (FILE_LEVEL_TRIM)."""
    flags = _ALIGNED_DEVICE | _PARTITION_ALIGNED | (_TRIM_ENABLED if trims else 0)
    return _SECTOR_SIZE.pack(logical, physical, physical, physical, flags, 0, 0)
