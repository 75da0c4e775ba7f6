"""Credentials: every call is made for its token, and no thread carries one user's into another's call."""

import asyncio
import errno
import os
import random
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.credentials import assume, can_impersonate
from lamina.vfs_modules.engine import Engine, offload
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, DosAttributes, OpenHow, Times
from lamina.vfs_modules.stock.posix.backend import PosixBackend, PosixOptions
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

pytestmark = pytest.mark.skipif(
    not can_impersonate(), reason="acting for other users needs root; run the tests as root"
)

ALICE, BOB = make_token(23001, 23001), make_token(23002, 23002)
READ = OpenHow(Access.READ)
PRIVATE = OpenHow(Access.READ_WRITE, create=True, exclusive=True, mode=0o600)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may write to; pytest's own is closed to other users."""
    with tempfile.TemporaryDirectory(prefix="lamina-test-") as name:
        os.chmod(name, 0o1777)
        yield Path(name)
    assume(SERVER_TOKEN)


def fs_identity() -> tuple[int, int, list[int]]:
    """The identity that this thread's file accesses are checked with, as the kernel says it."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/self/task/{_thread_id()}/status").read_text().splitlines()
    )
    return (
        int(fields["Uid"].split()[3]),
        int(fields["Gid"].split()[3]),
        [int(group) for group in fields["Groups"].split()],
    )


def _thread_id() -> int:
    import threading

    return threading.get_native_id()


def test_the_thread_takes_on_all_of_the_token() -> None:
    token = make_token(23001, 23002, groups=(23003, 23004))
    assume(token)
    inside = fs_identity()
    assume(SERVER_TOKEN)
    assert inside == (23001, 23002, [23003, 23004])
    assert fs_identity()[0] == 0


def create(chain: Chain, root: VfsHandle, token: ImpersonationToken, name: str) -> None:
    handle = chain.open(token, root, name, PRIVATE)
    chain.pwrite(token, handle, memoryview(name.encode()), 0)
    chain.close(token, handle)


def may_not(chain: Chain, root: VfsHandle, token: ImpersonationToken, name: str) -> None:
    for how in (READ, OpenHow(Access.READ_WRITE)):
        with pytest.raises(PermissionError):
            chain.open(token, root, name, how)
    with pytest.raises(PermissionError):
        chain.unlink(token, root, name)  # the folder is sticky


@pytest.mark.parametrize("policy", ["never", "auto", "always"])
def test_a_thousand_interleaved_operations_of_two_users_keep_them_apart(policy: str, folder: Path) -> None:
    chain = local_chain(folder, PosixBackend(PosixOptions(offload=policy)))  # type: ignore[arg-type]
    shuffled = random.Random(7)
    jobs = [(token, f"{token.user_name}-{number}") for number in range(250) for token in (ALICE, BOB)]
    shuffled.shuffle(jobs)

    async def main() -> None:
        engine = Engine(asyncio.get_running_loop(), threads=8)
        root = await engine.run(chain.open_root, SERVER_TOKEN)
        await asyncio.gather(*(engine.run(create, chain, root, token, name) for token, name in jobs))
        shuffled.shuffle(jobs)
        others = {ALICE: BOB, BOB: ALICE}
        await asyncio.gather(*(engine.run(may_not, chain, root, others[token], name) for token, name in jobs))
        await engine.run(chain.close, SERVER_TOKEN, root)
        assert engine.statistics()["running"] == 0
        engine.close()

    asyncio.run(main())
    assume(SERVER_TOKEN)
    for token, name in jobs:
        status = (folder / name).stat()
        assert (status.st_uid, status.st_gid, (folder / name).read_text()) == (token.uid, token.gid, name)
    chain.disconnect()


def test_worker_threads_act_for_whoever_asks() -> None:
    async def main() -> list[tuple[int, int, list[int]]]:
        engine = Engine(asyncio.get_running_loop(), threads=2)
        tokens = [ALICE, BOB, SERVER_TOKEN, BOB, ALICE] * 20
        found = await asyncio.gather(*(engine.run(offload, token, fs_identity) for token in tokens))
        engine.close()
        return [(token.uid, identity) for token, identity in zip(tokens, found, strict=True)]  # type: ignore[misc]

    assume(SERVER_TOKEN)
    for uid, identity in asyncio.run(main()):  # type: ignore[misc]
        assert identity[0] == uid  # type: ignore[index]


def test_groups_are_the_tokens_and_not_the_servers(folder: Path) -> None:
    chain = local_chain(folder)
    shared = folder / "shared"
    shared.write_text("x")
    os.chown(shared, 0, 23500)
    shared.chmod(0o640)
    member = make_token(23001, 23001, groups=(23500,))
    root = chain.open_root(member)
    chain.close(member, chain.open(member, root, "shared", READ))
    with pytest.raises(PermissionError):
        chain.open(ALICE, root, "shared", READ)
    chain.close(member, root)
    chain.disconnect()


def test_every_operation_is_checked_for_the_token(folder: Path) -> None:
    chain = local_chain(folder)
    assume(SERVER_TOKEN)
    (folder / "private").mkdir(0o700)
    (folder / "private" / "file").write_text("x")
    (folder / "readable").write_text("x")
    root = chain.open_root(ALICE)
    closed = chain.open(ALICE, root, "private", OpenHow())
    calls = [
        lambda: chain.stat(ALICE, root, "private/file"),
        lambda: chain.stat(ALICE, closed, "file"),
        lambda: chain.open(ALICE, root, "private/file", OpenHow()),
        lambda: chain.mkdir(ALICE, closed, "new", 0o777),
        lambda: chain.unlink(ALICE, root, "private/file"),
        lambda: chain.rmdir(ALICE, root, "private"),
        lambda: chain.rename(ALICE, closed, "file", root, "stolen", False),
        lambda: chain.rename(ALICE, root, "readable", root, "stolen", True),
        lambda: chain.symlink(ALICE, "x", closed, "link"),
        lambda: list(chain.readdir(ALICE, closed)),
        lambda: chain.watch(ALICE, closed),
        lambda: chain.fchmod(ALICE, closed, 0o777),
        lambda: chain.fchown(ALICE, closed, ALICE.uid, -1),
        lambda: chain.setxattr(ALICE, closed, "user.x", b"x"),
        lambda: chain.getxattr(ALICE, closed, "user.x"),
    ]
    for number, call in enumerate(calls):
        assume(SERVER_TOKEN)
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno in {errno.EACCES, errno.EPERM}, number
    for handle in (closed, root):
        chain.close(ALICE, handle)
    chain.disconnect()


def test_nt_attributes_do_not_depend_on_access_to_the_data(folder: Path) -> None:
    chain = local_chain(folder)
    assume(SERVER_TOKEN)
    (folder / "closed").write_text("x")
    (folder / "closed").chmod(0o600)
    root = chain.open_root(ALICE)
    handle = chain.open(ALICE, root, "closed", OpenHow())
    chain.set_dos_attributes(SERVER_TOKEN, handle, DosAttributes(0x22, 10**18))
    assert chain.get_dos_attributes(ALICE, handle, chain.fstat(ALICE, handle)) == (0x22, 10**18, None)
    assert [entry.dos for entry in chain.readdir(ALICE, root, True)] == [(0x22, 10**18, None)]
    chain.set_dos_attributes(ALICE, handle, DosAttributes(0x02, None))
    assert chain.get_dos_attributes(BOB, handle, chain.fstat(BOB, handle)) == (0x02, 10**18, None)
    chain.set_times(ALICE, handle, Times(10**9, 2 * 10**9, 3 * 10**9, 4 * 10**9))
    found = chain.fstat(BOB, handle)
    assert (found.atime_ns, found.mtime_ns) == (10**9, 2 * 10**9)
    assert chain.get_dos_attributes(BOB, handle, found) == (0x02, 4 * 10**9, 3 * 10**9)
    for opened in (handle, root):
        chain.close(ALICE, opened)
    chain.disconnect()


UNPRIVILEGED = """
import os, sys
from lamina.vfs_modules import credentials
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.testing import local_chain, make_token
# The interpreter may be where only root can read it: change the user after the imports, and look again who it is.
os.setgroups([]); os.setgid(23009); os.setuid(23009)
credentials._syscall = credentials._make_switch()
assert not credentials.can_impersonate()
chain, other = local_chain(sys.argv[1]), make_token(23001, 23001)
root = chain.open_root(other)
handle = chain.open(other, root, "file", OpenHow(Access.READ_WRITE, create=True, mode=0o640))
chain.setxattr(other, handle, "user.x", b"1")
by_path = chain.open(other, root, "file", OpenHow())
assert chain.getxattr(other, by_path, "user.x") == b"1"
chain.fchmod(other, by_path, 0o600)
chain.link(other, by_path, root, "second")
print(chain.fstat(other, handle).uid, oct(chain.fstat(other, handle).mode))
try:
    chain.open(other, root, "forbidden", OpenHow(Access.READ))
except PermissionError:
    print("refused")
"""


def test_without_root_everything_is_done_as_the_user_who_started(folder: Path) -> None:
    (folder / "forbidden").write_text("x")
    (folder / "forbidden").chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.stdout.split("\n") == ["23009 0o100600", "refused", ""], done.stderr
    assert stat.S_IMODE((folder / "second").stat().st_mode) == 0o600
