"""Named streams with real clients; and one folder that a real smbd and Lamina serve in turn."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import Folder, Layout, ServerProcess, User, give_to, server_kind, serving, shared_scratch
from tests.support.smbclient import SmbClient, installed

pytestmark = pytest.mark.skipif(not installed(), reason="smbclient is not installed: apt install smbclient")

ZONE = b"[ZoneTransfer]\r\nZoneId=3\r\n"


@pytest.fixture
def client(server: ServerProcess, place: Path) -> SmbClient:
    return SmbClient(server, directory=place.name)


def test_a_stream_goes_there_and_back_and_is_shown(client: SmbClient, place: Path, tmp_path: Path) -> None:
    (tmp_path / "zone").write_bytes(ZONE)
    (tmp_path / "main").write_bytes(b"main")
    output = client.do(
        "put main file",
        "put zone file:Zone.Identifier",
        "allinfo file",
        "get file:zone.identifier back",
        local=tmp_path,
    ).check()
    assert (tmp_path / "back").read_bytes() == ZONE
    assert (place / "file").read_bytes() == b"main"
    assert f"stream: [:Zone.Identifier:$DATA], {len(ZONE)} bytes" in output
    assert "stream: [::$DATA], 4 bytes" in output


def test_streams_go_with_their_file(client: SmbClient, place: Path, tmp_path: Path) -> None:
    (tmp_path / "zone").write_bytes(ZONE)
    commands = [
        "mkdir folder", "put zone folder:stream", "put zone file:stream", "rename file folder\\moved",
        "get folder\\moved:stream back", "allinfo folder", "del folder\\moved", "put zone folder\\moved",
        "allinfo folder\\moved",
    ]  # fmt: skip
    output = client.do(*commands, local=tmp_path).check()
    assert (tmp_path / "back").read_bytes() == ZONE
    assert output.count(":stream:$DATA") == 1, "the folder has one, the new file none"
    assert os.listdir(place) == ["folder"]


def test_putting_a_file_again_leaves_it_no_streams(client: SmbClient, tmp_path: Path) -> None:
    (tmp_path / "zone").write_bytes(ZONE)
    output = client.do("put zone file:stream", "put zone file", "allinfo file", local=tmp_path).check()
    assert ":stream:" not in output


def test_a_stream_of_somebody_elses_file_is_refused_as_the_file_is(
    client: SmbClient, server: ServerProcess, place: Path, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("run as root: other users cannot be impersonated otherwise")
    (tmp_path / "zone").write_bytes(ZONE)
    client.do("put zone file:stream", local=tmp_path).check()
    os.chmod(place / "file", 0o600)
    stranger = SmbClient(server, user=server.layout.users[1], directory=place.name)
    for command in ("get file:stream back", "put zone file:stream", "put zone file:new"):
        assert "NT_STATUS_ACCESS_DENIED" in stranger.do(command, local=tmp_path).output
    os.chmod(place / "file", 0o644)
    give_to(place, server.user)
    assert stranger.do("get file:stream back", local=tmp_path).status == 0
    assert "NT_STATUS_ACCESS_DENIED" in stranger.do("put zone file:new", local=tmp_path).output


def test_a_share_that_is_read_only_keeps_its_streams(
    client: SmbClient, server: ServerProcess, place: Path, tmp_path: Path
) -> None:
    (tmp_path / "zone").write_bytes(ZONE)
    client.do("put zone file:stream", local=tmp_path).check()
    reader = SmbClient(server, share="readonly", directory=place.name)
    reader.do("get file:stream back", local=tmp_path).check()
    for command in ("put zone file:stream", "put zone file:new", "del file:stream"):
        assert "NT_STATUS_" in reader.do(command, local=tmp_path).output
    assert "NT_STATUS_OBJECT_NAME_NOT_FOUND" in client.do("get file:new back", local=tmp_path).output


_ROOT = User("root", "secret", 0, 0)
_FORMS = {
    "streams_xattr": ("streams_xattr", ("streams_xattr", {})),
    "streams_depot": ("streams_depot", ("streams_depot", {})),
    "with-acls": (
        "streams_xattr acl_xattr",
        ("streams_xattr", {}),
        ("acl_xattr", {"ignore_system_acls": True}),
    ),
}


@pytest.fixture(params=_FORMS)
def both(request: pytest.FixtureRequest) -> Iterator[tuple[SmbClient, SmbClient]]:
    """Clients of smbd and of Lamina, which serve the same folder."""
    if server_kind() == "smbd" or not shutil.which("smbd") or not shutil.which("smbpasswd"):
        pytest.skip("needs smbd beside Lamina; install Debian's samba and samba-vfs-modules")
    if os.geteuid() != 0:
        pytest.skip("smbd is run as root here; run the tests as root")
    objects, *modules = _FORMS[request.param]
    with shared_scratch() as scratch:
        (scratch / "share").mkdir()
        smbd = {"vfs objects": objects, "acl_xattr:ignore system acls": "yes"}
        chain = (*modules, ("dos_attributes", {}), ("posix", {}))
        layout = Layout({"share": Folder(str(scratch / "share"), settings=smbd, chain=chain)}, [_ROOT])
        with serving(layout, scratch / "smbd", "smbd") as theirs, serving(layout, scratch / "lamina") as ours:
            yield SmbClient(theirs), SmbClient(ours)


def test_smbd_and_lamina_serve_the_same_streams(both: tuple[SmbClient, SmbClient], tmp_path: Path) -> None:
    (tmp_path / "zone").write_bytes(ZONE)
    (tmp_path / "data").write_bytes(bytes(range(256)) * 2)
    for number, (writer, reader) in enumerate((both, both[::-1])):
        folder, back = f"folder{number}", tmp_path / "back"
        writer.do(
            f"mkdir {folder}", f"put zone {folder}:stream", f"cd {folder}", "put zone file", "put data file:data",
            "put zone file:zone", "put data alone:data", local=tmp_path,
        ).check()  # fmt: skip
        for path, content in (("file", "zone"), ("file:data", "data"), ("FILE:ZONE", "zone"), ("alone:data", "data")):
            reader.do(f"cd {folder}", f"get {path} back", local=tmp_path).check()
            assert back.read_bytes() == (tmp_path / content).read_bytes(), path
        reader.do(f"get {folder}:stream back", local=tmp_path).check()
        assert back.read_bytes() == ZONE
        shown = [_streams(client.do(f"cd {folder}", "allinfo file").check()) for client in (writer, reader)]
        assert shown[0] == shown[1]
        assert len(shown[0]) == 3
        reader.do(f"cd {folder}", "put data file:ZONE", "put zone file:third", local=tmp_path).check()
        shown = [_streams(client.do(f"cd {folder}", "allinfo file").check()) for client in (writer, reader)]
        assert (
            shown[0] == shown[1] == {("::$DATA", 26), (":data:$DATA", 512), (":zone:$DATA", 512), (":third:$DATA", 26)}
        )
        reader.do(f"deltree {folder}").check()
        writer.do(f"mkdir {folder}", f"put zone {folder}\\file", local=tmp_path).check()
        assert _streams(reader.do(f"allinfo {folder}\\file").check()) == {("::$DATA", 26)}


def _streams(output: str) -> set[tuple[str, int]]:
    """What `allinfo` says of streams."""
    lines = [line for line in output.splitlines() if line.startswith("stream: [")]
    return {(line.split("[")[1].split("]")[0], int(line.split("],")[1].split()[0])) for line in lines}
