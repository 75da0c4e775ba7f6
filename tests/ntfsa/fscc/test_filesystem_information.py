from struct import unpack

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc import filesystem_information as v
from lamina.ntfsa.fscc.fields import FILESYSTEM_MINIMUM

SIZES = v.volume_sizes(1 << 30, 1 << 29, 1 << 28, 4096)


@pytest.mark.parametrize(
    ("info_class", "packed"),
    [
        (c.FILE_FS_SIZE_INFORMATION, v.pack_size(SIZES)),
        (c.FILE_FS_FULL_SIZE_INFORMATION, v.pack_full_size(SIZES)),
        (c.FILE_FS_DEVICE_INFORMATION, v.pack_device(c.FILE_DEVICE_DISK, 0)),
        (c.FILE_FS_CONTROL_INFORMATION, v.pack_control()),
        (c.FILE_FS_OBJECT_ID_INFORMATION, v.pack_object_id(bytes(16))),
        (c.FILE_FS_SECTOR_SIZE_INFORMATION, v.pack_sector_size()),
    ],
)
def test_fixed_classes_have_their_size(info_class: int, packed: bytes) -> None:
    assert len(packed) == FILESYSTEM_MINIMUM[info_class]


def test_sizes_are_in_allocation_units() -> None:
    assert v.VolumeSizes(1 << 18, 1 << 16, 1 << 17, 8, 512) == SIZES
    assert unpack("<QQQII", v.pack_full_size(SIZES)) == (1 << 18, 1 << 16, 1 << 17, 8, 512)
    assert v.volume_sizes(1024, 0, 0, 1000).total_units == 2


def test_names_follow_their_length() -> None:
    assert unpack("<QIIBx4s", v.pack_volume(9, 0x1_0000_0002, "ab")) == (9, 2, 4, 0, b"a\0b\0")
    assert unpack("<III8s", v.pack_attribute(3, 255, "NTFS")) == (3, 255, 8, "NTFS".encode("utf-16-le"))
