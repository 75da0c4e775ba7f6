"""Opens of what a file was at a time (SMB2_CREATE_TIMEWARP_TOKEN), with the module `shadow_copy`."""

from collections.abc import Callable

import pytest

from lamina.core.wire.create_contexts import TIMEWARP_TOKEN, encode_timewarp_token
from lamina.ntfsa.status import NtStatus
from lamina.ntfsa.times.filetime import to_filetime
from lamina.vfs_modules.stock.shadow_copy import ShadowCopyModule
from tests.support.served import Served
from tests.support.wire_client import StatusError, WireClient

SNAPSHOT = 1_763_627_400  # 2025-11-20 08:30:00 UTC
READ, READ_WRITE = 0x00120089, 0x0012019F


@pytest.fixture
def client(serve: Callable[..., Served]) -> WireClient:
    served = serve(chain=[ShadowCopyModule(), "streams_xattr", "dos_attributes", "posix"])
    old = served.folder / ".snapshots" / "@GMT-2025.11.20-08.30.00"
    old.mkdir(parents=True)
    (old / "file").write_bytes(b"as it was")
    (served.folder / "file").write_bytes(b"as it is")
    return served.connected()


def at(seconds: int) -> dict[bytes, bytes]:
    return {TIMEWARP_TOKEN: encode_timewarp_token(to_filetime(seconds * 1_000_000_000))}


def test_a_time_leads_to_what_was_then(client: WireClient) -> None:
    file = client.create("file", access=READ, contexts=at(SNAPSHOT))
    assert client.read(file, 100) == b"as it was"
    client.close(file)
    root = client.create("", access=READ, contexts=at(SNAPSHOT))
    client.close(root)


@pytest.mark.parametrize("seconds", [SNAPSHOT + 1, 1, 900_000_000_000])
def test_there_is_nothing_at_other_times(client: WireClient, seconds: int) -> None:
    with pytest.raises(StatusError) as refused:
        client.create("file", access=READ, contexts=at(seconds))
    assert refused.value.status in {NtStatus.OBJECT_NAME_NOT_FOUND, NtStatus.OBJECT_PATH_NOT_FOUND}


def test_what_was_is_not_written(client: WireClient) -> None:
    file = client.create("file", access=READ_WRITE, contexts=at(SNAPSHOT))
    with pytest.raises(StatusError) as refused:
        client.write(file, b"x")
    assert refused.value.status == NtStatus.MEDIA_WRITE_PROTECTED
    assert client.read(file, 100) == b"as it was"
    client.close(file)
