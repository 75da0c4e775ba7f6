"""A share with persistent opens whose configuration is read again: the store goes, and comes back."""

from collections.abc import Callable
from pathlib import Path

from lamina.core.plan import DEFAULT_CHAIN, ModuleSpec, ShareSpec
from lamina.core.wire.create_contexts import DURABLE_HANDLE_REQUEST_V2
from lamina.core.wire.durable_contexts import DHANDLE_FLAG_PERSISTENT as PERSISTENT
from lamina.core.wire.durable_contexts import decode_durable_response_v2
from lamina.ntfsa.constants import FILE_DELETE_ON_CLOSE
from tests.core.server.test_persistent import again, asked, connect, kept, stop
from tests.support.durable import OTHER_CLIENT, OTHER_GUID
from tests.support.served import FILE_OPEN_IF, GENERIC_ALL, Served, new_file
from tests.support.wire_client import Open, WireClient

Serve = Callable[..., Served]
GENERIC_READ = 0x80000000
MACHINE = "S-1-5-21-1-2-3"


def shares(tmp_path: Path, keeping: bool = True, read_only: bool = False) -> dict[str, ShareSpec]:
    store = (ModuleSpec("persistent_store", {"path": str(tmp_path / "opens.db")}),) if keeping else ()
    return {"data": ShareSpec(tmp_path / "data", chain=(*store, "durable", *DEFAULT_CHAIN), read_only=read_only)}


def persistent(client: WireClient, name: str, guid: bytes) -> Open:
    file = new_file(client, name, contexts=asked(guid))
    assert decode_durable_response_v2(file.response.contexts[DURABLE_HANDLE_REQUEST_V2]).flags == PERSISTENT
    return file


def test_a_share_that_was_gone_for_a_while_has_its_store_again(serve: Serve, tmp_path: Path) -> None:
    served = serve(shares=shares(tmp_path))
    client = connect(served)
    file = persistent(client, "file", OTHER_GUID)
    served.server.set_shares({})
    served.server.set_shares(shares(tmp_path))
    other = connect(served, OTHER_CLIENT)
    other.close(persistent(other, "other", OTHER_GUID))
    client.close(file)
    stop(served)
    assert kept(tmp_path) == 0


def test_a_share_that_was_without_the_module_for_a_while_has_its_store_again(serve: Serve, tmp_path: Path) -> None:
    served = serve(shares=shares(tmp_path))
    client = connect(served)
    file = persistent(client, "file", OTHER_GUID)
    served.server.set_shares(shares(tmp_path, keeping=False))
    served.server.set_shares(shares(tmp_path))
    others = [connect(served, OTHER_CLIENT), connect(served, OTHER_CLIENT)]
    for number, other in enumerate(others):
        other.close(persistent(other, f"file {number}", b"%16d" % number))
    client.close(file)
    stop(served)
    assert kept(tmp_path) == 0


def test_nothing_is_deleted_on_a_share_that_has_become_read_only(serve: Serve, tmp_path: Path) -> None:
    served = serve(shares=shares(tmp_path))
    client = connect(served)
    new_file(client, contexts=asked(), options=FILE_DELETE_ON_CLOSE)
    reader = client.create("read", access=GENERIC_ALL, disposition=FILE_OPEN_IF)
    client.close(reader)
    client.create("read", access=GENERIC_READ, disposition=FILE_OPEN_IF, contexts=asked(OTHER_GUID))
    stop(served)

    served = serve(shares=shares(tmp_path, read_only=True))
    (reading,) = served.call(lambda: list(served.core.durables.waiting()))
    assert reading.nt.path == "read"
    served.call(lambda: served.core.durables.end(reading))
    served.until(lambda: not served.core.engine.running)
    assert {path.name for path in served.folder.iterdir()} == {"file", "read"}
    stop(served)
    assert kept(tmp_path) == 0


def test_an_open_comes_back_though_its_file_has_a_name_outside_of_the_share(serve: Serve, tmp_path: Path) -> None:
    served = serve(shares=shares(tmp_path), machine_sid=MACHINE)
    file = persistent(connect(served), "file", OTHER_GUID)
    (tmp_path / "outside").hardlink_to(served.folder / "file")
    stop(served)
    assert (tmp_path / "outside").read_bytes() == b""

    served = serve(shares=shares(tmp_path), machine_sid=MACHINE)
    client = connect(served)
    client.close(again(client, file, guid=OTHER_GUID))
    stop(served)
