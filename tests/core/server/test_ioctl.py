"""FSCTL_VALIDATE_NEGOTIATE_INFO and the other codes of the protocol's own (MS-SMB2 3.3.5.15)."""

from collections.abc import Callable

import pytest

from lamina.core.commands import ioctl
from lamina.core.wire.constants import Command
from lamina.core.wire.ioctl import NO_FILE, IoctlRequest, encode_ioctl_request
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


def test_a_client_learns_of_interfaces_to_open_channels_to(client: WireClient) -> None:
    assert client.ioctl(ioctl.FSCTL_QUERY_NETWORK_INTERFACE_INFO).output


def test_without_multichannel_there_are_no_interfaces_to_tell(serve: Callable[..., Served]) -> None:
    with pytest.raises(StatusError):
        serve(multichannel=False).connected().ioctl(ioctl.FSCTL_QUERY_NETWORK_INTERFACE_INFO)
