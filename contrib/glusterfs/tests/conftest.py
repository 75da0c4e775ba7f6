"""The volume that there is for tests, and a share over a folder of it that is empty."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.testing import local_chain

from lamina_glusterfs import GlusterBackend
from lamina_glusterfs.conformance import VARIABLE, folder_for, options

Serve = Callable[..., Chain]


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A folder of the volume of this test's own."""
    if VARIABLE not in os.environ:
        pytest.skip(f"no volume: set {VARIABLE}=volume@server to one whose folder lamina-conformance may be used")
    return folder_for(tmp_path)


@pytest.fixture
def serve(root: str) -> Iterator[Serve]:
    """Connects a share over the folder, with other options where they are given."""
    chains: list[Chain] = []

    def connect(**more: object) -> Chain:
        chains.append(local_chain("/nowhere", GlusterBackend(options(**{"root": root, **more}))))
        return chains[-1]

    yield connect
    for chain in chains:
        chain.disconnect()


@pytest.fixture
def chain(serve: Serve) -> Chain:
    """A share over the folder."""
    return serve()
