"""Ranges of files whose mode refuses the user: the kernel's word counts, unless descriptors alone decide."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.vfs_modules.credentials import assume, can_impersonate
from lamina.vfs_modules.operations import OpenHow
from lamina.vfs_modules.stock.acl_xattr import AclXattrModule, AclXattrOptions
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.token import SERVER_TOKEN

pytestmark = pytest.mark.skipif(
    not can_impersonate(), reason="acting for other users needs root; run the tests as root"
)

ALICE = make_token(23001, 23001)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a file that only root may read."""
    with tempfile.TemporaryDirectory(prefix="lamina-test-") as name:
        os.chmod(name, 0o755)
        (Path(name) / "closed").write_bytes(b"x" * 4096)
        (Path(name) / "closed").chmod(0o600)
        yield Path(name)
    assume(SERVER_TOKEN)


def test_the_kernel_is_asked(folder: Path) -> None:
    backend = PosixBackend()
    chain = local_chain(folder, backend)
    backend._compresses = True  # as if the file system did
    root = chain.open_root(ALICE)
    handle = chain.open(ALICE, root, "closed", OpenHow())
    with pytest.raises(PermissionError):
        chain.allocated_ranges(ALICE, handle, 0, 9999, 9)
    with pytest.raises(PermissionError):
        chain.set_compressed(ALICE, handle, False)
    for opened in (handle, root):
        chain.close(ALICE, opened)
    chain.disconnect()


def test_descriptors_decide_where_they_alone_do(folder: Path) -> None:
    chain = local_chain(folder, AclXattrModule(AclXattrOptions(ignore_system_acls=True)), PosixBackend())
    root = chain.open_root(ALICE)
    handle = chain.open(ALICE, root, "closed", OpenHow())
    assert chain.allocated_ranges(ALICE, handle, 0, 9999, 9) == [(0, 4096)]
    for opened in (handle, root):
        chain.close(ALICE, opened)
    chain.disconnect()
