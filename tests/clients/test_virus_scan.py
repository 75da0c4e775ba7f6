"""`virus_scan` with a real client and a real scanner."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clamd import CLAMD, EICAR, PATTERN, WHY_NOT, clamd
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
    pytest.mark.skipif(CLAMD is None, reason=WHY_NOT),
    pytest.mark.skipif(server_kind() != "lamina", reason="chains are Lamina's"),
]

BELOW = (("streams_xattr", {}), ("dos_attributes", {}), ("posix", {}))
OPTIONS = {
    "deny": {},
    "quarantine": {"scan_on_close": True, "infected_file_action": "quarantine"},
    "delete": {"virusfilter:scan on close": True, "virusfilter:infected file action": "delete"},
}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server with a share for each way to deal with what is found, and a clamd beside it."""
    users = two_users()
    with shared_scratch() as scratch, clamd(scratch / "clamd") as socket:
        shares = {
            name: Folder(
                str(owned_folder(scratch / name, users[0])),
                chain=(("virus_scan", {"socket_path": socket, **options}), *BELOW),
            )
            for name, options in OPTIONS.items()
        }
        with serving(Layout(shares, users), scratch / "state") as running:
            yield running


@pytest.fixture
def local(tmp_path: Path) -> Path:
    (tmp_path / "good").write_bytes(b"harmless")
    (tmp_path / "bad").write_bytes(bytes(3_000_000) + PATTERN)
    return tmp_path


def test_an_infected_file_is_not_handed_out(server: ServerProcess, local: Path) -> None:
    folder = server.folder("deny")
    (folder / "eicar.com").write_bytes(EICAR)
    (folder / "good").write_bytes(b"harmless")
    give_to(folder, server.user)
    client = SmbClient(server, "deny")
    client.do("get good back", local=local).check()
    assert (local / "back").read_bytes() == b"harmless"
    # smbclient of Debian 12 knows the number of this status, and no name.
    output = client.do("get eicar.com virus", local=local).output.lower()
    assert "virus_infected" in output or "c0000906" in output
    assert not (local / "virus").exists() or (local / "virus").read_bytes() == b""
    client.do("del eicar.com", "ls").check()


def test_what_is_brought_goes_to_quarantine(server: ServerProcess, local: Path) -> None:
    client = SmbClient(server, "quarantine")
    client.do("mkdir folder", "put good folder\\good", "put bad folder\\bad", local=local).check()
    listing = client.do("ls folder\\*", "ls").check()
    assert "good" in listing
    assert "bad" not in listing
    assert ".quarantine" not in listing
    folder = server.folder("quarantine")
    assert (folder / ".quarantine/virusfilter.bad.infected").stat().st_size == 3_000_000 + len(PATTERN)
    assert "NT_STATUS_OBJECT" in client.do("get .quarantine\\virusfilter.bad.infected", local=local).output


def test_what_is_brought_is_deleted(server: ServerProcess, local: Path) -> None:
    client = SmbClient(server, "delete")
    client.do("put bad", "put good", local=local).check()
    assert [path.name for path in server.folder("delete").iterdir()] == ["good"]
