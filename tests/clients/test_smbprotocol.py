"""smbprotocol's own high-level interface, `smbclient`, against a server: what a Python program would do."""

import random
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import smbclient
import smbclient.path
from smbprotocol.change_notify import ChangeNotifyFlags, CompletionFilter, FileAction, FileSystemWatcher
from smbprotocol.exceptions import LogonFailure, SMBOSError, SMBResponseException

from tests.support.processes import ServerProcess, User, give_to


class Session:
    """A connection of its own with the helpers' arguments filled in; `path` gives the UNC path of a name."""

    def __init__(self, server: ServerProcess, share: str, user: User, encrypt: bool) -> None:
        self.root = rf"\\{server.host}\{share}"
        self.cache: dict[str, object] = {}
        self.options = {"port": server.port, "connection_cache": self.cache}
        smbclient.register_session(
            server.host,
            username=user.name,
            password=user.password,
            encrypt=encrypt,
            auth_protocol="ntlm",
            **self.options,
        )

    def path(self, *names: str) -> str:
        return "\\".join([self.root, *names])

    def open(self, path: str, mode: str = "r", **arguments: object):
        return smbclient.open_file(path, mode=mode, share_access="rwd", **arguments, **self.options)

    def write(self, path: str, data: bytes) -> None:
        with self.open(path, "wb") as file:
            file.write(data)

    def read(self, path: str) -> bytes:
        with self.open(path, "rb") as file:
            return file.read()

    def close(self) -> None:
        smbclient.reset_connection_cache(connection_cache=self.cache, fail_on_error=False)


@pytest.fixture(params=["signed", "encrypted"])
def session(server: ServerProcess, request: pytest.FixtureRequest) -> Iterator[Session]:
    connected = Session(server, "share", server.user, encrypt=request.param == "encrypted")
    yield connected
    connected.close()


@pytest.fixture
def here(session: Session, place: Path) -> str:
    """The UNC path of this test's own folder."""
    return session.path(place.name)


def test_what_is_written_is_read(session, here, place):
    session.write(rf"{here}\file.bin", bytes(range(256)) * 1000)
    assert session.read(rf"{here}\file.bin") == bytes(range(256)) * 1000
    assert (place / "file.bin").read_bytes() == bytes(range(256)) * 1000


def test_text_is_appended_and_read_line_by_line(session, here):
    for line in ("first\n", "zweite Zeile – ü\n"):
        with session.open(rf"{here}\log.txt", "a", encoding="utf-8") as file:
            file.write(line)
    with session.open(rf"{here}\log.txt", encoding="utf-8") as file:
        assert list(file) == ["first\n", "zweite Zeile – ü\n"]


def test_seek_and_truncate(session, here, place):
    with session.open(rf"{here}\file", "wb+") as file:
        file.write(bytes(10_000))
        file.seek(5_000)
        file.write(b"middle")
        file.truncate(5_006)
    assert (place / "file").read_bytes() == bytes(5_000) + b"middle"


def test_exclusive_creation_fails_where_the_name_is_taken(session, here):
    session.write(rf"{here}\taken", b"")
    with pytest.raises(SMBOSError, match="File exists"):
        session.open(rf"{here}\taken", "xb")


def test_a_missing_file_is_reported_as_missing(session, here):
    with pytest.raises(SMBOSError, match="No such file"):
        session.open(rf"{here}\missing", "rb")


def test_listdir_and_scandir_agree(server, session, here, place):
    for name in ("a", "b", "c.txt"):
        (place / name).write_bytes(name.encode() * 10)
    (place / "folder").mkdir()
    give_to(place, server.user)
    entries = {entry.name: entry for entry in smbclient.scandir(here, **session.options)}
    assert set(smbclient.listdir(here, **session.options)) == {"a", "b", "c.txt", "folder"} == set(entries)
    assert entries["folder"].is_dir()
    assert entries["c.txt"].is_file()
    assert entries["c.txt"].smb_info.end_of_file == 50


def test_listdir_takes_a_pattern(session, here, place):
    for name in ("one.txt", "two.txt", "three.doc"):
        (place / name).touch()
    assert set(smbclient.listdir(here, search_pattern="*.txt", **session.options)) == {"one.txt", "two.txt"}


def test_stat_tells_size_and_time(session, here, place):
    session.write(rf"{here}\file", bytes(777))
    status = smbclient.stat(rf"{here}\file", **session.options)
    real = (place / "file").stat()
    assert status.st_size == 777
    assert abs(status.st_mtime_ns - real.st_mtime_ns) < 1_000
    assert smbclient.path.isfile(rf"{here}\file", **session.options)
    assert smbclient.path.isdir(here, **session.options)
    assert not smbclient.path.exists(rf"{here}\other", **session.options)


def test_utime_sets_what_stat_tells(session, here):
    session.write(rf"{here}\file", b"")
    smbclient.utime(rf"{here}\file", times=(1_000_000_000, 1_100_000_000), **session.options)
    status = smbclient.stat(rf"{here}\file", **session.options)
    assert (int(status.st_atime), int(status.st_mtime)) == (1_000_000_000, 1_100_000_000)


def test_makedirs_walk_and_removedirs(session, here, place):
    smbclient.makedirs(rf"{here}\x\y\z", **session.options)
    session.write(rf"{here}\x\y\file", b"1")
    walked = [(top.removeprefix(here), dirs, files) for top, dirs, files in smbclient.walk(here, **session.options)]
    assert walked == [("", ["x"], []), (r"\x", ["y"], []), (r"\x\y", ["z"], ["file"]), (r"\x\y\z", [], [])]
    smbclient.remove(rf"{here}\x\y\file", **session.options)
    for path in (r"x\y\z", r"x\y", "x"):
        smbclient.rmdir(rf"{here}\{path}", **session.options)
    assert list(place.iterdir()) == []


def test_a_full_directory_is_not_removed(session, here, place):
    smbclient.makedirs(rf"{here}\full\child", **session.options)
    with pytest.raises(SMBOSError):
        smbclient.rmdir(rf"{here}\full", **session.options)
    assert (place / "full/child").is_dir()


def test_rename_and_replace(session, here, place):
    session.write(rf"{here}\one", b"1")
    session.write(rf"{here}\two", b"2")
    with pytest.raises(SMBOSError, match="File exists"):
        smbclient.rename(rf"{here}\one", rf"{here}\two", **session.options)
    smbclient.replace(rf"{here}\one", rf"{here}\two", **session.options)
    assert [(path.name, path.read_bytes()) for path in place.iterdir()] == [("two", b"1")]


def test_hard_links_share_their_content(session, here, place):
    session.write(rf"{here}\one", b"content")
    smbclient.link(rf"{here}\one", rf"{here}\two", **session.options)
    assert (place / "one").stat().st_ino == (place / "two").stat().st_ino
    assert smbclient.stat(rf"{here}\two", **session.options).st_nlink == 2


def test_share_modes_keep_others_out(session, here):
    with smbclient.open_file(rf"{here}\mine", mode="wb", share_access=None, **session.options):
        with pytest.raises(OSError, match="used by another process"):
            session.open(rf"{here}\mine", "rb")
    session.open(rf"{here}\mine", "rb").close()


def test_statvfs_tells_the_room_there_is(session, here):
    room = smbclient.stat_volume(here, **session.options)
    assert room.total_size >= room.actual_available_size > 0


@pytest.mark.parametrize("who", ["local program", "client"])
def test_who_watches_a_folder_is_told_what_happens_in_it(session, here, place, who):
    with smbclient.open_file(
        here, mode="rb", buffering=0, file_type="dir", share_access="rwd", **session.options
    ) as directory:
        watcher = FileSystemWatcher(directory.fd)
        watcher.start(CompletionFilter.FILE_NOTIFY_CHANGE_DIR_NAME, flags=ChangeNotifyFlags.SMB2_WATCH_TREE)
        # The answer to this request comes after the server has begun to watch.
        smbclient.stat(here, **session.options)
        if who == "client":
            smbclient.mkdir(rf"{here}\new", **session.options)
        else:
            (place / "new").mkdir()
        (change,) = watcher.wait()
        assert change["action"].get_value() == FileAction.FILE_ACTION_ADDED
        assert change["file_name"].get_value() == "new"


def test_several_threads_on_one_connection(session, here, place):
    def work(number: int) -> bool:
        chance = random.Random(number)
        name = rf"{here}\{uuid.uuid4().hex}"
        data = chance.randbytes(chance.randrange(1, 200_000))
        session.write(name, data)
        same = session.read(name) == data
        smbclient.remove(name, **session.options)
        return same

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(80)))
    assert list(place.iterdir()) == []


def test_an_encrypted_share_encrypts_what_the_client_did_not(server, tmp_path):
    session = Session(server, "encrypted", server.user, encrypt=False)
    try:
        name = session.path(f"secret-{uuid.uuid4().hex}")
        session.write(name, b"content")
        assert session.read(name) == b"content"
    finally:
        session.close()


def test_a_wrong_password_is_refused(server):
    with pytest.raises((LogonFailure, SMBResponseException)):
        Session(server, "share", User(server.user.name, "wrong"), encrypt=False)
