"""The POSIX extensions for users that are not root: what they make has their mode, and refuses them what it says."""

import os
import stat as st
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lamina.core.plan import ShareSpec
from lamina.ntfsa import constants as c
from lamina.ntfsa.status import NtStatus
from lamina.vfs_modules.forms import posix_acl
from tests.support.posix_client import FILE_CREATE, FILE_DIRECTORY_FILE, answer, posix_client, posix_open
from tests.support.served import GENERIC_ALL, SECOND_PASSWORD, SECOND_USER, Served
from tests.support.wire_client import StatusError, WireClient

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="tells users apart: run as root")
USER, GROUP = 1234, 4321


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    folder = tmp_path / "users"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def client_of(serve: Callable[..., Served], folder: Path, *chain: str) -> WireClient:
    served = serve(shares={"data": ShareSpec(folder, chain=(*chain, "dos_attributes", "posix"))})
    accounts: Any = served.server.runtime.accounts
    accounts.add(SECOND_USER, SECOND_PASSWORD, uid=USER, gid=GROUP)
    return posix_client(served, user=SECOND_USER, password=SECOND_PASSWORD)


@pytest.mark.parametrize("chain", [(), ("streams_xattr", "acl_xattr")], ids=["modes alone", "with lists"])
@pytest.mark.parametrize("mode", [0o000, 0o400, 0o444, 0o604, 0o755])
def test_the_mode_is_exactly_what_was_asked(
    serve: Callable[..., Served], folder: Path, mode: int, chain: tuple[str, ...]
) -> None:
    client = client_of(serve, folder, *chain)
    file = posix_open(client, "file", mode, access=GENERIC_ALL, disposition=FILE_CREATE)
    client.write(file, b"its maker may write it")
    made = posix_open(client, "made", mode, access=GENERIC_ALL, disposition=FILE_CREATE, options=FILE_DIRECTORY_FILE)
    for name, opened in (("file", file), ("made", made)):
        status = os.stat(folder / name)
        assert (status.st_uid, status.st_gid, st.S_IMODE(status.st_mode)) == (USER, GROUP, mode)
        assert st.S_IMODE(answer(opened).mode) == mode
        client.close(opened)
    if not mode & 0o200:
        with pytest.raises(StatusError) as refused:
            posix_open(client, "file", access=c.FILE_WRITE_DATA)
        assert refused.value.status == NtStatus.ACCESS_DENIED


def test_a_posix_acl_that_a_directory_passes_on_stays(serve: Callable[..., Served], folder: Path) -> None:
    # Version 2, then tag, permissions and id of each entry: owner, user 77, group, mask, others.
    entries = (
        (0x01, 7, 0xFFFFFFFF),
        (0x02, 6, 77),
        (0x04, 5, 0xFFFFFFFF),
        (0x10, 7, 0xFFFFFFFF),
        (0x20, 0, 0xFFFFFFFF),
    )
    packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(folder, posix_acl.DEFAULT, packed)
    except OSError:
        pytest.skip("the file system beneath the tests has no POSIX ACLs")
    client = client_of(serve, folder)
    posix_open(client, "file", 0o640, access=GENERIC_ALL, disposition=FILE_CREATE)
    assert os.getxattr(folder / "file", posix_acl.ACCESS)[4 + 8 : 4 + 16] == struct.pack("<HHI", 0x02, 6, 77)
    assert st.S_IMODE(os.stat(folder / "file").st_mode) == 0o640
