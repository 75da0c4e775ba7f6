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
from lamina.vfs_modules.testing.conformance import Case, Profile, cases, profile_of
from lamina.vfs_modules.testing.stock import IN_THE_BIN, posix
from lamina.vfs_modules.testing.subject import default_users
from lamina.vfs_modules.token import ImpersonationToken


def case_id(case: Case) -> str:
    return f"{case.profile.name}-{case}"


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


STILL_NAMED = (
    "a_handle_outlives_its_name",
    "rename_replaces_only_when_told",
    "only_a_file_that_is_there_gets_a_further_name",
)

BELOW_A_BIN = {name: IN_THE_BIN[name] for name in STILL_NAMED}

KNOWN = {"recycle-memory": BELOW_A_BIN, "recycle-posix": BELOW_A_BIN}


def profile(kind: str) -> Profile:
    users = default_users() if isinstance(CHAINS[kind]()[-1], PosixBackend) else None
    return Profile(kind, lambda folder: CHAINS[kind](), known_failures=KNOWN.get(kind, {}), users=users)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("case", [case for kind in CHAINS for case in cases(profile(kind))], ids=case_id)
def test_conforms(case: Case, tmp_path: Path) -> None:
    before = descriptors()
    case(tmp_path)
    assert descriptors() <= before + 1, "the case left descriptors open"


@pytest.mark.parametrize("case", cases(posix), ids=str)
def test_posix_conforms(case: Case, tmp_path: Path) -> None:
    case(tmp_path)


@pytest.mark.parametrize("case", cases(profile_of(PosixBackend)), ids=str)
def test_conforms_without_openat2(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libc, "HAS_OPENAT2", False)
    case(tmp_path)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no tmpfs at /dev/shm; mount one to run this")
@pytest.mark.parametrize("case", cases(profile_of(PosixBackend)), ids=str)
def test_conforms_on_tmpfs(case: Case) -> None:
    with TemporaryDirectory(dir="/dev/shm") as folder:
        case(Path(folder))
