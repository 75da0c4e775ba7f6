"""Signatures of requests and replies (MS-SMB2 3.3.5.2.4, 3.3.4.1.1)."""

from collections.abc import Callable

import pytest

from lamina.core.crypto.signing import make_signer
from lamina.core.wire import constants as smb
from lamina.core.wire.empty import encode_empty
from lamina.core.wire.tree_connect import TreeConnectRequest, encode_tree_connect_request
from lamina.ntfsa.status import NtStatus
from tests.support.served import Served, new_file
from tests.support.wire_client import ALL_DIALECTS, ALL_SIGNING, StatusError, WireClient

TREE_CONNECT = encode_tree_connect_request(TreeConnectRequest(r"\\server\data"))


@pytest.mark.parametrize("algorithm", ALL_SIGNING)
def test_every_algorithm_of_3_1_1_signs_both_ways(served: Served, algorithm: int) -> None:
    client = served.connected(0x311, signing=[algorithm])
    file = new_file(client)
    client.write(file, b"signed")
    assert client.read(file, 100) == b"signed"
    assert client.echo().signed


@pytest.mark.parametrize("dialect", ALL_DIALECTS, ids=hex)
def test_every_dialect_signs_both_ways(served: Served, dialect: int) -> None:
    client = served.connected(dialect)
    assert client.echo().signed


def test_without_a_signing_context_3_1_1_signs_with_cmac(served: Served) -> None:
    assert served.connected(0x311, signing=[]).echo().signed


def test_an_unsigned_request_is_refused_where_signing_is_required(client: WireClient) -> None:
    response = client.transact(smb.Command.TREE_CONNECT, TREE_CONNECT, sign=False)
    assert response.status == NtStatus.ACCESS_DENIED
    assert client.echo().status == 0


def test_an_unsigned_request_is_served_where_signing_is_not_required(serve: Callable[..., Served]) -> None:
    client = serve(require_signing=False).connected()
    response = client.transact(smb.Command.TREE_CONNECT, TREE_CONNECT, sign=False)
    assert response.status == NtStatus.SUCCESS
    assert not response.signed


def test_a_signed_request_is_answered_with_a_signature_where_none_is_required(serve: Callable[..., Served]) -> None:
    client = serve(require_signing=False).connected()
    assert client.transact(smb.Command.TREE_CONNECT, TREE_CONNECT, sign=True).signed


def test_a_client_may_require_signing_of_its_session(serve: Callable[..., Served]) -> None:
    served = serve(require_signing=False)
    client = served.negotiated()
    client.session_setup("ada", "engine", security_mode=smb.NEGOTIATE_SIGNING_REQUIRED)
    assert client.transact(smb.Command.TREE_CONNECT, TREE_CONNECT, sign=False).status == NtStatus.ACCESS_DENIED


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("dialect", [0x202, 0x302, 0x311], ids=hex)
def test_a_wrong_signature_is_refused(serve: Callable[..., Served], dialect: int, required: bool) -> None:
    client = serve(require_signing=required).connected(dialect)
    message = client.build(smb.Command.TREE_CONNECT, TREE_CONNECT, sign=True)
    message[48] ^= 1
    client.send_message(message)
    assert client.recv().status == NtStatus.ACCESS_DENIED
    assert client.echo().status == 0


def test_a_changed_body_is_refused(client: WireClient) -> None:
    message = client.build(smb.Command.TREE_CONNECT, TREE_CONNECT)
    message[-1] ^= 1
    client.send_message(message)
    assert client.recv().status == NtStatus.ACCESS_DENIED


def test_a_signature_with_another_key_is_refused(client: WireClient) -> None:
    message = client.build(smb.Command.TREE_CONNECT, TREE_CONNECT, sign=False)
    client.sign(message, make_signer(client.signing_algorithm, bytes(16)))
    client.send_message(message)
    assert client.recv().status == NtStatus.ACCESS_DENIED


def test_a_signature_of_another_session_is_refused(served: Served) -> None:
    client = served.logged_on()
    first = client.session
    client.session_setup("grace", "compiler")
    assert first is not None
    message = client.build(smb.Command.TREE_CONNECT, TREE_CONNECT, sign=False)
    client.sign(message, first.signer)
    client.send_message(message)
    assert client.recv().status == NtStatus.ACCESS_DENIED


def test_a_refused_request_has_done_nothing(served: Served, client: WireClient) -> None:
    trees = served.counts()["trees"]
    client.transact(smb.Command.TREE_CONNECT, TREE_CONNECT, sign=False)
    client.transact(smb.Command.LOGOFF, encode_empty(), sign=False)
    assert served.counts()["trees"] == trees


def test_an_unsigned_logoff_is_refused_where_signing_is_required(client: WireClient) -> None:
    with pytest.raises(StatusError, match="ACCESS_DENIED"):
        client.transact(smb.Command.LOGOFF, encode_empty(), sign=False).check()
    assert client.logoff().signed
