"""A program that saves reports to a share is tried with a share that fails. Run it with pytest."""

import pytest
import smbclient
from smbprotocol.exceptions import SMBException

from lamina.vfs_modules.stock.faults import Fault


def save(path, data, attempts=3, **where):
    """What is tested: write a file, again if that fails."""
    for left in reversed(range(attempts)):
        try:
            with smbclient.open_file(path, mode="wb", **where) as file:
                file.write(data)
        except (OSError, SMBException):
            if not left:
                raise
        else:
            return


@pytest.fixture
def where(smb_server):
    """How the program gets to the share."""
    cache = {}
    yield {
        "username": smb_server.username,
        "password": smb_server.password,
        "port": smb_server.port,
        "connection_cache": cache,
    }
    smbclient.reset_connection_cache(connection_cache=cache)


def test_a_write_that_fails_once_is_done_again(smb_server, where):
    data = smb_server.share("data", faults=[Fault(operations={"pwrite"}, torn_write=True, times=1)], seed=7)
    save(rf"{data.unc}\report.txt", b"all of it", **where)
    assert (data.folder / "report.txt").read_bytes() == b"all of it"
    assert [fault.operation for fault in data.faults.injected] == ["pwrite"]


def test_a_full_disk_is_told_until_there_is_room(smb_server, where):
    data = smb_server.share("data")
    data.faults.inject("pwrite", error="ENOSPC")
    with pytest.raises(SMBException, match="STATUS_DISK_FULL"):
        save(rf"{data.unc}\report.txt", b"all of it", **where)
    assert len(data.faults.injected) == 3

    data.faults.set_faults()
    save(rf"{data.unc}\report.txt", b"all of it", **where)
    assert (data.folder / "report.txt").read_bytes() == b"all of it"
