"""What a server must survive: clients that vanish, its own sudden death, and two people at a time."""

import os
import random
import stat
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import smbclient
from smbprotocol.exceptions import SMBOSError

from tests.clients.test_smbprotocol import Session
from tests.support.breakoff import POINTS, Caller
from tests.support.processes import (
    Folder,
    Layout,
    ServerProcess,
    owned_folder,
    server_kind,
    serving,
    shared_scratch,
    start_lamina,
    start_smbd,
    two_users,
)
from tests.support.smbclient import SmbClient

only_lamina = pytest.mark.skipif(server_kind() != "lamina", reason="asks Lamina's process about itself")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="two users need a server that may take on both: run as root")

PATIENCE = 30.0
"""Seconds until a server must have noticed that its clients are gone, on a loaded machine."""


@pytest.fixture
def fresh_server() -> Iterator[ServerProcess]:
    """A server for one test alone, whose counts nobody else changes; its share is open to all users."""
    users = two_users()
    with shared_scratch() as scratch:
        folder = owned_folder(scratch / "share", users[0])
        folder.chmod(0o777)
        shares = {"share": Folder(str(folder), settings={"vfs objects": ""})}  # smbd: only POSIX permissions count
        with serving(Layout(shares, users), scratch / "state") as running:
            yield running


def settled(server: ServerProcess, wanted: dict[str, int]) -> dict[str, int]:
    """The server's counts as soon as they are no more than `wanted`, or those after `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    counts = server.ask("statistics")
    while any(counts[name] > limit for name, limit in wanted.items()) and time.monotonic() < deadline:
        time.sleep(0.05)  # the server is another process: there is nothing to wait on
        counts = server.ask("statistics")
    return counts


def break_off(server: ServerProcess, point: str, folder: str) -> None:
    caller = Caller(server, folder)
    try:
        POINTS[point](caller)
    finally:
        caller.drop()


@pytest.mark.parametrize("point", POINTS)
def test_a_client_that_vanishes_hinders_nobody(server, place, point):
    break_off(server, point, place.name)
    SmbClient(server, directory=place.name).do("ls").check()


@only_lamina
@pytest.mark.slow
def test_two_hundred_vanished_clients_leave_nothing_behind(fresh_server):
    owned_folder(fresh_server.folder() / "place", fresh_server.user)
    for point in POINTS:
        break_off(fresh_server, point, "place")
    before = settled(fresh_server, {"connections": 0, "tasks": 2})
    assert before["connections"] == 0
    chance = random.Random(7)
    points = [chance.choice(list(POINTS)) for _ in range(200)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda point: break_off(fresh_server, point, "place"), points))
    after = settled(fresh_server, before)
    assert {name: after[name] - before[name] for name in before if after[name] > before[name]} == {}, fresh_server.ask(
        "explain"
    )


@pytest.mark.parametrize("point", ["open file", "half a write", "parked lock"])
def test_what_a_vanished_client_held_is_free_again(server, place, point):
    break_off(server, point, place.name)
    client = SmbClient(server, directory=place.name)
    (name,) = os.listdir(place)
    deadline = time.monotonic() + PATIENCE
    while client.do(f"del {name}").output and os.listdir(place) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert os.listdir(place) == []


def test_after_a_kill_it_starts_again_and_what_was_flushed_is_there():
    users = two_users()
    start = start_smbd if server_kind() == "smbd" else start_lamina
    with shared_scratch() as scratch:
        folder = owned_folder(scratch / "share", users[0])
        state = scratch / "state"
        state.mkdir()
        layout = Layout({"share": Folder(str(folder))}, users)
        first = start(layout, state)
        caller = Caller(first, "place")
        owned_folder(folder / "place", users[0])
        opened = caller.file("kept")
        opened.write(b"acknowledged", 0)
        opened.flush()
        first.kill()
        caller.drop()
        second = start(layout, state, first.port)
        try:
            session = Session(second, "share", second.user, encrypt=False)
            assert session.read(session.path("place", "kept")) == b"acknowledged"
            session.write(session.path("place", "kept"), b"and written again")
            smbclient.remove(session.path("place", "kept"), **session.options)
            session.close()
            assert os.listdir(folder) == ["place"]
            assert os.listdir(folder / "place") == []
        finally:
            second.stop()


@only_lamina
def test_repeated_kills_leave_no_litter_in_the_share_or_beside_it():
    users = two_users()
    with shared_scratch() as scratch:
        folder = owned_folder(scratch / "share", users[0])
        state = scratch / "state"
        state.mkdir()
        for _ in range(3):
            server = start_lamina(Layout({"share": Folder(str(folder))}, users), state)
            caller = Caller(server, "")
            caller.tree()
            server.kill()
            caller.drop()
        assert os.listdir(state) == ["lamina.log"]
        assert os.listdir(folder) == []


@pytest.fixture
def both(fresh_server: ServerProcess) -> Iterator[tuple[Session, Session]]:
    """A session of each of the two users."""
    sessions = [Session(fresh_server, "share", user, encrypt=False) for user in fresh_server.layout.users]
    yield sessions[0], sessions[1]
    for session in sessions:
        session.close()


@needs_root
def test_files_carry_the_owner_who_made_them(fresh_server, both):
    for session, user in zip(both, fresh_server.layout.users, strict=True):
        session.write(session.path(f"of-{user.name}"), b"")
        smbclient.mkdir(session.path(f"folder-of-{user.name}"), **session.options)
        for name in (f"of-{user.name}", f"folder-of-{user.name}"):
            status = (fresh_server.folder() / name).stat()
            assert (status.st_uid, status.st_gid) == (user.uid, user.gid)


@needs_root
def test_a_thousand_interleaved_requests_never_see_the_other_ones_secret(fresh_server, both):
    folder = fresh_server.folder()
    for session, user in zip(both, fresh_server.layout.users, strict=True):
        session.write(session.path(f"secret-{user.name}"), user.name.encode() * 100)
        (folder / f"secret-{user.name}").chmod(stat.S_IRUSR | stat.S_IWUSR)
        owned_folder(folder / f"home-{user.name}", user).chmod(0o700)

    def request(number: int) -> str:
        mine, other = number % 2, 1 - number % 2
        session, me = both[mine], fresh_server.layout.users[mine]
        them = fresh_server.layout.users[other]
        return _one_request(session, me.name, them.name, number)

    with ThreadPoolExecutor(8) as pool:
        wrong = [answer for answer in pool.map(request, range(1000)) if answer]
    assert wrong == []
    for user in fresh_server.layout.users:
        owners = {path.stat().st_uid for path in (folder / f"home-{user.name}").iterdir()}
        assert owners == {user.uid}


def _one_request(session: Session, me: str, them: str, number: int) -> str:
    """What went wrong in one of four kinds of request; empty where all is well."""
    kind = (number // 2) % 4
    if kind == 0:
        data = session.read(session.path(f"secret-{me}"))
        return "" if data == me.encode() * 100 else f"{me} read {data[:20]!r} for their own secret"
    if kind == 1:
        session.write(session.path(f"home-{me}", uuid.uuid4().hex), b"mine")
        return ""
    try:
        if kind == 2:
            session.read(session.path(f"secret-{them}"))
        else:
            smbclient.listdir(session.path(f"home-{them}"), **session.options)
    except SMBOSError as error:
        return "" if error.ntstatus == 0xC0000022 else f"{me} was told {error} instead of ACCESS_DENIED"
    return f"{me} could read what is {them}'s"


@needs_root
def test_the_other_user_cannot_write_into_a_private_folder(fresh_server, both):
    folder = fresh_server.folder()
    private = owned_folder(folder / "private", fresh_server.user)
    private.chmod(0o700)
    with pytest.raises(SMBOSError):
        both[1].write(both[1].path("private", "intruder"), b"x")
    assert list(Path(private).iterdir()) == []
