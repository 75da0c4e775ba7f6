"""`posix` with access times that reading does not change; whether it does otherwise is the mount's business."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.stock.posix.backend import PosixBackend, PosixOptions
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

OLD = 10**18


def read_through(folder: Path, options: PosixOptions, token: ImpersonationToken) -> tuple[int, int]:
    """Access times of a file and a folder, set before both are read."""
    chain = local_chain(folder, PosixBackend(options))
    root = chain.open_root(token)
    assume(SERVER_TOKEN)
    for name in ("file", "folder"):
        os.utime(folder / name, ns=(OLD, OLD + 1))
    file = chain.open(token, root, "file", OpenHow(Access.READ))
    assert chain.pread(token, file, memoryview(bytearray(4)), 0) == 4
    inner = chain.open(token, root, "folder", OpenHow(Access.READ, directory=True))
    assert [entry.name for entry in chain.readdir(token, inner, True)] == ["inner"]
    times = chain.fstat(token, file).atime_ns, chain.fstat(token, inner).atime_ns
    for handle in (file, inner, root):
        chain.close(token, handle)
    chain.disconnect()
    assume(SERVER_TOKEN)
    return times


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may read; pytest's own is closed to other users."""
    with tempfile.TemporaryDirectory(prefix="lamina-test-") as name:
        path = Path(name)
        path.chmod(0o755)
        (path / "file").write_text("data")
        (path / "folder" / "inner").mkdir(parents=True)
        yield path
        assume(SERVER_TOKEN)


def test_reading_changes_nothing_where_it_is_never_to(folder: Path) -> None:
    assert read_through(folder, PosixOptions(access_time="never"), make_token()) == (OLD, OLD)


def test_otherwise_the_mount_decides(folder: Path) -> None:
    with open(folder / "file", "rb") as file, os.scandir(folder / "folder") as entries:
        os.utime(folder / "file", ns=(OLD, OLD + 1))
        os.utime(folder / "folder", ns=(OLD, OLD + 1))
        assert (file.read(), len(list(entries))) == (b"data", 1)
    local = [(folder / name).stat().st_atime_ns != OLD for name in ("file", "folder")]
    shown = read_through(folder, PosixOptions(), make_token())
    assert [time != OLD for time in shown] == local


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may keep the access times of others' files: run as root")
def test_the_files_of_others_keep_theirs_too(folder: Path) -> None:
    assert read_through(folder, PosixOptions(access_time="never"), make_token(23001, 23001)) == (OLD, OLD)
