"""`durable`: a file is found again by its cookie, wherever it is, and no other in its place."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, Capability, OpenHow
from lamina.vfs_modules.stock import durable
from lamina.vfs_modules.stock.durable import Cookie, DurableModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.syscalls.file_handles import FileHandle, file_handle, open_file_handle
from lamina.vfs_modules.testing import local_chain
from lamina.vfs_modules.token import SERVER_TOKEN as TOKEN

READ = OpenHow(Access.READ)


def test_cookies_are_made_and_files_opened_by_them() -> None:
    assert DurableModule().capabilities(Capability(0)) == Capability.DURABLE_HANDLES


class Files:
    """A folder and a chain for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chain: Chain = local_chain(folder, DurableModule(), PosixBackend())
        self.root: VfsHandle = self.chain.open_root(TOKEN)

    def cookie(self, path: str) -> bytes:
        handle = self.chain.open(TOKEN, self.root, path, READ)
        try:
            return self.chain.durable_cookie(TOKEN, handle)
        finally:
            self.chain.close(TOKEN, handle)

    def read(self, cookie: bytes) -> bytes:
        handle = self.chain.durable_open(TOKEN, self.root, cookie, READ)
        try:
            buffer = bytearray(100)
            return bytes(buffer[: self.chain.pread(TOKEN, handle, memoryview(buffer), 0)])
        finally:
            self.chain.close(TOKEN, handle)

    def close(self) -> None:
        self.chain.close(TOKEN, self.root)
        self.chain.disconnect()


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"data")
    (tmp_path / "folder" / "other").write_bytes(b"other")
    files = Files(tmp_path)
    yield files
    files.close()


@pytest.fixture(params=["by handle", "by path"])
def way(request: pytest.FixtureRequest, files: Files, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to a file; the second is that of who may not open handles."""
    if request.param == "by path":

        def refuse(mount: int, handle: FileHandle) -> int:
            raise PermissionError(errno.EPERM, "not you")

        monkeypatch.setattr(durable, "open_file_handle", refuse)
    elif not _opens_handles(files.folder):
        pytest.skip("opening file handles takes CAP_DAC_READ_SEARCH and a file system that has them: run as root")
    return str(request.param)


def _opens_handles(folder: Path) -> bool:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.close(open_file_handle(fd, file_handle(fd)))
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def test_a_file_is_found_again(files: Files, way: str) -> None:
    assert files.read(files.cookie("folder/file")) == b"data"


def test_also_by_another_chain_of_the_share(files: Files, way: str) -> None:
    cookie = files.cookie("folder/file")
    again = Files(files.folder)
    assert again.read(cookie) == b"data"
    again.close()


def test_a_file_that_was_moved_is_found_by_its_handle_alone(files: Files, way: str) -> None:
    cookie = files.cookie("folder/file")
    (files.folder / "folder").rename(files.folder / "moved")
    if way == "by handle":
        assert files.read(cookie) == b"data"
    else:
        with pytest.raises(OSError, match="Stale"):
            files.read(cookie)


@pytest.mark.parametrize("change", ["deleted", "replaced", "made anew"])
def test_no_other_is_taken_for_it(files: Files, way: str, change: str) -> None:
    cookie = files.cookie("folder/file")
    path = files.folder / "folder" / "file"
    if change == "replaced":
        (files.folder / "folder" / "other").rename(path)
    else:
        path.unlink()
    if change == "made anew":
        path.write_bytes(b"new!")
    with pytest.raises(OSError, match="Stale"):
        files.read(cookie)


def test_none_outside_of_the_share_is_opened(files: Files, way: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    cookie = files.cookie("folder/file")
    (files.folder / "folder" / "file").rename(tmp_path_factory.mktemp("elsewhere") / "file")
    with pytest.raises(OSError, match="Stale"):
        files.read(cookie)


@pytest.mark.parametrize("cookie", [b"", b"LDC1", b"LDC1" + bytes(20), b"LDC1" + bytes(20) + b"\xff\xff"])
def test_what_is_no_cookie_is_refused(files: Files, cookie: bytes) -> None:
    with pytest.raises(OSError, match=r".*") as caught:
        files.read(cookie)
    assert caught.value.errno in {errno.EINVAL, errno.ENOTSUP, errno.ESTALE, errno.EISDIR}


def test_a_store_of_its_own_kind_has_none() -> None:
    chain = local_chain("/nowhere", DurableModule(), MemoryBackend())
    handle = chain.open(TOKEN, chain.open_root(TOKEN), "file", OpenHow(Access.READ_WRITE, create=True))
    with pytest.raises(OSError, match="durable_cookie"):
        chain.durable_cookie(TOKEN, handle)


@given(
    st.builds(
        Cookie,
        st.integers(0, 2**64 - 1),
        st.integers(-1, 2**63 - 1),
        st.none() | st.builds(FileHandle, st.integers(0, 2**31 - 1), st.binary(max_size=128)),
        st.binary(),
    )
)
def test_cookies_come_out_as_they_went_in(cookie: Cookie) -> None:
    assert Cookie.unpack(cookie.pack()) == cookie
