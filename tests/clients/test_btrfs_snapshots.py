"""Previous versions from real Btrfs snapshots, to a real client and to smbtorture."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lamina.vfs_modules.syscalls.btrfs import subvolume
from tests.support.loop_filesystem import WHY_NOT, btrfs
from tests.support.processes import Folder, Layout, ServerProcess, give_to, server_kind, serving, two_users
from tests.support.smbclient import SmbClient, installed

pytestmark = [
    pytest.mark.skipif(not installed(), reason="smbclient is not installed: apt install smbclient"),
    pytest.mark.skipif(server_kind() != "lamina", reason="chains are Lamina's"),
]

BELOW = (("streams_xattr", {}), ("dos_attributes", {}), ("posix", {}))


def run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A share on Btrfs, of which there is a snapshot outside the share, in a folder of another name."""
    scratch = tmp_path_factory.mktemp("btrfs")
    with btrfs(scratch / "mounted") as mounted:
        if mounted is None:
            pytest.skip(WHY_NOT)
        users = two_users()
        share = mounted / "home/share"
        run("btrfs", "subvolume", "create", mounted / "home")
        (share / "subdir").mkdir(parents=True)
        for name in ("file", "foo", "subdir/hardlink"):
            (share / name).write_bytes(b"as it was")
        os.setxattr(share / "foo", "user.DosStream.bar:$DATA", b"baz\0")
        give_to(share, users[0])
        (mounted / "kept/before").mkdir(parents=True)
        run("btrfs", "subvolume", "snapshot", "-r", mounted / "home", mounted / "kept/before/the change")
        (share / "file").write_bytes(b"as it is")
        os.chmod(scratch, 0o755)
        options = {"provider": "btrfs", "snapdir": str(mounted / "kept")}
        folder = Folder(str(share), chain=(("shadow_copy", options), *BELOW))
        with serving(Layout({"share": folder}, users), scratch / "state") as running:
            yield running


def label(server: ServerProcess) -> str:
    fd = os.open(server.folder().parents[1] / "kept/before/the change", os.O_RDONLY)
    try:
        made = subvolume(fd).otime_ns // 1_000_000_000
    finally:
        os.close(fd)
    return datetime.fromtimestamp(made, UTC).strftime("@GMT-%Y.%m.%d-%H.%M.%S")


def test_previous_versions_are_listed_and_read(server: ServerProcess, tmp_path: Path) -> None:
    client, old = SmbClient(server), label(server)
    (tmp_path / "new").write_bytes(b"new")
    assert old in client.do("allinfo file").check()
    client.do(f"get {old}\\file before", "get file after", local=tmp_path).check()
    assert ((tmp_path / "before").read_bytes(), (tmp_path / "after").read_bytes()) == (b"as it was", b"as it is")
    assert "subdir" in client.do(f"ls {old}\\*").check()
    for command in (f"put new {old}\\file", f"put new {old}\\other", f"mkdir {old}\\folder"):
        assert "NT_STATUS_" in client.do(command, local=tmp_path).output, command
    client.do(f"del {old}\\file")
    client.do(f"get {old}\\file still", local=tmp_path).check()
    assert (tmp_path / "still").read_bytes() == b"as it was"


@pytest.mark.parametrize("name", ["openroot", "listdir", "write", "stream"])
def test_smbtorture_finds_nothing(server: ServerProcess, name: str) -> None:
    if shutil.which("smbtorture") is None:
        pytest.skip("smbtorture is not installed: apt install samba-testsuite")
    settings = {"file": "foo", "snapshot": label(server), "stream": "bar", "stream_size": "3"}
    options = [f"--option=torture:twrp_{key}={value}" for key, value in settings.items()]
    user = f"-U{server.user.name}%{server.user.password}"
    command = ["smbtorture", f"//{server.host}/share", f"-p{server.port}", user, *options, f"smb2.twrp.{name}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert f"success: {name}" in done.stdout, done.stdout
