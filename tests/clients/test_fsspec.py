"""A foreign store served to a real client: keys in memory, and a server that speaks FTP."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ftp_server import ftp_server
from tests.support.processes import Folder, Layout, ServerProcess, server_kind, serving, shared_scratch, two_users
from tests.support.smbclient import SmbClient, installed

pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'lamina[fsspec]'")
pytest.importorskip("pyftpdlib", reason="pyftpdlib is not installed: pip install pyftpdlib")

pytestmark = [
    pytest.mark.skipif(not installed(), reason="smbclient is not installed: apt install smbclient"),
    pytest.mark.skipif(server_kind() != "lamina", reason="chains are Lamina's"),
]

ABOVE = (("recycle", {}), ("streams_depot", {}))


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server with a share for each store, and the folder behind the FTP server as `ftp-folder`."""
    users = two_users()
    with shared_scratch() as scratch:
        (scratch / "ftp").mkdir()
        with ftp_server(scratch / "ftp") as url:
            audit = ("audit", {"success": ["all"], "file": str(scratch / "%S.log")})
            shares = {
                "memory": Folder(
                    str(scratch),
                    chain=(("fsspec", {"url": "memory://share", "make_root": True, "directories": "marked"}),),
                ),
                "ftp": Folder(str(scratch / "ftp"), chain=(("fsspec", {"url": url}),)),
                "owned": Folder(
                    str(scratch),
                    chain=(
                        ("fsspec", {"url": "memory://owned", "make_root": True, "uid": users[0].uid or os.geteuid()}),
                    ),
                ),
                "filtered": Folder(
                    str(scratch / "ftp"),
                    chain=(audit, *ABOVE, ("fsspec", {"url": f"{url}filtered", "make_root": True})),
                ),
            }
            with serving(Layout(shares, users), scratch / "state") as running:
                yield running


@pytest.fixture
def local(tmp_path: Path) -> Path:
    (tmp_path / "small").write_bytes(b"new data")
    (tmp_path / "large").write_bytes(os.urandom(20_000_000))
    return tmp_path


@pytest.mark.parametrize("share", ["memory", "ftp"])
def test_files_go_to_the_store_and_come_back(server: ServerProcess, local: Path, share: str) -> None:
    client = SmbClient(server, share)
    client.do("mkdir folder", "put small folder\\small", "put large folder\\large", local=local).check()
    client.do("get folder\\small small-back", "get folder\\large large-back", local=local).check()
    assert (local / "small-back").read_bytes() == b"new data"
    assert (local / "large-back").read_bytes() == (local / "large").read_bytes()
    listing = client.do("ls folder\\*").check()
    assert " 20000000 " in listing
    client.do("rename folder other", "put large other\\small", "rename other\\large other\\moved", local=local).check()
    client.do("get other\\small replaced", local=local).check()
    assert (local / "replaced").read_bytes() == (local / "large").read_bytes()
    assert "NT_STATUS_OBJECT_NAME_NOT_FOUND" in client.do("get other\\large", local=local).output
    assert "NT_STATUS_DIRECTORY_NOT_EMPTY" in client.do("rmdir other").output
    client.do("del other\\moved", "del other\\small", "rmdir other").check()
    assert "other" not in client.do("ls").check()


def test_the_store_has_what_was_written(server: ServerProcess, local: Path) -> None:
    client = SmbClient(server, "ftp")
    client.do("put small kept.txt", local=local).check()
    folder = server.folder("ftp")
    assert (folder / "kept.txt").read_bytes() == b"new data"
    (folder / "Others.txt").write_bytes(b"of somebody else")
    client.do("get OTHERS.TXT back", local=local).check()
    assert (local / "back").read_bytes() == b"of somebody else"


@pytest.mark.parametrize("share", ["memory", "ftp"])
def test_what_the_store_cannot_keep_is_left_out_or_refused(server: ServerProcess, local: Path, share: str) -> None:
    client = SmbClient(server, share)
    client.do("put small file", local=local).check()
    client.do("setmode file +h").check()
    assert " H " not in client.do("ls file").check()
    assert "NT_STATUS_OBJECT_NAME_INVALID" in client.do("put small file:stream", local=local).output
    client.do("volume", "du", "allinfo file", "del file").check()


def test_modules_that_need_no_attributes_work_above(server: ServerProcess, local: Path) -> None:
    client = SmbClient(server, "filtered")
    client.do("put small file", "put large file:stream", local=local).check()
    client.do("get file:stream back", local=local).check()
    assert (local / "back").read_bytes() == (local / "large").read_bytes()
    client.do("del file").check()
    store = server.folder("filtered") / "filtered"
    assert [path.read_bytes() for path in store.glob(".recycle/*/file")] == [b"new data"]
    assert '"operation":"unlink"' in (store.parent.parent / "filtered.log").read_text()


@pytest.mark.parametrize(
    "test", ["lock.rw-exclusive", "oplock.exclusive1", "sharemode.sharemode-access", "rename.msword"]
)
def test_smbtorture_finds_nothing(server: ServerProcess, test: str) -> None:
    if shutil.which("smbtorture") is None:
        pytest.skip("smbtorture is not installed: apt install samba-testsuite")
    user = f"-U{server.user.name}%{server.user.password}"
    command = ["smbtorture", f"//{server.host}/owned", f"-p{server.port}", user, f"smb2.{test}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "success: " in done.stdout, done.stdout
    assert "failure: " not in done.stdout, done.stdout
