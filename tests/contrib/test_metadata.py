"""Named streams, attributes, times and descriptors on each store, through the modules that a share has for them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.security.security_descriptor import (
    SE_DACL_PRESENT,
    SE_DACL_PROTECTED,
    SE_SELF_RELATIVE,
    Ace,
    Acl,
    SecurityDescriptor,
    pack_security_descriptor,
    parse_security_descriptor,
)
from lamina.ntfsa.security.sid import BUILTIN_USERS, EVERYONE
from tests.contrib.stores import Store
from tests.support.processes import ServerProcess
from tests.support.smbclient import SmbClient, installed
from tests.support.wire_client import WireClient

pytestmark = pytest.mark.skipif(not installed(), reason="smbclient is not installed: apt install smbclient")

SECURITY = 3
GENERIC_ALL = 0x10000000
ZONE = b"[ZoneTransfer]\r\nZoneId=3\r\n"


@pytest.fixture
def client(server: ServerProcess, place: str) -> SmbClient:
    return SmbClient(server, directory=place)


@pytest.fixture
def wire(server: ServerProcess) -> Iterator[WireClient]:
    """A client of the share that keeps descriptors."""
    with WireClient(server.host, server.port, 30.0) as connected:
        connected.negotiate()
        connected.session_setup(server.user.name, server.user.password)
        connected.tree_connect("acls")
        yield connected


def test_a_stream_goes_there_and_back_and_is_shown(
    store: Store, client: SmbClient, top: str, place: str, tmp_path: Path
) -> None:
    (tmp_path / "zone").write_bytes(ZONE)
    (tmp_path / "main").write_bytes(b"main")
    commands = ("put main file", "put zone file:Zone.Identifier", "allinfo file", "get file:zone.identifier back")
    output = client.do(*commands, local=tmp_path).check()
    assert (tmp_path / "back").read_bytes() == ZONE
    assert f"stream: [:Zone.Identifier:$DATA], {len(ZONE)} bytes" in output
    assert store.view.read(f"{top}/{place}/file") == b"main"
    assert store.view.attribute(f"{top}/{place}/file", "user.DosStream.Zone.Identifier:$DATA").startswith(ZONE)


def test_streams_go_with_their_file(client: SmbClient, tmp_path: Path) -> None:
    (tmp_path / "zone").write_bytes(ZONE)
    commands = ["mkdir folder", "put zone file:stream", "rename file folder\\moved", "get folder\\moved:stream back"]
    client.do(*commands, local=tmp_path).check()
    assert (tmp_path / "back").read_bytes() == ZONE


def test_attributes_and_times_are_kept(client: SmbClient, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(b"content")
    client.do("put sent file", "setmode file +rhs", local=tmp_path).check()
    client.do('utimes file "2001:02:03-04:05:06" "2002:03:04-05:06:07" "2003:04:05-06:07:08" -1').check()
    output = client.do("allinfo file").check()
    assert "attributes: RHSA" in output
    assert all(year in output for year in ("2001", "2002", "2003"))
    assert "NT_STATUS_ACCESS_DENIED" in client.do("put sent file", local=tmp_path).output, "it is read-only"


def test_a_descriptor_is_what_was_set_and_decides(
    store: Store, wire: WireClient, server: ServerProcess, top: str, place: str, tmp_path: Path
) -> None:
    store.give(f"{top}/{place}", store.users[0], 0o777)
    control = SE_SELF_RELATIVE | SE_DACL_PRESENT | SE_DACL_PROTECTED
    denied = SecurityDescriptor(
        dacl=Acl((Ace(1, 0, c.FILE_WRITE_DATA, BUILTIN_USERS), Ace(0, 0, c.FILE_ALL_ACCESS, EVERYONE))), control=control
    )
    file = wire.create(f"{place}\\file", access=GENERIC_ALL, disposition=c.FILE_CREATE)
    wire.write(file, b"content")
    wire.set_info(file, SECURITY, 0, pack_security_descriptor(denied), additional=c.DACL_SECURITY_INFORMATION)
    packed = wire.query_info(file, SECURITY, 0, additional=c.DACL_SECURITY_INFORMATION)
    wire.close(file)
    assert parse_security_descriptor(packed).dacl == denied.dacl
    assert store.view.attribute(f"{top}/{place}/file", "security.NTACL")
    again = SmbClient(server, share="acls", directory=place, user=server.layout.users[1])
    again.do("get file", local=tmp_path).check()
    assert (tmp_path / "file").read_bytes() == b"content"
