"""A gigabyte written and read back on each store, compared by its hash."""

import hashlib
from pathlib import Path

import pytest

from tests.contrib.stores import Store
from tests.support.processes import ServerProcess
from tests.support.smbclient import SmbClient, installed

pytestmark = pytest.mark.skipif(not installed(), reason="smbclient is not installed: apt install smbclient")

GIGABYTE = 1 << 30


def write_large(path: Path) -> str:
    """A file of a gigabyte in which no two blocks are the same; its hash."""
    block = hashlib.shake_128(b"large").digest(1 << 20)
    found = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(GIGABYTE >> 20):
            data = number.to_bytes(8, "big") + block[8:]
            found.update(data)
            file.write(data)
    return found.hexdigest()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_gigabyte_goes_there_and_back(
    store: Store, server: ServerProcess, top: str, place: str, tmp_path: Path
) -> None:
    client = SmbClient(server, directory=place)
    wanted = write_large(tmp_path / "large")
    try:
        client.do("put large", local=tmp_path).check()
        (tmp_path / "large").unlink()
        client.do("get large", local=tmp_path).check()
        with (tmp_path / "large").open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == wanted
        assert store.view.stat(f"{top}/{place}/large").size == GIGABYTE
        client.do("del large").check()
    finally:
        (tmp_path / "large").unlink(missing_ok=True)
