"""What the backend does on a real volume, beside what the conformance suite asks of it."""

import asyncio
import errno
import os
import stat as st
from collections.abc import Callable

import pytest
import smbclient
from conftest import Serve
from lamina import Server
from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.changes import Change, ChangeKind, ChangeQuery, ChangeWatch
from lamina.vfs_modules.engine import Engine, wait
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.loader import load_module
from lamina.vfs_modules.operations import Access, Capability, DosAttributes, OpenHow
from lamina.vfs_modules.outside import RangeLock
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.shadow_copy import ShadowCopyModule, ShadowCopyOptions
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.token import SERVER_TOKEN

from lamina_glusterfs import GlusterBackend, GlusterSnapshots, entries
from lamina_glusterfs.conformance import options
from lamina_glusterfs.entries import EntryReader
from lamina_glusterfs.volume import Volume

TOKEN = SERVER_TOKEN
CREATE = OpenHow(Access.READ_WRITE, create=True)
READ = OpenHow(Access.READ)
LIST = OpenHow(Access.READ, directory=True)


def make(chain: Chain, path: str, data: bytes = b"") -> VfsHandle:
    handle = chain.open(TOKEN, chain.open_root(TOKEN), path, CREATE)
    if data:
        assert chain.pwrite(TOKEN, handle, memoryview(data), 0) == len(data)
    return handle


def read(chain: Chain, handle: VfsHandle, length: int = 100) -> bytes:
    buffer = bytearray(length)
    return bytes(buffer[: chain.pread(TOKEN, handle, memoryview(buffer), 0)])


def test_lamina_finds_it_by_its_name() -> None:
    assert load_module("glusterfs") is GlusterBackend


def test_shares_of_one_volume_have_one_connection(serve: Serve) -> None:
    first, second, other = serve(), serve(), serve(threads=5)
    backends = [chain.modules[-1] for chain in (first, second, other)]
    volumes = [backend._volume for backend in backends if isinstance(backend, GlusterBackend)]
    assert volumes[0] is volumes[1]
    assert volumes[0] is not volumes[2]
    assert volumes[0].number == volumes[2].number


def test_without_another_root_it_is_the_path_of_the_share(serve: Serve, root: str) -> None:
    make(serve(), "file", b"data")
    share = local_chain(root, GlusterBackend(options(root="")))
    place = share.open_root(TOKEN)
    assert share.stat(TOKEN, place, "file").size == 4
    share.close(TOKEN, place)
    share.disconnect()
    with pytest.raises(FileNotFoundError):
        local_chain("/no-such-folder", GlusterBackend(options(root="")))
    with pytest.raises(OSError, match="no folder of a volume"):
        local_chain("/a/../b", GlusterBackend(options(root="")))


def test_a_listing_has_looked_up_what_it_tells_the_attributes_of(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = local_chain("/nowhere", DosAttributesModule(), GlusterBackend(options(root=root)))
    attributes = {f"file{number}": number % 3 for number in range(40)}
    for name, number in attributes.items():
        handle = make(chain, name)
        if number:
            chain.set_dos_attributes(TOKEN, handle, DosAttributes(number, None))
        if number == 2:
            chain.setxattr(TOKEN, handle, "user.note", b"x" * 3000)
        chain.close(TOKEN, handle)
    monkeypatch.setattr(entries, "_SECONDS", 1e9)  # however busy the machine is
    looked_up: list[bytes] = []
    find = EntryReader._found
    monkeypatch.setattr(EntryReader, "_found", lambda reader, name: (looked_up.append(name), find(reader, name))[1])
    handle = chain.open(TOKEN, chain.open_root(TOKEN), "", LIST)
    found = {entry.name: entry for entry in chain.readdir(TOKEN, handle, True)}
    assert {name: entry.dos.attributes for name, entry in found.items() if entry.dos is not None} == attributes
    assert {name for name, entry in found.items() if entry.may_have_xattrs} == {
        name for name, number in attributes.items() if number == 2
    }
    assert looked_up == []
    told, gone = chain.getxattrs_in(TOKEN, handle, ["file2", "gone"], ["user.note", "system.nfs4_acl", "user.none"])
    assert told.values == (b"x" * 3000, errno.ENOTSUP, errno.ENODATA)
    assert gone.values == (errno.ENOENT,) * 3
    assert looked_up[-2:] == [b"file2", b"gone"]
    chain.close(TOKEN, handle)
    chain.disconnect()


@pytest.mark.parametrize(
    ("wrong", "number"), [({"root": "/no-such-folder"}, errno.ENOENT), ({"volume": ""}, errno.EINVAL)]
)
def test_a_share_that_cannot_be_says_why(root: str, wrong: dict[str, str], number: int) -> None:
    with pytest.raises(OSError) as caught:
        local_chain("/nowhere", GlusterBackend(options(**wrong)))
    assert caught.value.errno == number


def test_a_volume_that_is_not_there_is_refused_in_time(root: str) -> None:
    with pytest.raises(OSError, match="no-such-volume"):
        Volume.of(options(volume="no-such-volume"))


def test_a_large_folder_is_listed_with_attributes(chain: Chain) -> None:
    root = chain.open_root(TOKEN)
    names = {f"file {number}" for number in range(1200)}
    for name in names:
        chain.close(TOKEN, make(chain, name))
    chain.mkdir(TOKEN, root, "folder", 0o750)
    listing = chain.open(TOKEN, root, "", LIST)
    found = {entry.name: entry.stat for entry in chain.readdir(TOKEN, listing, True)}
    assert set(found) == names | {"folder"}
    status = found["folder"]
    assert status is not None
    assert st.S_ISDIR(status.mode)
    assert status.ino == chain.stat(TOKEN, root, "folder").ino
    # One that is left in the middle begins anew.
    begun = iter(chain.readdir(TOKEN, listing))
    next(begun)
    assert len(list(chain.readdir(TOKEN, listing))) == 1201


def test_a_handle_that_reaches_no_data_outlives_the_name(chain: Chain) -> None:
    root = chain.open_root(TOKEN)
    chain.close(TOKEN, make(chain, "file", b"data"))
    chain.mkdir(TOKEN, root, "folder", 0o755)
    make(chain, "other")
    handles = [chain.open(TOKEN, root, path, OpenHow()) for path in ("file", "folder")]
    before = [chain.fstat(TOKEN, handle) for handle in handles]
    chain.rename(TOKEN, root, "other", root, "file", True)
    chain.rmdir(TOKEN, root, "folder")
    after = [chain.fstat(TOKEN, handle) for handle in handles]
    assert [(one.ino, one.size) for one in after][:1] == [(one.ino, one.size) for one in before][:1]
    assert [one.ino for one in after] == [one.ino for one in before]
    with pytest.raises(OSError):
        read(chain, handles[0])


def test_a_cookie_finds_a_file_in_its_share_only(serve: Serve, root: str) -> None:
    whole = serve()
    top = whole.open_root(TOKEN)
    for name in ("inside", "outside"):
        whole.mkdir(TOKEN, top, name, 0o755)
    share = serve(root=f"{root}/inside")
    below = share.open_root(TOKEN)
    share.mkdir(TOKEN, below, "folder", 0o755)
    cookie = share.durable_cookie(TOKEN, make(share, "folder/file", b"data"))
    whole.rename(TOKEN, top, "inside/folder/file", top, "inside/a:b", True)
    assert read(share, share.durable_open(TOKEN, below, cookie, READ)) == b"data"
    whole.rename(TOKEN, top, "inside/a:b", top, f"outside/x:{root.replace('/', '')}", True)
    with pytest.raises(OSError) as caught:
        share.durable_open(TOKEN, below, cookie, READ)
    assert caught.value.errno == errno.ESTALE
    assert read(whole, whole.durable_open(TOKEN, top, cookie, READ)) == b"data"


def test_locks_exclude_other_connections_and_only_where_they_are_asked_for(serve: Serve) -> None:
    first, second, plain = serve(), serve(threads=5), serve(posix_locking=False)
    assert Capability.RANGE_LOCKS not in plain.capabilities
    ours = make(first, "file", b"0123456789")
    theirs = make(second, "file")
    first.set_range_lock(TOKEN, ours, 0, 5, RangeLock.EXCLUSIVE)
    with pytest.raises(OSError) as caught:
        second.set_range_lock(TOKEN, theirs, 4, 1, RangeLock.SHARED)
    assert caught.value.errno == errno.EAGAIN
    first.close(TOKEN, ours)
    second.set_range_lock(TOKEN, theirs, 4, 1, RangeLock.EXCLUSIVE)


def test_attributes_that_gluster_acts_on_are_not_reached(chain: Chain) -> None:
    handle = make(chain, "file")
    for name in (
        "glusterfs.gfid",
        "trusted.glusterfs.volume-id",
        "distribute.migrate-data",
        "replica.split-brain",
    ):
        with pytest.raises(OSError) as caught:
            chain.getxattr(TOKEN, handle, name)
        assert caught.value.errno == errno.ENOTSUP
        with pytest.raises(OSError) as caught:
            chain.setxattr(TOKEN, handle, name, b"x")
        assert caught.value.errno == errno.ENOTSUP
    chain.setxattr(TOKEN, handle, "user.a", b"1")
    assert chain.listxattr(TOKEN, handle) == ["user.a"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root acts for others")
def test_supplementary_groups_count_and_the_server_s_own_do_not(chain: Chain) -> None:
    root = chain.open_root(TOKEN)
    chain.fchmod(TOKEN, root, 0o777)
    handle = make(chain, "file", b"data")
    chain.fchown(TOKEN, handle, 0, 61000)
    chain.fchmod(TOKEN, handle, 0o640)
    member = make_token(61001, 61001, groups=(61000, 61001))
    stranger = make_token(61002, 61002, groups=())
    assert read(chain, chain.open(member, root, "file", READ)) == b"data"
    with pytest.raises(PermissionError):
        chain.open(stranger, root, "file", READ)
    # A file of the group that this process is in is none of whoever has no groups.
    chain.fchown(TOKEN, handle, 0, os.getegid())
    with pytest.raises(PermissionError):
        chain.open(stranger, root, "file", READ)


def test_a_client_works_on_the_volume(root: str) -> None:
    backend = GlusterBackend(options(root=root))
    with Server({"data": "/nowhere"}, chain=["streams_xattr", "dos_attributes", backend]) as server:
        user = {"username": server.username, "password": server.password, "port": server.port}
        top = r"\\127.0.0.1\data"
        smbclient.mkdir(rf"{top}\folder", **user)
        data = os.urandom(3 << 20)
        with smbclient.open_file(rf"{top}\folder\file", mode="wb", **user) as file:
            file.write(data)
        with smbclient.open_file(rf"{top}\folder\file:stream", mode="wb", **user) as file:
            file.write(b"stream")
        smbclient.rename(rf"{top}\folder\file", rf"{top}\moved", **user)
        with smbclient.open_file(rf"{top}\moved", mode="rb", **user) as file:
            assert file.read() == data
        with smbclient.open_file(rf"{top}\moved:stream", mode="rb", **user) as file:
            assert file.read() == b"stream"
        assert sorted(smbclient.listdir(top, **user)) == ["folder", "moved"]
        smbclient.reset_connection_cache()


def test_snapshots_are_previous_versions(serve: Serve, root: str) -> None:
    """On a folder that looks as `.snaps` does on a volume with snapshots, which take thin LVM."""
    chain = serve()
    top = chain.open_root(TOKEN)
    snapshot = "daily_GMT-2026.11.21-09.00.00"
    for folder in (".snaps", f".snaps/{snapshot}", ".snaps/no-time"):
        chain.mkdir(TOKEN, top, folder, 0o755)
    chain.close(TOKEN, make(chain, f".snaps/{snapshot}/file", b"old"))
    chain.close(TOKEN, make(chain, "file", b"new"))
    backend = GlusterBackend(options(root=root))
    shadow_copy = ShadowCopyModule(ShadowCopyOptions(provider="glusterfs"))
    with Server({"data": "/nowhere"}, chain=[shadow_copy, "dos_attributes", backend]) as server:
        user = {"username": server.username, "password": server.password, "port": server.port}
        share = r"\\127.0.0.1\data"
        with smbclient.open_file(rf"{share}\file", mode="rb", **user) as file:
            assert file.read() == b"new"
        with smbclient.open_file(rf"{share}\@GMT-2026.11.21-09.00.00\file", mode="rb", **user) as file:
            assert file.read() == b"old"
        # Deletion happens when the file is closed, which tells nobody that it did not.
        smbclient.remove(rf"{share}\.snaps\{snapshot}\file", **user)
        assert smbclient.listdir(rf"{share}\.snaps\{snapshot}", **user) == ["file"]
        with pytest.raises(OSError):
            smbclient.open_file(rf"{share}\@GMT-2026.11.21-09.00.01\file", mode="rb", **user)
        smbclient.reset_connection_cache()


def test_a_volume_without_snapshots_has_none(chain: Chain) -> None:
    provider = GlusterSnapshots()
    provider.below, provider.root = chain, chain.open_root(TOKEN)
    assert provider.snapshots() == ()


def asking(work: Callable[[], None]) -> None:
    """Run as a request."""

    async def run() -> None:
        engine = Engine(asyncio.get_running_loop())
        await engine.run(work)
        engine.close()

    asyncio.run(run())


def until(watch: ChangeWatch, woken: asyncio.Event, wanted: set[Change]) -> list[Change]:
    """What was told, as soon as that is among it."""
    told: list[Change] = []
    while not wanted <= set(told):
        wait(asyncio.wait_for(woken.wait(), 30))
        woken.clear()
        told += watch.poll()
    return told


def test_a_tree_is_watched_and_what_is_done_through_the_share_is_not_told(serve: Serve) -> None:
    def work() -> None:
        here, there = serve(), serve(threads=5)
        ours, theirs = here.open_root(TOKEN), there.open_root(TOKEN)
        here.mkdir(TOKEN, ours, "folder", 0o755)
        woken = asyncio.Event()
        query = ChangeQuery(True, True, woken.set, lambda path: path.startswith("hidden"))
        watch = here.watch_changes(TOKEN, ours, query)
        try:
            there.close(TOKEN, make(there, "hidden"))
            there.close(TOKEN, make(there, "folder/a"))
            told = until(watch, woken, {Change(ChangeKind.ADDED, "folder/a")})
            here.close(TOKEN, make(here, "folder/own", b"data"))
            here.rename(TOKEN, ours, "folder/own", ours, "own", False)
            here.unlink(TOKEN, ours, "own")
            there.mkdir(TOKEN, theirs, "new", 0o755)
            there.close(TOKEN, make(there, "new/inside", b"data"))
            there.rename(TOKEN, theirs, "folder/a", theirs, "folder/b", False)
            added = Change(ChangeKind.ADDED, "new", True), Change(ChangeKind.ADDED, "new/inside")
            told += until(watch, woken, {*added, Change(ChangeKind.RENAMED, "folder/a", False, "folder/b")})
            there.unlink(TOKEN, theirs, "folder/b")
            told += until(watch, woken, {Change(ChangeKind.REMOVED, "folder/b")})
            paths = {path for change in told for path in (change.path, change.target)}
            assert not {"own", "folder/own", "hidden"} & paths
        finally:
            watch.close()

    asking(work)


def test_what_others_write_is_told_and_what_is_written_through_the_share_is_not(serve: Serve) -> None:
    def work() -> None:
        here, there = serve(), serve(threads=5)
        ours = make(here, "ours", b"data")
        make(there, "theirs", b"data")
        woken = asyncio.Event()
        root = here.open_root(TOKEN)
        watch = here.watch_changes(TOKEN, root, ChangeQuery(False, True, woken.set))
        try:
            here.pwrite(TOKEN, ours, memoryview(b"more than before"), 0)
            there.close(TOKEN, make(there, "theirs", b"longer than before"))
            told = until(watch, woken, {Change(ChangeKind.DATA, "theirs")})
            there.unlink(TOKEN, there.open_root(TOKEN), "theirs")
            told += until(watch, woken, {Change(ChangeKind.REMOVED, "theirs")})
            assert {change.path for change in told} == {"theirs"}
        finally:
            watch.close()

    asking(work)


def test_a_share_that_is_not_to_be_told_does_not_say_that_it_is(serve: Serve) -> None:
    chain = serve(upcalls=False)
    assert Capability.WATCH_CHANGES not in chain.capabilities
    with pytest.raises(OSError):
        chain.watch_changes(TOKEN, chain.open_root(TOKEN), ChangeQuery(False, False, lambda: None))
