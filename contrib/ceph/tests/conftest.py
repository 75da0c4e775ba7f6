"""A directory of CephFS for each test that wants one, on the cluster that LAMINA_CEPH_CONF names."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.testing import local_chain

from lamina_ceph import CephBackend
from lamina_ceph.conformance import directory_for, make_directory, options

NEEDED = "needs a CephFS: LAMINA_CEPH_CONF, and perhaps LAMINA_CEPH_KEYRING and LAMINA_CEPH_USER, say which"


@pytest.fixture
def root(tmp_path: Path) -> str:
    """The path of an empty directory of CephFS."""
    if not os.environ.get("LAMINA_CEPH_CONF"):
        pytest.skip(NEEDED)
    path = directory_for(tmp_path)
    make_directory(path)
    return path


@pytest.fixture
def connect(root: str, tmp_path: Path) -> Iterator[Callable[..., Chain]]:
    """Makes chains over that directory, with the options that are given; all are disconnected in the end."""
    chains: list[Chain] = []

    def one(*above: object, beneath: str = "", **others: object) -> Chain:
        backend = CephBackend(options(root + beneath, **others))
        chain = local_chain("/", *above, backend, state=tmp_path / "state")  # type: ignore[arg-type]
        chains.append(chain)
        return chain

    yield one
    for chain in chains:
        chain.disconnect()
