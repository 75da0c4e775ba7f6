"""FSCTL_VALIDATE_NEGOTIATE_INFO and the other codes of the protocol's own (MS-SMB2 3.3.5.15)."""

from collections.abc import Callable

import pytest

from lamina.core.commands import ioctl
from lamina.core.interfaces import network_interfaces
from lamina.core.ports import choose_port
from lamina.core.wire import constants as smb
from lamina.core.wire.constants import Command
from lamina.core.wire.ioctl import NO_FILE, IoctlRequest, encode_ioctl_request
from lamina.core.wire.network_interface import decode_network_interfaces
from lamina.core.wire.validate_negotiate import (
    ValidateNegotiateRequest,
    decode_validate_negotiate_response,
    encode_validate_negotiate_request,
)
from lamina.ntfsa.status import NtStatus
from tests.support.served import Served, new_file
from tests.support.wire_client import ConnectionClosedError, StatusError, WireClient


def claim(client: WireClient) -> ValidateNegotiateRequest:
    """What the client really said in NEGOTIATE."""
    said = client.negotiate_request
    assert said is not None
    return ValidateNegotiateRequest(said.capabilities, said.client_guid, said.security_mode, tuple(said.dialects))


def validate(client: WireClient, claimed: ValidateNegotiateRequest, max_output: int = 24) -> bytes:
    data = encode_validate_negotiate_request(claimed)
    return bytes(client.ioctl(ioctl.FSCTL_VALIDATE_NEGOTIATE_INFO, data, max_output=max_output).output)


@pytest.mark.parametrize("dialect", [0x202, 0x210, 0x300, 0x302], ids=hex)
def test_a_negotiation_nobody_changed_is_confirmed(served: Served, dialect: int) -> None:
    client = served.connected(dialect)
    answer = decode_validate_negotiate_response(memoryview(validate(client, claim(client))))
    assert client.negotiated is not None
    assert answer.dialect == dialect
    assert answer.capabilities == client.negotiated.capabilities
    assert answer.server_guid == client.negotiated.server_guid
    assert answer.security_mode == client.negotiated.security_mode


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said._replace(capabilities=said.capabilities ^ 0x40),
        lambda said: said._replace(client_guid=bytes(16)),
        lambda said: said._replace(security_mode=said.security_mode ^ 2),
        lambda said: said._replace(dialects=(*said.dialects, 0x311)),
        lambda said: said._replace(dialects=(0x202,)),
    ],
    ids=["capabilities", "guid", "security-mode", "one-dialect-more", "another-dialect"],
)
def test_a_negotiation_that_was_changed_ends_the_connection(
    served: Served, change: Callable[[ValidateNegotiateRequest], ValidateNegotiateRequest]
) -> None:
    client = served.connected(0x302)
    with pytest.raises(ConnectionClosedError):
        validate(client, change(claim(client)))


def test_3_1_1_has_no_use_for_it_and_ends_the_connection(client: WireClient) -> None:
    with pytest.raises(ConnectionClosedError):
        validate(client, claim(client))


def test_a_client_that_leaves_no_room_for_the_answer_is_cut_off(served: Served) -> None:
    client = served.connected(0x302)
    with pytest.raises(ConnectionClosedError):
        validate(client, claim(client), max_output=23)


@pytest.mark.parametrize("code", [0, 0xFFFFFFFF, 0x00090000, 0x000900FF])
def test_an_unknown_code_is_refused(client: WireClient, code: int) -> None:
    with pytest.raises(StatusError) as refused:
        client.ioctl(code, b"input", new_file(client))
    assert refused.value.status in (NtStatus.INVALID_DEVICE_REQUEST, NtStatus.NOT_SUPPORTED)


def test_only_fsctls_are_served(client: WireClient) -> None:
    body = encode_ioctl_request(IoctlRequest(ioctl.FSCTL_PIPE_WAIT, NO_FILE, NO_FILE, b"", 100, flags=0))
    assert client.transact(Command.IOCTL, body).status == NtStatus.NOT_SUPPORTED


@pytest.mark.parametrize("code", [ioctl.FSCTL_DFS_GET_REFERRALS, ioctl.FSCTL_DFS_GET_REFERRALS_EX])
def test_there_is_no_dfs(client: WireClient, code: int) -> None:
    with pytest.raises(StatusError):
        client.ioctl(code, bytes(10))


def test_a_transaction_wants_a_pipe(client: WireClient) -> None:
    with pytest.raises(StatusError, match="INVALID_DEVICE_REQUEST"):
        client.ioctl(ioctl.FSCTL_PIPE_TRANSCEIVE, b"x", new_file(client))


def told_addresses(client: WireClient) -> list[str]:
    answer = client.ioctl(ioctl.FSCTL_QUERY_NETWORK_INTERFACE_INFO).output
    return [interface.address for interface in decode_network_interfaces(memoryview(answer))]


def test_a_client_learns_of_the_addresses_that_are_listened_on(client: WireClient) -> None:
    assert told_addresses(client) == ["127.0.0.1"]


def test_a_server_of_all_addresses_tells_those_of_ipv6_too(serve: Callable[..., Served]) -> None:
    expected = {each.address for each in network_interfaces() if each.address in ("127.0.0.1", "::1")}
    assert set(told_addresses(serve(address="", port=choose_port("", 0)[0]).connected())) == expected


def test_what_is_told_is_by_the_lists_of_interfaces(serve: Callable[..., Served]) -> None:
    served = serve(interfaces=("lo;speed=25000000000,capability=RSS",))
    answer = served.connected().ioctl(ioctl.FSCTL_QUERY_NETWORK_INTERFACE_INFO).output
    (interface,) = decode_network_interfaces(memoryview(answer))
    assert (interface.link_speed, interface.rss_capable) == (25_000_000_000, True)


def test_what_is_denied_is_not_told(serve: Callable[..., Served]) -> None:
    assert not told_addresses(serve(interfaces_denied=("127.0.0.0/8",)).connected())


@pytest.mark.parametrize(("multichannel", "dialect"), [(False, 0x311), (True, 0x210)])
def test_without_multichannel_there_are_no_interfaces_to_tell(
    serve: Callable[..., Served], multichannel: bool, dialect: int
) -> None:
    client = serve(multichannel=multichannel).connected(dialect)
    with pytest.raises(StatusError, match="NOT_SUPPORTED"):
        client.ioctl(ioctl.FSCTL_QUERY_NETWORK_INTERFACE_INFO)


def test_a_client_that_cannot_do_multichannel_is_told_nothing_of_it(served: Served) -> None:
    client = served.connected(capabilities=0x7F & ~smb.GLOBAL_CAP_MULTI_CHANNEL)
    assert client.negotiated is not None
    assert not client.negotiated.capabilities & smb.GLOBAL_CAP_MULTI_CHANNEL
    with pytest.raises(StatusError, match="NOT_SUPPORTED"):
        client.ioctl(ioctl.FSCTL_QUERY_NETWORK_INTERFACE_INFO)


def test_it_is_a_question_to_the_server_and_not_about_a_file(client: WireClient) -> None:
    with pytest.raises(StatusError, match="INVALID_PARAMETER"):
        client.ioctl(ioctl.FSCTL_QUERY_NETWORK_INTERFACE_INFO, b"", new_file(client))


def test_an_answer_that_has_no_room_is_refused(client: WireClient) -> None:
    with pytest.raises(StatusError, match="BUFFER_TOO_SMALL"):
        client.ioctl(ioctl.FSCTL_QUERY_NETWORK_INTERFACE_INFO, max_output=151)
