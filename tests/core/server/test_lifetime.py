"""Requests that still run when their file, tree, session or connection ends: each ends too, and nothing stays open."""

import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from lamina.core.wire import constants as smb
from lamina.core.wire.close import CloseRequest, encode_close_request
from lamina.core.wire.create import CreateRequest, encode_create_request
from lamina.core.wire.empty import encode_empty
from lamina.core.wire.lock import LockRequest, WireLock, encode_lock_request
from lamina.core.wire.read import ReadRequest, encode_read_request
from lamina.ntfsa.status import NtStatus
from lamina.vfs_modules.engine import offload
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Operation
from lamina.vfs_modules.token import ImpersonationToken
from tests.support.served import GENERIC_ALL, Served, new_file
from tests.support.wire_client import Open, WireClient


class StuckModule(VfsModule, public=("gate", "stuck")):
    """While the gate is shut, system calls do not return: they sleep on a worker thread, where nothing cancels them."""

    name: ClassVar[str] = "stuck"

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.stuck = 0

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        if operation.name not in ("pread", "open"):
            return call

        def stuck(token: ImpersonationToken, *arguments: Any, **keywords: Any) -> Any:
            if not self.gate.is_set():
                self.stuck += 1
                offload(token, self.gate.wait, 20)
            return call(token, *arguments, **keywords)

        return stuck


class Slow:
    """A server whose system calls can be held up."""

    def __init__(self, served: Served, module: StuckModule) -> None:
        self.served = served
        self._module = module

    def hold(self) -> None:
        self._module.gate.clear()

    def release(self) -> None:
        self._module.gate.set()

    def until_parked(self, count: int = 1) -> None:
        self.served.until(lambda: self._module.stuck >= count)


@pytest.fixture
def slow(serve: Callable[..., Served]) -> Iterator[Slow]:
    module = StuckModule()
    held = Slow(serve(chain=[module, "dos_attributes", "posix"]), module)
    yield held
    held.release()


def send_read(client: WireClient, file: Open) -> int:
    return client.send(smb.Command.READ, encode_read_request(ReadRequest(*file.file_id, 0, 10)), payload=10)


def send_close(client: WireClient, file: Open) -> int:
    return client.send(smb.Command.CLOSE, encode_close_request(CloseRequest(*file.file_id)))


def send_create(client: WireClient, name: str) -> int:
    body = encode_create_request(CreateRequest(name, GENERIC_ALL, 0, 0, 3, 0))
    return client.send(smb.Command.CREATE, body)


def a_read_that_waits(slow: Slow) -> tuple[WireClient, Open, int]:
    client = slow.served.connected()
    file = new_file(client)
    client.write(file, b"0123456789")
    slow.hold()
    message_id = send_read(client, file)
    slow.until_parked()
    return client, file, message_id


def test_a_close_waits_for_a_read_that_runs(slow: Slow) -> None:
    client, file, reading = a_read_that_waits(slow)
    closing = send_close(client, file)
    client.echo()
    slow.release()
    assert client.wait(reading).status in (NtStatus.SUCCESS, NtStatus.FILE_CLOSED, NtStatus.RANGE_NOT_LOCKED)
    assert client.wait(closing).status == NtStatus.SUCCESS


def test_a_file_that_is_being_closed_is_not_to_be_used(slow: Slow) -> None:
    client, file, _ = a_read_that_waits(slow)
    closing = send_close(client, file)
    assert client.wait(send_read(client, file)).status == NtStatus.FILE_CLOSED
    assert client.wait(send_close(client, file)).status == NtStatus.FILE_CLOSED
    slow.release()
    assert client.wait(closing).status == NtStatus.SUCCESS


def test_a_close_that_was_cancelled_leaves_a_file_that_can_be_closed(slow: Slow) -> None:
    client, file, reading = a_read_that_waits(slow)
    closing = send_close(client, file)
    client.cancel(closing)
    slow.release()
    client.wait(reading)
    if client.wait(closing).status != NtStatus.SUCCESS:
        client.close(file)
    assert slow.served.counts()["opens"] == 0


@pytest.mark.parametrize("how", ["disconnect", "logoff", "tree_disconnect"])
def test_a_read_that_runs_does_not_outlive_its_client(slow: Slow, how: str) -> None:
    client, _, _ = a_read_that_waits(slow)
    if how != "disconnect":
        command = smb.Command.LOGOFF if how == "logoff" else smb.Command.TREE_DISCONNECT
        client.send(command, encode_empty())
    client.disconnect()
    slow.release()
    slow.served.until_empty()


@pytest.mark.parametrize("how", [smb.Command.LOGOFF, smb.Command.TREE_DISCONNECT])
def test_the_end_of_a_tree_waits_for_what_runs_in_it_and_then_closes_all(slow: Slow, how: int) -> None:
    client, _, reading = a_read_that_waits(slow)
    ending = client.send(how, encode_empty())
    slow.release()
    assert client.wait(ending).status == NtStatus.SUCCESS
    assert slow.served.counts()["opens"] == 0
    assert reading


def test_an_open_that_is_made_after_its_client_went_is_closed(slow: Slow) -> None:
    client = slow.served.connected()
    slow.hold()
    send_create(client, "late")
    slow.until_parked()
    client.disconnect()
    slow.served.until(lambda: not slow.served.core.connections)
    slow.release()
    slow.served.until_empty()


@pytest.mark.parametrize("how", [smb.Command.LOGOFF, smb.Command.TREE_DISCONNECT])
def test_an_open_that_is_made_after_its_tree_went_is_closed(slow: Slow, how: int) -> None:
    client = slow.served.connected()
    slow.hold()
    creating = send_create(client, "late")
    slow.until_parked()
    ending = client.send(how, encode_empty())
    assert client.wait(ending).status == NtStatus.SUCCESS
    slow.release()
    assert client.wait(creating).status != NtStatus.SUCCESS
    assert slow.served.counts()["opens"] == 0
    client.disconnect()
    slow.served.until_empty()


def test_the_server_closes_while_requests_run(slow: Slow) -> None:
    _, _, _ = a_read_that_waits(slow)
    core, share = slow.served.core, slow.served.core.find_share("data")
    assert share is not None
    assert share.volume is not None
    threading.Timer(0.2, slow.release).start()
    slow.served.server.close()
    assert core.engine.running == 0
    assert share.volume.open_count() == 0


def test_a_cancellation_that_comes_too_late_does_not_hit_the_next_request_of_the_compound(slow: Slow) -> None:
    client, holder = slow.served.connected(), slow.served.connected()
    file, held = new_file(client, "f"), new_file(holder, "f")
    client.write(file, b"data")
    holder.lock(held, [(100, 10, smb.LOCKFLAG_EXCLUSIVE_LOCK)])
    slow.hold()
    ranges = (WireLock(100, 10, smb.LOCKFLAG_EXCLUSIVE_LOCK),)
    chain, (reading, locking) = client.build_chain(
        [
            (smb.Command.READ, encode_read_request(ReadRequest(*file.file_id, 0, 4))),
            (smb.Command.LOCK, encode_lock_request(LockRequest(*file.file_id, ranges))),
        ],
        related=False,
    )
    client.send_message(chain)
    slow.until_parked()
    client.cancel(reading)
    client.echo()
    slow.release()
    assert client.wait(reading).status == NtStatus.SUCCESS
    client.wait_interim(locking)
    holder.lock(held, [(100, 10, smb.LOCKFLAG_UNLOCK)])
    assert client.wait(locking).status == NtStatus.SUCCESS
