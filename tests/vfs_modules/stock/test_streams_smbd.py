"""What a real smbd stores in streams is read here, and the other way round."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lamina.core.wire import constants as smb
from lamina.vfs_modules.forms.stream_values import StreamsXattrOptions
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import OpenHow
from lamina.vfs_modules.stock.acl_xattr import AclXattrModule
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.stock.streams_depot import StreamsDepotModule
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.testing import local_chain
from tests.support.processes import Folder, Layout, User, serving
from tests.support.vfs_streams import TOKEN, WRITE, Streams
from tests.support.wire_client import WireClient


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
    chain = local_chain(samba.share, _FORMS[form][1](), AclXattrModule(), PosixBackend())
    root = chain.open_root(TOKEN)
    folder = chain.open(TOKEN, root, "folder", OpenHow(directory=True))
    assert [entry[:2] for entry in chain.list_streams(TOKEN, folder)] == [("theirs", 9)]
    stream = chain.open_stream(TOKEN, folder, "ours", WRITE)
    chain.pwrite(TOKEN, stream, memoryview(b"from here"), 0)
    assert samba.read("folder:ours") == b"from here"
    for handle in (stream, folder, root):
        chain.close(TOKEN, handle)
    chain.disconnect()
