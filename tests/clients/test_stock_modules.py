"""Stock modules with a real client: each in a share of its own of one server."""

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.vfs_modules.stock.auditing.hash_chain import verify
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

BELOW = (("streams_xattr", {}), ("dos_attributes", {}), ("posix", {}))
CHAINS = {
    "readonly": ("readonly", {}),
    "recycle": ("recycle", {"exclude": ["*.tmp"]}),
    "rate_limit": ("rate_limit", {"user_bandwidth": 1_000_000, "user_operations": 10_000}),
    "shadow_copy": ("shadow_copy", {"format": "daily-%Y-%m-%d_%H%M"}),
    "short_names": ("short_names", {"prefix": 3}),
    "worm": ("worm", {"grace_period": 0}),
    "faults": ("faults", {"faults": [{"operations": ["pwrite"], "error": "ENOSPC"}]}),
}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server with a share for each module, named like it."""
    users = two_users()
    with shared_scratch() as scratch:
        chains = CHAINS | {"audit": ("audit", {"file": str(scratch / "%S.log")})}
        shares = {
            name: Folder(str(owned_folder(scratch / name, users[0])), chain=(module, *BELOW))
            for name, module in chains.items()
        }
        with serving(Layout(shares, users), scratch / "state") as running:
            yield running


@pytest.fixture
def local(tmp_path: Path) -> Path:
    (tmp_path / "new").write_bytes(b"new data")
    return tmp_path


def put(server: ServerProcess, share: str, name: str, data: bytes = b"old data") -> Path:
    """A file in a share's folder that was not made through it."""
    path = server.folder(share) / name
    path.write_bytes(data)
    give_to(server.folder(share), server.user)
    return path


def test_a_readonly_share_is_read_and_not_written(server: ServerProcess, local: Path) -> None:
    path = put(server, "readonly", "file")
    client = SmbClient(server, "readonly")
    client.do("get file back", local=local).check()
    assert (local / "back").read_bytes() == b"old data"
    for command in ("put new file", "put new other", "del file", "mkdir folder", "rename file other"):
        assert "NT_STATUS_" in client.do(command, local=local).output, command
    assert os.listdir(path.parent) == ["file"]
    assert path.read_bytes() == b"old data"


def test_worm_keeps_what_is_there_and_takes_what_is_new(server: ServerProcess, local: Path) -> None:
    path = put(server, "worm", "kept")
    client = SmbClient(server, "worm")
    for command in ("put new kept", "del kept", "rename kept other", "setmode kept +h"):
        assert "NT_STATUS_" in client.do(command, local=local).output, command
    client.do("mkdir folder").check()
    client.do("get kept back", local=local).check()
    assert sorted(os.listdir(path.parent)) == ["folder", "kept"]
    assert path.read_bytes() == b"old data"


def test_worm_lets_nothing_be_renamed_over_what_is_there(server: ServerProcess, local: Path) -> None:
    """CVE-2026-2340, as its finder did it."""
    path = put(server, "worm", "evidence")
    output = SmbClient(server, "worm").do("put new forgery", "rename forgery evidence -f", local=local).output
    assert "NT_STATUS_ACCESS_DENIED" in output
    assert path.read_bytes() == b"old data"


def test_an_injected_fault_reaches_the_client(server: ServerProcess, local: Path) -> None:
    assert "NT_STATUS_DISK_FULL" in SmbClient(server, "faults").do("put new file", local=local).output


def test_audit_tells_what_a_client_does(server: ServerProcess, local: Path) -> None:
    folder = server.folder("audit")
    SmbClient(server, "audit").do(
        "mkdir folder", "put new folder\\file", "rename folder\\file moved", "del moved", local=local
    ).check()
    assert "NT_STATUS_" in SmbClient(server, "audit").do("rmdir missing").output
    log = folder.parent / "audit.log"
    until_written(log, '"operation":"unlink"')
    lines = log.read_bytes().splitlines()
    assert verify(lines).problems == []
    told = [json.loads(line) for line in lines]
    by_operation = {record["operation"]: record for record in told if record.get("result") == "ok"}
    assert by_operation["mkdir"]["path"] == "folder"
    assert (by_operation["rename"]["path"], by_operation["rename"]["target"]) == ("folder/file", "moved")
    assert (
        by_operation["unlink"].items() >= {"user": server.user.name, "address": "127.0.0.1", "share": "audit"}.items()
    )
    assert any(record.get("operation") == "open" and record.get("create") for record in told)


def until_written(log: Path, text: str) -> None:
    """Return when another process has written `text`; the test's own timeout is the limit."""
    while text not in log.read_text():
        time.sleep(0.01)


def test_recycle_keeps_what_a_client_deletes_and_lets_it_take_it_back(server: ServerProcess, local: Path) -> None:
    folder = server.folder("recycle")
    bin_ = f".recycle\\{server.user.name}"
    client = SmbClient(server, "recycle")
    client.do("mkdir docs", "put new docs\\file", "put new scratch.tmp", local=local).check()
    client.do("del docs\\file", "del scratch.tmp", "rmdir docs").check()
    assert os.listdir(folder) == [".recycle"]
    client.do(f"cd {bin_}\\docs", "get file back", local=local).check()
    assert (local / "back").read_bytes() == b"new data"
    client.do(f"rename {bin_}\\docs\\file back").check()
    assert (folder / "back").read_bytes() == b"new data"


def test_recycle_keeps_what_is_renamed_over(server: ServerProcess, local: Path) -> None:
    folder = put(server, "recycle", "replaced").parent
    SmbClient(server, "recycle").do("put new newer", "rename newer replaced -f", local=local).check()
    assert (folder / "replaced").read_bytes() == b"new data"
    assert (folder / ".recycle" / server.user.name / "replaced").read_bytes() == b"old data"


def test_recycle_keeps_a_bin_from_the_other_users(server: ServerProcess, local: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("run as root: other users cannot be impersonated otherwise")
    SmbClient(server, "recycle").do("put new secret", "del secret", local=local).check()
    stranger = SmbClient(server, "recycle", user=server.layout.users[1])
    bin_ = f".recycle\\{server.user.name}"
    for command in (f"get {bin_}\\secret stolen", f"del {bin_}\\secret", f"cd {bin_}; ls"):
        assert "NT_STATUS_" in stranger.do(command, local=local).output, command


def test_a_limited_client_gets_all_it_asks_for(server: ServerProcess, local: Path) -> None:
    data = os.urandom(1_500_000)
    put(server, "rate_limit", "file", data)
    SmbClient(server, "rate_limit").do("get file back", local=local).check()
    assert (local / "back").read_bytes() == data


def test_previous_versions_are_listed_and_read(server: ServerProcess, local: Path) -> None:
    old = server.folder("shadow_copy") / ".snapshots" / "daily-2026-11-20_0830"
    old.mkdir(parents=True)
    (old / "file").write_bytes(b"as it was")
    put(server, "shadow_copy", "file", b"as it is")
    client = SmbClient(server, "shadow_copy")
    label = "@GMT-2026.11.20-08.30.00"
    assert label in client.do("allinfo file").check()
    client.do(f"get {label}\\file before", "get file after", local=local).check()
    assert ((local / "before").read_bytes(), (local / "after").read_bytes()) == (b"as it was", b"as it is")
    assert "file" in client.do(f"ls {label}\\*").check()
    for command in (f"put new {label}\\file", f"put new {label}\\other", f"mkdir {label}\\folder"):
        assert "NT_STATUS_" in client.do(command, local=local).output, command
    assert [path.name for path in old.iterdir()] == ["file"]
    assert (old / "file").read_bytes() == b"as it was"


def test_short_names_are_told_listed_and_open_what_they_stand_for(server: ServerProcess, local: Path) -> None:
    path = put(server, "short_names", "A long name.document")
    put(server, "short_names", "another long name.text")
    client = SmbClient(server, "short_names")
    told = client.do('allinfo "A long name.document"').check()
    found = re.search(r"altname: (\S+)", told)
    assert found is not None, told
    short = found[1]
    assert re.fullmatch(r"ALO[0-9A-Z]{3}~[0-9A-Z]\.DOC", short)
    client.do(f"get {short.lower()} back", local=local).check()
    assert (local / "back").read_bytes() == b"old data"
    for pattern in ("*.doc", "alo*~?.*", short):
        listed = client.do(f"ls {pattern}").check()
        assert "A long name.document" in listed
        assert "another" not in listed
    client.do(f"del {short}").check()
    assert not path.exists()
