"""Descriptors beside the file: whose attribute it is, what the kernel refuses, and a real smbd's, both ways."""

import contextlib
import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.core.wire import constants as smb
from lamina.ntfsa import constants as c
from lamina.ntfsa.security.security_descriptor import (
    Ace,
    Acl,
    SecurityDescriptor,
    pack_security_descriptor,
    parse_security_descriptor,
    to_sddl,
)
from lamina.ntfsa.security.sid import BUILTIN_USERS, EVERYONE
from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.changes import ChangeQuery
from lamina.vfs_modules.credentials import server_identity
from lamina.vfs_modules.operations import Access, Capability, OpenHow
from lamina.vfs_modules.stock.acl_xattr import PROTECTED, UNPROTECTED, AclXattrModule, AclXattrOptions
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.token import SERVER_TOKEN
from tests.support.processes import Folder, Layout, User, serving
from tests.support.wire_client import WireClient
from tests.vfs_modules.forms.test_ntacl import PLAIN, V1

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="run as root: other users cannot be impersonated otherwise")
CREATE = OpenHow(Access.READ_WRITE, create=True, exclusive=True)
ALICE = make_token(12001)
PARTS = c.OWNER_SECURITY_INFORMATION | c.GROUP_SECURITY_INFORMATION | c.DACL_SECURITY_INFORMATION


@contextlib.contextmanager
def chain_over(path: Path, **options: object) -> Iterator[Chain]:
    chain = local_chain(path, AclXattrModule(AclXattrOptions(**options)))
    try:
        yield chain
    finally:
        with server_identity():
            chain.disconnect()


def test_what_is_stored_is_there_again(tmp_path: Path) -> None:
    token = make_token()
    with chain_over(tmp_path) as chain:
        assert Capability.SECURITY in chain.capabilities
        assert Capability.MODE_IGNORED not in chain.capabilities
        root = chain.open_root(token)
        handle = chain.open(token, root, "file", CREATE)
        stat = chain.fstat(token, handle)
        assert chain.get_security(token, handle, stat) is None
        chain.set_security(token, handle, PLAIN)
        by_path = chain.open(token, root, "file", OpenHow())
        assert chain.get_security(token, by_path, stat) == PLAIN
        for opened in (handle, by_path, root):
            chain.close(token, opened)


def test_the_attribute_is_the_protected_one_where_it_can_be(tmp_path: Path) -> None:
    token = make_token()
    with chain_over(tmp_path) as chain:
        root = chain.open_root(token)
        chain.set_security(token, root, PLAIN)
        chain.close(token, root)
    assert (PROTECTED if os.geteuid() == 0 else UNPROTECTED) in os.listxattr(tmp_path)


def test_without_extended_attributes_there_are_no_descriptors() -> None:
    module = AclXattrModule()
    assert module.capabilities(Capability.SYMLINKS) is Capability.SYMLINKS


def test_nobody_reaches_the_attribute_by_its_name(tmp_path: Path) -> None:
    token = make_token()
    with chain_over(tmp_path, attribute="user.mine") as chain:
        root = chain.open_root(token)
        chain.set_security(token, root, PLAIN)
        assert "user.mine" in os.listxattr(tmp_path)
        for name in ("user.mine", UNPROTECTED, PROTECTED):
            assert name not in chain.listxattr(token, root)
            with pytest.raises(OSError) as caught:
                chain.getxattr(token, root, name)
            assert caught.value.errno == errno.ENODATA
            with pytest.raises(PermissionError):
                chain.setxattr(token, root, name, b"x")
            with pytest.raises(PermissionError):
                chain.removexattr(token, root, name)
        chain.setxattr(token, root, "user.other", b"x")
        assert chain.getxattr(token, root, "user.other") == b"x"
        chain.close(token, root)


@pytest.mark.parametrize(("value", "expected"), [(V1, PLAIN), (b"rubbish", None)])
def test_older_versions_are_read_and_rubbish_is_not(tmp_path: Path, value: bytes, expected: bytes | None) -> None:
    token = make_token()
    os.setxattr(tmp_path, "user.NTACL", value)
    with chain_over(tmp_path, attribute="user.NTACL") as chain:
        root = chain.open_root(token)
        assert chain.get_security(token, root, chain.fstat(token, root)) == expected
        chain.close(token, root)


def test_an_attribute_outside_the_known_namespaces_is_refused() -> None:
    with pytest.raises(ValueError, match="attribute"):
        AclXattrOptions(attribute="NTACL")


def test_a_module_that_asks_the_kernel_adds_nothing_but_descriptors() -> None:
    chain = local_chain("/", AclXattrModule(), MemoryBackend())
    touched = {name for name, modules in chain.explain().items() if "acl_xattr" in modules}
    own = {"get_security", "set_security", "getxattr", "setxattr", "removexattr", "listxattr"}
    assert touched == own | {"getxattrs_in"}  # one by one, past what it hides
    chain.disconnect()


@as_root
def test_what_the_mode_refuses_is_refused_unless_system_acls_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    os.chmod(tmp_path / "secret", 0o600)
    with chain_over(tmp_path) as chain:
        root = chain.open_root(SERVER_TOKEN)
        for call in (
            lambda: chain.open(ALICE, root, "secret", OpenHow(Access.READ)),
            lambda: chain.open(ALICE, root, "new", CREATE),
            lambda: chain.mkdir(ALICE, root, "folder", 0o755),
        ):
            with pytest.raises(PermissionError):
                call()
        chain.close(SERVER_TOKEN, root)


@as_root
@pytest.mark.parametrize("ignoring", [False, True])
def test_a_tree_is_watched_as_far_as_the_mode_allows_unless_system_acls_are_ignored(
    tmp_path: Path, ignoring: bool
) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "closed").mkdir(mode=0o700)
    with chain_over(tmp_path, ignore_system_acls=ignoring) as chain:
        root = chain.open_root(SERVER_TOKEN)
        watch = chain.watch_changes(ALICE, root, ChangeQuery(True, False, lambda: None))
        with server_identity():
            (tmp_path / "closed" / "file").touch()
        assert [change.path for change in watch.poll()] == (["closed/file"] if ignoring else [])
        watch.close()
        chain.close(SERVER_TOKEN, root)


@as_root
def test_where_system_acls_are_ignored_the_server_does_it_and_the_user_owns_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    os.chmod(tmp_path / "secret", 0o600)
    os.chmod(tmp_path, 0o700)
    with chain_over(tmp_path, ignore_system_acls=True) as chain:
        assert Capability.MODE_IGNORED in chain.capabilities
        root = chain.open_root(SERVER_TOKEN)
        opened = [
            chain.open(ALICE, root, "secret", OpenHow(Access.READ_WRITE)),
            chain.open(ALICE, root, "new", CREATE),
            chain.open(ALICE, root, "other", OpenHow(Access.WRITE, create=True)),
        ]
        chain.mkdir(ALICE, root, "folder", 0o755)
        for name in ("new", "other", "folder"):
            stat = chain.stat(ALICE, root, name)
            assert (stat.uid, stat.gid) == (ALICE.uid, ALICE.gid)
        assert chain.stat(ALICE, root, "secret").uid == 0
        assert {entry.name for entry in chain.readdir(ALICE, root)} == {"secret", "new", "other", "folder"}
        chain.rename(ALICE, root, "new", root, "newer", False)
        chain.unlink(ALICE, root, "newer")
        chain.rmdir(ALICE, root, "folder")
        for handle in (*opened, root):
            chain.close(SERVER_TOKEN, handle)


@as_root
def test_a_group_that_the_directory_passes_on_stays(tmp_path: Path) -> None:
    os.chown(tmp_path, 0, 12345)
    os.chmod(tmp_path, 0o2700)
    with chain_over(tmp_path, ignore_system_acls=True) as chain:
        root = chain.open_root(SERVER_TOKEN)
        handle = chain.open(ALICE, root, "file", CREATE)
        stat = chain.fstat(ALICE, handle)
        assert (stat.uid, stat.gid) == (ALICE.uid, 12345)
        chain.close(ALICE, handle)
        chain.close(SERVER_TOKEN, root)


@as_root
def test_ownership_is_taken_and_not_given_away(tmp_path: Path) -> None:
    with chain_over(tmp_path, ignore_system_acls=True) as chain:
        root = chain.open_root(SERVER_TOKEN)
        handle = chain.open(SERVER_TOKEN, root, "file", CREATE)
        for uid, gid in ((12002, -1), (-1, 4), (0, 0)):
            with pytest.raises(PermissionError):
                chain.fchown(ALICE, handle, uid, gid)
        chain.fchown(ALICE, handle, ALICE.uid, ALICE.gid)
        assert chain.fstat(ALICE, handle).uid == ALICE.uid
        chain.close(ALICE, handle)
        chain.close(SERVER_TOKEN, root)


# A real smbd.


class Samba:
    """A share of smbd that keeps descriptors in the same attribute, ignoring system ACLs as the module does or not."""

    def __init__(self, client: WireClient, share: Path, ignoring: bool) -> None:
        self._client = client
        self.share = share
        self.ignoring = ignoring

    def query(self, name: str) -> str:
        """What smbd says of a file's descriptor, as SDDL."""
        file = self._client.create(name, access=c.READ_CONTROL)
        found = self._client.query_info(file, smb.INFO_SECURITY, 0, additional=PARTS)
        self._client.close(file)
        return to_sddl(parse_security_descriptor(found))

    def set(self, name: str, descriptor: bytes) -> None:
        """Let smbd store a list."""
        file = self._client.create(name, access=c.WRITE_DAC)
        self._client.set_info(file, smb.INFO_SECURITY, 0, descriptor, c.DACL_SECURITY_INFORMATION)
        self._client.close(file)


@pytest.fixture(params=["yes", "no"])
def samba(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Samba]:
    if not shutil.which("smbd") or not shutil.which("smbpasswd"):
        pytest.skip("needs smbd; install Debian's samba and samba-vfs-modules")
    if os.geteuid() != 0:
        pytest.skip("smbd is run as root here; run the tests as root")
    (tmp_path / "share").mkdir()
    settings = {"vfs objects": "acl_xattr", "acl_xattr:ignore system acls": request.param}
    folder = Folder(str(tmp_path / "share"), settings=settings)
    with serving(Layout({"share": folder}, [User("root", "secret")]), tmp_path / "state", "smbd") as server:
        with WireClient(server.host, server.port) as client:
            client.negotiate()
            client.session_setup("root", "secret")
            client.tree_connect("share")
            yield Samba(client, server.folder(), request.param == "yes")


def test_what_smbd_stored_is_read_and_the_other_way_round(samba: Samba) -> None:
    for name in ("theirs", "ours"):
        (samba.share / name).write_text("x")
    list_ = Acl((Ace(0, 0, 0x1200A9, EVERYONE), Ace(1, 0, 0x10000, BUILTIN_USERS)))
    samba.set("theirs", pack_security_descriptor(SecurityDescriptor(dacl=list_)))
    token = make_token()
    with chain_over(samba.share, ignore_system_acls=samba.ignoring) as chain:
        root = chain.open_root(token)
        theirs = chain.open(token, root, "theirs", OpenHow())
        ours = chain.open(token, root, "ours", OpenHow())
        stored = chain.get_security(token, theirs, chain.fstat(token, theirs))
        assert stored is not None
        assert to_sddl(parse_security_descriptor(stored)) == samba.query("theirs")
        assert "(A;;0x1200a9;;;WD)" in samba.query("theirs")
        assert "(D;;0x10000;;;BU)" in samba.query("theirs")
        chain.set_security(token, ours, stored)
        assert samba.query("ours") == samba.query("theirs")
        for handle in (theirs, ours, root):
            chain.close(token, handle)


_SHAPES = {
    "plain": (0o644, False, ()),
    "set-user": (0o4755, False, ()),
    "listed": (0o640, False, ("u:1000:rwx", "g:2000:r", "u:34:x", "m::rx")),
    "folder": (0o755, True, ()),
    "sticky": (0o3777, True, ("g:5:rwx",)),
    "passing": (0o770, True, ("u:1000:rx", "d:u::rwx", "d:g::rx", "d:o::-", "d:u:1000:rwx", "d:g:7:r", "d:m::rwx")),
}


def _make(folder: Path, name: str, mode: int, directory: bool, acl: tuple[str, ...]) -> None:
    path = folder / name
    path.mkdir() if directory else path.write_text("x")
    os.chown(path, 34, 60)
    os.chmod(path, mode)
    if acl:
        subprocess.run(["setfacl", "-m", ",".join(acl), str(path)], check=True)


@pytest.mark.parametrize("samba", ["no"], indirect=True)
def test_smbd_finds_the_hash_right_and_notices_a_change_behind_both(samba: Samba) -> None:
    if not shutil.which("setfacl"):
        pytest.skip("needs setfacl; install Debian's acl")
    token = make_token()
    list_ = Acl((Ace(0, 0, 0x120089, EVERYONE), Ace(1, 3, 0x40, BUILTIN_USERS)))
    wanted = SecurityDescriptor("S-1-22-1-34", "S-1-22-2-60", list_)
    with chain_over(samba.share, notice_local_changes=True) as chain:
        root = chain.open_root(token)
        for name, shape in _SHAPES.items():
            _make(samba.share, name, *shape)
        for name in _SHAPES:
            handle = chain.open(token, root, name, OpenHow())
            chain.set_security(token, handle, pack_security_descriptor(wanted))
            assert samba.query(name) == to_sddl(wanted), name
            assert chain.get_security(token, handle, chain.fstat(token, handle)) is not None
            os.chmod(samba.share / name, 0o711)
            assert samba.query(name) != to_sddl(wanted), name
            assert chain.get_security(token, handle, chain.fstat(token, handle)) is None
            chain.close(token, handle)
        chain.close(token, root)


@pytest.mark.parametrize("samba", ["no"], indirect=True)
def test_the_hash_of_smbd_is_found_right(samba: Samba) -> None:
    list_ = pack_security_descriptor(SecurityDescriptor(dacl=Acl((Ace(0, 3, 0x1200A9, EVERYONE),))))
    token = make_token()
    with chain_over(samba.share, notice_local_changes=True) as chain:
        root = chain.open_root(token)
        for name, (mode, directory, _) in _SHAPES.items():
            _make(samba.share, name, mode, directory, ())
        for name in _SHAPES:
            samba.set(name, list_)
            handle = chain.open(token, root, name, OpenHow())
            assert chain.get_security(token, handle, chain.fstat(token, handle)) is not None, name
            os.chown(samba.share / name, 35, -1)
            assert chain.get_security(token, handle, chain.fstat(token, handle)) is None, name
            chain.close(token, handle)
        chain.close(token, root)
