"""Encrypted messages, shares and servers (MS-SMB2 3.3.5.2.1.1, 3.3.5.2.5, 3.3.4.1.4)."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.core.plan import ShareSpec
from lamina.core.settings import EncryptionPolicy
from lamina.core.wire import constants as smb
from lamina.core.wire.empty import encode_empty
from lamina.ntfsa.status import NtStatus
from tests.support.served import PASSWORD, SECOND_PASSWORD, SECOND_USER, USER, Served, new_file
from tests.support.wire_client import ALL_CIPHERS, StatusError, WireClient


@pytest.fixture
def secret(serve: Callable[..., Served], tmp_path: Path) -> Served:
    """A server with the encrypted share "secret" beside the open one "data"."""
    (tmp_path / "secret").mkdir()
    return serve(shares={"data": tmp_path / "data", "secret": ShareSpec(tmp_path / "secret", encrypt=True)})


def encrypting(served: Served, *dialects: int, **options: object) -> WireClient:
    client = served.negotiated(*dialects, **options)
    client.session_setup(USER, PASSWORD, encrypt=True)
    client.tree_connect("data")
    return client


@pytest.mark.parametrize("cipher", ALL_CIPHERS)
def test_every_cipher_carries_requests_and_replies(served: Served, cipher: int) -> None:
    client = encrypting(served, 0x311, ciphers=[cipher])
    file = new_file(client)
    data = bytes(range(256)) * 1024
    client.write(file, data)
    assert client.read(file, len(data)) == data
    assert client.echo().encrypted


@pytest.mark.parametrize("dialect", [0x300, 0x302], ids=hex)
def test_dialects_3_0_and_3_0_2_encrypt_with_ccm(served: Served, dialect: int) -> None:
    client = encrypting(served, dialect)
    assert client.cipher == smb.ENCRYPTION_AES128_CCM
    assert client.echo().encrypted


def test_a_plain_request_is_answered_plainly_where_encryption_is_only_offered(client: WireClient) -> None:
    assert not client.echo().encrypted


def test_an_encrypted_share_refuses_plain_requests(secret: Served) -> None:
    client = secret.logged_on()
    answer = client.tree_connect("secret")
    assert answer.share_flags & smb.SHAREFLAG_ENCRYPT_DATA
    with pytest.raises(StatusError, match="ACCESS_DENIED"):
        client.create("file", access=0x10000000, disposition=3, encrypt=False, sign=True)
    assert not list((secret.folder.parent / "secret").iterdir())


def test_an_encrypted_share_serves_encrypted_requests(secret: Served) -> None:
    client = secret.connected(share="secret")
    file = new_file(client)
    client.write(file, b"data")
    assert client.read(file, 10) == b"data"


@pytest.mark.parametrize("dialect", [0x202, 0x210], ids=hex)
def test_an_encrypted_share_refuses_dialects_that_cannot_encrypt(secret: Served, dialect: int) -> None:
    client = secret.logged_on(dialect)
    with pytest.raises(StatusError, match="ACCESS_DENIED"):
        client.tree_connect("secret")
    client.tree_connect("data")


def test_an_encrypted_share_refuses_a_client_without_ciphers(secret: Served) -> None:
    client = secret.logged_on(0x311, ciphers=[])
    with pytest.raises(StatusError, match="ACCESS_DENIED"):
        client.tree_connect("secret")


def test_where_encryption_is_required_everything_after_the_logon_is_encrypted(serve: Callable[..., Served]) -> None:
    client = serve(encryption=EncryptionPolicy.REQUIRED).logged_on()
    assert client.session is not None
    assert client.session.flags & smb.SESSION_FLAG_ENCRYPT_DATA
    client.tree_connect("data")
    assert client.echo().encrypted
    with pytest.raises(StatusError, match="ACCESS_DENIED"):
        client.tree_connect("data", encrypt=False, sign=True)


@pytest.mark.parametrize(("dialect", "options"), [(0x202, {}), (0x210, {}), (0x311, {"ciphers": []}),
                                                  (0x302, {"capabilities": 0})])  # fmt: skip
def test_where_encryption_is_required_a_client_that_cannot_is_refused(
    serve: Callable[..., Served], dialect: int, options: dict[str, object]
) -> None:
    served = serve(encryption=EncryptionPolicy.REQUIRED)
    with pytest.raises(StatusError, match="ACCESS_DENIED"):
        served.logged_on(dialect, **options)
    assert served.counts()["sessions"] == 0


def test_where_encryption_is_off_nothing_is_agreed_on(serve: Callable[..., Served]) -> None:
    client = serve(encryption=EncryptionPolicy.OFF).negotiated()
    assert client.cipher == 0


def test_where_encryption_is_desired_a_client_that_cannot_is_served(serve: Callable[..., Served]) -> None:
    served = serve(encryption=EncryptionPolicy.DESIRED)
    assert not served.connected(0x210).echo().encrypted
    assert served.connected(0x311).echo().encrypted


def test_a_message_encrypted_with_another_sessions_key_is_refused(served: Served) -> None:
    client = served.negotiated()
    client.session_setup(USER, PASSWORD, encrypt=True)
    first = client.session
    client.session_setup(SECOND_USER, SECOND_PASSWORD, encrypt=True)
    second = client.session
    assert first is not None
    assert second is not None
    message = client.build(smb.Command.LOGOFF, encode_empty(), session_id=second.session_id, tree_id=0)
    client.session = first
    client.send_message(message)
    assert client.recv().status == NtStatus.ACCESS_DENIED
    client.session = second
    assert client.logoff().status == 0


def _sealed_echo(client: WireClient) -> bytearray:
    return bytearray(client.seal(client.build(smb.Command.ECHO, encode_empty())))


@pytest.mark.parametrize(
    ("offset", "what"),
    [(4, "signature"), (20, "nonce"), (36, "size"), (42, "flags"), (44, "session"), (60, "text"), (-1, "end")],
)
def test_a_damaged_encrypted_message_ends_the_connection(served: Served, offset: int, what: str) -> None:
    client = encrypting(served)
    message = _sealed_echo(client)
    message[offset] ^= 0x40
    client.send_raw(message)
    assert client.is_closed_by_server(), what
    served.until_empty()


@pytest.mark.parametrize("length", [4, 20, 51, 52, 53, 100])
def test_a_cut_encrypted_message_ends_the_connection(served: Served, length: int) -> None:
    client = encrypting(served)
    client.send_raw(_sealed_echo(client)[:length])
    assert client.is_closed_by_server()


def test_an_encrypted_message_before_a_logon_ends_the_connection(served: Served) -> None:
    client = served.negotiated()
    client.send_raw(struct.pack("<4s16s16sIHHQ", b"\xfdSMB", bytes(16), bytes(16), 68, 0, 1, 5) + bytes(68))
    assert client.is_closed_by_server()


def test_an_encrypted_message_within_an_encrypted_one_ends_the_connection(served: Served) -> None:
    client = encrypting(served)
    client.send_raw(client.seal(_sealed_echo(client)))
    assert client.is_closed_by_server()


def test_an_encrypted_message_shorter_than_a_header_ends_the_connection(served: Served) -> None:
    client = encrypting(served)
    client.send_raw(client.seal(b"\xfeSMB" + bytes(20)))
    assert client.is_closed_by_server()


def test_after_a_logoff_the_key_is_of_no_use(served: Served) -> None:
    client = encrypting(served)
    message = _sealed_echo(client)
    client.logoff()
    client.send_raw(message)
    assert client.is_closed_by_server()
