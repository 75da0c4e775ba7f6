"""What Macs keep, in a chain: where it is stored, who may reach it, and that it follows its file."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lamina.ntfsa.status import NtStatus
from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.changes import ChangeQuery
from lamina.vfs_modules.credentials import server_identity
from lamina.vfs_modules.extensions import Client, ClientTrait, EntryDetails, OpenedFile, StatusError
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ModuleError
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.stock.apple import afp_info, appledouble, netatalk
from lamina.vfs_modules.stock.apple.afp_info import AfpInfo
from lamina.vfs_modules.stock.apple.options import FruitOptions
from lamina.vfs_modules.stock.fruit import FruitModule
from lamina.vfs_modules.stock.posix.backend import PosixBackend, PosixOptions
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.token import ImpersonationToken
from tests.support.processes import Folder, Layout, User, serving
from tests.support.wire_client import StatusError as WireStatus
from tests.support.wire_client import WireClient
from tests.vfs_modules.stock.apple.test_forms import FINDER, with_attributes

TOKEN = make_token()
PATH = OpenHow(Access.PATH)
READ = OpenHow(Access.READ)
WRITE = OpenHow(Access.READ_WRITE, create=True)
INFO = afp_info.pack(AfpInfo(FINDER))
FORK, META = "AFP_Resource", "AFP_AfpInfo"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may act for others; run the tests as root")


class Share:
    """A folder with a Mac's chain over it."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.module = FruitModule(FruitOptions(**options))
        self.chain: Chain = local_chain(folder, self.module, StreamsXattrModule())
        self.root = self.chain.open_root(TOKEN)
        self._open: list[VfsHandle] = []

    def file(self, path: str = "file", how: OpenHow = WRITE, token: ImpersonationToken = TOKEN) -> VfsHandle:
        self._open.append(self.chain.open(token, self.root, path, how))
        return self._open[-1]

    def write(self, file: VfsHandle, name: str, data: bytes, offset: int = 0) -> None:
        stream = self.chain.open_stream(TOKEN, file, name, WRITE)
        try:
            self.chain.pwrite(TOKEN, stream, memoryview(data), offset)
        finally:
            self.chain.close(TOKEN, stream)

    def read(self, file: VfsHandle, name: str, token: ImpersonationToken = TOKEN) -> bytes:
        stream = self.chain.open_stream(token, file, name, READ)
        try:
            buffer = bytearray(1 << 16)
            return bytes(buffer[: self.chain.pread(token, stream, memoryview(buffer), 0)])
        finally:
            self.chain.close(token, stream)

    def streams(self, file: VfsHandle) -> dict[str, int]:
        return {entry.name: entry.size for entry in self.chain.list_streams(TOKEN, file)}

    def names(self) -> list[str]:
        return sorted(entry.name for entry in self.chain.readdir(TOKEN, self.root))

    def on_disk(self) -> list[str]:
        return sorted(os.listdir(self.folder))

    def close(self) -> None:
        for handle in self._open:
            self.chain.close(TOKEN, handle)
        self.chain.close(TOKEN, self.root)
        assert len(self.module._paths) == 0
        self.chain.disconnect()


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Callable[..., Share]]:
    made: list[Share] = []
    folder = tmp_path / "share"
    folder.mkdir()
    folder.chmod(0o777)

    def make(**options: Any) -> Share:
        made.append(Share(folder, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
    with server_identity():
        pass


# Where things are stored.


def test_finder_information_is_kept_as_netatalk_keeps_it(share: Callable[..., Share]) -> None:
    mac = share()
    file = mac.file()
    mac.write(file, META, INFO)
    value = os.getxattr(mac.folder / "file", netatalk.ATTRIBUTE)
    assert netatalk.parse(value) == AfpInfo(FINDER)
    assert mac.read(file, META) == INFO
    assert mac.streams(file) == {META: 60}
    assert netatalk.ATTRIBUTE not in mac.chain.listxattr(TOKEN, file)


def test_or_as_a_stream_like_any_other(share: Callable[..., Share]) -> None:
    mac = share(metadata="stream")
    file = mac.file()
    mac.write(file, META, INFO)
    assert os.getxattr(mac.folder / "file", "user.DosStream.AFP_AfpInfo:$DATA") == INFO + b"\0"
    assert mac.streams(file) == {META: 60}


def test_a_fork_is_kept_in_a_header_file_that_clients_do_not_see(share: Callable[..., Share]) -> None:
    mac = share()
    file = mac.file()
    mac.write(file, FORK, b"fork", 3)
    assert mac.on_disk() == ["._file", "file"]
    assert mac.names() == ["file"]
    data = (mac.folder / "._file").read_bytes()
    entries = appledouble.parse_table(data, len(data))
    assert appledouble.is_as_made_here(entries)
    assert entries[2] == (82, 7)
    assert data[82:] == b"\0\0\0fork"
    assert mac.read(file, FORK) == b"\0\0\0fork"
    assert mac.streams(file) == {FORK: 7}


def test_or_as_a_stream(share: Callable[..., Share]) -> None:
    mac = share(resource="stream")
    file = mac.file()
    mac.write(file, FORK, b"fork")
    assert mac.on_disk() == ["file"]
    assert mac.streams(file) == {FORK: 4}


def test_what_has_nothing_in_it_is_not_there(share: Callable[..., Share]) -> None:
    mac = share()
    file = mac.file()
    fork = mac.chain.open_stream(TOKEN, file, FORK, WRITE)
    info = mac.chain.open_stream(TOKEN, file, META, WRITE)
    assert mac.streams(file) == {}
    for name in (FORK, META):
        with pytest.raises(FileNotFoundError):
            mac.chain.open_stream(TOKEN, file, name, READ)
    assert mac.chain.fstat(TOKEN, fork).size == 0
    assert mac.chain.fstat(TOKEN, info).size == 60
    mac.chain.pwrite(TOKEN, fork, memoryview(b"x"), 0)
    with pytest.raises(FileExistsError):
        mac.chain.open_stream(TOKEN, file, FORK, OpenHow(Access.WRITE, create=True, exclusive=True))
    mac.chain.ftruncate(TOKEN, fork, 0)
    assert mac.streams(file) == {}
    mac.chain.close(TOKEN, fork)
    mac.chain.close(TOKEN, info)


def test_no_finder_information_is_written_to_remove_it(share: Callable[..., Share]) -> None:
    mac = share()
    file = mac.file()
    mac.write(file, META, INFO)
    mac.write(file, META, afp_info.pack(AfpInfo()))
    assert mac.streams(file) == {}
    assert netatalk.ATTRIBUTE not in os.listxattr(mac.folder / "file")


def test_finder_information_has_one_size_and_one_form(share: Callable[..., Share]) -> None:
    mac = share()
    file = mac.file()
    info = mac.chain.open_stream(TOKEN, file, META, WRITE)
    with pytest.raises(StatusError):
        mac.chain.ftruncate(TOKEN, info, 61)
    for data, offset in ((b"no such form" * 5, 0), (INFO[:20], 1)):
        with pytest.raises(OSError, match="not Finder information") as raised:
            mac.chain.pwrite(TOKEN, info, memoryview(data), offset)
        assert raised.value.errno == errno.EINVAL
    mac.chain.close(TOKEN, info)


def test_a_fork_has_at_most_what_its_header_can_say(share: Callable[..., Share]) -> None:
    mac = share()
    file = mac.file()
    fork = mac.chain.open_stream(TOKEN, file, FORK, WRITE)
    with pytest.raises(OSError, match="too large") as raised:
        mac.chain.pwrite(TOKEN, fork, memoryview(b"x"), 1 << 32)
    assert raised.value.errno == errno.EFBIG
    assert mac.on_disk() == ["file"]
    mac.chain.close(TOKEN, fork)


def test_a_fork_is_not_removed_but_finder_information_is(share: Callable[..., Share]) -> None:
    mac = share()
    file = mac.file()
    mac.write(file, META, INFO)
    mac.write(file, FORK, b"fork")
    for name in (FORK, META):
        mac.chain.remove_stream(TOKEN, file, name)
    assert mac.streams(file) == {FORK: 4}


def test_the_streams_have_their_names_in_any_case(share: Callable[..., Share]) -> None:
    mac = share()
    file = mac.file()
    mac.write(file, "afp_resource", b"fork")
    mac.write(file, "AFP_AFPINFO", INFO)
    assert mac.streams(file) == {FORK: 4, META: 60}
    assert mac.on_disk() == ["._file", "file"]


# Header files follow their files.


def test_a_header_file_moves_and_goes_with_its_file(share: Callable[..., Share]) -> None:
    mac = share()
    file = mac.file()
    mac.write(file, FORK, b"fork")
    mac.chain.mkdir(TOKEN, mac.root, "folder", 0o755)
    mac.chain.rename(TOKEN, mac.root, "file", mac.root, "folder/new", False)
    assert sorted(os.listdir(mac.folder / "folder")) == ["._new", "new"]
    mac.chain.rename(TOKEN, mac.root, "folder", mac.root, "moved", False)
    assert mac.read(file, FORK) == b"fork"
    mac.chain.unlink(TOKEN, mac.root, "moved/new")
    assert os.listdir(mac.folder / "moved") == []
    assert mac.streams(file) == {}


def test_what_is_replaced_leaves_no_fork_behind(share: Callable[..., Share]) -> None:
    mac = share()
    mac.write(mac.file("old"), FORK, b"old fork")
    mac.file("new")
    mac.chain.rename(TOKEN, mac.root, "new", mac.root, "old", True)
    assert mac.on_disk() == ["old"]


def test_a_folder_goes_though_header_files_are_left_in_it(share: Callable[..., Share]) -> None:
    mac = share()
    mac.chain.mkdir(TOKEN, mac.root, "folder", 0o755)
    (mac.folder / "folder" / "._orphan").write_bytes(appledouble.new_header())
    mac.chain.rmdir(TOKEN, mac.root, "folder")
    assert mac.on_disk() == []


def test_a_folder_with_something_else_in_it_does_not_go(share: Callable[..., Share]) -> None:
    mac = share()
    mac.chain.mkdir(TOKEN, mac.root, "folder", 0o755)
    for name in ("._file", "file"):
        (mac.folder / "folder" / name).touch()
    with pytest.raises(OSError, match="not empty"):
        mac.chain.rmdir(TOKEN, mac.root, "folder")
    assert sorted(os.listdir(mac.folder / "folder")) == ["._file", "file"]


def test_clients_can_neither_see_nor_make_header_files_where_they_are_hidden(share: Callable[..., Share]) -> None:
    mac = share()
    mac.write(mac.file(), FORK, b"fork")
    with pytest.raises(FileNotFoundError):
        mac.chain.stat(TOKEN, mac.root, "._file")
    with pytest.raises(FileNotFoundError):
        mac.chain.open(TOKEN, mac.root, "._file", READ)
    for make in (
        lambda: mac.chain.open(TOKEN, mac.root, "._x", WRITE),
        lambda: mac.chain.mkdir(TOKEN, mac.root, "._x", 0o755),
        lambda: mac.chain.symlink(TOKEN, "file", mac.root, "._x"),
        lambda: mac.chain.link(TOKEN, mac.file(), mac.root, "._x"),
        lambda: mac.chain.rename(TOKEN, mac.root, "file", mac.root, "._x", False),
    ):
        with pytest.raises(PermissionError):
            make()
    watch = mac.chain.watch_changes(TOKEN, mac.root, ChangeQuery(False, False, lambda: None))
    (mac.folder / "._other").touch()
    assert watch.poll() == []
    watch.close()


def test_a_file_that_is_only_called_like_a_header_file_is_left_alone(share: Callable[..., Share]) -> None:
    mac = share()
    (mac.folder / "._file").write_bytes(b"the notes of somebody")
    file = mac.file()
    assert mac.streams(file) == {}
    with pytest.raises(FileExistsError):
        mac.write(file, FORK, b"fork")
    mac.chain.unlink(TOKEN, mac.root, "file")
    assert (mac.folder / "._file").read_bytes() == b"the notes of somebody"


def test_a_symbolic_link_is_no_header_file(share: Callable[..., Share], tmp_path: Path) -> None:
    mac = share()
    (mac.folder / "secret").write_bytes(appledouble.new_header(fork_length=6) + b"secret")
    (mac.folder / "._file").symlink_to("secret")
    assert mac.streams(mac.file()) == {}


@as_root
def test_another_users_file_is_read_through_no_header_of_ones_own(share: Callable[..., Share]) -> None:
    mac = share()
    ada, grace = make_token(12001), make_token(12002)
    secret = mac.folder / "._diary"
    secret.write_bytes(appledouble.new_header(fork_length=6) + b"secret")
    os.chown(secret, 12001, 12001)
    secret.chmod(0o600)
    # Grace makes a file that the private file would be the header file of.
    hers = mac.file("diary", token=grace)
    assert mac.chain.list_streams(grace, hers) == []
    with pytest.raises(FileNotFoundError):
        mac.read(hers, FORK, grace)
    mac.chain.unlink(grace, mac.root, "diary")
    with server_identity():
        assert secret.exists()
    his = mac.file("diary", token=ada)
    assert mac.read(his, FORK, ada) == b"secret"


@as_root
def test_who_may_write_a_file_may_write_its_fork_wherever_it_lies(share: Callable[..., Share]) -> None:
    mac = share()
    ada = make_token(12001)
    (mac.folder / "file").touch()
    os.chown(mac.folder / "file", 12001, 12001)
    mac.folder.chmod(0o755)
    file = mac.file("file", OpenHow(Access.READ_WRITE), ada)
    stream = mac.chain.open_stream(ada, file, FORK, WRITE)
    mac.chain.pwrite(ada, stream, memoryview(b"fork"), 0)
    mac.chain.close(ada, stream)
    found = os.stat(mac.folder / "._file")
    assert (found.st_uid, found.st_gid) == (12001, 12001)
    mac.chain.fchmod(TOKEN, file, 0o640)
    assert os.stat(mac.folder / "._file").st_mode & 0o777 == 0o640


# What Macs have left on other servers.


def test_attributes_and_finder_information_in_a_header_file_become_streams(share: Callable[..., Share]) -> None:
    mac = share()
    data = with_attributes({"com.apple.tags": b"blue", "foo:bar": b"baz"}, fork=b"the fork")
    (mac.folder / "._file").write_bytes(data)
    file = mac.file()
    assert mac.streams(file) == {META: 60, FORK: 8, "com.apple.tags": 4, "foo\uf022bar": 3}
    assert mac.read(file, META) == INFO
    assert mac.read(file, FORK) == b"the fork"
    assert mac.read(file, "foo\uf022bar") == b"baz"
    assert mac.on_disk() == ["._file", "file"]
    anew = (mac.folder / "._file").read_bytes()
    assert anew == appledouble.new_header(fork_length=8) + b"the fork"


def test_what_was_written_since_is_not_overwritten(share: Callable[..., Share]) -> None:
    mac = share()
    file = mac.file()
    newer = afp_info.pack(AfpInfo(b"NEWR" + bytes(28)))
    mac.write(file, META, newer)
    mac.write(file, "tag", b"newer")
    (mac.folder / "._file").write_bytes(with_attributes({"tag": b"older"}))
    assert mac.read(file, META) == newer
    assert mac.read(file, "tag") == b"newer"


def test_forks_become_streams_where_they_are_kept_as_such(share: Callable[..., Share]) -> None:
    mac = share(resource="stream", encoding="native")
    (mac.folder / "._file").write_bytes(with_attributes({"a:b": b"x"}, fork=b"the fork"))
    file = mac.file()
    assert mac.streams(file) == {META: 60, FORK: 8, "a:b": 1}
    assert mac.on_disk() == ["file"]


def test_what_is_empty_or_says_that_it_is_blank_goes_where_that_is_wanted(share: Callable[..., Share]) -> None:
    mac = share(wipe_intentionally_left_blank_rfork=True, delete_empty_adfiles=True)
    blank = bytearray(appledouble.BLANK_FORK_SIZE)
    blank[16:62] = b"This resource fork intentionally left blank   "
    (mac.folder / "._file").write_bytes(with_attributes({"tag": b"x"}, fork=bytes(blank)))
    assert mac.streams(mac.file()) == {META: 60, "tag": 1}
    assert mac.on_disk() == ["file"]


def test_nothing_is_converted_where_that_is_not_wanted(share: Callable[..., Share]) -> None:
    mac = share(convert_adouble=False)
    data = with_attributes({"tag": b"x"}, fork=b"the fork")
    (mac.folder / "._file").write_bytes(data)
    assert mac.streams(mac.file()) == {}
    assert (mac.folder / "._file").read_bytes() == data


@pytest.mark.parametrize("cut", [0, 10, 60, 90, 130, 150])
def test_a_damaged_header_file_is_left_as_it_is(cut: int, share: Callable[..., Share]) -> None:
    mac = share()
    data = with_attributes({"tag": b"x", "other": b"value"}, fork=b"")[:cut]
    (mac.folder / "._file").write_bytes(data)
    assert mac.streams(mac.file()) == {}
    assert (mac.folder / "._file").read_bytes() == data


def test_an_attribute_whose_name_no_stream_can_have_does_not_close_the_file(share: Callable[..., Share]) -> None:
    mac = share()
    data = with_attributes({"x" * 250: b"too long"}, fork=b"")
    (mac.folder / "._file").write_bytes(data)
    assert mac.streams(mac.file()) == {META: 60}
    assert (mac.folder / "._file").read_bytes() == data


@as_root
def test_what_a_user_may_not_write_is_not_converted_for_him(share: Callable[..., Share]) -> None:
    mac = share()
    grace = make_token(12002)
    (mac.folder / "file").touch()
    (mac.folder / "file").chmod(0o644)
    planted = mac.folder / "._file"
    planted.write_bytes(with_attributes({"planted": b"x"}))
    os.chown(planted, 12002, 12002)
    file = mac.file("file", READ, grace)
    assert mac.chain.list_streams(grace, file) == []
    with server_identity():
        assert os.listxattr(mac.folder / "file") == []


# Apple's extensions.


def query(asked: int = 7, client: int = 15) -> memoryview:
    return memoryview((1).to_bytes(8, "little") + asked.to_bytes(8, "little") + client.to_bytes(8, "little"))


def agree(mac: Share, data: memoryview) -> tuple[bytes | None, ClientTrait]:
    client = Client()
    context = mac.chain.extensions.contexts[b"AAPL"]
    answer = context.call(TOKEN, OpenedFile(mac.root, "", "", 0), data, client)
    return answer, client.traits


def test_what_is_agreed_is_what_the_options_allow(share: Callable[..., Share]) -> None:
    answer, traits = agree(share(), query())
    assert answer is not None
    assert ClientTrait.RICH_ENTRIES | ClientTrait.ZERO_FILE_IDS | ClientTrait.UNIX_ACES in traits
    assert ClientTrait.WHOLE_COPIES not in traits
    assert answer[16:24] == (1 | 4 | 8).to_bytes(8, "little")
    plain, traits = agree(share(nfs_aces=False, zero_file_id=False, posix_rename=False, copyfile=True), query(7, 0))
    assert plain is not None
    assert plain[16:24] == (2 | 4).to_bytes(8, "little")
    assert traits == ClientTrait.EMPTY_STREAMS_VANISH | ClientTrait.WHOLE_COPIES


def test_time_machine_is_told_that_flushing_reaches_the_disk(share: Callable[..., Share]) -> None:
    for wanted in (False, True):
        answer, _ = agree(share(time_machine=wanted), query(2))
        assert answer is not None
        assert answer[16:24] == (4 * wanted).to_bytes(8, "little")


def test_nothing_is_agreed_with_who_asks_otherwise(share: Callable[..., Share]) -> None:
    assert agree(share(aapl=False), query()) == (None, ClientTrait(0))
    assert agree(share(), memoryview(b"nonsense")) == (None, ClientTrait(0))


def test_entries_tell_of_fork_finder_information_and_mode(share: Callable[..., Share]) -> None:
    mac = share()
    file = mac.file()
    mac.write(file, META, INFO)
    mac.write(file, FORK, b"fork")
    describe = mac.chain.extensions.entries
    assert describe is not None
    stat = mac.chain.fstat(TOKEN, file)
    details = describe(TOKEN, mac.file("file", PATH), stat)
    assert isinstance(details, EntryDetails)
    assert details.short_name[:16] == (4).to_bytes(8, "little") + b"TEXTttxt"
    assert len(details.short_name) == 24
    assert details.reserved == stat.mode & 0xFFFF
    silent = share(aapl_rsize=False, aapl_finder_info=False, aapl_max_access=False)
    told = silent.chain.extensions.entries
    assert told is not None
    details = told(TOKEN, silent.file("file", PATH), stat)
    assert details is not None
    assert details.short_name[:16] == bytes(16)
    assert not details.maximal_access


# A real smbd.


class Samba:
    """A share of smbd with its module of this name."""

    def __init__(self, client: WireClient, folder: Path) -> None:
        self._client = client
        self.folder = folder

    def read(self, path: str) -> bytes:
        file = self._client.create(path, access=0x1)
        data = self._client.read(file, 60_000)
        self._client.close(file)
        return data

    def write(self, path: str, data: bytes) -> None:
        file = self._client.create(path, access=0x3, disposition=3)
        self._client.write(file, data)
        self._client.close(file)


@contextlib.contextmanager
def smbd(tmp_path: Path, **settings: str) -> Iterator[tuple[WireClient, Path]]:
    """A client of a real smbd with its module."""
    if not shutil.which("smbd") or not shutil.which("smbpasswd"):
        pytest.skip("needs smbd; install Debian's samba and samba-vfs-modules")
    if os.geteuid() != 0:
        pytest.skip("smbd is run as root here; run the tests as root")
    (tmp_path / "share").mkdir()
    fruit = {f"fruit:{name}": value for name, value in settings.items()}
    folder = Folder(
        str(tmp_path / "share"),
        settings={
            "vfs objects": "catia fruit streams_xattr",
            "posix locking": "yes",
            "fruit:encoding": "native",
            **fruit,
        },
    )
    with serving(Layout({"share": folder}, [User("root", "secret")]), tmp_path / "state", "smbd") as server:
        with WireClient(server.host, server.port) as client:
            client.negotiate()
            client.session_setup("root", "secret")
            client.tree_connect("share")
            yield client, server.folder()


@pytest.fixture(params=["netatalk", "stream"])
def samba(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Samba, str]]:
    with smbd(tmp_path, metadata=request.param) as (client, folder):
        yield Samba(client, folder), request.param


@pytest.fixture
def sharing_samba(tmp_path: Path) -> Iterator[tuple[WireClient, Path]]:
    with smbd(tmp_path, locking="netatalk") as served:
        yield served


def test_what_smbd_stored_is_read_and_the_other_way_round(samba: tuple[Samba, str]) -> None:
    theirs, metadata = samba
    theirs.write("a\uf022b", b"data")
    theirs.write("a\uf022b:AFP_AfpInfo", INFO)
    theirs.write("a\uf022b:AFP_Resource", b"their fork")
    theirs.write("a\uf022b:x\uf022y", b"stream")
    mac = Share(theirs.folder, metadata=metadata)
    file = mac.file("a:b")
    assert mac.streams(file) == {META: 60, FORK: 10, "x:y": 6}
    assert mac.read(file, META) == INFO
    assert mac.read(file, FORK) == b"their fork"
    other = afp_info.pack(AfpInfo(b"OTHR" + bytes(28)))
    mac.write(file, META, other)
    mac.write(file, FORK, b"our")
    ours = mac.file("ours")
    mac.write(ours, META, INFO)
    mac.write(ours, FORK, b"our fork")
    mac.close()
    assert theirs.read("a\uf022b:AFP_AfpInfo")[16:] == other[16:]
    assert theirs.read("a\uf022b:AFP_Resource") == b"our" + b"their fork"[3:]
    assert theirs.read("ours:AFP_AfpInfo")[16:] == INFO[16:]
    assert theirs.read("ours:AFP_Resource") == b"our fork"


# Share modes that other servers see.

READ_DATA, WRITE_DATA, SHARE_READ, SHARE_ALL = 0x1, 0x2, 0x1, 0x7


class Sharing(Share):
    """A share whose opens other servers learn of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.module = FruitModule(FruitOptions(locking="netatalk", veto_appledouble=False))
        self.chain = local_chain(
            folder, self.module, StreamsXattrModule(), PosixBackend(PosixOptions(posix_locking=True))
        )
        self.root = self.chain.open_root(TOKEN)
        self._open = []

    def shared(self, access: int, share: int, stream: str = "") -> VfsHandle:
        file = self.file()
        told = self.chain.extensions.opened
        assert told is not None
        told(TOKEN, OpenedFile(file, "file", stream, access), share)
        return file


@pytest.mark.parametrize(
    ("access", "share", "other", "other_share", "goes"),
    [
        (READ_DATA, SHARE_ALL, READ_DATA | WRITE_DATA, SHARE_ALL, True),
        (READ_DATA, SHARE_READ, READ_DATA, SHARE_ALL, True),
        (READ_DATA | WRITE_DATA, SHARE_READ, READ_DATA, SHARE_ALL, True),
        (READ_DATA | WRITE_DATA, SHARE_READ, WRITE_DATA, SHARE_ALL, False),
        (READ_DATA, 0, READ_DATA, SHARE_ALL, False),
        (READ_DATA | WRITE_DATA, SHARE_ALL, READ_DATA | WRITE_DATA, SHARE_READ, False),
        (0x80, 0, READ_DATA | WRITE_DATA, 0, True),
    ],
)
def test_two_servers_keep_each_others_share_modes(
    access: int, share: int, other: int, other_share: int, goes: bool, tmp_path: Path
) -> None:
    one, two = Sharing(tmp_path), Sharing(tmp_path)
    one.shared(access, share)
    if goes:
        two.shared(other, other_share)
    else:
        with pytest.raises(OSError, match="busy"):
            two.shared(other, other_share)
    two.shared(READ_DATA | WRITE_DATA, 0, FORK)
    one.close()
    two.close()


def test_what_is_closed_is_in_nobodys_way(tmp_path: Path) -> None:
    one, two = Sharing(tmp_path), Sharing(tmp_path)
    one.shared(READ_DATA | WRITE_DATA, 0)
    one.close()
    two.shared(READ_DATA | WRITE_DATA, 0)
    two.close()


def test_share_modes_need_locks_that_others_see(tmp_path: Path) -> None:
    with pytest.raises(ModuleError, match="posix_locking"):
        Share(tmp_path, locking="netatalk")


def test_a_real_smbd_and_lamina_keep_each_others_share_modes(sharing_samba: tuple[WireClient, Path]) -> None:
    client, folder = sharing_samba
    mac = Sharing(folder)
    mac.file()
    theirs = client.create("file", access=READ_DATA | WRITE_DATA, share=SHARE_READ)
    with pytest.raises(OSError, match="busy"):
        mac.shared(WRITE_DATA, SHARE_ALL)
    client.close(theirs)
    mac.shared(READ_DATA | WRITE_DATA, SHARE_READ)
    with pytest.raises(WireStatus) as raised:
        client.create("file", access=READ_DATA | WRITE_DATA, share=SHARE_ALL)
    assert raised.value.status == NtStatus.SHARING_VIOLATION
    mac.close()
    client.close(client.create("file", access=READ_DATA | WRITE_DATA, share=SHARE_ALL))


# Time Machine.


def test_the_size_of_the_share_is_what_backups_leave_of_the_limit(share: Callable[..., Share]) -> None:
    mac = share(time_machine=True, time_machine_max_size="1M")
    bands = mac.folder / "mac.sparsebundle" / "bands"
    bands.mkdir(parents=True)
    (bands.parent / "Info.plist").write_text("<dict><key>band-size</key>\n<integer>8192</integer></dict>")
    assert mac.chain.statfs(TOKEN, mac.root).free == 1 << 20
    for number in range(3):
        (bands / str(number)).touch()
        os.utime(bands, ns=(number, number))
        left = mac.chain.statfs(TOKEN, mac.root)
        assert (left.total, left.free) == (1 << 20, (1 << 20) - 8192 * (number + 1))
    (bands.parent / "Info.plist").write_text("<key>band-size</key><integer>99999999999</integer>")
    assert mac.chain.statfs(TOKEN, mac.root).free == 0


def test_a_folder_that_is_only_called_like_a_backup_counts_nothing(share: Callable[..., Share]) -> None:
    mac = share(time_machine=True, time_machine_max_size="1M")
    (mac.folder / "x.sparsebundle").mkdir()
    (mac.folder / "y.sparsebundle").touch()
    assert mac.chain.statfs(TOKEN, mac.root).free == 1 << 20
