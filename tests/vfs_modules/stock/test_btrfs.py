"""The conformance suite on a file system that shares blocks and compresses, and what is found out about it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.stock.posix.backend import PosixBackend, PosixOptions
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.suite import Check, applicable, checks
from tests.support.loop_filesystem import WHY_NOT, btrfs

ALL = Capability.SPARSE | Capability.REFLINK | Capability.COMPRESSION


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with btrfs(tmp_path_factory.mktemp("loop") / "btrfs") as folder:
        if folder is None:
            pytest.skip(WHY_NOT)
        yield folder


@pytest.fixture
def folder(mounted: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=mounted) as made:
        yield Path(made)


@pytest.mark.parametrize("check", checks(), ids=lambda check: check.__name__)
@pytest.mark.parametrize("offload", ["auto", "never"])
def test_conforms_on_btrfs(check: Check, offload: str, folder: Path) -> None:
    chain = local_chain(folder, PosixBackend(PosixOptions(offload=offload)))
    assert ALL in chain.capabilities
    if check in applicable(chain):
        check(chain, make_token())
    chain.disconnect()


def test_what_cannot_be_tried_is_known_by_the_file_system(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.vfs_modules.syscalls.ranges.os.O_TMPFILE", 0)
    chain = local_chain(folder)
    assert ALL in chain.capabilities
    chain.disconnect()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no tmpfs at /dev/shm; mount one to run this")
def test_a_file_system_in_memory_has_holes_alone() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        chain = local_chain(made)
        assert chain.capabilities & ALL == Capability.SPARSE
        chain.disconnect()
