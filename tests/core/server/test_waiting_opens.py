"""Who wants a file whose open waits for its client: what becomes of that open, as docs/handles.md has it in a table."""

import struct
from collections.abc import Callable

import pytest

from lamina.core.wire.durable_contexts import encode_resiliency_request
from lamina.ntfsa import constants as c
from lamina.ntfsa.status import NtStatus as S
from tests.support.durable import GUID, OTHER_CLIENT, Kept, asked_v2, back_v2, leased, refused, with_lease, with_oplock
from tests.support.granted import RH, RWH
from tests.support.served import GENERIC_ALL, new_file
from tests.support.wire_client import Open, WireClient

EXCLUSIVE_LOCK = 0x12
ENDS, STAYS = True, False


def look(client: WireClient) -> None:
    client.close(client.create("file", access=c.FILE_READ_ATTRIBUTES))


def open_sharing(client: WireClient) -> None:
    client.close(client.create("file", access=c.FILE_READ_DATA))


def open_alone(client: WireClient) -> None:
    client.close(client.create("file", access=c.FILE_READ_DATA, share=0))


def overwrite(client: WireClient) -> None:
    client.close(client.create("file", access=GENERIC_ALL, disposition=c.FILE_OVERWRITE))


def write(client: WireClient) -> None:
    file = new_file(client)
    client.write(file, b"by another")
    client.close(file)


def lock(client: WireClient) -> None:
    file = new_file(client)
    client.lock(file, [(0, 1, EXCLUSIVE_LOCK)])
    client.close(file)


def rename(client: WireClient) -> None:
    file = new_file(client)
    name = "other".encode("utf-16-le")
    client.set_info(file, 1, c.FILE_RENAME_INFORMATION, struct.pack("<QQI", 0, 0, len(name)) + name)
    client.close(file)


def delete(client: WireClient) -> None:
    file = new_file(client)
    client.set_info(file, 1, c.FILE_DISPOSITION_INFORMATION, b"\1")
    client.close(file)


WANTED: dict[Callable[[WireClient], None], tuple[bool, bool]] = {
    look: (STAYS, STAYS),
    open_sharing: (ENDS, STAYS),
    open_alone: (ENDS, ENDS),
    overwrite: (ENDS, ENDS),
    write: (ENDS, ENDS),
    lock: (ENDS, ENDS),
    rename: (ENDS, ENDS),
    delete: (ENDS, ENDS),
}
"""What becomes of a durable open that may cache writes, and of one that only keeps its handle."""

wanted = pytest.mark.parametrize("wants", WANTED, ids=lambda wants: wants.__name__)


def batch(client: WireClient) -> Open:
    return with_oplock(client, asked_v2())


def lease(client: WireClient) -> Open:
    return with_lease(client, asked_v2())


def handle_lease(client: WireClient) -> Open:
    return with_lease(client, asked_v2(), RH)


@wanted
@pytest.mark.parametrize(("opened", "column"), [(batch, 0), (lease, 0), (handle_lease, 1)])
def test_a_durable_open_ends_for_who_must_have_it(
    kept: Kept, opened: Callable[[WireClient], Open], column: int, wants: Callable[[WireClient], None]
) -> None:
    client = kept.connect()
    file = opened(client)
    kept.cut(client)
    wants(kept.connect(OTHER_CLIENT))
    ends = WANTED[wants][column]
    assert kept.waiting == (0 if ends else 1)
    contexts = back_v2(file) | (leased(RWH) if opened is not batch else {})
    again = lambda: kept.connect().create("file", contexts=contexts)  # noqa: E731
    if ends:
        assert refused(again) is S.OBJECT_NAME_NOT_FOUND
    else:
        again()


@wanted
@pytest.mark.parametrize("opened", [batch, lease, handle_lease])
def test_a_resilient_one_stays(
    kept: Kept, opened: Callable[[WireClient], Open], wants: Callable[[WireClient], None]
) -> None:
    client = kept.connect()
    file = opened(client)
    client.ioctl(c.FSCTL_LMR_REQUEST_RESILIENCY, encode_resiliency_request(0), file)
    kept.cut(client)
    other = kept.connect(OTHER_CLIENT)
    if wants is open_alone:
        assert refused(lambda: wants(other)) is S.SHARING_VIOLATION
    else:
        wants(other)
    assert kept.waiting == 1
    contexts = back_v2(file, GUID) | (leased(RWH) if opened is not batch else {})
    name = "other" if wants is rename else "file"
    client = kept.connect()
    client.close(client.create(name, contexts=contexts))
