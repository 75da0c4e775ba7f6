"""Streams in a chain: who sees them, what files pay, the on-disk forms, a model, and a real smbd's, both ways."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lamina.core.wire import constants as smb
from lamina.vfs_modules.acl_xattr import AclXattrModule
from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.credentials import server_identity
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.memory import MemoryBackend
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Access, Capability, OpenHow, Operation
from lamina.vfs_modules.posix import PosixBackend
from lamina.vfs_modules.stream_values import StreamsXattrOptions
from lamina.vfs_modules.streams_depot import MARKER, StreamsDepotModule, StreamsDepotOptions, depot_path
from lamina.vfs_modules.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.token import ImpersonationToken
from tests.support.processes import Folder, Layout, User, serving
from tests.support.wire_client import WireClient

TOKEN = make_token()
READ = OpenHow(Access.READ)
WRITE = OpenHow(Access.READ_WRITE, create=True)


class Streams:
    """One file of a chain, and its streams."""

    def __init__(self, chain: Chain, path: str = "file") -> None:
        self.chain = chain
        self.root = chain.open_root(TOKEN)
        self.file = chain.open(TOKEN, self.root, path, OpenHow(Access.READ, create=True))

    def write(self, name: str, data: bytes, offset: int = 0) -> None:
        stream = self.chain.open_stream(TOKEN, self.file, name, WRITE)
        try:
            self.chain.pwrite(TOKEN, stream, memoryview(data), offset)
        finally:
            self.chain.close(TOKEN, stream)

    def truncate(self, name: str, size: int) -> None:
        stream = self.chain.open_stream(TOKEN, self.file, name, WRITE)
        try:
            self.chain.ftruncate(TOKEN, stream, size)
        finally:
            self.chain.close(TOKEN, stream)

    def read(self, name: str) -> bytes:
        stream = self.chain.open_stream(TOKEN, self.file, name, READ)
        buffer = bytearray(1 << 17)
        count = self.chain.pread(TOKEN, stream, memoryview(buffer), 0)
        assert self.chain.fstat(TOKEN, stream).size == count
        self.chain.close(TOKEN, stream)
        return bytes(buffer[:count])

    def sizes(self) -> dict[str, int]:
        return {entry.name: entry.size for entry in self.chain.list_streams(TOKEN, self.file)}

    def close(self) -> None:
        self.chain.close(TOKEN, self.file)
        self.chain.close(TOKEN, self.root)
        self.chain.disconnect()


@pytest.fixture
def over(tmp_path: Path) -> Iterator[Callable[..., Streams]]:
    """A function that makes a file in a chain over this test's folder."""
    made: list[Streams] = []

    def make(*modules: VfsModule) -> Streams:
        made.append(Streams(local_chain(tmp_path, *modules)))
        return made[-1]

    yield make
    for streams in made:
        streams.close()


@pytest.fixture
def own_identity() -> Iterator[None]:
    """The thread is nobody else when the test has ended."""
    yield
    with server_identity():
        pass


# What files pay, and who sees streams.


class Watcher(VfsModule):
    """Sees data pass."""

    def connect(self, share: object) -> None:
        self._seen: list[str] = []

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        self._seen.append(bytes(data).decode())
        return self.next.pwrite(token, handle, data, offset)


class Recorder(VfsModule):
    """Sees every operation."""

    def connect(self, share: object) -> None:
        self._seen: list[str] = []

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        def record(*arguments: Any, **keywords: Any) -> Any:
            self._seen.append(operation.name)
            return call(*arguments, **keywords)

        return record


def test_files_pay_nothing_for_a_module_that_keeps_streams() -> None:
    backend = MemoryBackend()
    chain = local_chain("/nowhere", StreamsXattrModule(), backend)
    for name in ("pread", "pwrite", "ftruncate", "fstat", "fsync", "open", "close", "stat", "readdir"):
        assert getattr(chain.files, name) == getattr(backend, name)
    assert chain.pread != backend.pread
    without = local_chain("/nowhere", MemoryBackend())
    assert without.pread == without.files.pread == without.modules[0].pread


@pytest.mark.parametrize("keeper", [StreamsXattrModule, StreamsDepotModule, None])
def test_modules_above_see_the_data_of_streams_as_that_of_files(keeper: type[VfsModule] | None, tmp_path: Path) -> None:
    watcher, recorder = Watcher(), Recorder()
    below = [keeper(), PosixBackend()] if keeper else [MemoryBackend()]
    streams = Streams(local_chain(tmp_path, recorder, watcher, *below))
    streams.write("stream", b"stream")
    handle = streams.chain.open(TOKEN, streams.root, "file", OpenHow(Access.WRITE))
    streams.chain.files.pwrite(TOKEN, handle, memoryview(b"file"), 0)
    streams.chain.close(TOKEN, handle)
    assert watcher._seen == ["stream", "file"]
    assert recorder._seen[2:] == ["open_stream", "pwrite", "close", "open", "pwrite", "close"]
    assert streams.read("stream") == b"stream"
    assert (tmp_path / "file").read_bytes() == b"file" if keeper else True
    streams.close()


def test_data_is_not_copied_between_files_and_streams_that_are_none(over: Callable[..., Streams]) -> None:
    streams = over(StreamsXattrModule())
    streams.write("stream", b"stream")
    stream = streams.chain.open_stream(TOKEN, streams.file, "stream", WRITE)
    for source, target in ((stream, streams.file), (streams.file, stream)):
        with pytest.raises(OSError, match="stream") as caught:
            streams.chain.copy_range(TOKEN, source, 0, target, 0, 4)
        assert caught.value.errno == errno.ENOTSUP
    streams.chain.close(TOKEN, stream)


def test_there_are_no_streams_where_nobody_keeps_them(over: Callable[..., Streams]) -> None:
    streams = over()
    assert Capability.STREAMS not in streams.chain.capabilities
    assert streams.sizes() == {}
    with pytest.raises(OSError, match="open_stream") as caught:
        streams.chain.open_stream(TOKEN, streams.file, "stream", WRITE)
    assert caught.value.errno == errno.ENOTSUP
    assert StreamsXattrModule().capabilities(Capability.SYMLINKS) is Capability.SYMLINKS


# Attributes.


def test_a_stream_is_an_attribute_with_a_zero_at_its_end(over: Callable[..., Streams], tmp_path: Path) -> None:
    streams = over(StreamsXattrModule())
    streams.write("Zone.Identifier", b"[ZoneTransfer]")
    streams.write("empty", b"")
    assert os.getxattr(tmp_path / "file", "user.DosStream.Zone.Identifier:$DATA") == b"[ZoneTransfer]\0"
    assert os.getxattr(tmp_path / "file", "user.DosStream.empty:$DATA") == b"\0"
    os.setxattr(tmp_path / "file", "user.DosStream.odd:$DATA", b"")
    os.setxattr(tmp_path / "file", "user.DosStream.no type", b"x")
    assert streams.sizes() == {"Zone.Identifier": 14, "empty": 0, "odd": 0}


def test_the_options_change_the_names(over: Callable[..., Streams], tmp_path: Path) -> None:
    streams = over(StreamsXattrModule(StreamsXattrOptions(prefix="user.", store_stream_type=False)))
    streams.write("com.apple", b"x")
    assert os.getxattr(tmp_path / "file", "user.com.apple") == b"x\0"
    os.setxattr(tmp_path / "file", "user.DOSATTRIB", b"0x20")
    assert streams.sizes() == {"com.apple": 1}


def test_a_large_stream_goes_into_several_attributes(over: Callable[..., Streams], tmp_path: Path) -> None:
    options = StreamsXattrOptions(max_xattr_size=100, max_xattrs_per_stream=4)
    streams = over(StreamsXattrModule(options))
    data = bytes(range(250)) + bytes(range(100))
    streams.write("large", data)
    attributes = sorted(os.listxattr(tmp_path / "file"))
    assert attributes == [f"user.DosStream{part}.large:$DATA" for part in ("", "Ext.1", "Ext.2", "Ext.3")]
    values = [os.getxattr(tmp_path / "file", name) for name in attributes]
    assert values == [data[:99] + b"\3", data[99:199], data[199:299], data[299:]]
    assert over(StreamsXattrModule()).read("large") == data
    streams.truncate("large", 150)
    assert streams.read("large") == data[:150]
    assert len(os.listxattr(tmp_path / "file")) == 2
    with pytest.raises(OSError, match="large") as caught:
        streams.write("large", b"x", 400)
    assert caught.value.errno == errno.EFBIG
    assert streams.read("large") == data[:150]
    streams.chain.remove_stream(TOKEN, streams.file, "large")
    assert os.listxattr(tmp_path / "file") == []


def test_a_remainder_that_is_missing_is_a_short_read(over: Callable[..., Streams], tmp_path: Path) -> None:
    streams = over(StreamsXattrModule(StreamsXattrOptions(max_xattr_size=100, max_xattrs_per_stream=4)))
    streams.write("large", b"x" * 350)
    os.removexattr(tmp_path / "file", "user.DosStreamExt.2.large:$DATA")
    assert streams.read("large") == b"x" * 199


def test_what_the_file_system_has_no_room_for_is_refused(over: Callable[..., Streams]) -> None:
    streams = over(StreamsXattrModule())
    with pytest.raises(OSError, match=r"stream|space") as caught:
        streams.write("stream", b"x" * 70_000)
    assert caught.value.errno in {errno.EFBIG, errno.ENOSPC}
    assert streams.read("stream") == b""


def test_nobody_reaches_the_attributes_by_their_names(over: Callable[..., Streams]) -> None:
    streams = over(StreamsXattrModule())
    streams.write("stream", b"data")
    chain, name = streams.chain, "user.DosStream.stream:$DATA"
    calls = [
        (errno.ENODATA, lambda: chain.getxattr(TOKEN, streams.file, name)),
        (errno.EACCES, lambda: chain.setxattr(TOKEN, streams.file, name, b"x\0")),
        (errno.EACCES, lambda: chain.removexattr(TOKEN, streams.file, name)),
        (errno.EACCES, lambda: chain.setxattr(TOKEN, streams.file, "user.DosStreamExt.1.stream:$DATA", b"x")),
    ]
    for number, call in calls:
        with pytest.raises(OSError, match=r"user\.DosStream") as caught:
            call()
        assert caught.value.errno == number
    assert streams.read("stream") == b"data"


def test_links_have_no_streams(over: Callable[..., Streams], tmp_path: Path) -> None:
    streams = over(StreamsXattrModule())
    (tmp_path / "link").symlink_to("nowhere")
    link = streams.chain.open(TOKEN, streams.root, "link", OpenHow(follow=False))
    assert streams.chain.list_streams(TOKEN, link) == []
    with pytest.raises(FileNotFoundError):
        streams.chain.open_stream(TOKEN, link, "stream", READ)
    streams.chain.close(TOKEN, link)


@pytest.mark.skipif(os.geteuid() != 0, reason="run as root: other users cannot be impersonated otherwise")
def test_the_mode_of_the_file_decides_who_writes_a_stream_and_sizes_are_no_secret(
    tmp_path: Path, own_identity: None
) -> None:
    streams = Streams(local_chain(tmp_path, StreamsXattrModule()))
    streams.write("stream", b"data")
    stranger = make_token(12001)
    os.chmod(tmp_path / "file", 0o600)
    by_path = streams.chain.open(TOKEN, streams.root, "file", OpenHow())
    assert [entry.size for entry in streams.chain.list_streams(stranger, by_path)] == [4]
    for how in (READ, WRITE):
        with pytest.raises(PermissionError):
            streams.chain.open_stream(stranger, by_path, "stream", how)
    with server_identity():
        os.chmod(tmp_path / "file", 0o644)
    stream = streams.chain.open_stream(stranger, by_path, "stream", WRITE)
    with pytest.raises(PermissionError):
        streams.chain.pwrite(stranger, stream, memoryview(b"x"), 0)
    streams.chain.close(TOKEN, by_path)
    streams.close()


# The depot.


def test_a_stream_is_a_file_of_the_depot(over: Callable[..., Streams], tmp_path: Path) -> None:
    streams = over(StreamsDepotModule())
    streams.write("stream", b"data")
    stat = streams.chain.fstat(TOKEN, streams.file)
    folder = tmp_path / ".streams" / depot_path(stat.dev, stat.ino)
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [(":stream:$DATA", b"data")]
    assert os.getxattr(tmp_path / "file", MARKER) == b"1"


def test_the_place_in_the_depot_is_a_hash() -> None:
    # As a real smbd has made it for st_dev 0xfe00, which is major 254 and minor 0, and inode 0x23c365.
    assert depot_path(254 << 32, 0x23C365) == "4D/9A/00FE00000000000065C3230000000000"
    assert [len(part) for part in depot_path(1, 2).split("/")] == [2, 2, 32]


def test_the_depot_is_hidden(over: Callable[..., Streams]) -> None:
    streams = over(StreamsDepotModule())
    streams.write("stream", b"data")
    chain, root = streams.chain, streams.root
    assert [entry.name for entry in chain.readdir(TOKEN, root)] == ["file"]
    for path in (".streams", ".STREAMS", ".streams/00"):
        with pytest.raises(FileNotFoundError):
            chain.open(TOKEN, root, path, OpenHow())
        with pytest.raises(FileNotFoundError):
            chain.stat(TOKEN, root, path)
    chain.mkdir(TOKEN, root, ".streamsx", 0o755)
    for name in (".Streams", ".streams/00"):
        for take in (
            lambda name=name: chain.mkdir(TOKEN, root, name, 0o755),
            lambda name=name: chain.rename(TOKEN, root, ".streamsx", root, name, True),
            lambda name=name: chain.link(TOKEN, streams.file, root, name),
            lambda name=name: chain.symlink(TOKEN, "/etc", root, name),
        ):
            with pytest.raises(PermissionError):
                take()
        for remove in (
            lambda name=name: chain.unlink(TOKEN, root, name),
            lambda name=name: chain.rmdir(TOKEN, root, name),
            lambda name=name: chain.rename(TOKEN, root, name, root, "moved", False),
        ):
            with pytest.raises(FileNotFoundError):
                remove()
    assert streams.read("stream") == b"data"


@pytest.mark.parametrize("delete", [False, True])
def test_streams_of_a_file_that_others_removed_are_not_those_of_a_new_one(tmp_path: Path, delete: bool) -> None:
    streams = Streams(local_chain(tmp_path, StreamsDepotModule(StreamsDepotOptions(delete_lost=delete))))
    streams.write("stream", b"secret")
    os.removexattr(tmp_path / "file", MARKER)  # what a new file of the same number would be
    assert streams.sizes() == {}
    streams.write("stream", b"own")
    assert streams.read("stream") == b"own"
    assert (tmp_path / ".streams" / "lost-0").exists() is not delete
    streams.close()


def test_a_file_with_two_names_keeps_its_streams_until_the_last_goes(over: Callable[..., Streams]) -> None:
    streams = over(StreamsDepotModule())
    streams.write("stream", b"data")
    streams.chain.link(TOKEN, streams.file, streams.root, "second")
    streams.chain.rename(TOKEN, streams.root, "file", streams.root, "second", True)
    streams.chain.unlink(TOKEN, streams.root, "second")
    assert streams.read("stream") == b"data"


# A model.


class StreamMachine(RuleBasedStateMachine):
    """The streams of a file behave as a dictionary of byte arrays."""

    modules: tuple[Callable[[], VfsModule], ...] = (MemoryBackend,)

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="lamina-test-")
        self.streams = Streams(local_chain(self.folder.name, *(make() for make in self.modules)))
        self.model: dict[str, bytearray] = {}

    names = some.sampled_from(["a", "b", "C c", "ä"])

    @rule(name=names, data=some.binary(max_size=200), offset=some.integers(0, 400))
    def write(self, name: str, data: bytes, offset: int) -> None:
        self.streams.write(name, data, offset)
        value = self.model.setdefault(name, bytearray())
        if data:
            value.extend(bytes(max(offset + len(data) - len(value), 0)))
            value[offset : offset + len(data)] = data

    @rule(name=names, size=some.integers(0, 600))
    def truncate(self, name: str, size: int) -> None:
        self.streams.truncate(name, size)
        value = self.model.setdefault(name, bytearray())
        del value[size:]
        value.extend(bytes(size - len(value)))

    @rule(name=names)
    def remove(self, name: str) -> None:
        if self.model.pop(name, None) is not None:
            self.streams.chain.remove_stream(TOKEN, self.streams.file, name)
            return
        with pytest.raises(FileNotFoundError):
            self.streams.chain.remove_stream(TOKEN, self.streams.file, name)

    @precondition(lambda self: self.model)
    @rule(data=some.data(), to=names, replace=some.booleans())
    def rename(self, data: some.DataObject, to: str, replace: bool) -> None:
        source = data.draw(some.sampled_from(sorted(self.model)))
        if to in self.model and to != source and not replace:
            with pytest.raises(FileExistsError):
                self.streams.chain.rename_stream(TOKEN, self.streams.file, source, to, False)
            return
        self.streams.chain.rename_stream(TOKEN, self.streams.file, source, to, replace)
        self.model[to] = self.model.pop(source)

    @invariant()
    def agrees(self) -> None:
        assert self.streams.sizes() == {name: len(value) for name, value in self.model.items()}
        for name, value in self.model.items():
            assert self.streams.read(name) == value

    def teardown(self) -> None:
        self.streams.close()
        self.folder.cleanup()


class StreamsXattrMachine(StreamMachine):
    """The same in attributes of 100 bytes."""

    modules = (
        lambda: StreamsXattrModule(StreamsXattrOptions(max_xattr_size=100, max_xattrs_per_stream=16)),
        PosixBackend,
    )


class StreamsDepotMachine(StreamMachine):
    """The same in a depot."""

    modules = (StreamsDepotModule, PosixBackend)


_LIMITS = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestMemoryModel = StreamMachine.TestCase
TestMemoryModel.settings = _LIMITS
TestXattrModel = StreamsXattrMachine.TestCase
TestXattrModel.settings = _LIMITS
TestDepotModel = StreamsDepotMachine.TestCase
TestDepotModel.settings = _LIMITS


@settings(max_examples=100, deadline=None)
@given(before=some.binary(min_size=1, max_size=300), cut=some.integers(0, 300), gap=some.integers(0, 700))
@pytest.mark.parametrize("keeper", [StreamsXattrModule, StreamsDepotModule])
def test_growth_never_shows_what_was_there_before(
    keeper: Callable[[], VfsModule], before: bytes, cut: int, gap: int
) -> None:
    """CVE-2025-9640: the gap of a write beyond the end, and a new end of file, read as zeros and nothing else."""
    streams = Streams(local_chain("/nowhere", keeper(), MemoryBackend()))
    streams.write("stream", before)
    streams.truncate("stream", cut)
    streams.write("stream", b"!", cut + gap)
    kept = before[:cut] + bytes(max(cut - len(before), 0))
    assert streams.read("stream") == kept + bytes(gap) + b"!"
    streams.truncate("stream", cut + gap + 9)
    assert streams.read("stream") == kept + bytes(gap) + b"!" + bytes(8)
    streams.close()


# A real smbd.


class Samba:
    """A share of smbd with a module of streams."""

    def __init__(self, client: WireClient, share: Path) -> None:
        self._client = client
        self.share = share

    def read(self, path: str) -> bytes:
        """What smbd reads from a stream."""
        file = self._client.create(path, access=smb_access("r"))
        data = self._client.read(file, 60_000)
        self._client.close(file)
        return data

    def write(self, path: str, data: bytes) -> None:
        """Let smbd write a stream, and the file where there is none."""
        file = self._client.create(path, access=smb_access("w"), disposition=3)
        self._client.write(file, data)
        self._client.close(file)

    def streams(self, path: str) -> set[bytes]:
        """Which streams smbd says there are, of these names."""
        file = self._client.create(path, access=0x80)
        found = self._client.query_info(file, smb.INFO_FILE, 22)
        self._client.close(file)
        return {name for name in (b"theirs", b"ours", b"main") if name.decode().encode("utf-16-le") in found}


def smb_access(mode: str) -> int:
    return 0x1 if mode == "r" else 0x3


_FORMS: dict[str, tuple[dict[str, str], Callable[[], VfsModule]]] = {
    "streams_xattr": ({}, StreamsXattrModule),
    "streams_xattr-without-types": (
        {"streams_xattr:store_stream_type": "no", "streams_xattr:prefix": "user.S."},
        lambda: StreamsXattrModule(StreamsXattrOptions(prefix="user.S.", store_stream_type=False)),
    ),
    "streams_depot": ({}, StreamsDepotModule),
}


@pytest.fixture(params=_FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def samba(form: str, tmp_path: Path) -> Iterator[Samba]:
    if not shutil.which("smbd") or not shutil.which("smbpasswd"):
        pytest.skip("needs smbd; install Debian's samba and samba-vfs-modules")
    if os.geteuid() != 0:
        pytest.skip("smbd is run as root here; run the tests as root")
    (tmp_path / "share").mkdir()
    settings_ = {"vfs objects": form.partition("-")[0], **_FORMS[form][0]}
    folder = Folder(str(tmp_path / "share"), settings=settings_)
    with serving(Layout({"share": folder}, [User("root", "secret")]), tmp_path / "state", "smbd") as server:
        with WireClient(server.host, server.port) as client:
            client.negotiate()
            client.session_setup("root", "secret")
            client.tree_connect("share")
            yield Samba(client, server.folder())


def test_what_smbd_stored_is_read_and_the_other_way_round(samba: Samba, form: str) -> None:
    samba.write("file", b"main")
    samba.write("file:theirs", b"from smbd")
    samba.write("file:theirs", b"From")
    streams = Streams(local_chain(samba.share, _FORMS[form][1]()))
    assert streams.sizes() == {"theirs": 9}
    assert streams.read("theirs") == b"From smbd"
    streams.write("ours", b"from here" * 100)
    streams.write("theirs", b"!", 12)
    assert samba.streams("file") == {b"theirs", b"ours"}
    assert samba.read("file:ours") == b"from here" * 100
    assert samba.read("file:theirs") == b"From smbd\0\0\0!"
    assert samba.read("file") == b"main"
    streams.close()


def test_both_know_streams_of_a_folder(samba: Samba, form: str) -> None:
    (samba.share / "folder").mkdir()
    samba.write("folder:theirs", b"from smbd")
    chain = local_chain(samba.share, AclXattrModule(), _FORMS[form][1](), PosixBackend())
    root = chain.open_root(TOKEN)
    folder = chain.open(TOKEN, root, "folder", OpenHow(directory=True))
    assert [entry[:2] for entry in chain.list_streams(TOKEN, folder)] == [("theirs", 9)]
    stream = chain.open_stream(TOKEN, folder, "ours", WRITE)
    chain.pwrite(TOKEN, stream, memoryview(b"from here"), 0)
    assert samba.read("folder:ours") == b"from here"
    for handle in (stream, folder, root):
        chain.close(TOKEN, handle)
    chain.disconnect()
