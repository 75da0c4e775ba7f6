"""A Mac and a share for Macs, on the wire: what they agree on changes what the NT level does, for that client alone."""

import os
import struct
from collections.abc import Callable

import pytest

from lamina.core.commands import server_copy
from lamina.core.plan import ModuleSpec
from lamina.core.wire.constants import Command
from lamina.ntfsa.security.security_descriptor import (
    ACCESS_ALLOWED_ACE_TYPE,
    ACCESS_DENIED_ACE_TYPE,
    SE_DACL_PRESENT,
    SE_SELF_RELATIVE,
    Ace,
    Acl,
    SecurityDescriptor,
    pack_security_descriptor,
    parse_security_descriptor,
)
from lamina.ntfsa.security.unix_aces import with_unix_aces
from lamina.ntfsa.status import NtStatus
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import FileStat
from lamina.vfs_modules.stock.apple import afp_info
from lamina.vfs_modules.stock.apple.afp_info import AfpInfo
from lamina.vfs_modules.token import ImpersonationToken
from tests.support.served import Served, new_file
from tests.support.wire_client import Open, StatusError, WireClient

CHAIN = [
    "catia",
    ModuleSpec("fruit", {"copyfile": True}),
    "streams_xattr",
    ModuleSpec("acl_xattr", {"attribute": "user.NTACL", "ignore_system_acls": True}),
    "dos_attributes",
    "posix",
]
AAPL = b"AAPL"
QUERY = struct.pack("<IIQQ", 1, 0, 7, 0xF)
DIRECTORY = {"access": 1, "options": 1}
ID_BOTH = 37
STREAM_INFORMATION, INTERNAL, RENAME, END_OF_FILE = 22, 6, 10, 20
OWNER_GROUP_DACL = 7


def mac(served: Served) -> WireClient:
    """A client that has agreed on everything."""
    client = served.connected()
    answer = client.create("", access=0x80, contexts={AAPL: QUERY})
    assert bytes(answer.response.contexts[AAPL][:4]) == b"\1\0\0\0"
    client.close(answer)
    return client


def write(client: WireClient, name: str, data: bytes) -> None:
    file = client.create(name, access=0x3, disposition=3)
    client.write(file, data)
    client.close(file)


def entry_of(packed: bytes, name: str) -> bytes:
    while True:
        following = int.from_bytes(packed[:4], "little")
        length = int.from_bytes(packed[60:64], "little")
        if packed[104 : 104 + length].decode("utf-16-le") == name:
            return packed[:104]
        assert following
        packed = packed[following:]


@pytest.mark.parametrize(
    "data", [b"", b"\1", bytes(23), b"\xff" * 24, struct.pack("<IIQQ", 2, 0, 1 << 40, 1), b"x" * 5000]
)
def test_a_context_that_is_no_query_is_passed_over(served: Served, data: bytes) -> None:
    client = served.connected()
    assert AAPL not in client.create("", access=0x80, contexts={AAPL: data}).response.contexts


def listed(client: WireClient, name: str) -> bytes:
    folder = client.create("", **DIRECTORY)
    packed = client.query_directory(folder, "*", ID_BOTH)
    client.close(folder)
    return entry_of(packed, name)


def status_of(call: Callable[[], object]) -> int:
    with pytest.raises(StatusError) as raised:
        call()
    return raised.value.status


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    return serve(chain=CHAIN)


def test_entries_tell_a_mac_more_and_others_what_they_always_do(served: Served) -> None:
    client = mac(served)
    write(client, "file", b"data")
    write(client, "file:AFP_AfpInfo", afp_info.pack(AfpInfo(b"TEXTttxt" + bytes(24))))
    write(client, "file:AFP_Resource", b"fork")
    told = listed(client, "file")
    access, length, short_name, mode, file_id = struct.unpack_from("<IBx24sHQ", told, 64)
    assert access & 0x1F01FF == 0x1F01FF
    assert length == 24
    assert short_name[:16] == (4).to_bytes(8, "little") + b"TEXTttxt"
    assert mode == os.stat(served.folder / "file").st_mode
    assert file_id == 0
    plain = listed(served.connected(), "file")
    assert plain[64:96] == bytes(32)
    assert int.from_bytes(plain[96:104], "little") == os.stat(served.folder / "file").st_ino


def test_a_mac_is_told_no_file_ids(served: Served) -> None:
    client = mac(served)
    new_file(client)
    answer = client.create("file", access=0x80, contexts={b"QFid": b""})
    assert bytes(answer.response.contexts[b"QFid"][:8]) == bytes(8)
    assert client.query_info(answer, 1, INTERNAL) == bytes(8)
    other = served.connected()
    answer = other.create("file", access=0x80, contexts={b"QFid": b""})
    assert other.query_info(answer, 1, INTERNAL) == bytes(answer.response.contexts[b"QFid"][:8]) != bytes(8)


def rename(client: WireClient, file: Open, name: str) -> None:
    encoded = name.encode("utf-16-le")
    client.set_info(file, 1, RENAME, struct.pack("<B7xQI", 0, 0, len(encoded)) + encoded)


def test_a_mac_may_rename_a_folder_while_something_in_it_is_open(served: Served) -> None:
    client = mac(served)
    client.close(client.create("folder", access=0x1, disposition=2, options=1))
    file = new_file(client, "folder/file")
    other = served.connected()
    theirs = other.create("folder", access=0x10080, options=1)
    assert status_of(lambda: rename(other, theirs, "moved")) == NtStatus.ACCESS_DENIED
    other.close(theirs)
    rename(client, client.create("folder", access=0x10080, options=1), "moved")
    client.write(file, b"still here")
    client.close(file)
    assert (served.folder / "moved/file").read_bytes() == b"still here"


def test_a_stream_that_a_mac_cuts_to_nothing_is_gone(served: Served) -> None:
    client = mac(served)
    write(client, "file:tag", b"blue")
    stream = client.create("file:tag", access=0x3)
    client.set_info(stream, 1, END_OF_FILE, bytes(8))
    assert status_of(lambda: client.create("file:tag", access=0x1)) == NtStatus.OBJECT_NAME_NOT_FOUND
    client.close(stream)
    assert not [name for name in os.listxattr(served.folder / "file") if "tag" in name]


def test_what_is_written_to_it_before_it_is_closed_stays(served: Served) -> None:
    client = mac(served)
    write(client, "file:tag", b"blue")
    stream = client.create("file:tag", access=0x3)
    client.set_info(stream, 1, END_OF_FILE, bytes(8))
    client.write(stream, b"red")
    client.close(stream)
    assert client.read(client.create("file:tag", access=0x1), 10) == b"red"


def test_others_keep_their_empty_streams(served: Served) -> None:
    client = served.connected()
    write(client, "file:tag", b"blue")
    stream = client.create("file:tag", access=0x3)
    client.set_info(stream, 1, END_OF_FILE, bytes(8))
    client.close(stream)
    client.close(client.create("file:tag", access=0x1))
    assert ":tag:".encode("utf-16-le") in client.query_info(client.create("file"), 1, STREAM_INFORMATION)


def copy(client: WireClient, source: str, target: str) -> int:
    reading = client.create(source, access=0x3)
    writing = client.create(target, access=0x3, disposition=3)
    key = bytes(client.ioctl(server_copy.FSCTL_SRV_REQUEST_RESUME_KEY, file=reading, max_output=32).output)[:24]
    answer = client.ioctl(server_copy.FSCTL_SRV_COPYCHUNK, key + bytes(8), writing, 12)
    client.close(reading)
    client.close(writing)
    return int(struct.unpack("<III", bytes(answer.output))[2])


def test_a_mac_copies_a_file_with_all_its_streams_in_one_request(served: Served) -> None:
    client = mac(served)
    write(client, "file", b"data" * 1000)
    for stream in ("tag", "AFP_Resource"):
        write(client, f"file:{stream}", stream.encode())
    write(client, "file:AFP_AfpInfo", afp_info.pack(AfpInfo(b"TEXT" + bytes(28))))
    assert copy(client, "file", "copy") == 4000
    assert (served.folder / "copy").read_bytes() == b"data" * 1000
    for stream in ("tag", "AFP_Resource"):
        assert client.read(client.create(f"copy:{stream}", access=0x1), 100) == stream.encode()
    assert client.read(client.create("copy:AFP_AfpInfo", access=0x1), 60)[16:20] == b"TEXT"
    assert copy(served.connected(), "file", "other") == 0


# Owner and mode in descriptors.


def descriptor(client: WireClient, file: Open) -> SecurityDescriptor:
    return parse_security_descriptor(client.query_info(file, 3, 0, additional=OWNER_GROUP_DACL))


def unix_sids(found: SecurityDescriptor) -> list[str]:
    assert found.dacl is not None
    return [ace.sid for ace in found.dacl.aces if ace.sid.startswith("S-1-5-88-")]


def set_dacl(client: WireClient, file: Open, acl: Acl) -> None:
    packed = pack_security_descriptor(SecurityDescriptor(dacl=acl, control=SE_SELF_RELATIVE | SE_DACL_PRESENT))
    client.set_info(file, 3, 0, packed, additional=4)


def test_a_mac_reads_owner_and_mode_in_the_descriptor_and_others_do_not(served: Served) -> None:
    client = mac(served)
    file = new_file(client)
    stat = os.stat(served.folder / "file")
    expected = [f"S-1-5-88-3-{stat.st_mode}", f"S-1-5-88-1-{stat.st_uid}", f"S-1-5-88-2-{stat.st_gid}"]
    assert unix_sids(descriptor(client, file)) == expected
    other = served.connected()
    assert unix_sids(descriptor(other, other.create("file"))) == []


def test_a_mac_sets_the_mode_and_leaves_the_list_as_it_is(served: Served) -> None:
    client = mac(served)
    file = new_file(client)
    set_dacl(client, file, Acl((Ace(ACCESS_ALLOWED_ACE_TYPE, 0, 0x1F01FF, "S-1-1-0"),)))
    before = descriptor(client, file)
    set_dacl(client, file, Acl((Ace(ACCESS_DENIED_ACE_TYPE, 0, 0, f"S-1-5-88-3-{0o106640}"),)))
    assert os.stat(served.folder / "file").st_mode & 0o7777 == 0o640
    after = descriptor(client, file)
    assert before.dacl is not None
    assert after.dacl is not None
    assert after.dacl.aces[:-3] == before.dacl.aces[:-3]


def test_a_list_that_a_mac_sets_is_stored_without_them(served: Served) -> None:
    client = mac(served)
    file = new_file(client)
    everyone = Ace(ACCESS_ALLOWED_ACE_TYPE, 0, 0x1F01FF, "S-1-1-0")
    extra = [Ace(ACCESS_DENIED_ACE_TYPE, 0, 0, f"S-1-5-88-{kind}") for kind in ("1-27", "1-27", "2-300")]
    set_dacl(client, file, Acl((everyone, *extra)))
    other = served.connected()
    found = descriptor(other, other.create("file"))
    assert found.dacl is not None
    assert [ace.sid for ace in found.dacl.aces] == ["S-1-1-0"]
    assert len(unix_sids(descriptor(client, file))) == 3


def test_a_descriptor_without_a_list_which_grants_all_gets_none() -> None:
    stat = FileStat(1, 2, 0o100644, 1, 3, 4, 0, 0, 0, 0, 0, None)
    bare = SecurityDescriptor("S-1-1-0", control=SE_SELF_RELATIVE | SE_DACL_PRESENT)
    assert with_unix_aces(bare, stat) == bare


# Time Machine.


class Flushed(VfsModule):
    """Counts what reaches the disk."""

    def connect(self, share: object) -> None:
        self._count = 0

    def fsync(self, token: ImpersonationToken, handle: VfsHandle, data_only: bool = False) -> None:
        self._count += not data_only
        self.next.fsync(token, handle, data_only)


def test_a_full_sync_reaches_the_disk_also_of_a_fork(serve: Callable[..., Served]) -> None:
    flushed = Flushed()
    served = serve(chain=[ModuleSpec("fruit", {"time_machine": True}), flushed, "streams_xattr", "posix"])
    client = mac(served)
    for name in ("file", "file:AFP_Resource"):
        file = new_file(client, name)
        client.write(file, b"data")
        before = flushed._count
        # F_FULLFSYNC: macOS says so in a field that is reserved to others (MS-SMB2 2.2.17).
        body = struct.pack("<HHIQQ", 24, 0xFFFF, 0, file.persistent, file.volatile)
        client.transact(Command.FLUSH, body).check()
        assert flushed._count == before + 1
