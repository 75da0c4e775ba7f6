"""Shares whose folder depends on who connects: `/srv/home/%U`."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.core import places
from lamina.core.plan import ShareSpec
from lamina.core.runtime import Runtime, StartError
from lamina.ntfsa.status import NtStatus
from lamina.vfs_modules.stock.memory import MemoryBackend
from tests.core.server.test_trees_and_files import tree_connect
from tests.support.served import PASSWORD, SECOND_PASSWORD, SECOND_USER, USER, Served, new_file
from tests.support.wire_client import WireClient


@pytest.fixture
def homes(tmp_path: Path) -> Path:
    for user in (USER, SECOND_USER):
        (tmp_path / "homes" / user / "files").mkdir(parents=True)
    return tmp_path / "homes"


def spec(homes: Path, template: str = "%U/files", **changes: object) -> ShareSpec:
    return ShareSpec(homes, template=f"{homes}/{template}", **changes)  # type: ignore[arg-type]


@pytest.fixture
def start(serve: Callable[..., Served], homes: Path) -> Callable[..., Served]:
    return lambda template="%U/files", **changes: serve(shares={"home": spec(homes, template, **changes)})


def at_home(served: Served, user: str = USER) -> WireClient:
    password = PASSWORD if user.lower() == USER else SECOND_PASSWORD
    return served.connected(share="home", user=user, password=password)


def open_places(served: Served) -> int:
    return len(served.server.runtime.volumes_of("home"))


def test_each_user_has_the_folder_of_his_name_however_he_writes_it(start: Callable[..., Served], homes: Path) -> None:
    served = start()
    for user in (USER.upper(), SECOND_USER):
        client = at_home(served, user)
        client.write(new_file(client, "mine").file_id, user.lower().encode())
    for user in (USER, SECOND_USER):
        assert (homes / user / "files" / "mine").read_text() == user
    assert open_places(served) == 2


def test_those_who_come_to_one_folder_share_it_and_its_locks(start: Callable[..., Served]) -> None:
    served = start()
    first, second = at_home(served), at_home(served)
    first.create("x", access=0x1F01FF, disposition=3, share=0)
    with pytest.raises(Exception, match="SHARING_VIOLATION"):
        second.create("x", access=0x1F01FF, disposition=3, share=7)
    assert open_places(served) == 1


def test_the_list_of_shares_has_it_once_and_as_a_share_of_files(start: Callable[..., Served]) -> None:
    served = start()
    at_home(served), at_home(served, SECOND_USER)
    shares = served.call(lambda: served.core.view().shares())
    assert [(one.name, one.is_ipc) for one in shares] == [("home", False), ("IPC$", True)]


def test_a_folder_that_is_not_there_is_a_bad_network_name(start: Callable[..., Served], homes: Path) -> None:
    served = start()
    client = served.logged_on(user=SECOND_USER, password=SECOND_PASSWORD)
    os.rename(homes / SECOND_USER, homes / "away")
    assert tree_connect(client, r"\\server\home") == NtStatus.BAD_NETWORK_NAME
    os.rename(homes / "away", homes / SECOND_USER)
    assert tree_connect(client, r"\\server\home") == NtStatus.SUCCESS


@pytest.mark.parametrize("machine", ["../ada", "..", "a/b", "x\ny"])
def test_what_a_client_calls_itself_leads_nowhere(
    start: Callable[..., Served], homes: Path, monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    served = start("%m")
    monkeypatch.setenv("NETBIOS_COMPUTER_NAME", machine)
    client = served.logged_on()
    assert tree_connect(client, r"\\server\home") == NtStatus.BAD_NETWORK_NAME
    monkeypatch.setenv("NETBIOS_COMPUTER_NAME", "GRACE")
    assert tree_connect(served.logged_on(), r"\\server\home") == NtStatus.SUCCESS
    assert open_places(served) == 1


def test_a_client_that_calls_itself_many_names_opens_no_more_than_the_bound(
    start: Callable[..., Served], homes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = start("%m", places=2)
    statuses = []
    for name in ("one", "two", "three", "one"):
        (homes / name).mkdir(exist_ok=True)
        monkeypatch.setenv("NETBIOS_COMPUTER_NAME", name)
        statuses.append(tree_connect(served.logged_on(), r"\\server\home"))
    assert statuses == [0, 0, NtStatus.INSUFFICIENT_RESOURCES, 0]


def test_a_folder_is_given_up_some_time_after_the_last_has_left(
    start: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = start()
    client = at_home(served)
    monkeypatch.setattr(places, "IDLE_SECONDS", -1.0)
    served.on_loop(served.server.runtime.sweep())
    assert open_places(served) == 0
    # It was in use: who is connected keeps it until he leaves.
    new_file(client, "still")
    client.tree_disconnect()
    served.on_loop(served.server.runtime.sweep())
    volumes = served.call(lambda: list(served.server.runtime._retired))
    assert volumes == []


def test_who_becomes_another_user_is_not_in_the_first_ones_folder(start: Callable[..., Served]) -> None:
    served = start()
    client = at_home(served)
    client.session_setup(USER, PASSWORD, reauthenticate=True)
    new_file(client, "still")
    client.session_setup(SECOND_USER, SECOND_PASSWORD, reauthenticate=True)
    with pytest.raises(Exception, match="ACCESS_DENIED"):
        new_file(client, "not-mine")


def test_the_access_list_of_the_share_counts(start: Callable[..., Served]) -> None:
    served = start(allow=frozenset({USER}))
    at_home(served)
    client = served.logged_on(user=SECOND_USER, password=SECOND_PASSWORD)
    assert tree_connect(client, r"\\server\home") == NtStatus.ACCESS_DENIED


def test_a_changed_configuration_is_for_those_who_connect_then(start: Callable[..., Served], homes: Path) -> None:
    served = start()
    client = at_home(served)
    os.makedirs(homes / "new" / USER)
    served.server.set_shares({"home": spec(homes, "new/%U")})
    new_file(client, "old-place")
    new_file(at_home(served), "new-place")
    assert (homes / USER / "files" / "old-place").exists()
    assert (homes / "new" / USER / "new-place").exists()


def test_each_folder_has_a_chain_of_its_own_so_instances_of_modules_are_refused(homes: Path) -> None:
    import lamina

    with pytest.raises(StartError, match="name modules"):
        lamina.Server({"home": spec(homes, chain=[MemoryBackend()])}).start()


def test_two_who_come_at_once_open_a_folder_once(start: Callable[..., Served], monkeypatch: pytest.MonkeyPatch) -> None:
    served = start()
    clients = [served.logged_on() for _ in range(6)]
    opened: list[str] = []
    original = Runtime._open_place

    def counting(self, opened_share, its_spec, values):
        opened.append(str(its_spec.path))
        return original(self, opened_share, its_spec, values)

    monkeypatch.setattr(Runtime, "_open_place", counting)
    from lamina.core.wire import constants as smb
    from lamina.core.wire.tree_connect import TreeConnectRequest, encode_tree_connect_request

    body = encode_tree_connect_request(TreeConnectRequest(r"\\server\home"))
    sent = [(client, client.send(smb.Command.TREE_CONNECT, body, tree_id=0)) for client in clients]
    assert [client.wait(message).status for client, message in sent] == [0] * 6
    assert len(opened) == 1
