"""NEGOTIATE (MS-SMB2 3.3.5.3, 3.3.5.4)."""

import struct
from collections.abc import Callable

import pytest

from lamina.core.settings import Dialect
from lamina.core.wire import constants as smb
from lamina.core.wire.negotiate import (
    EncryptionCapabilities,
    NegotiateRequest,
    PreauthIntegrityCapabilities,
    SigningCapabilities,
    encode_negotiate_request,
)
from lamina.core.wire.negotiate_contexts import RawContext
from lamina.core.wire.smb1 import encode_smb1_negotiate_request
from lamina.ntfsa.status import NtStatus
from tests.support.served import PASSWORD, USER, Served
from tests.support.wire_client import ALL_CIPHERS, ALL_DIALECTS, ALL_SIGNING, ConnectionClosedError, StatusError

PREAUTH = PreauthIntegrityCapabilities((smb.HASH_SHA_512,), bytes(32))


@pytest.mark.parametrize("dialect", ALL_DIALECTS, ids=hex)
def test_each_dialect_is_served_alone(served: Served, dialect: int) -> None:
    client = served.connected(dialect)
    assert client.dialect == dialect
    assert client.echo().status == 0


def test_the_highest_common_dialect_is_chosen_whatever_the_order(served: Served) -> None:
    assert served.negotiated(0x311, 0x202, 0x302).dialect == 0x311
    assert served.negotiated(0x202, 0x300, 0x210).dialect == 0x300


def test_unknown_dialects_are_passed_over(served: Served) -> None:
    assert served.negotiated(0x9999, 0x210, 0x1).dialect == 0x210


@pytest.mark.parametrize("dialects", [(0x9999,), (0x2FF,), (0x0,)])
def test_no_common_dialect_is_not_supported(served: Served, dialects: tuple[int, ...]) -> None:
    with pytest.raises(StatusError) as refused:
        served.negotiated(*dialects)
    assert refused.value.status == NtStatus.NOT_SUPPORTED


def test_an_empty_list_of_dialects_is_an_invalid_parameter(served: Served) -> None:
    client = served.client()
    body = bytearray(encode_negotiate_request(NegotiateRequest((0x202,), 1, 0, bytes(16))))
    struct.pack_into("<H", body, 2, 0)
    assert client.transact(smb.Command.NEGOTIATE, bytes(body)).status == NtStatus.INVALID_PARAMETER


@pytest.mark.parametrize(
    ("least", "most", "offered", "chosen"),
    [
        (Dialect.SMB_3_0, Dialect.SMB_3_1_1, ALL_DIALECTS, 0x311),
        (Dialect.SMB_2_0_2, Dialect.SMB_2_1, ALL_DIALECTS, 0x210),
        (Dialect.SMB_3_0, Dialect.SMB_3_0_2, (0x202, 0x300), 0x300),
    ],
)
def test_dialects_outside_the_settings_are_not_chosen(
    serve: Callable[..., Served], least: Dialect, most: Dialect, offered: tuple[int, ...], chosen: int
) -> None:
    served = serve(min_dialect=least, max_dialect=most)
    assert served.negotiated(*offered).dialect == chosen


def test_only_dialects_below_the_least_are_not_supported(serve: Callable[..., Served]) -> None:
    served = serve(min_dialect=Dialect.SMB_3_1_1)
    with pytest.raises(StatusError) as refused:
        served.negotiated(0x202, 0x302)
    assert refused.value.status == NtStatus.NOT_SUPPORTED


def test_a_second_negotiate_ends_the_connection(served: Served) -> None:
    client = served.negotiated()
    with pytest.raises(ConnectionClosedError):
        client.negotiate()


def test_a_second_negotiate_in_a_session_ends_the_connection_and_the_session(served: Served) -> None:
    client = served.connected()
    with pytest.raises(ConnectionClosedError):
        client.negotiate()
    served.until_empty()


# -- multi-protocol ------------------------------------------------------------------------------------------------


def test_smb1_with_the_wildcard_leads_to_an_ordinary_negotiate(served: Served) -> None:
    client = served.client()
    assert client.negotiate_smb1().dialect == smb.DIALECT_WILDCARD
    assert client.negotiate().dialect == 0x311
    client.session_setup(USER, PASSWORD)
    client.tree_connect("data")


def test_smb1_with_2_0_2_only_is_answered_with_it(served: Served) -> None:
    client = served.client()
    assert client.negotiate_smb1(["PC NETWORK PROGRAM 1.0", "NT LM 0.12", "SMB 2.002"]).dialect == 0x202
    client.session_setup(USER, PASSWORD)
    client.tree_connect("data")


def test_an_smb1_negotiate_may_be_shorter_than_an_smb2_header(served: Served) -> None:
    with served.client() as client:
        assert client.negotiate_smb1(["SMB 2.???"]).dialect == smb.DIALECT_WILDCARD


def test_smb1_without_smb2_ends_the_connection(served: Served) -> None:
    client = served.client()
    client.send_raw(encode_smb1_negotiate_request(["PC NETWORK PROGRAM 1.0", "LANMAN1.0", "NT LM 0.12"]))
    assert client.is_closed_by_server()


def test_a_second_smb1_negotiate_ends_the_connection(served: Served) -> None:
    client = served.client()
    client.negotiate_smb1()
    client.send_raw(encode_smb1_negotiate_request(["NT LM 0.12", "SMB 2.002", "SMB 2.???"]))
    assert client.is_closed_by_server()


def test_smb1_after_negotiate_ends_the_connection(served: Served) -> None:
    client = served.negotiated()
    client.send_raw(encode_smb1_negotiate_request(["NT LM 0.12", "SMB 2.002", "SMB 2.???"]))
    assert client.is_closed_by_server()


def test_smb1_is_not_a_way_around_the_least_dialect(serve: Callable[..., Served]) -> None:
    served = serve(min_dialect=Dialect.SMB_3_0)
    client = served.client()
    client.send_raw(encode_smb1_negotiate_request(["NT LM 0.12", "SMB 2.002"]))
    assert client.is_closed_by_server()


def test_the_wildcard_is_no_dialect_to_log_on_with(served: Served) -> None:
    client = served.client()
    client.negotiate_smb1()
    with pytest.raises((StatusError, ConnectionClosedError)):
        client.session_setup(USER, PASSWORD)
    assert served.counts()["sessions"] == 0


# -- negotiate contexts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cipher", ALL_CIPHERS)
def test_each_cipher_is_agreed_on(served: Served, cipher: int) -> None:
    assert served.negotiated(ciphers=[cipher]).cipher == cipher


@pytest.mark.parametrize("algorithm", ALL_SIGNING)
def test_each_signing_algorithm_is_agreed_on(served: Served, algorithm: int) -> None:
    assert served.negotiated(signing=[algorithm]).signing_algorithm == algorithm


def test_no_common_cipher_is_answered_with_cipher_zero(served: Served) -> None:
    client = served.negotiated(ciphers=[0x77, 0x78])
    assert client.cipher == 0
    client.session_setup(USER, PASSWORD)


def test_contexts_of_unknown_type_are_passed_over(served: Served) -> None:
    contexts = [RawContext(0x7777, b"whatever"), PREAUTH, RawContext(0x200, b"")]
    assert served.negotiated(contexts=contexts).dialect == 0x311


@pytest.mark.parametrize(
    ("contexts", "status"),
    [
        ([], NtStatus.INVALID_PARAMETER),
        ([EncryptionCapabilities((1,))], NtStatus.INVALID_PARAMETER),
        ([PREAUTH, PREAUTH], NtStatus.INVALID_PARAMETER),
        ([PREAUTH, EncryptionCapabilities((1,)), EncryptionCapabilities((2,))], NtStatus.INVALID_PARAMETER),
        ([PREAUTH, SigningCapabilities((1,)), SigningCapabilities((2,))], NtStatus.INVALID_PARAMETER),
        ([PREAUTH, EncryptionCapabilities(())], NtStatus.INVALID_PARAMETER),
        ([PREAUTH, SigningCapabilities(())], NtStatus.INVALID_PARAMETER),
        ([RawContext(1, b"\1")], NtStatus.INVALID_PARAMETER),
        ([RawContext(1, struct.pack("<HHH", 9, 0, 1))], NtStatus.INVALID_PARAMETER),
        ([PreauthIntegrityCapabilities((), bytes(32))], NtStatus.INVALID_PARAMETER),
        ([PreauthIntegrityCapabilities((0x77,), bytes(32))], NtStatus.SMB_NO_PREAUTH_INTEGRITY_HASH_OVERLAP),
    ],
    ids=["none", "no-preauth", "preauth-twice", "encryption-twice", "signing-twice", "no-ciphers", "no-signing",
         "cut", "short-list", "no-hash", "unknown-hash"],
)  # fmt: skip
def test_wrong_contexts_are_refused_and_another_try_is_allowed(
    served: Served, contexts: list[RawContext], status: NtStatus
) -> None:
    client = served.client()
    with pytest.raises(StatusError) as refused:
        client.negotiate(contexts=contexts)
    assert refused.value.status == status
    assert client.negotiate().dialect == 0x311


def test_a_request_before_negotiate_is_not_served(served: Served) -> None:
    client = served.client()
    try:
        assert client.transact(smb.Command.ECHO, b"\4\0\0\0").status == NtStatus.INVALID_PARAMETER
    except ConnectionClosedError:
        return
