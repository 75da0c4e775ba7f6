"""Options, permissions and buffers, without a cluster."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lamina.vfs_modules.loader import load_module
from lamina.vfs_modules.snapshots import make_provider
from lamina.vfs_modules.testing import make_token
from lamina.vfs_modules.token import SERVER_TOKEN
from pydantic import ValidationError

from lamina_ceph import CephBackend, CephOptions, CephSnapshots
from lamina_ceph.buffers import Buffers
from lamina_ceph.identity import client_name, place_in
from lamina_ceph.permissions import PermissionCache


class Library:
    """Counts who there are permissions for."""

    def __init__(self) -> None:
        self.made: list[tuple[int, int, tuple[int, ...]]] = []
        self.destroyed: list[int] = []

    def ceph_userperm_new(self, uid: int, gid: int, count: int, groups: Any) -> int:
        self.made.append((uid, gid, tuple(groups[:count])))
        return len(self.made)

    def ceph_userperm_destroy(self, pointer: int) -> None:
        self.destroyed.append(pointer)


def test_shares_find_the_backend_and_its_snapshots_by_their_name() -> None:
    assert load_module("ceph") is CephBackend
    assert isinstance(make_provider("ceph", {}), CephSnapshots)


def test_the_cluster_and_the_user_name_files_unless_these_are_given() -> None:
    plain = CephOptions()
    assert plain.configuration() == "/etc/ceph/ceph.conf"
    assert "keyring" not in plain.client_settings()
    other = CephOptions(cluster="remote", user="smb")
    assert other.configuration() == "/etc/ceph/remote.conf"
    assert other.client_settings()["keyring"].startswith("/etc/ceph/remote.client.smb.keyring")
    given = CephOptions(cluster="remote", conf="/a/ceph.conf", keyring="/a/keyring")
    assert (given.configuration(), given.client_settings()["keyring"]) == ("/a/ceph.conf", "/a/keyring")


def test_options_of_ceph_itself_count_last() -> None:
    told = CephOptions(write_cache="write-through", settings={"client_oc_size": "1000", "client_permissions": "false"})
    assert told.client_settings()["client_oc_max_dirty"] == "0"
    assert told.client_settings()["client_oc_size"] == "1000"
    assert told.client_settings()["client_permissions"] == "false"


def test_samba_names_are_taken() -> None:
    options = CephOptions.model_validate({"ceph:config_file": "/a", "ceph:user_id": "b", "ceph:filesystem": "c"})
    assert (options.conf, options.user, options.file_system) == ("/a", "b", "c")


@pytest.mark.parametrize("wrong", [{"root": "relative"}, {"threads": 1}, {"layout": {"stripe_unit": 1000}}, {"x": 1}])
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CephOptions.model_validate(wrong)


def test_a_layout_is_what_is_given_of_it() -> None:
    assert CephOptions().layout.value() == b""
    options = CephOptions.model_validate({"layout": {"pool": "fast", "object_size": 1 << 20}})
    assert options.layout.value() == b"pool=fast object_size=1048576"


def test_permissions_are_of_the_token_with_all_its_groups_and_the_server_is_the_superuser() -> None:
    library = Library()
    cache = PermissionCache(library)
    ada = make_token(1000, 1001, (5, 6))
    assert cache.of(ada) is cache.of(make_token(1000, 1001, (5, 6)))
    cache.of(make_token(1000, 1001, (5,)))
    assert cache.of(SERVER_TOKEN) is cache.server
    assert library.made == [(0, 0, ()), (1000, 1001, (5, 6)), (1000, 1001, (5,))]


def test_so_many_permissions_are_kept_and_those_in_use_outlive_that() -> None:
    library = Library()
    cache = PermissionCache(library, 2)
    held = cache.of(make_token(1, 1))
    for uid in (2, 3, 4):
        cache.of(make_token(uid, uid))
    assert len(cache) == 2
    assert library.destroyed == [3]
    del held
    assert library.destroyed == [3, 2]


_HOLDS = (
    "import sys; from lamina_ceph.identity import place_in; print(place_in(sys.argv[1]), flush=True); sys.stdin.read()"
)


def test_a_process_has_a_place_of_its_own_until_it_ends(tmp_path: Path) -> None:
    def start() -> tuple["subprocess.Popen[str]", int]:
        command = [sys.executable, "-c", _HOLDS, str(tmp_path)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen(command, text=True, **pipes)  # type: ignore[call-overload]
        return process, int(process.stdout.readline())

    (first, of_first), (second, of_second) = start(), start()
    assert (of_first, of_second, place_in(str(tmp_path)), place_in(str(tmp_path))) == (0, 1, 2, 2)
    first.kill()
    first.wait()
    third, of_third = start()
    assert of_third == 0
    for each in (first, second, third):
        each.communicate()


def test_the_name_of_a_client_is_of_who_keeps_it_where_and_for_what() -> None:
    names = {
        client_name(kept, place, what) for kept in (bytes(16), bytes(15) + b"1") for place in (0, 1) for what in "ab"
    }
    assert len(names) == 8
    assert client_name(bytes(16), 0, "a") in names


def test_buffers_are_large_enough_and_used_again() -> None:
    buffers = Buffers(1)
    sizes = {length: buffers.take(length).size for length in (0, 1, 4096, 4097, 1 << 20)}
    assert sizes == {0: 4096, 1: 4096, 4096: 4096, 4097: 8192, 1 << 20: 1 << 20}
    one, two = buffers.take(5000), buffers.take(5000)
    assert one.address != two.address
    buffers.give(one)
    buffers.give(two)
    assert buffers.take(6000) is one
    assert buffers.take(6000) is not two


def test_buffers_of_unusual_size_are_not_kept() -> None:
    buffers = Buffers(4)
    large = buffers.take(16 << 20)
    buffers.give(large)
    assert buffers.take(16 << 20) is not large
