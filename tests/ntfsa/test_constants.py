import pytest

from lamina.ntfsa import constants as c


@pytest.mark.parametrize(
    ("access", "mapped"),
    [
        (c.GENERIC_ALL, 0x1F01FF),
        (c.GENERIC_READ, 0x120089),
        (c.GENERIC_WRITE, 0x120116),
        (c.GENERIC_EXECUTE, 0x1200A0),
        (c.GENERIC_READ | c.DELETE, 0x130089),
        (c.FILE_READ_DATA | c.MAXIMUM_ALLOWED, c.FILE_READ_DATA | c.MAXIMUM_ALLOWED),
    ],
)
def test_generic_rights_map_to_file_rights(access: int, mapped: int) -> None:
    assert c.map_generic(access) == mapped
