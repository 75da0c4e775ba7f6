"""One directory served by smbd and by Lamina in turn: everything that one has stored the other tells, and changes.

Descriptors, named streams, NT attributes, times and extended attributes together, in a tree; each by itself has tests
of its own (`test_samba_descriptors`, `test_streams`, tests/vfs_modules).
"""

import os
import shutil
import struct
from pathlib import Path
from typing import NamedTuple

import pytest

from lamina.core.wire import constants as smb
from lamina.ntfsa import constants as c
from lamina.ntfsa.security.security_descriptor import (
    Ace,
    Acl,
    SecurityDescriptor,
    pack_security_descriptor,
    parse_security_descriptor,
    to_sddl,
)
from lamina.ntfsa.security.sid import EVERYONE
from lamina.ntfsa.status import NtStatus
from tests.support.processes import Folder, Layout
from tests.support.root_client import ROOT, client_of
from tests.support.wire_client import StatusError, WireClient

FULL = c.FILE_ALL_ACCESS
DIRECTORY, BACKUP = c.FILE_DIRECTORY_FILE, c.FILE_OPEN_FOR_BACKUP_INTENT
PARTS = c.OWNER_SECURITY_INFORMATION | c.GROUP_SECURITY_INFORMATION | c.DACL_SECURITY_INFORMATION
LONG_AGO = 125_000_000_000_000_000
GUESTS = "S-1-5-32-546"
ATTRIBUTES = {"hidden": 0x2, "system": 0x4, "archive": 0x20, "all": 0x26, "readonly": 0x21}
TREE = ("folder", "folder\\deep", "Ünicode 😀", "folder\\deep\\a")
STREAMS = {"one": b"1" * 10, "Zone.Identifier": b"[ZoneTransfer]", "large": bytes(range(256)) * 4}
EXTENDED = {"COMMENT": b"written before", "EMPTY-NOT": b"x"}


class Told(NamedTuple):
    """Everything that a server tells of a file, but for what merely says when it was told."""

    attributes: int
    created: int
    written: int
    data: bytes
    streams: dict[str, bytes]
    extended: dict[str, bytes]
    descriptor: str


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    if not shutil.which("smbd") or not shutil.which("smbpasswd"):
        pytest.skip("needs smbd; install Debian's samba and samba-vfs-modules")
    if os.geteuid() != 0:
        pytest.skip("smbd is run as root here; run the tests as root")
    (tmp_path / "share").mkdir()
    folder = Folder(
        str(tmp_path / "share"),
        settings={
            "vfs objects": "acl_xattr streams_xattr",
            "acl_xattr:ignore system acls": "yes",
            "store dos attributes": "yes",
            "ea support": "yes",
        },
        chain=(
            ("streams_xattr", {}),
            ("acl_xattr", {"ignore_system_acls": True}),
            ("dos_attributes", {}),
            ("posix", {}),
        ),
    )
    return Layout({"share": folder}, [ROOT])


def write(client: WireClient) -> list[str]:
    """A tree with something of everything; the names in it."""
    for name in TREE[:3]:
        client.close(client.create(name, access=FULL, disposition=c.FILE_CREATE, options=DIRECTORY))
    names = [*TREE[3:], *(f"folder\\{name}" for name in ATTRIBUTES)]
    for number, name in enumerate(names):
        file = client.create(name, access=FULL, disposition=c.FILE_CREATE)
        client.write(file, name.encode() * (number + 1))
        client.close(file)
    every = [*TREE[:3], *names]
    for number, name in enumerate(every):
        decorate(client, name, number)
    return every


def decorate(client: WireClient, name: str, number: int) -> None:
    """Give a file or folder streams, extended attributes, a list, times and attributes of its own."""
    for stream, content in STREAMS.items():
        opened = client.create(f"{name}:{stream}", access=c.FILE_WRITE_DATA, disposition=c.FILE_OPEN_IF)
        client.write(opened, content + bytes([number]))
        client.close(opened)
    file = client.create(name, access=FULL)
    for index, (key, value) in enumerate(EXTENDED.items()):
        raw = key.encode() + b"\0" + value + bytes([48 + number + index])
        client.set_info(file, 1, c.FILE_FULL_EA_INFORMATION, struct.pack("<IBBH", 0, 0, len(key), len(value) + 1) + raw)
    aces = (Ace(1, 0, c.FILE_WRITE_EA, GUESTS), Ace(0, 3 if name in TREE[:3] else 0, FULL, EVERYONE))
    packed = pack_security_descriptor(SecurityDescriptor(dacl=Acl(aces[number % 2 :])))
    client.set_info(file, smb.INFO_SECURITY, 0, packed, c.DACL_SECURITY_INFORMATION)
    attributes = ATTRIBUTES.get(name.rpartition("\\")[2], 0x80) if name not in TREE[:3] else 0x12
    times = (LONG_AGO + number * 10_000_000, 0, LONG_AGO * 11 // 10 + number * 10_000_000, 0)
    client.set_info(file, 1, c.FILE_BASIC_INFORMATION, struct.pack("<4qI4x", *times, attributes))
    client.close(file)


def read(client: WireClient, names: list[str]) -> dict[str, Told]:
    return {name: told(client, name) for name in names}


def told(client: WireClient, name: str) -> Told:
    file = client.create(name, access=c.FILE_GENERIC_READ, options=BACKUP)
    created, _, written, _, attributes = struct.unpack_from(
        "<4qI", client.query_info(file, 1, c.FILE_BASIC_INFORMATION)
    )
    packed = client.query_info(file, smb.INFO_SECURITY, 0, additional=PARTS)
    found = Told(
        attributes,
        created,
        written,
        b"" if attributes & 0x10 else client.read(file, 65536),
        {stream: content_of(client, name, stream) for stream in streams_of(client.query_info(file, 1, 22))},
        extended_of(client.query_info(file, 1, c.FILE_FULL_EA_INFORMATION)),
        to_sddl(parse_security_descriptor(packed)),
    )
    client.close(file)
    return found


def content_of(client: WireClient, name: str, stream: str) -> bytes:
    opened = client.create(f"{name}{stream}", access=c.FILE_READ_DATA)
    content = client.read(opened, 65536)
    client.close(opened)
    return content


def streams_of(data: bytes) -> list[str]:
    found = []
    while data:
        following, length = struct.unpack_from("<II", data)
        name = data[24 : 24 + length].decode("utf-16-le")
        found += [name.removesuffix(":$DATA")] if name != "::$DATA" else []
        data = data[following:] if following else b""
    return sorted(found)


def extended_of(data: bytes) -> dict[str, bytes]:
    found = {}
    while data:
        following, _, name_length, length = struct.unpack_from("<IBBH", data)
        start = 9 + name_length
        found[data[8 : 8 + name_length].decode().upper()] = data[start : start + length]
        data = data[following:] if following else b""
    return found


@pytest.mark.parametrize(("first", "second"), [("smbd", "lamina"), ("lamina", "smbd")])
def test_what_one_has_stored_the_other_tells_and_changes(
    layout: Layout, tmp_path: Path, first: str, second: str
) -> None:
    with client_of(layout, tmp_path / "one", first) as writer:
        names = write(writer)
        written = read(writer, names)
    assert written["folder\\deep\\a"].streams == {f":{name}": data + b"\x03" for name, data in STREAMS.items()}
    with client_of(layout, tmp_path / "two", second) as reader:
        assert read(reader, names) == written
        for number, name in enumerate(names):
            if not written[name].attributes & 0x1:
                decorate(reader, name, number + 7)
        with pytest.raises(StatusError) as refused:
            reader.create("folder\\readonly", access=c.FILE_WRITE_DATA)
        assert refused.value.status == NtStatus.ACCESS_DENIED
        changed = read(reader, names)
    assert changed != written
    with client_of(layout, tmp_path / "three", first) as writer:
        assert read(writer, names) == changed
