"""What modules add to the protocol, on the wire: the example of the module writer's guide, and modules that fail."""

import hashlib
import importlib.util
import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lamina.core.commands import ioctl
from lamina.core.wire import create_contexts
from lamina.ntfsa.extensions import PROTOCOL_CONTEXTS, PROTOCOL_CONTROLS
from lamina.ntfsa.status import NtStatus
from lamina.vfs_modules.extensions import (
    MAX_ANSWER,
    InfoType,
    StatusError,
    control,
    create_context,
    query_information,
    set_information,
)
from lamina.vfs_modules.module import VfsModule
from tests.support.served import GENERIC_ALL, Served, new_file
from tests.support.wire_client import StatusError as WireStatus

EXAMPLE = Path(__file__).parents[3] / "docs/examples/checksums.py"
READ_ATTRIBUTES = 0x80
FILE, VOLUME = 1, 2
PLAIN, READS, WRITES = 0x00360010, 0x00366014, 0x0036A018


def _example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("checksums", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_guide_shows_the_example_that_is_tested() -> None:
    assert f"```python\n{EXAMPLE.read_text()}```" in (EXAMPLE.parents[1] / "modules/extensions.md").read_text()


@pytest.fixture
def example(serve: Callable[..., Served]) -> tuple[ModuleType, Served]:
    module = _example()
    return module, serve(chain=[module.Checksums, "dos_attributes", "posix"])


def status_of(call: Callable[[], Any]) -> int:
    with pytest.raises(WireStatus) as raised:
        call()
    return raised.value.status


def test_the_guides_example_serves_a_control_code(example: tuple[ModuleType, Served]) -> None:
    module, served = example
    client = served.connected()
    file = new_file(client)
    client.write(file, b"content")
    answer = client.ioctl(module.FSCTL_CHECKSUM, file=file)
    assert bytes(answer.output) == hashlib.sha256(b"content").digest()


def test_the_guides_example_answers_a_create_context(example: tuple[ModuleType, Served]) -> None:
    client = example[1].connected()
    file = new_file(client)
    client.write(file, b"content")
    asked = {b"MxAc": b"", b"CkSm": b"sha256"}
    contexts = client.create("file", contexts=asked).response.contexts
    assert bytes(contexts[b"CkSm"]) == hashlib.sha256(b"content").digest()
    assert b"MxAc" in contexts
    assert b"CkSm" not in client.create("file", contexts={b"CkSm": b"md5"}).response.contexts


def test_the_guides_example_has_an_information_class(example: tuple[ModuleType, Served]) -> None:
    client = example[1].connected()
    file = new_file(client)
    client.set_info(file, FILE, 0xF0, b"urgent")
    assert client.query_info(file, FILE, 0xF0) == b"urgent"
    assert client.query_info(file, FILE, 0xF0, max_length=3) == b"urg"


def test_a_create_context_that_fails_fails_the_create_and_leaves_no_open(example: tuple[ModuleType, Served]) -> None:
    _, served = example
    client = served.connected()
    status = status_of(lambda: client.create("", contexts={b"CkSm": b"sha256"}))
    assert status == NtStatus.FILE_IS_A_DIRECTORY
    assert served.counts()["opens"] == 0


class Odd(VfsModule):
    """Answers in every way that an extension can."""

    name = "odd"

    @control(PLAIN)
    def echo(self, token: Any, opened: Any, data: memoryview, room: int) -> bytes:
        if not data:
            raise StatusError(NtStatus.FILE_NOT_AVAILABLE, "nothing was sent")
        return bytes(data)

    @control(READS)
    def reads(self, token: Any, opened: Any, data: memoryview, room: int) -> bytes:
        return struct.pack("<I", opened.access)

    @control(WRITES)
    def writes(self, token: Any, opened: Any, data: memoryview, room: int) -> bytes:
        return f"{token.user_name}:{opened.path}:{opened.stream}".encode()

    @create_context(b"LONG")
    def long(self, token: Any, opened: Any, data: memoryview, client: Any) -> bytes:
        return bytes(MAX_ANSWER + len(data))

    @query_information(InfoType.VOLUME, 0xC0)
    def volume(self, token: Any, opened: Any, room: int) -> bytes:
        return b"volume"

    @set_information(InfoType.VOLUME, 0xC0)
    def set_volume(self, token: Any, opened: Any, data: memoryview) -> None:
        raise PermissionError(13, "no")


@pytest.fixture
def odd(serve: Callable[..., Served]) -> Served:
    return serve(chain=[Odd, "streams_xattr", "dos_attributes", "posix"])


def test_a_code_is_refused_where_the_open_lacks_the_rights_it_names(odd: Served) -> None:
    client = odd.connected()
    new_file(client)
    file = client.create("file", access=READ_ATTRIBUTES)
    assert bytes(client.ioctl(PLAIN, b"hello", file).output) == b"hello"
    for code in (READS, WRITES):
        assert status_of(lambda code=code: client.ioctl(code, b"hello", file)) == NtStatus.ACCESS_DENIED


def test_a_method_learns_of_user_path_and_stream(odd: Served) -> None:
    client = odd.connected()
    file = new_file(client, "file:notes")
    assert bytes(client.ioctl(WRITES, b"", file).output) == b"ada:file:notes"


def test_an_answer_without_room_is_refused(odd: Served) -> None:
    client = odd.connected()
    file = new_file(client)
    assert status_of(lambda: client.ioctl(PLAIN, b"hello", file, max_output=4)) == NtStatus.BUFFER_TOO_SMALL


def test_a_status_can_be_named(odd: Served) -> None:
    client = odd.connected()
    file = new_file(client)
    assert status_of(lambda: client.ioctl(PLAIN, b"", file)) == NtStatus.FILE_NOT_AVAILABLE


def test_an_answer_to_a_create_context_is_bounded(odd: Served) -> None:
    client = odd.connected()
    new_file(client)
    status = status_of(lambda: client.create("file", access=GENERIC_ALL, contexts={b"LONG": b"more"}))
    assert status == NtStatus.INTERNAL_ERROR


def test_classes_of_the_volume_are_asked_too(odd: Served) -> None:
    client = odd.connected()
    file = new_file(client)
    assert client.query_info(file, VOLUME, 0xC0) == b"volume"
    assert status_of(lambda: client.set_info(file, VOLUME, 0xC0, b"x")) == NtStatus.ACCESS_DENIED


def test_what_no_module_serves_is_refused_as_before(odd: Served) -> None:
    client = odd.connected()
    file = new_file(client)
    assert status_of(lambda: client.ioctl(0x00367777, b"", file)) == NtStatus.INVALID_DEVICE_REQUEST
    assert status_of(lambda: client.query_info(file, FILE, 0xF1)) == NtStatus.INVALID_INFO_CLASS
    assert status_of(lambda: client.set_info(file, VOLUME, 0xF1, b"x")) == NtStatus.INVALID_INFO_CLASS


class Greedy(VfsModule):
    """Serves what is Lamina's."""

    name = "greedy"

    @control(0x000900C4)
    def sparse(self, token: Any, opened: Any, data: memoryview, room: int) -> bytes:
        return b""


def test_a_module_that_serves_what_is_laminas_is_refused(serve: Callable[..., Served]) -> None:
    with pytest.raises(Exception, match="'greedy' serves control code 0x000900c4, which is Lamina's own"):
        serve(chain=[Greedy, "posix"])


def test_the_protocols_own_codes_and_contexts_are_all_known_to_be_taken() -> None:
    assert set(ioctl._OWN) <= PROTOCOL_CONTROLS
    tags = {value for name, value in vars(create_contexts).items() if name.isupper() and isinstance(value, bytes)}
    assert tags <= PROTOCOL_CONTEXTS
