"""The contract with module writers does not change without its version."""

from lamina.vfs_modules.operations import API_VERSION
from tests.support.contract import complaint, describe, read_snapshot


def test_the_contract_is_the_one_of_its_version():
    version, lines = read_snapshot()
    assert complaint(lines, version, describe(), API_VERSION) == ""
