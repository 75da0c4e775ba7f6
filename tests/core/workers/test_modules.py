"""What stock modules do for clients of two workers is what they do for those of one process."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lamina.ntfsa.constants import FILE_DELETE_ON_CLOSE
from lamina.ntfsa.status import NtStatus as S
from lamina.vfs_modules.stock.auditing.hash_chain import verify
from tests.core.workers.test_two_workers import refused, rename
from tests.support.crew import SECONDS, Crew
from tests.support.processes import (
    Folder,
    Layout,
    ServerProcess,
    empty,
    owned_folder,
    serving,
    shared_scratch,
    two_users,
)
from tests.support.served import GENERIC_ALL, new_file
from tests.support.wire_client import WireClient

FILE_INFO, ALTERNATE_NAME = 1, 21
READ_DATA = 0x1
LABEL = "2026.01.02-03.04.05"

CHAINS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "share": [("audit", {"success": ["all"], "failure": ["all"]}), ("posix", {})],
    "recycle": [("recycle", {"repository": ".bin", "quota": 150}), ("dos_attributes", {}), ("posix", {})],
    "versions": [("recycle", {"repository": ".bin"}), ("dos_attributes", {}), ("posix", {})],
    "fruit": [("fruit", {}), ("streams_xattr", {}), ("dos_attributes", {}), ("posix", {})],
    "depot": [("streams_depot", {"check_valid": False}), ("dos_attributes", {}), ("posix", {})],
    "rate": [("rate_limit", {"share_operations": 1, "burst": 3600}), ("posix", {})],
    "worm": [("worm", {"grace_period": 0}), ("dos_attributes", {}), ("posix", {})],
    "quota": [("quota", {"default_user": 1000}), ("posix", {})],
    "short": [("short_names", {}), ("dos_attributes", {}), ("posix", {})],
    "snapshots": [("shadow_copy", {"format": "%Y.%m.%d-%H.%M.%S"}), ("posix", {})],
}


@pytest.fixture(scope="session")
def _with_modules() -> Iterator[ServerProcess]:
    with shared_scratch() as scratch:
        users = two_users("lamina")
        shares = {}
        for name, chain in CHAINS.items():
            folder = owned_folder(scratch / name, users[0])
            file = {"file": str(scratch / "audit.log")}
            modules = [(module, {**options, **file} if module == "audit" else options) for module, options in chain]
            shares[name] = Folder(str(folder), chain=modules)
        with serving(Layout(shares, users, workers=2), scratch / "state", "lamina") as server:
            yield server


@pytest.fixture
def crew(_with_modules: ServerProcess) -> Iterator[Crew]:
    made = Crew(_with_modules)
    yield made
    made.disconnect()
    for share in CHAINS:
        empty(_with_modules.folder(share))


def in_each(crew: Crew, share: str) -> tuple[WireClient, WireClient]:
    pair = crew.in_each()
    for client in pair:
        client.tree_connect(share)
    return pair


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what a thread, or work in the background, comes to."""
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        os.sched_yield()


def put(client: WireClient, name: str, data: bytes) -> None:
    file = new_file(client, name)
    client.write(file, data)
    client.close(file)


def delete(client: WireClient, name: str) -> None:
    client.close(client.create(name, access=GENERIC_ALL, options=FILE_DELETE_ON_CLOSE))


def read(client: WireClient, name: str, access: int = GENERIC_ALL) -> bytes:
    file = client.create(name, access=access)
    try:
        return client.read(file, 1000)
    finally:
        client.close(file)


def test_audit_has_one_file_with_one_chain_of_what_all_have_done(crew: Crew) -> None:
    one, other = in_each(crew, "share")
    names = {f"{who}{number}" for number in range(10) for who in ("one", "other")}
    for number in range(10):
        put(one, f"one{number}", b"1")
        put(other, f"other{number}", b"2")
    log = Path(crew.folder).parent / "audit.log"

    def told() -> set[str]:
        records = map(json.loads, log.read_bytes().split(b"\n")[:-1])
        return {record["path"] for record in records if record.get("operation") == "open"}

    until(lambda: names <= told())
    verdict = verify(log.read_bytes().split(b"\n")[:-1])
    assert (verdict.problems, verdict.first, verdict.last) == ([], 1, verdict.records)


def bin_of(crew: Crew, share: str) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in (crew.server.folder(share) / ".bin").glob("*")}


def test_recycle_keeps_what_each_deletes_or_replaces_side_by_side(crew: Crew) -> None:
    one, other = in_each(crew, "versions")
    for client, data in ((one, b"1"), (other, b"22"), (one, b"333")):
        put(client, "file", data)
        delete(client, "file")
    put(one, "file", b"4444")
    put(other, "new", b"5")
    new = other.create("new", access=GENERIC_ALL)
    rename(other, new, "file", replace=True)
    other.close(new)
    assert sorted(bin_of(crew, "versions").values()) == [1, 2, 3, 4]
    assert read(one, "file") == b"5"


def test_the_size_of_a_bin_is_that_of_what_all_have_put_into_it(crew: Crew) -> None:
    one, other = in_each(crew, "recycle")
    for number, client in enumerate((one, other, one, other, one)):
        put(client, f"file{number}", bytes(60))
        delete(client, f"file{number}")
        until(lambda: sum(bin_of(crew, "recycle").values()) <= 150)
    until(lambda: set(bin_of(crew, "recycle")) == {"file3", "file4"})


@pytest.mark.parametrize("share", ["fruit", "depot"])
def test_a_stream_is_written_to_by_both(crew: Crew, share: str) -> None:
    one, other = in_each(crew, share)
    put(one, "file", b"data")
    for stream in ("file:stream", "file:AFP_Resource"):
        mine = new_file(one, stream)
        theirs = new_file(other, stream)
        for number in range(10):
            one.write(mine, b"1", 2 * number)
            other.write(theirs, b"2", 2 * number + 1)
        assert one.read(mine, 99) == other.read(theirs, 99) == b"12" * 10
        one.close(mine)
        other.close(theirs)
    moved = other.create("file", access=GENERIC_ALL)
    rename(other, moved, "moved")
    other.close(moved)
    assert read(one, "moved:AFP_Resource") == b"12" * 10
    put(one, "file", b"another")
    refused(S.OBJECT_NAME_NOT_FOUND, read, other, "file:stream")


def test_streams_of_a_file_that_went_are_not_those_of_the_next(crew: Crew) -> None:
    one, other = in_each(crew, "depot")
    for number in range(10):
        put(one, f"file{number}", b"data")
        refused(S.OBJECT_NAME_NOT_FOUND, read, one, f"file{number}:stream")
        put(one, f"file{number}:stream", b"secret")
        delete(other, f"file{number}")


def test_who_saves_up_saves_for_all(crew: Crew) -> None:
    one, other = in_each(crew, "rate")
    put(one, "file", b"data")
    assert read(other, "file") == b"data"


def test_what_is_written_once_is_so_for_all(crew: Crew) -> None:
    one, other = in_each(crew, "worm")
    (crew.server.folder("worm") / "file").write_bytes(b"written")
    for client in (one, other):
        refused(S.ACCESS_DENIED, client.create, "file", access=GENERIC_ALL)
        assert read(client, "file", READ_DATA) == b"written"


def alternate_name(client: WireClient, name: str) -> str:
    file = client.create(name, access=0x80)
    found = client.query_info(file, FILE_INFO, ALTERNATE_NAME)[4:].decode("utf-16-le")
    client.close(file)
    return found


def test_a_short_name_is_the_same_for_all_and_found_by_all(crew: Crew) -> None:
    one, other = in_each(crew, "short")
    put(one, "a long name.text", b"found")
    short = alternate_name(one, "a long name.text")
    assert alternate_name(other, "a long name.text") == short
    assert read(other, short) == b"found"


def test_a_limit_is_on_what_a_user_has_through_all(crew: Crew) -> None:
    one, other = in_each(crew, "quota")
    put(one, "one", bytes(600))
    put(other, "other", bytes(300))
    refused(S.DISK_FULL, put, one, "more", bytes(200))
    delete(other, "one")
    put(one, "more", bytes(200))
    refused(S.DISK_FULL, put, other, "again", bytes(600))


def test_a_snapshot_that_is_made_is_there_for_all(crew: Crew) -> None:
    one, other = in_each(crew, "snapshots")
    snapshot = crew.server.folder("snapshots") / ".snapshots" / LABEL
    for client in (one, other):
        refused(S.OBJECT_PATH_NOT_FOUND, read, client, f"@GMT-{LABEL}\\file")
    snapshot.mkdir(parents=True)
    (snapshot / "file").write_bytes(b"as it was")
    for client in (one, other):
        assert read(client, f"@GMT-{LABEL}\\file", READ_DATA) == b"as it was"
