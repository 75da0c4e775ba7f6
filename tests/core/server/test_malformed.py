"""Malformed bodies are refused one by one; a malformed header, chain or frame ends its connection and no other."""

import socket

import pytest

from lamina.core.wire import constants as smb
from lamina.core.wire.constants import Command
from lamina.core.wire.empty import encode_empty
from lamina.ntfsa.status import NtStatus
from tests.support.served import Served, new_file
from tests.support.wire_client import ConnectionClosedError, WireClient

ECHO = (Command.ECHO, encode_empty())
BODIES = [b"", b"\xff\xff", b"\0\0" + bytes(60), b"\xff" * 64, bytes(3)]
_NO_BODY = {Command.CANCEL, Command.NEGOTIATE}


@pytest.mark.parametrize("command", sorted(set(Command) - _NO_BODY), ids=lambda command: command.name)
def test_a_malformed_body_is_an_invalid_parameter_and_the_connection_lives(client: WireClient, command: int) -> None:
    for body in BODIES:
        assert client.transact(command, body).status == NtStatus.INVALID_PARAMETER
    client.echo()


@pytest.mark.parametrize("body", BODIES)
def test_a_malformed_negotiate_is_refused(served: Served, body: bytes) -> None:
    client = served.client()
    assert client.transact(Command.NEGOTIATE, body).status == NtStatus.INVALID_PARAMETER
    assert client.negotiate().dialect == 0x311


@pytest.mark.parametrize("command", [0x13, 0x14, 0xFF, 0xFFFF])
def test_an_unknown_command_is_an_invalid_parameter(client: WireClient, command: int) -> None:
    assert client.transact(command, bytes(16)).status == NtStatus.INVALID_PARAMETER
    client.echo()


def change(client: WireClient, offset: int, value: bytes) -> None:
    message = client.build(*ECHO)
    message[offset : offset + len(value)] = value
    client.send_raw(message)


@pytest.mark.parametrize(
    ("offset", "value"),
    [(0, b"\xfeSMC"), (0, b"\0\0\0\0"), (0, b"\xfcSMB"), (4, b"\x41\0"), (4, b"\0\0"), (16, b"\1\0\0\0"),
     (20, b"\x40\0\0\0"), (20, b"\xff\xff\xff\xff")],
    ids=["protocol", "zeros", "compressed", "size-65", "size-0", "a-response", "next-behind-the-end", "next-odd"],
)  # fmt: skip
def test_a_malformed_header_ends_this_connection_only(served: Served, offset: int, value: bytes) -> None:
    client, other = served.connected(), served.connected()
    change(client, offset, value)
    assert client.is_closed_by_server()
    new_file(other)


@pytest.mark.parametrize("length", [1, 3, 4, 32, 63])
def test_a_message_shorter_than_its_header_ends_the_connection(client: WireClient, length: int) -> None:
    client.send_raw(client.build(*ECHO)[:length])
    assert client.is_closed_by_server()


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\0\1", b"\xff" * 100, b"\x81\0\0\x44" + bytes(68)]
)
def test_another_protocol_ends_the_connection(served: Served, data: bytes) -> None:
    client = served.client()
    client.send_bytes(data)
    assert client.is_closed_by_server()


def test_empty_frames_are_passed_over(client: WireClient) -> None:
    client.send_bytes(bytes(4) * 10)
    client.echo()


def test_messages_may_arrive_byte_by_byte(client: WireClient) -> None:
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    message = client.build(*ECHO)
    for byte in len(message).to_bytes(4, "big") + bytes(message):
        client.send_bytes(bytes([byte]))
    assert client.recv().status == 0


def test_a_connection_that_ends_in_the_middle_of_a_message_leaves_nothing(served: Served) -> None:
    client = served.connected()
    new_file(client)
    client.send_bytes((1 << 20).to_bytes(4, "big") + b"\xfeSMB" + bytes(1000))
    client.disconnect()
    served.until_empty()


def test_reserved_bits_of_the_flags_are_passed_over(client: WireClient) -> None:
    assert client.transact(*ECHO, flags=0x70).status == 0


def test_an_asynchronous_request_has_no_tree(client: WireClient) -> None:
    try:
        answer = client.transact(Command.CREATE, bytes(57), flags=smb.FLAGS_ASYNC_COMMAND, async_id=5)
        assert answer.status != NtStatus.SUCCESS
    except ConnectionClosedError:
        return
    client.echo()
