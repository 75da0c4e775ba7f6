"""Quotas over the wire (MS-SMB2 3.3.5.20.4 Handling SMB2_0_INFO_QUOTA, 2.2.37.1), and who may see and set them."""

import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lamina.core.plan import ShareSpec
from lamina.core.wire.query_info import QuotaQuery, encode_quota_query
from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.quota_information import MOST_ENTRIES
from lamina.ntfsa.metadata import quota
from lamina.ntfsa.security.sid import pack_sid, parse_sid
from lamina.ntfsa.status import NtStatus
from lamina.vfs_modules.quotas import Quota, QuotaKind
from lamina.vfs_modules.stock.quota import QuotaModule, QuotaOptions
from tests.support.quota_table import QuotaTable
from tests.support.served import GENERIC_ALL, PASSWORD, SECOND_PASSWORD, SECOND_USER, USER, Served, new_file
from tests.support.wire_client import Open, StatusError, WireClient

MIB = 1 << 20
UNLIMITED = -1
QUOTA_FILE = "$Extend\\$Quota:$Q:$INDEX_ALLOCATION"
ADMINISTRATORS = "S-1-5-32-544"
ENTRIES = (
    Quota(QuotaKind.USER, 0, 3 * MIB),
    Quota(QuotaKind.USER, 1234, 1 * MIB, 2 * MIB, 4 * MIB),
    Quota(QuotaKind.USER, 4321, 0, None, 5 * MIB),
    Quota(QuotaKind.GROUP, 55, 7 * MIB, None, None),
)


class Quotas:
    """A server with quotas, and what its clients ask."""

    def __init__(self, served: Served, table: QuotaTable) -> None:
        self.served = served
        self.table = table

    def client(self, second: bool = False) -> WireClient:
        user, password = (SECOND_USER, SECOND_PASSWORD) if second else (USER, PASSWORD)
        client = self.served.logged_on(user=user, password=password)
        client.tree_connect("data")
        return client


def replace_token(served: Served, user: str, **changes: Any) -> None:
    """Let a user be somebody else from the next tree connect on."""
    for session in served.core.sessions.values():
        if session.token.user_name == user:
            session.token = replace(session.token, **changes)


@pytest.fixture
def quotas(serve: Callable[..., Served], tmp_path: Path) -> Quotas:
    table = QuotaTable(*ENTRIES)
    folder = tmp_path / "counted"
    folder.mkdir()
    return Quotas(serve(shares={"data": ShareSpec(folder, chain=(table, "dos_attributes", "posix"))}), table)


def wanted(*sids: str) -> bytes:
    """A list of FILE_GET_QUOTA_INFORMATION."""
    packed = b""
    for index, sid in enumerate(sids):
        entry = struct.pack("<II", 0, len(pack_sid(sid))) + pack_sid(sid)
        entry += bytes(-len(entry) % 8)
        packed += entry if index == len(sids) - 1 else struct.pack("<I", len(entry)) + entry[4:]
    return packed


def setting(sid: str, threshold: int, limit: int) -> bytes:
    packed = pack_sid(sid)
    return struct.pack("<IIQqqq", 0, len(packed), 0, 0, threshold, limit) + packed


def query(client: WireClient, file: Open, asked: QuotaQuery, room: int = 65536) -> list[tuple[str, int, int, int]]:
    data = client.query_info(file, 4, 0, data=encode_quota_query(asked), max_length=room)
    found = []
    while data:
        following, length, _, used, threshold, limit = struct.unpack_from("<IIQqqq", data)
        found.append((parse_sid(data[40 : 40 + length]), used, threshold, limit))
        data = data[following:] if following else b""
    return found


def status_of(call: Callable[[], object]) -> NtStatus:
    with pytest.raises(StatusError) as caught:
        call()
    return NtStatus(caught.value.status)


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="its user administers the server: run as root")
ALL = QuotaQuery(False, True)


@AS_ROOT
class TestAdministrators:
    """They see and set all of them."""

    def test_all_are_listed(self, quotas: Quotas) -> None:
        client = quotas.client()
        found = query(client, client.create(QUOTA_FILE), ALL)
        assert found[1:] == [
            ("S-1-22-1-1234", MIB, 2 * MIB, 4 * MIB),
            ("S-1-22-1-4321", 0, UNLIMITED, 5 * MIB),
            ("S-1-22-2-55", 7 * MIB, UNLIMITED, UNLIMITED),
        ]
        assert found[0][1] == 3 * MIB

    def test_they_come_one_by_one_and_end(self, quotas: Quotas) -> None:
        client = quotas.client()
        file = client.create(QUOTA_FILE)
        found = [query(client, file, QuotaQuery(True, True))[0]]
        found += [query(client, file, QuotaQuery(True, False))[0] for _ in range(3)]
        assert found == query(client, file, ALL)
        assert status_of(lambda: query(client, file, QuotaQuery(False, False))) is NtStatus.NO_MORE_ENTRIES

    @pytest.mark.parametrize("room", [70, 150])
    def test_as_many_come_as_there_is_room_for(self, quotas: Quotas, room: int) -> None:
        client = quotas.client()
        file = client.create("")
        found = query(client, file, QuotaQuery(False, True), room)
        while len(found) < len(ENTRIES):
            found += query(client, file, QuotaQuery(False, False), room)
        assert found == query(client, file, ALL)
        assert status_of(lambda: query(client, file, ALL, 50)) is NtStatus.BUFFER_TOO_SMALL

    def test_a_list_begins_with_the_sid_that_is_named(self, quotas: Quotas) -> None:
        client = quotas.client()
        file = client.create("")
        started = query(client, file, QuotaQuery(False, True, b"", pack_sid("S-1-22-1-4321")))
        assert [entry[0] for entry in started] == ["S-1-22-1-4321", "S-1-22-2-55"]
        stranger = QuotaQuery(False, True, b"", pack_sid("S-1-5-21-1-2-3-4"))
        assert status_of(lambda: query(client, file, stranger)) is NtStatus.NO_MORE_ENTRIES

    def test_some_are_asked_for_by_name(self, quotas: Quotas) -> None:
        client = quotas.client()
        sids = ("S-1-22-2-55", "S-1-22-1-1234", "S-1-22-1-9", "S-1-5-21-1-2-3-4")
        found = query(client, client.create(""), QuotaQuery(False, True, wanted(*sids)))
        assert [entry[:2] for entry in found] == [(sids[0], 7 * MIB), (sids[1], MIB), (sids[2], 0), (sids[3], 0)]

    def test_who_names_too_many_is_refused_before_the_file_system_is_asked(self, quotas: Quotas) -> None:
        client = quotas.client()
        file, before = client.create(""), quotas.table.asked
        many = QuotaQuery(False, True, wanted(*["S-1-22-1-1234"] * (MOST_ENTRIES + 1)))
        assert status_of(lambda: query(client, file, many, MIB)) is NtStatus.INVALID_PARAMETER
        assert quotas.table.asked == before

    def test_the_file_system_is_asked_for_no_more_than_there_is_room_for(self, quotas: Quotas) -> None:
        client = quotas.client()
        file, before = client.create(""), quotas.table.asked
        many = QuotaQuery(False, True, wanted(*["S-1-22-1-1234"] * 1000))
        assert status_of(lambda: query(client, file, many, 150)) is NtStatus.BUFFER_TOO_SMALL
        assert quotas.table.asked - before == 3

    def test_others_are_served_while_many_are_looked_for(self, quotas: Quotas, monkeypatch: pytest.MonkeyPatch) -> None:
        turns: list[None] = []
        monkeypatch.setattr(quota, "breathe", lambda: turns.append(None))
        client = quotas.client()
        many = QuotaQuery(False, True, wanted(*["S-1-22-1-1234"] * MOST_ENTRIES))
        assert len(query(client, client.create(""), many, MIB)) == MOST_ENTRIES
        assert len(turns) == MOST_ENTRIES // 64 - 1

    def test_limits_are_set(self, quotas: Quotas) -> None:
        client = quotas.client()
        file = client.create(QUOTA_FILE)
        client.set_info(file, 4, 0, setting("S-1-22-1-1234", UNLIMITED, 9 * MIB))
        client.set_info(file, 4, 0, setting("S-1-22-2-77", 5, 0))
        assert quotas.table.entries[QuotaKind.USER, 1234] == Quota(QuotaKind.USER, 1234, MIB, None, 9 * MIB)
        assert quotas.table.entries[QuotaKind.GROUP, 77][2:] == (0, 1024, 1024)
        client.set_info(file, 4, 0, setting("S-1-22-1-1234", -2, -2))
        assert quotas.table.entries[QuotaKind.USER, 1234][3:] == (None, None)
        refused = status_of(lambda: client.set_info(file, 4, 0, setting("S-1-5-21-1-2-3-4", 5, 5)))
        assert refused is NtStatus.INVALID_SID

    def test_who_is_over_it_is_told_of_a_full_disk(self, quotas: Quotas) -> None:
        client = quotas.client()
        client.set_info(client.create(QUOTA_FILE), 4, 0, setting("S-1-22-1-0", UNLIMITED, 4 * MIB))
        file = new_file(client)
        client.write(file, bytes(MIB))
        assert status_of(lambda: client.write(file, b"x")) is NtStatus.DISK_FULL

    def test_the_volume_is_as_large_as_the_users_quota(self, quotas: Quotas) -> None:
        quotas.table.entries[QuotaKind.USER, 0] = Quota(QuotaKind.USER, 0, MIB, None, 4 * MIB)
        client = quotas.client()
        total, available, sectors, unit = struct.unpack("<QQII", client.query_info(client.create(""), 2, 3))
        assert (total * sectors * unit, available * sectors * unit) == (4 * MIB, 3 * MIB)


@AS_ROOT
@pytest.mark.skipif(shutil.which("smbcquotas") is None, reason="apt install smbclient")
def test_smbcquotas(serve: Callable[..., Served], tmp_path: Path) -> None:
    table = QuotaTable(*ENTRIES)
    run = _smbcquotas(serve, tmp_path, table, "dos_attributes", "posix")
    # Listing them all is not tried: it looks up the name of its own user first, with lsarpc.
    assert str(4 * MIB) in run("-u", "S-1-22-1-1234").replace(",", "")
    run("-S", f"UQLIM:S-1-22-1-1234:{MIB}/{3 * MIB}")
    assert table.entries[QuotaKind.USER, 1234][3:] == (MIB, 3 * MIB)
    assert "Quotas" in run("-F")


@AS_ROOT
@pytest.mark.skipif(shutil.which("smbcquotas") is None, reason="apt install smbclient")
def test_smbcquotas_of_what_a_module_counts(serve: Callable[..., Served], tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    (share / "file").write_bytes(bytes(3 * MIB))
    os.chown(share / "file", 1234, 1234)
    module = QuotaModule(QuotaOptions(default_user=5 * MIB))
    run = _smbcquotas(serve, share, "dos_attributes", module, "posix")
    told = run("-u", "S-1-22-1-1234").replace(",", "")
    assert str(3 * MIB) in told
    assert str(5 * MIB) in told
    run("-S", f"UQLIM:S-1-22-1-1234:{MIB}/{4 * MIB}")
    assert str(4 * MIB) in run("-u", "S-1-22-1-1234").replace(",", "")


def _smbcquotas(serve: Callable[..., Served], folder: Path, *chain: Any) -> Callable[..., str]:
    # It knows no other port than 445: an address of the loopback network that nobody else has.
    address = "127.{}.{}.{}".format(*(1 + byte % 254 for byte in os.getpid().to_bytes(3, "big")))
    serve(shares={"data": ShareSpec(folder, chain=chain)}, address=address, port=445)

    def run(*arguments: str) -> str:
        settings = f"--option=private dir={folder}", f"--option=lock directory={folder}"
        done = subprocess.run(
            ["smbcquotas", f"//{address}/data", "-n", "-v", f"-U{USER}%{PASSWORD}", *settings, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


class TestOthers:
    """They learn of themselves and their groups, and change nothing."""

    @pytest.fixture
    def client(self, quotas: Quotas) -> WireClient:
        """A client whose user is nobody special."""
        client = quotas.served.logged_on(user=SECOND_USER, password=SECOND_PASSWORD)
        changes = {"uid": 1234, "gid": 55, "groups": (), "group_sids": frozenset({"S-1-1-0"})}
        quotas.served.call(lambda: replace_token(quotas.served, SECOND_USER, **changes))
        client.tree_connect("data")
        return client

    def test_only_his_own_are_listed(self, client: WireClient) -> None:
        found = query(client, client.create(QUOTA_FILE), ALL)
        assert [entry[1] for entry in found] == [MIB, 7 * MIB]

    def test_others_are_not_told_of(self, client: WireClient) -> None:
        file = client.create("")
        assert query(client, file, QuotaQuery(False, True, wanted("S-1-22-1-1234", "S-1-22-2-55")))
        for sids in (("S-1-22-1-4321",), ("S-1-22-1-1234", "S-1-22-1-4321"), ("S-1-5-21-1-2-3-4",)):
            asked = QuotaQuery(False, True, wanted(*sids))
            assert status_of(lambda asked=asked: query(client, file, asked)) is NtStatus.ACCESS_DENIED

    def test_nothing_is_set(self, client: WireClient, quotas: Quotas) -> None:
        file = client.create(QUOTA_FILE)
        refused = status_of(lambda: client.set_info(file, 4, 0, setting("S-1-22-1-1234", 5, MIB)))
        assert refused is NtStatus.ACCESS_DENIED
        assert quotas.table.entries[QuotaKind.USER, 1234] == ENTRIES[1]


class TestVolumes:
    """What a volume says of its quotas."""

    def test_one_with_quotas_says_so(self, quotas: Quotas) -> None:
        client = quotas.client()
        root = client.create("")
        attributes = struct.unpack_from("<I", client.query_info(root, 2, 5))[0]
        assert attributes & c.FILE_VOLUME_QUOTAS
        assert struct.unpack("<5QI4x", client.query_info(root, 2, 6))[3:] == (2**64 - 1, 2**64 - 1, 2)

    def test_one_without_has_none(self, client: WireClient) -> None:
        root = client.create("")
        if struct.unpack_from("<I", client.query_info(root, 2, 5))[0] & c.FILE_VOLUME_QUOTAS:
            pytest.skip("the file system beneath the tests has quotas")
        asked = encode_quota_query(ALL)
        assert status_of(lambda: client.query_info(root, 4, 0, data=asked)) is NtStatus.NOT_SUPPORTED
        assert status_of(lambda: client.set_info(root, 4, 0, setting("S-1-1-0", 1, 1))) is NtStatus.NOT_SUPPORTED
        assert status_of(lambda: client.create(QUOTA_FILE)) is NtStatus.OBJECT_NAME_INVALID

    def test_nobody_makes_the_file_of_quotas(self, quotas: Quotas) -> None:
        client = quotas.client()
        for disposition in (2, 4, 5, 0):
            refused = status_of(
                lambda disposition=disposition: client.create(QUOTA_FILE, access=GENERIC_ALL, disposition=disposition)
            )
            assert refused is NtStatus.ACCESS_DENIED

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"x" * 15,
            struct.pack("<BB2xIII", 0, 1, 500, 0, 0),
            struct.pack("<BB2xIII", 0, 1, 0, 12, 90),
            struct.pack("<BB2xIII", 0, 1, 8, 0, 0) + struct.pack("<II", 0, 12),
            struct.pack("<BB2xIII", 0, 1, 24, 0, 0) + struct.pack("<II", 4, 16) + bytes(16),
            struct.pack("<BB2xIII", 0, 1, 20, 0, 0) + struct.pack("<II", 0, 12) + b"\1\xff" + bytes(10),
        ],
        ids=len,
    )
    def test_malformed_queries(self, quotas: Quotas, data: bytes) -> None:
        client = quotas.client()
        root = client.create("")
        refused = status_of(lambda: client.query_info(root, 4, 0, data=data))
        assert refused in {NtStatus.INVALID_PARAMETER, NtStatus.INVALID_SID}

    @pytest.mark.parametrize(
        "data", [b"", bytes(39), setting("S-1-1-0", -3, 5), setting("S-1-1-0", 5, 5)[:-1]], ids=len
    )
    def test_malformed_settings(self, quotas: Quotas, data: bytes) -> None:
        client = quotas.client()
        root = client.create("")
        refused = status_of(lambda: client.set_info(root, 4, 0, data))
        assert refused in {NtStatus.INVALID_PARAMETER, NtStatus.INVALID_SID, NtStatus.ACCESS_DENIED}
