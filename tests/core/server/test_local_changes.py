"""Local programs and other shares beside the clients of a share: what a client that watches is answered on the wire."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.core.plan import ModuleSpec, ShareSpec
from lamina.ntfsa.status import NtStatus as S
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.syscalls import inotify
from tests.core.server.test_change_notify import NAMES, WATCH_TREE, changes, root
from tests.support.served import Served, new_file
from tests.support.wire_client import Open, WireClient

EVERYTHING = 0xFFF
ADDED, REMOVED, MODIFIED, OLD, NEW = range(1, 6)


def watching(client: WireClient, directory: Open, flags: int = WATCH_TREE, completion_filter: int = NAMES) -> int:
    """A request that waits."""
    waiting = client.send_change_notify(directory, completion_filter, flags)
    client.wait_interim(waiting)
    return waiting


def backends(served: Served) -> list[PosixBackend]:
    """The backends of the shares."""
    found = []
    for share in served.core.shares:
        if share.volume is not None:
            backend = share.volume.whole_chain.modules[-1]
            assert isinstance(backend, PosixBackend)
            found.append(backend)
    return found


def test_a_file_that_a_local_program_makes_answers_the_request(served: Served, client: WireClient) -> None:
    waiting = watching(client, root(client))
    (served.folder / "file").write_text("content")
    assert changes(client.wait(waiting)) == [(ADDED, "file")]


def test_a_local_program_and_a_client_are_told_of_once_each(served: Served, client: WireClient) -> None:
    directory, other = root(client), served.connected()
    waiting = watching(client, directory)
    told: list[tuple[int, str]] = []
    for number in range(10):
        (served.folder / f"local{number}").touch()
        other.close(new_file(other, f"client{number}"))
    (served.folder / "last").touch()
    while (ADDED, "last") not in told:
        told += changes(client.wait(waiting))
        waiting = client.send_change_notify(directory, NAMES)
    assert told == [(ADDED, f"{who}{number}") for number in range(10) for who in ("local", "client")] + [
        (ADDED, "last")
    ]


def test_a_local_rename_is_a_pair(served: Served, client: WireClient) -> None:
    (served.folder / "file").touch()
    waiting = watching(client, root(client))
    os.rename(served.folder / "file", served.folder / "other")
    assert changes(client.wait(waiting)) == [(OLD, "file"), (NEW, "other")]


def test_a_tree_made_by_a_local_program_is_told_to_its_leaves(served: Served, client: WireClient) -> None:
    directory = root(client)
    waiting = watching(client, directory)
    deep = served.folder / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "file").touch()
    told: list[tuple[int, str]] = []
    while (ADDED, "a\\b\\c\\file") not in told:
        told += changes(client.wait(waiting))
        waiting = client.send_change_notify(directory, NAMES)
    assert told == [(ADDED, path) for path in ("a", "a\\b", "a\\b\\c", "a\\b\\c\\file")]


@pytest.mark.parametrize(
    ("completion_filter", "do"),
    [
        (0x18, lambda path: path.write_text("more")),
        (0x104, lambda path: path.chmod(0o600)),
        (0x30, os.utime),
        (0x80, lambda path: os.setxattr(path, "user.test", b"value")),
    ],
)
def test_changes_of_a_file_by_a_local_program(
    served: Served, client: WireClient, completion_filter: int, do: Callable[[Path], object]
) -> None:
    (served.folder / "file").touch()
    waiting = watching(client, root(client), 0, completion_filter)
    do(served.folder / "file")
    assert changes(client.wait(waiting)) == [(MODIFIED, "file")]


def test_shares_of_one_folder_and_within_another_see_each_others_changes(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    (tmp_path / "data" / "sub").mkdir(parents=True)
    shares = {"data": tmp_path / "data", "again": tmp_path / "data", "inner": tmp_path / "data" / "sub"}
    served = serve(shares=shares)
    clients = {name: served.connected(share=name) for name in shares}
    directories = {name: root(client) for name, client in clients.items()}
    waiting = {name: watching(clients[name], directories[name]) for name in shares}
    clients["inner"].close(new_file(clients["inner"], "file"))
    assert changes(clients["inner"].wait(waiting["inner"])) == [(ADDED, "file")]
    for name in ("data", "again"):
        assert changes(clients[name].wait(waiting[name])) == [(ADDED, "sub\\file")]
    waiting = {name: watching(clients[name], directories[name]) for name in shares}
    clients["again"].close(new_file(clients["again"], "top"))
    for name in ("data", "again"):
        assert changes(clients[name].wait(waiting[name])) == [(ADDED, "top")]


def test_only_what_is_done_through_the_share(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve(shares={"data": ShareSpec(tmp_path / "data", change_notify="share")})
    client = served.connected()
    waiting = watching(client, root(client))
    (served.folder / "local").touch()
    client.close(new_file(client, "client"))
    assert changes(client.wait(waiting)) == [(ADDED, "client")]
    assert not any(backend._notifier._changes for backend in backends(served))


def test_switched_off(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve(shares={"data": ShareSpec(tmp_path / "data", change_notify="off")})
    client = served.connected()
    assert client.wait(client.send_change_notify(root(client), NAMES)).status == S.NOT_IMPLEMENTED


def test_a_tree_too_large_to_watch_is_to_be_read_and_watched_as_far_as_it_goes(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    for number in range(5):
        (tmp_path / "data" / f"{number}").mkdir(parents=True)
    chain = (ModuleSpec("dos_attributes"), ModuleSpec("posix", {"watches": 3}))
    served = serve(shares={"data": ShareSpec(tmp_path / "data", chain=chain)})
    client = served.connected()
    directory = root(client)
    assert client.wait(client.send_change_notify(directory, NAMES, WATCH_TREE)).status == S.NOTIFY_ENUM_DIR
    waiting = watching(client, directory)
    (served.folder / "file").touch()
    assert changes(client.wait(waiting)) == [(ADDED, "file")]


def test_events_that_the_kernel_lost_are_answered_with_a_call_to_read(served: Served, client: WireClient) -> None:
    waiting = watching(client, root(client))
    overflow = inotify._EVENT.pack(-1, 0x4000, 0, 0)
    served.call(lambda: backends(served)[0]._notifier._inotify._deliver(overflow))
    served.call(backends(served)[0]._notifier.drain)
    assert client.wait(waiting).status == S.NOTIFY_ENUM_DIR


@pytest.mark.parametrize("leave", ["close", "tree_disconnect", "logoff", "disconnect"])
def test_watches_are_given_back(served: Served, client: WireClient, leave: str) -> None:
    (served.folder / "a" / "b").mkdir(parents=True)
    backend = backends(served)[0]
    directory = root(client)
    before = served.call(backend._notifier.watched)
    watching(client, directory)
    assert served.call(backend._notifier.watched) == before + 3
    if leave == "close":
        client.close(directory)
    else:
        getattr(client, leave)()
    served.until(lambda: backend._notifier.watched() == before and not backend._notifier._changes)
    assert served.call(lambda: backend._notifier._inotify._loop) is None
