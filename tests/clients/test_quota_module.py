"""The module `quota` with real clients, on a file system that keeps no quotas itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import (
    Folder,
    Layout,
    ServerProcess,
    give_to,
    owned_folder,
    server_kind,
    serving,
    shared_scratch,
    two_users,
)
from tests.support.smbclient import SmbClient, installed

pytestmark = [
    pytest.mark.skipif(not installed(), reason="smbclient is not installed: apt install smbclient"),
    pytest.mark.skipif(server_kind() != "lamina", reason="chains are Lamina's"),
]

ABOVE = (("recycle", {}), ("streams_xattr", {}), ("dos_attributes", {}))
LIMIT = 1_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server with a share of which each user may have a megabyte, where there are 300,000 bytes already."""
    users = two_users()
    with shared_scratch() as scratch:
        folder = owned_folder(scratch / "quota", users[0])
        (folder / "there").write_bytes(bytes(300_000))
        give_to(folder, users[0])
        allowed = {"default_user": LIMIT, "users": {"0": LIMIT}}
        share = Folder(str(folder), chain=(*ABOVE, ("quota", allowed), ("posix", {})))
        with serving(Layout({"quota": share}, users), scratch / "state") as running:
            yield running


@pytest.fixture
def local(tmp_path: Path) -> Path:
    for size in (100_000, 800_000):
        (tmp_path / str(size)).write_bytes(bytes(size))
    return tmp_path


def test_what_there_is_no_room_for_is_refused(server: ServerProcess, local: Path) -> None:
    client = SmbClient(server, "quota")
    assert "NT_STATUS_DISK_FULL" in client.do("put 800000 large", local=local).output
    client.do("del large", "put 100000 small", local=local).check()
    assert "NT_STATUS_DISK_FULL" in client.do("put 800000 large", local=local).output
    # What is in the bin is still the user's.
    client.do("del large", "del there").check()
    assert "NT_STATUS_DISK_FULL" in client.do("put 800000 large", local=local).output
