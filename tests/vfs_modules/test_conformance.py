"""Every backend, and the stock modules on them, against the conformance suite."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest

from lamina.vfs_modules.forms.stream_values import StreamsXattrOptions
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import DirectoryEntry
from lamina.vfs_modules.stock.acl_xattr import AclXattrModule, AclXattrOptions
from lamina.vfs_modules.stock.apple.options import FruitOptions
from lamina.vfs_modules.stock.audit import AuditModule, AuditOptions
from lamina.vfs_modules.stock.catia import CatiaModule
from lamina.vfs_modules.stock.count import CountModule
from lamina.vfs_modules.stock.delay import DelayModule
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.faults import FaultsModule
from lamina.vfs_modules.stock.fruit import FruitModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.posix.backend import PosixBackend, PosixOptions
from lamina.vfs_modules.stock.rate_limit import RateLimitModule, RateLimitOptions
from lamina.vfs_modules.stock.readonly import ReadonlyModule, ReadonlyOptions
from lamina.vfs_modules.stock.recycle import RecycleModule
from lamina.vfs_modules.stock.recycling.options import RecycleOptions
from lamina.vfs_modules.stock.shadow_copy import ShadowCopyModule
from lamina.vfs_modules.stock.streams_depot import StreamsDepotModule, StreamsDepotOptions
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.stock.transparent import TransparentModule, TransparentOptions
from lamina.vfs_modules.stock.worm import WormModule
from lamina.vfs_modules.syscalls import libc
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.suite import Check, applicable, checks
from lamina.vfs_modules.token import ImpersonationToken


class UnseenBin(RecycleModule):
    """Checks count the names in a share; the bin is not among those that they made."""

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        return (entry for entry in self.next.readdir(token, handle, with_attributes) if entry.name != ".recycle")


SCRATCH = TemporaryDirectory(prefix="lamina-test-")

CHAINS: dict[str, Callable[[], list[VfsModule]]] = {
    "memory": lambda: [MemoryBackend()],
    "posix": lambda: [PosixBackend()],
    "posix-always-offloaded": lambda: [PosixBackend(PosixOptions(offload="always"))],
    "posix-never-offloaded": lambda: [PosixBackend(PosixOptions(offload="never"))],
    "posix-beside-local-programs": lambda: [
        PosixBackend(PosixOptions(posix_locking=True, strict_locking=True, kernel_oplocks=True))
    ],
    "dos_attributes-memory": lambda: [DosAttributesModule(), MemoryBackend()],
    "dos_attributes-posix": lambda: [DosAttributesModule(), PosixBackend()],
    "acl_xattr-memory": lambda: [AclXattrModule(), MemoryBackend()],
    "acl_xattr-dos_attributes-posix": lambda: [AclXattrModule(), DosAttributesModule(), PosixBackend()],
    "acl_xattr-ignoring-posix": lambda: [AclXattrModule(AclXattrOptions(ignore_system_acls=True)), PosixBackend()],
    "streams_xattr-memory": lambda: [StreamsXattrModule(), MemoryBackend()],
    "streams_xattr-posix": lambda: [StreamsXattrModule(), PosixBackend()],
    "streams_xattr-in-pieces": lambda: [
        StreamsXattrModule(StreamsXattrOptions(max_xattr_size=700, max_xattrs_per_stream=16)),
        PosixBackend(),
    ],
    "streams_xattr-without-types": lambda: [
        StreamsXattrModule(StreamsXattrOptions(store_stream_type=False)),
        PosixBackend(),
    ],
    "streams_xattr-offloaded": lambda: [StreamsXattrModule(), PosixBackend(PosixOptions(offload="always"))],
    "streams_xattr-acl_xattr-posix": lambda: [
        StreamsXattrModule(),
        AclXattrModule(AclXattrOptions(ignore_system_acls=True)),
        PosixBackend(),
    ],
    "streams_depot-memory": lambda: [StreamsDepotModule(), MemoryBackend()],
    "streams_depot-posix": lambda: [StreamsDepotModule(), DosAttributesModule(), PosixBackend()],
    "streams_depot-unmarked": lambda: [StreamsDepotModule(StreamsDepotOptions(check_valid=False)), PosixBackend()],
    "catia-fruit-streams_xattr-posix": lambda: [
        CatiaModule(),
        FruitModule(),
        StreamsXattrModule(),
        DosAttributesModule(),
        PosixBackend(),
    ],
    "catia-fruit-streams_depot-memory": lambda: [
        CatiaModule(),
        FruitModule(FruitOptions(metadata="stream", resource="stream")),
        StreamsDepotModule(),
        MemoryBackend(),
    ],
    "delay-posix": lambda: [DelayModule(), PosixBackend()],
    "audit-posix": lambda: [
        AuditModule(AuditOptions(file=f"{SCRATCH.name}/{uuid4()}", success=("all",), failure=("all",))),
        StreamsXattrModule(),
        DosAttributesModule(),
        PosixBackend(),
    ],
    "recycle-memory": lambda: [UnseenBin(), MemoryBackend()],
    "recycle-posix": lambda: [UnseenBin(), StreamsXattrModule(), DosAttributesModule(), PosixBackend()],
    "recycle-nothing": lambda: [RecycleModule(RecycleOptions(exclude=("*",))), PosixBackend()],
    "rate_limit-memory": lambda: [
        RateLimitModule(RateLimitOptions(user_bandwidth=1 << 40, share_operations=1 << 30)),
        MemoryBackend(),
    ],
    "shadow_copy-posix": lambda: [ShadowCopyModule(), StreamsXattrModule(), DosAttributesModule(), PosixBackend()],
    "transparent-posix": lambda: [TransparentModule(TransparentOptions(operations={"all"})), PosixBackend()],
    "count-memory": lambda: [CountModule(), MemoryBackend()],
    "faults-posix": lambda: [FaultsModule(), DosAttributesModule(), PosixBackend()],
    "readonly-not-yet": lambda: [ReadonlyModule(ReadonlyOptions(period=("tomorrow", "tomorrow 1:00"))), PosixBackend()],
    "worm-within-grace": lambda: [WormModule(), StreamsXattrModule(), DosAttributesModule(), PosixBackend()],
}


# What is in a bin still has a name: the two checks that a file's last name is gone see another.
EXCEPTED = {
    (kind, check)
    for kind in ("recycle-memory", "recycle-posix")
    for check in ("a_handle_outlives_its_name", "rename_replaces_only_when_told")
}


@pytest.mark.parametrize("check", checks(), ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", CHAINS)
def test_conforms(kind: str, check: Check, tmp_path: Path) -> None:
    chain = local_chain(tmp_path, *CHAINS[kind]())
    before = len(os.listdir("/proc/self/fd"))
    if (kind, check.__name__) in EXCEPTED:
        with pytest.raises(AssertionError):
            check(chain, make_token())
    elif check in applicable(chain):
        check(chain, make_token())
        assert len(os.listdir("/proc/self/fd")) <= before + 1, "the check left descriptors open"
    chain.disconnect()


@pytest.mark.parametrize("check", checks(), ids=lambda check: check.__name__)
def test_conforms_without_openat2(check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libc, "HAS_OPENAT2", False)
    chain = local_chain(tmp_path)
    if check in applicable(chain):
        check(chain, make_token())
    chain.disconnect()


@pytest.mark.parametrize("check", checks(), ids=lambda check: check.__name__)
def test_conforms_on_tmpfs(check: Check) -> None:
    import tempfile

    if not os.path.isdir("/dev/shm"):
        pytest.skip("no tmpfs at /dev/shm; mount one to run this")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        chain = local_chain(folder)
        if check in applicable(chain):
            check(chain, make_token())
        chain.disconnect()
