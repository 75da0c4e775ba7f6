"""Previous versions from the snapshots that a store itself makes."""

import re
from pathlib import Path

import pytest

from tests.contrib import stores
from tests.contrib.stores import Store
from tests.support.processes import ServerProcess
from tests.support.smbclient import SmbClient, installed

pytestmark = pytest.mark.skipif(not installed(), reason="smbclient is not installed: apt install smbclient")


# GlusterFS makes snapshots of thin logical volumes only, which a container has not.
@pytest.mark.parametrize("store", [name for name in stores.NAMES if name == "ceph"], indirect=True, scope="session")
def test_previous_versions_are_listed_and_read(
    store: Store, server: ServerProcess, top: str, place: str, tmp_path: Path
) -> None:
    client = SmbClient(server, share="snapshots", directory=place)
    for name, content in (("old", b"as it was"), ("new", b"as it is")):
        (tmp_path / name).write_bytes(content)
    client.do("put old file", "mkdir folder", "put old folder\\deleted", local=tmp_path).check()
    store.view.make_folder(f"{top}/.snap/{place}")
    try:
        client.do("put new file", "del folder\\deleted", local=tmp_path).check()
        labels = re.findall(r"@GMT-[\d.]+-[\d.]+", client.do("allinfo file").check())
        label = labels[0]
        client.do(f"get {label}\\file before", "get file after", local=tmp_path).check()
        assert ((tmp_path / "before").read_bytes(), (tmp_path / "after").read_bytes()) == (b"as it was", b"as it is")
        assert "deleted" in client.do(f"ls {label}\\folder\\*").check()
        client.do(f"get {label}\\folder\\deleted back", local=tmp_path).check()
        assert (tmp_path / "back").read_bytes() == b"as it was"
        for command in (f"put new {label}\\file", f"put new {label}\\other", f"mkdir {label}\\folder\\x"):
            assert "NT_STATUS_" in client.do(command, local=tmp_path).output, command
        assert ".snap" not in client.do("ls").check()
    finally:
        store.view.remove_folder(f"{top}/.snap/{place}")
