"""What the backend does with a CephFS, beyond what the conformance suite asks of every backend."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import smbclient
from lamina import Server
from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ShareInfo
from lamina.vfs_modules.operations import Access, Capability, DosAttributes, OpenHow, Times
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.persistent_store import PersistentStoreModule
from lamina.vfs_modules.stock.shadow_copy import ShadowCopyModule
from lamina.vfs_modules.testing import make_token
from lamina.vfs_modules.token import SERVER_TOKEN

from lamina_ceph import CephBackend, CephSnapshots
from lamina_ceph.conformance import options
from lamina_ceph.connection import Connection
from lamina_ceph.mount import Mount

TOKEN = make_token(0, 0)
CREATE = OpenHow(Access.READ_WRITE, create=True)
READ = OpenHow(Access.READ)
LIST = OpenHow(Access.READ, directory=True)

Connect = Callable[..., Chain]


def made(chain: Chain, path: str, data: bytes = b"") -> VfsHandle:
    """A new file with this in it, open."""
    root = chain.open_root(TOKEN)
    handle = chain.open(TOKEN, root, path, CREATE)
    chain.close(TOKEN, root)
    chain.pwrite(TOKEN, handle, memoryview(data), 0)
    return handle


def content(chain: Chain, handle: VfsHandle) -> bytes:
    """The first hundred bytes."""
    buffer = memoryview(bytearray(100))
    return bytes(buffer[: chain.pread(TOKEN, handle, buffer, 0)])


def put_out(chain: Chain) -> None:
    """Let another client take over from the chain's, as if that had crashed: the cluster puts it out."""
    (connection,) = (one for one in Connection._all.values() if one.mount is not None and one.settings.client)
    other = Mount(connection.settings)
    other.sync()
    other.unmount()


def test_it_is_found_by_its_inode_wherever_it_is_moved(connect: Connect) -> None:
    chain = connect(PersistentStoreModule())
    root = chain.open_root(TOKEN)
    handle = made(chain, "file", b"data")
    cookie = chain.durable_cookie(TOKEN, handle)
    chain.close(TOKEN, handle)
    chain.mkdir(TOKEN, root, "folder", 0o755)
    chain.rename(TOKEN, root, "file", root, "folder/moved", False)
    again = chain.durable_open(TOKEN, root, cookie, READ)
    assert content(chain, again) == b"data"
    chain.close(TOKEN, again)
    chain.unlink(TOKEN, root, "folder/moved")
    with pytest.raises(OSError) as caught:
        chain.durable_open(TOKEN, root, cookie, READ)
    assert caught.value.errno == errno.ESTALE
    with pytest.raises(OSError) as caught:
        chain.durable_open(TOKEN, root, cookie[:-1], READ)
    assert caught.value.errno == errno.EINVAL
    chain.close(TOKEN, root)


def test_what_a_persistent_handle_has_written_is_safe_at_once(connect: Connect) -> None:
    chain = connect()
    handle = made(chain, "file")
    chain.durable_upgrade(TOKEN, handle)
    chain.pwrite(TOKEN, handle, memoryview(b"data"), 0)
    assert handle.private.safe == handle.private.written
    put_out(chain)
    assert content(chain, handle) == b"data"
    chain.close(TOKEN, handle)


@pytest.mark.parametrize("stale", ["true", "false"])
def test_who_writes_first_after_that_goes_on_too(connect: Connect, stale: str) -> None:
    chain = connect(settings={"client_reconnect_stale": stale})
    handle = made(chain, "file", b"data")
    chain.fsync(TOKEN, handle)
    put_out(chain)
    assert chain.pwrite(TOKEN, handle, memoryview(b"more"), 4) == 4
    assert content(chain, handle) == b"datamore"
    chain.close(TOKEN, handle)


@pytest.mark.parametrize("stale", ["true", "false"])
def test_handles_go_on_after_the_cluster_has_put_the_server_out(connect: Connect, stale: str) -> None:
    chain = connect(settings={"client_reconnect_stale": stale})
    root = chain.open_root(TOKEN)
    handle = made(chain, "file", b"data")
    chain.fsync(TOKEN, handle)
    put_out(chain)
    assert content(chain, handle) == b"data"
    assert chain.pwrite(TOKEN, handle, memoryview(b"more"), 4) == 4
    assert chain.fstat(TOKEN, handle).size == 8
    assert [entry.name for entry in chain.readdir(TOKEN, chain.open(TOKEN, root, "", LIST))] == ["file"]
    chain.close(TOKEN, handle)
    chain.close(TOKEN, root)


@pytest.mark.parametrize("stale", ["true", "false"])
def test_who_has_written_and_lost_it_is_told(connect: Connect, stale: str) -> None:
    chain = connect(settings={"client_reconnect_stale": stale})
    handle, other = made(chain, "file", b"data"), made(chain, "other", b"data")
    put_out(chain)
    with pytest.raises(OSError) as caught:
        chain.pwrite(TOKEN, handle, memoryview(b"more"), 4)
    assert caught.value.errno == errno.EIO
    for each in (handle, other):
        with pytest.raises(OSError) as caught:
            chain.close(TOKEN, each)
        assert caught.value.errno == errno.EIO


def test_new_files_are_laid_out_as_the_options_say(connect: Connect) -> None:
    chain = connect(layout={"object_size": 1 << 20, "stripe_unit": 1 << 18, "stripe_count": 2})
    handle = made(chain, "file", b"data")
    layout = chain.getxattr(SERVER_TOKEN, handle, "ceph.file.layout")
    assert b"stripe_unit=262144 stripe_count=2 object_size=1048576" in layout
    assert chain.listxattr(TOKEN, handle) == []
    chain.close(TOKEN, handle)


def test_a_file_that_cannot_be_laid_out_is_not_made(connect: Connect) -> None:
    chain = connect(layout={"pool": "none-of-that-name"})
    with pytest.raises(OSError):
        made(chain, "file")
    root = chain.open_root(TOKEN)
    with pytest.raises(FileNotFoundError):
        chain.stat(TOKEN, root, "file")
    chain.close(TOKEN, root)


def test_a_quota_that_is_full_refuses_what_is_written(connect: Connect) -> None:
    chain = connect()
    root = chain.open_root(TOKEN)
    chain.mkdir(TOKEN, root, "limited", 0o777)
    limited = chain.open(TOKEN, root, "limited", OpenHow())
    chain.setxattr(SERVER_TOKEN, limited, "ceph.quota.max_bytes", b"1048576")
    file = chain.open(TOKEN, limited, "file", CREATE)
    with pytest.raises(OSError) as caught:
        chain.pwrite(TOKEN, file, memoryview(bytes(4 << 20)), 0)
    assert caught.value.errno == errno.EDQUOT
    for each in (file, limited, root):
        chain.close(TOKEN, each)


def test_a_quota_of_the_root_is_the_space_that_clients_are_told_of(connect: Connect) -> None:
    chain = connect()
    root = chain.open_root(TOKEN)
    chain.mkdir(TOKEN, root, "limited", 0o777)
    limited = chain.open(TOKEN, root, "limited", OpenHow())
    chain.setxattr(SERVER_TOKEN, limited, "ceph.quota.max_bytes", b"104857600")
    for each in (limited, root):
        chain.close(TOKEN, each)
    chain = connect(beneath="/limited")
    root = chain.open_root(TOKEN)
    space = chain.statfs(TOKEN, root)
    assert (space.total, space.available) == (104857600, 104857600)
    chain.close(TOKEN, root)


def test_snapshots_are_listed_by_when_they_were_made_and_opened(connect: Connect) -> None:
    chain = connect(ShadowCopyModule(provider=CephSnapshots()))
    backend = chain.modules[-1]
    root = chain.open_root(TOKEN)
    handle = made(chain, "file", b"before")
    chain.fsync(TOKEN, handle)
    beneath = backend.open_root(SERVER_TOKEN)
    backend.mkdir(SERVER_TOKEN, beneath, ".snap/nightly", 0o755)
    chain.pwrite(TOKEN, handle, memoryview(b"after!"), 0)
    provider = CephSnapshots()
    provider.connect(backend.share, backend, beneath)  # type: ignore[arg-type]
    (snapshot,) = provider.snapshots()
    assert snapshot.place == ".snap/nightly"
    assert abs(snapshot.when - chain.fstat(TOKEN, handle).mtime_ns // 10**9) < 600
    label = time.strftime("@GMT-%Y.%m.%d-%H.%M.%S", time.gmtime(snapshot.when))
    old = chain.open(TOKEN, root, f"{label}/file", READ)
    assert content(chain, old) == b"before"
    assert chain.fstat(TOKEN, old).dev != chain.fstat(TOKEN, handle).dev
    with pytest.raises(OSError) as caught:
        chain.open(TOKEN, root, ".snap", OpenHow())
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(OSError):
        chain.mkdir(TOKEN, root, ".snap/mine", 0o755)
    for each in (old, handle, root):
        chain.close(TOKEN, each)
    backend.rmdir(SERVER_TOKEN, beneath, ".snap/nightly")
    backend.close(SERVER_TOKEN, beneath)


def test_the_folder_of_snapshots_can_be_shown(connect: Connect) -> None:
    chain = connect(snapshot_folder=True)
    root = chain.open_root(TOKEN)
    folder = chain.open(TOKEN, root, ".snap", LIST)
    assert list(chain.readdir(TOKEN, folder)) == []
    for each in (folder, root):
        chain.close(TOKEN, each)


def test_times_that_cephfs_cannot_keep_are_left_out(connect: Connect) -> None:
    chain = connect()
    handle = made(chain, "file")
    chain.set_times(TOKEN, handle, Times(access_ns=10**9, write_ns=2 * 10**9))
    for beyond in (-1, 2**32 * 10**9):
        chain.set_times(TOKEN, handle, Times(access_ns=beyond, write_ns=beyond))
    stat = chain.fstat(TOKEN, handle)
    assert (stat.atime_ns, stat.mtime_ns) == (10**9, 2 * 10**9)
    chain.close(TOKEN, handle)


def test_posix_acls_are_respected_where_asked_for(connect: Connect) -> None:
    chain = connect(posix_acls=True)
    assert Capability.POSIX_ACLS in chain.capabilities
    root = chain.open_root(TOKEN)
    ada = make_token(61001, 61001)
    handle = made(chain, "file", b"data")
    chain.fchmod(TOKEN, handle, 0o600)
    with pytest.raises(PermissionError):
        chain.open(ada, root, "file", READ)
    entries = [(0x01, 6, -1), (0x02, 4, 61001), (0x04, 0, -1), (0x10, 4, -1), (0x20, 0, -1)]
    acl = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + rights.to_bytes(2, "little") + (who & 0xFFFFFFFF).to_bytes(4, "little")
        for tag, rights, who in entries
    )
    chain.setxattr(TOKEN, handle, "system.posix_acl_access", acl)
    opened = chain.open(ada, root, "file", READ)
    for each in (opened, handle, root):
        chain.close(TOKEN, each)


def test_chains_of_one_share_have_one_mount(connect: Connect) -> None:
    first = connect()
    count = len(Connection._all)
    second = connect()
    assert len(Connection._all) == count
    assert first.modules[-1]._connection is second.modules[-1]._connection  # type: ignore[attr-defined]
    third = connect(seconds=44.0)
    assert third.modules[-1]._connection is not first.modules[-1]._connection  # type: ignore[attr-defined]


_SERVES = """
import sys
from pathlib import Path
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.testing import local_chain, make_token
from lamina_ceph import CephBackend
from lamina_ceph.conformance import options

token, chain = make_token(0, 0), local_chain("/", CephBackend(options(sys.argv[1])), state=sys.argv[2])
root = chain.open_root(token)
file = chain.open(token, root, "theirs", OpenHow(Access.READ_WRITE, create=True))
chain.pwrite(token, file, memoryview(b"data"), 0)
print("ready", flush=True)
sys.stdin.readline()
assert chain.pwrite(token, file, memoryview(b"more"), 4) == 4
for each in (file, root):
    chain.close(token, each)
chain.disconnect()
"""


def test_processes_of_one_server_leave_each_other_alone(connect: Connect, root: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _SERVES, root, str(tmp_path / "state")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        chain = connect()
        mine = made(chain, "mine", b"data")
        other.communicate("\n")
    assert other.returncode == 0
    assert content(chain, mine) == b"data"
    chain.close(TOKEN, mine)


def test_a_cluster_that_cannot_be_reached_refuses_the_share_in_time(tmp_path: Path) -> None:
    (tmp_path / "ceph.conf").write_text("[global]\nmon host = [v2:127.0.0.1:1/0]\n")
    (tmp_path / "keyring").write_text("[client.nobody]\n\tkey = AQBSdFhcGQ4tKxAAcZgz7WVJQ7DkN0kXGcVqFg==\n")
    given = options("/", mount_seconds=1.0, take_over=False)
    given = given.model_copy(
        update={"conf": str(tmp_path / "ceph.conf"), "keyring": str(tmp_path / "keyring"), "user": "nobody"}
    )
    with pytest.raises(OSError) as caught:
        CephBackend(given).connect(ShareInfo("test", "/"))
    assert caught.value.errno in {errno.ETIMEDOUT, errno.ENOTCONN, errno.EACCES}
    with pytest.raises(FileNotFoundError, match=r"Ceph's configuration .*missing.conf"):
        CephBackend(given.model_copy(update={"conf": str(tmp_path / "missing.conf")})).connect(ShareInfo("test", "/"))


def test_a_client_works_in_it(lamina_server_factory: Callable[..., Server], root: str, tmp_path: Path) -> None:
    backend = CephBackend(options(root))
    server = lamina_server_factory({"data": tmp_path}, chain=["streams_xattr", "dos_attributes", backend])
    user = {"username": server.username, "password": server.password, "port": server.port}
    share = r"\\127.0.0.1\data"
    if os.geteuid() == 0:
        smbclient.mkdir(rf"{share}\folder", **user)
        with smbclient.open_file(rf"{share}\folder\a.txt", mode="w", **user) as file:
            file.write("hello" * 100_000)
        smbclient.rename(rf"{share}\folder\a.txt", rf"{share}\b.txt", **user)
        with smbclient.open_file(rf"{share}\b.txt", **user) as file:
            assert file.read() == "hello" * 100_000
        assert sorted(smbclient.listdir(share, **user)) == ["b.txt", "folder"]
        smbclient.remove(rf"{share}\b.txt", **user)
    smbclient.reset_connection_cache()


def test_a_listing_asks_for_the_attributes_of_many_entries_in_one_turn(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = connect(DosAttributesModule())
    root, attributes = chain.open_root(TOKEN), {f"file{number}": number % 3 for number in range(200)}
    for name, number in attributes.items():
        handle = made(chain, name)
        if number:
            chain.set_dos_attributes(TOKEN, handle, DosAttributes(number, None))
        if number == 2:
            chain.setxattr(TOKEN, handle, "user.note", b"x" * 3000)
        chain.close(TOKEN, handle)
    handle, turns, call = chain.open(TOKEN, root, "", LIST), [], Connection.call
    monkeypatch.setattr(Connection, "call", lambda *given, **more: (turns.append(given), call(*given, **more))[1])
    found = {entry.name: entry for entry in chain.readdir(TOKEN, handle, True)}
    assert {name: entry.dos.attributes for name, entry in found.items() if entry.dos is not None} == attributes
    assert {name for name, entry in found.items() if entry.may_have_xattrs} == {
        name for name, number in attributes.items() if number == 2
    }
    assert len(turns) < 10
    (told,) = chain.getxattrs_in(TOKEN, handle, ["file2"], ["user.note", "ceph.file.layout.pool", "user.none"])
    assert told.values[0] == b"x" * 3000
    assert isinstance(told.values[1], bytes)
    assert told.values[2] == errno.ENODATA
    for opened in (handle, root):
        chain.close(TOKEN, opened)
