"""`recycle` on the wire: every way in which a client can lose a file's data leads to the bin."""

import os
import time
from collections.abc import Callable

import pytest

from lamina.core.wire import constants as smb
from lamina.ntfsa import constants as c
from lamina.vfs_modules.stock.recycle import RecycleModule
from lamina.vfs_modules.stock.recycling.options import RecycleOptions
from tests.core.server.test_security import pack_rename
from tests.support.served import GENERIC_ALL, USER, Served
from tests.support.wire_client import WireClient

CHAIN = ("streams_xattr", "dos_attributes", "posix")


@pytest.fixture
def recycling(serve: Callable[..., Served]) -> Served:
    return serve(chain=[RecycleModule(), *CHAIN])


@pytest.fixture
def client(recycling: Served) -> WireClient:
    return recycling.connected()


def make(client: WireClient, name: str, data: bytes) -> None:
    file = client.create(name, access=GENERIC_ALL, disposition=c.FILE_CREATE)
    client.write(file, data)
    client.close(file)


def kept(served: Served) -> dict[str, bytes]:
    folder = served.folder / ".recycle" / USER
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_that_is_deleted_on_close(recycling: Served, client: WireClient) -> None:
    make(client, "file", b"data")
    client.close(client.create("file", access=c.DELETE, options=c.FILE_DELETE_ON_CLOSE))
    assert kept(recycling) == {"file": b"data"}
    assert not (recycling.folder / "file").exists()


@pytest.mark.parametrize(
    "flags", [c.FILE_DISPOSITION_DELETE, c.FILE_DISPOSITION_DELETE | c.FILE_DISPOSITION_POSIX_SEMANTICS]
)
def test_a_file_whose_disposition_is_set(recycling: Served, client: WireClient, flags: int) -> None:
    make(client, "file", b"data")
    reader = client.create("file", access=GENERIC_ALL)
    file = client.create("file", access=c.DELETE)
    client.set_info(file, smb.INFO_FILE, c.FILE_DISPOSITION_INFORMATION_EX, flags.to_bytes(4, "little"))
    client.close(file)
    assert client.read(reader, 4) == b"data"
    client.close(reader)
    assert kept(recycling) == {"file": b"data"}
    make(client, "file", b"again")


def test_a_file_that_another_is_renamed_over(recycling: Served, client: WireClient) -> None:
    make(client, "old", b"old")
    make(client, "new", b"new")
    file = client.create("new", access=GENERIC_ALL)
    client.set_info(file, smb.INFO_FILE, c.FILE_RENAME_INFORMATION, pack_rename("old", replace=True))
    client.close(file)
    assert kept(recycling) == {"old": b"old"}
    assert (recycling.folder / "old").read_bytes() == b"new"


def test_a_file_that_a_link_replaces(recycling: Served, client: WireClient) -> None:
    make(client, "old", b"old")
    make(client, "new", b"new")
    file = client.create("new", access=GENERIC_ALL)
    client.set_info(file, smb.INFO_FILE, c.FILE_LINK_INFORMATION, pack_rename("old", replace=True))
    client.close(file)
    assert kept(recycling) == {"old": b"old"}
    assert os.path.samefile(recycling.folder / "old", recycling.folder / "new")


def test_tidying_waits_for_nobody_and_is_waited_for_at_the_end(serve: Callable[..., Served]) -> None:
    module = RecycleModule(RecycleOptions(quota=10), time.time_ns)
    served = serve(chain=[module, *CHAIN])
    client = served.connected()
    for number in range(5):
        make(client, f"file {number}", b"12345")
        client.close(client.create(f"file {number}", access=c.DELETE, options=c.FILE_DELETE_ON_CLOSE))
    served.until(lambda: len(kept(served)) <= 2)
    assert set(kept(served)) == {"file 3", "file 4"}
