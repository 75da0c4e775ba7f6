"""POSIX ACLs in step with lists: who gets which entry, and what the kernel then lets local programs do."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.security.file_security import set_security
from lamina.ntfsa.security.identities import UnixIdentities, unix_group_sid, unix_user_sid
from lamina.ntfsa.security.posix_acl_mapping import MAX_NAMED, Ownership, access_acl, default_acl
from lamina.ntfsa.security.security_descriptor import Ace, Acl, SecurityDescriptor, pack_security_descriptor
from lamina.ntfsa.security.sid import CREATOR_GROUP, CREATOR_OWNER, EVERYONE, OWNER_RIGHTS
from lamina.vfs_modules.forms.posix_acl import GROUP, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, PosixAcl
from lamina.vfs_modules.stock.acl_xattr import AclXattrModule, AclXattrOptions

IDS = UnixIdentities()
OWNER = Ownership(1000, 100)
ME, MINE, ANN, STAFF = unix_user_sid(1000), unix_group_sid(100), unix_user_sid(1001), unix_group_sid(200)
R, W, X = c.FILE_GENERIC_READ, c.FILE_GENERIC_WRITE, c.FILE_GENERIC_EXECUTE
OI_CI, IO = 3, 8


def allow(sid: str, mask: int, flags: int = 0) -> Ace:
    return Ace(0, flags, mask, sid)


def deny(sid: str, mask: int, flags: int = 0) -> Ace:
    return Ace(1, flags, mask, sid)


def entries(acl: PosixAcl) -> set[tuple[int, int, int | None]]:
    return {(tag, bits, None if qualifier == 0xFFFFFFFF else qualifier) for tag, bits, qualifier in acl}


@pytest.mark.parametrize(
    ("aces", "expected"),
    [
        ((), {(USER_OBJ, 0, None), (GROUP_OBJ, 0, None), (OTHER, 0, None)}),
        (
            (allow(ME, R | W), allow(MINE, R), allow(EVERYONE, X)),
            {(USER_OBJ, 7, None), (GROUP_OBJ, 5, None), (OTHER, 1, None)},
        ),
        (
            (allow(ANN, R | W), allow(EVERYONE, R)),
            {(USER_OBJ, 4, None), (USER, 6, 1001), (GROUP_OBJ, 4, None), (MASK, 6, None), (OTHER, 4, None)},
        ),
        (
            (deny(ANN, W), allow(STAFF, R | W), allow(EVERYONE, R | W | X)),
            {
                (USER_OBJ, 7, None), (USER, 5, 1001), (GROUP_OBJ, 7, None),
                (GROUP, 7, 200), (MASK, 7, None), (OTHER, 7, None),
            },
        ),
        ((allow(OWNER_RIGHTS, R),), {(USER_OBJ, 4, None), (GROUP_OBJ, 0, None), (OTHER, 0, None)}),
        ((allow(ANN, R, OI_CI | IO),), {(USER_OBJ, 0, None), (GROUP_OBJ, 0, None), (OTHER, 0, None)}),
        ((allow("S-1-5-21-9-9-9-9", R),), {(USER_OBJ, 0, None), (GROUP_OBJ, 0, None), (OTHER, 0, None)}),
    ],
)  # fmt: skip
def test_everybody_gets_what_the_list_gives(aces: tuple[Ace, ...], expected: set[object]) -> None:
    assert entries(access_acl(Acl(aces), OWNER, IDS)) == expected


def test_no_list_lets_everybody_do_everything() -> None:
    assert entries(access_acl(None, OWNER, IDS)) == {(USER_OBJ, 7, None), (GROUP_OBJ, 7, None), (OTHER, 7, None)}


def test_what_a_directory_passes_on_becomes_its_default_list() -> None:
    aces = (allow(CREATOR_OWNER, R | W, OI_CI | IO), allow(CREATOR_GROUP, R, OI_CI | IO), allow(ANN, R, OI_CI))
    expected = {(USER_OBJ, 6, None), (USER, 4, 1001), (GROUP_OBJ, 4, None), (MASK, 4, None), (OTHER, 0, None)}
    assert entries(default_acl(Acl(aces), OWNER, IDS)) == expected
    assert default_acl(Acl((allow(ANN, R), allow(ANN, R, 2))), OWNER, IDS) == ()


def test_the_number_of_entries_is_bounded() -> None:
    many = Acl(tuple(allow(unix_user_sid(5000 + number), R) for number in range(2 * MAX_NAMED)))
    assert len(access_acl(many, OWNER, IDS)) == MAX_NAMED + 4


@pytest.mark.skipif(os.geteuid() != 0, reason="run as root: other users cannot be tried otherwise")
def test_local_programs_may_do_what_the_list_says(make_share) -> None:
    if not shutil.which("setfacl"):
        pytest.skip("needs setfacl; install Debian's acl")
    module = AclXattrModule(AclXattrOptions(posix_acls=True, ignore_system_acls=True))
    share = make_share(module)
    share.path.chmod(0o755)
    share.make("file", b"text")
    share.open("folder", c.FILE_CREATE, options=c.FILE_DIRECTORY_FILE)
    wanted = Acl((allow(unix_user_sid(12001), R, OI_CI), allow(unix_group_sid(12002), R | W, OI_CI)))
    for name in ("file", "folder"):
        opened = share.open(name)
        packed = pack_security_descriptor(SecurityDescriptor(dacl=wanted))
        set_security(share.context, opened, c.DACL_SECURITY_INFORMATION, memoryview(packed))

    def local(uid: int, gid: int, path: str, write: bool) -> bool:
        script = f"exec 3{'<>' if write else '<'}{path}"
        command = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "/bin/sh", "-c", script]
        # From within: the folders above are root's alone.
        return subprocess.run(command, check=False, capture_output=True, cwd=share.path).returncode == 0

    assert [local(12001, 12001, "file", write) for write in (False, True)] == [True, False]
    assert [local(12009, 12002, "file", write) for write in (False, True)] == [True, True]
    assert [local(12009, 12009, "file", write) for write in (False, True)] == [False, False]
    # What local programs make in the folder has what the folder passes on.
    (share.path / "folder" / "inner").write_text("x")
    listed = subprocess.check_output(["getfacl", "-n", str(share.path / "folder" / "inner")], text=True)
    assert "user:12001:r" in listed
    assert "group:12002:rw" in listed
    empty = pack_security_descriptor(SecurityDescriptor(dacl=Acl()))
    set_security(share.context, opened, c.DACL_SECURITY_INFORMATION, memoryview(empty))
    assert "system.posix_acl_default" not in os.listxattr(share.path / "folder")


def test_a_file_system_without_them_is_told_of_and_served(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from lamina.vfs_modules.operations import Capability
    from lamina.vfs_modules.stock.memory import MemoryBackend
    from lamina.vfs_modules.testing import local_chain

    class WithoutAcls(MemoryBackend):
        def getxattr(self, token, handle, name):  # type: ignore[no-untyped-def]
            if name.startswith("system."):
                raise OSError(95, "not here")
            return super().getxattr(token, handle, name)

    chain = local_chain("/", AclXattrModule(AclXattrOptions(posix_acls=True)), WithoutAcls())
    assert Capability.POSIX_ACLS not in chain.capabilities
    assert "no POSIX ACLs" in caplog.text
    chain.disconnect()
