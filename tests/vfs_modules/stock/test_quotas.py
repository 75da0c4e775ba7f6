"""Quotas that the kernel keeps, and that it enforces them for those whom the server acts for.

Few kernels of virtual machines and containers count: those tests run in a machine of their own (tests/guest).
"""

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.operations import Access, Capability, OpenHow
from lamina.vfs_modules.quotas import Quota, QuotaKind
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.hand import NEEDS, Check
from lamina.vfs_modules.testing.suite import applicable
from lamina.vfs_modules.token import SERVER_TOKEN
from tests.support.quota_filesystem import WHY_NOT, can_make, quota_filesystem
from tests.support.quota_table import QuotaTable

USER, GROUP, OTHER = 12345, 12346, 12347
TOKEN = make_token(USER, GROUP)
MIB = 1 << 20
CREATE = OpenHow(Access.READ_WRITE, create=True, exclusive=True)


@pytest.fixture(scope="module", params=["xfs", "ext4"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if not can_make(request.param):
        pytest.skip(WHY_NOT)
    with quota_filesystem(request.param, tmp_path_factory.mktemp("quota") / "mounted") as mounted:
        yield mounted


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Let this thread act for the server again when a test has ended."""
    yield
    assume(SERVER_TOKEN)


@pytest.fixture
def chain(folder: Path) -> Iterator[Chain]:
    chain = local_chain(folder)
    yield chain
    chain.disconnect(TOKEN)


@pytest.mark.guest
class TestOfTheKernel:
    """On a file system that counts."""

    def test_what_a_user_has_is_counted(self, chain: Chain) -> None:
        assert Capability.QUOTAS in chain.capabilities
        root = chain.open_root(TOKEN)
        file = chain.open(TOKEN, root, "counted", CREATE)
        before = chain.get_quota(TOKEN, root, QuotaKind.USER, USER).used
        chain.pwrite(TOKEN, file, memoryview(bytes(MIB)), 0)
        chain.fsync(TOKEN, file)
        assert chain.get_quota(TOKEN, root, QuotaKind.USER, USER).used >= before + MIB
        assert chain.get_quota(TOKEN, root, QuotaKind.GROUP, GROUP).used >= MIB
        assert chain.get_quota(TOKEN, root, QuotaKind.USER, 4321) == Quota(QuotaKind.USER, 4321, 0)
        chain.unlink(TOKEN, root, "counted")
        chain.close(TOKEN, file)
        chain.close(TOKEN, root)

    def test_limits_are_set_and_listed(self, chain: Chain) -> None:
        root = chain.open_root(TOKEN)
        for kind, number, limit in ((QuotaKind.USER, OTHER, MIB), (QuotaKind.GROUP, OTHER, 16_000)):
            chain.set_quota(TOKEN, root, Quota(kind, number, 0, limit // 2, limit))
        assert chain.get_quota(TOKEN, root, QuotaKind.USER, OTHER)[2:] == (0, MIB // 2, MIB)
        assert chain.get_quota(TOKEN, root, QuotaKind.GROUP, OTHER)[2:] == (0, 8192, 16_384)
        assert OTHER in {quota.number for quota in chain.list_quotas(TOKEN, root, QuotaKind.USER, 0, 100)}
        assert [quota.number for quota in chain.list_quotas(TOKEN, root, QuotaKind.USER, OTHER, 1)] == [OTHER]
        assert chain.list_quotas(TOKEN, root, QuotaKind.USER, OTHER + 1, 100) == []
        chain.set_quota(TOKEN, root, Quota(QuotaKind.USER, OTHER, 0))
        assert chain.get_quota(TOKEN, root, QuotaKind.USER, OTHER)[3:] == (None, None)
        chain.close(TOKEN, root)

    def test_it_conforms(self, chain: Chain) -> None:
        for one in applicable(chain):
            if NEEDS[one] is Capability.QUOTAS:
                one(chain, SERVER_TOKEN)

    def test_they_are_enforced_though_the_server_is_root(self, chain: Chain) -> None:
        root = chain.open_root(TOKEN)
        chain.set_quota(TOKEN, root, Quota(QuotaKind.USER, USER, 0, None, 2 * MIB))
        file = chain.open(TOKEN, root, "large", CREATE)
        with pytest.raises(OSError) as caught:
            for index in range(8):
                chain.pwrite(TOKEN, file, memoryview(bytes(MIB)), index * MIB)
                chain.fsync(TOKEN, file)
        assert caught.value.errno in {errno.EDQUOT, errno.ENOSPC}
        chain.set_quota(TOKEN, root, Quota(QuotaKind.USER, USER, 0))
        chain.unlink(TOKEN, root, "large")
        chain.close(TOKEN, file)
        chain.close(TOKEN, root)


@pytest.mark.parametrize("one", [one for one, needs in NEEDS.items() if needs is Capability.QUOTAS])
def test_a_table_of_quotas_conforms(tmp_path: Path, one: Check) -> None:
    chain = local_chain(tmp_path, QuotaTable())
    one(chain, SERVER_TOKEN)
    chain.disconnect(SERVER_TOKEN)


def test_a_file_system_that_does_not_count_says_so() -> None:
    chain = local_chain(Path("/proc/self"))
    try:
        assert Capability.QUOTAS not in chain.capabilities
    finally:
        chain.disconnect(TOKEN)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is exempt from quotas: run as root")
def test_who_acts_for_users_is_not_exempt_from_quotas() -> None:
    """Linux exempts whoever has CAP_SYS_RESOURCE, whatever the file-system identity (capabilities(7))."""
    found: list[int] = []

    def act() -> None:
        assume(make_token(USER, GROUP))
        status = Path(f"/proc/self/task/{threading.get_native_id()}/status").read_text()
        found.append(int(status.partition("CapEff:")[2].split()[0], 16))

    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    assert not found[0] >> 24 & 1
