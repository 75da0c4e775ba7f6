"""SESSION_SETUP and LOGOFF (MS-SMB2 3.3.5.5, 3.3.5.6)."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.core.plan import ShareSpec
from lamina.core.settings import Limits
from lamina.core.wire import constants as smb
from lamina.core.wire.empty import encode_empty
from lamina.core.wire.session_setup import SessionSetupRequest, encode_session_setup_request
from lamina.ntfsa.status import NtStatus
from tests.support.served import PASSWORD, SECOND_PASSWORD, SECOND_USER, USER, Served, new_file
from tests.support.wire_client import Response, StatusError, WireClient


def attempt(client: WireClient, token: bytes, **header: int) -> Response:
    """One SESSION_SETUP with any token."""
    body = encode_session_setup_request(SessionSetupRequest(token, 0, 1, 1, 0))
    return client.transact(smb.Command.SESSION_SETUP, body, sign=False, tree_id=0, **header)


def user_names(served: Served) -> list[str]:
    return served.call(lambda: [session.user for session in served.core.sessions.values()])


@pytest.mark.parametrize("protocol", ["ntlm", "negotiate"])
def test_a_user_logs_on(served: Served, protocol: str) -> None:
    client = served.negotiated()
    client.session_setup(USER, PASSWORD, protocol=protocol)
    client.tree_connect("data")
    assert user_names(served)[0].endswith(USER)


@pytest.mark.parametrize(("user", "password"), [(USER, "wrong"), (USER, ""), ("nobody-knows", PASSWORD)])
def test_a_wrong_name_or_password_is_a_logon_failure_and_leaves_nothing(
    served: Served, user: str, password: str
) -> None:
    client = served.negotiated()
    with pytest.raises(StatusError) as refused:
        client.session_setup(user, password)
        pytest.fail("logged on")
    # An answer that is held back to slow guessing down is announced by an interim response.
    final = refused.value.response
    if final.status == NtStatus.PENDING:
        final = client.wait(final.header.message_id)
    assert final.status == NtStatus.LOGON_FAILURE
    assert served.counts()["sessions"] == 0
    client.session_setup(USER, PASSWORD)


def test_an_unknown_user_is_no_guest_by_default(served: Served) -> None:
    client = served.negotiated()
    with pytest.raises(StatusError):
        client.session_setup("stranger", "")
    served.until(lambda: not served.core.sessions)


def test_a_guest_is_admitted_where_guests_are_allowed(serve: Callable[..., Served], tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    shares = {"data": tmp_path / "data", "open": ShareSpec(tmp_path / "open", guest=True)}
    served = serve(shares=shares, guest=True)
    client = served.negotiated()
    assert client.session_setup("stranger", "x").session_flags & smb.SESSION_FLAG_IS_GUEST
    client.tree_connect("open")


@pytest.mark.parametrize(
    "token",
    [b"", b"\0", b"NTLMSSP\0",
     b"NTLMSSP\0\3\0\0\0", b"NTLMSSP\0\1\0\0\0" + bytes(8), b"\x60" * 100, b"\x60\x84\xff\xff",
     bytes(5000), b"NTLMSSP\0\3\0\0\0" + b"\xff" * 200],
)  # fmt: skip
def test_a_token_of_garbage_is_refused_and_the_connection_lives(served: Served, token: bytes) -> None:
    client = served.negotiated()
    assert attempt(client, token).status not in (NtStatus.SUCCESS, NtStatus.INTERNAL_ERROR)
    client.echo()
    client.session_setup(USER, PASSWORD)


def test_a_session_that_is_not_authenticated_yet_may_do_nothing(served: Served) -> None:
    client = served.negotiated()
    response = attempt(client, b"NTLMSSP\0\1\0\0\0" + b"\x97\x82\x08\xe2" + bytes(24))
    assert response.status == NtStatus.MORE_PROCESSING_REQUIRED
    session_id = response.header.session_id
    for command in (smb.Command.LOGOFF, smb.Command.TREE_DISCONNECT):
        answer = client.transact(command, encode_empty(), session_id=session_id)
        assert answer.status == NtStatus.USER_SESSION_DELETED


def test_an_unknown_session_id_is_answered_as_a_deleted_session(served: Served) -> None:
    client = served.negotiated()
    assert attempt(client, b"x", session_id=0x1234).status == NtStatus.USER_SESSION_DELETED
    answer = client.transact(smb.Command.LOGOFF, encode_empty(), session_id=0x1234)
    assert answer.status == NtStatus.USER_SESSION_DELETED


def test_the_session_of_another_connection_is_not_to_be_used(served: Served) -> None:
    first, second = served.connected(), served.negotiated()
    assert first.session is not None
    second.tree_id = first.tree_id
    answer = second.transact(smb.Command.LOGOFF, encode_empty(), session_id=first.session.session_id)
    assert answer.status == NtStatus.USER_SESSION_DELETED
    first.echo()


def test_several_sessions_share_a_connection(served: Served) -> None:
    client = served.connected()
    first, tree = client.session, client.tree_id
    client.session_setup(SECOND_USER, SECOND_PASSWORD)
    client.tree_connect("data")
    client.session, client.tree_id = first, tree
    new_file(client)
    assert served.counts()["sessions"] == 2


def test_the_number_of_sessions_on_a_connection_is_limited(serve: Callable[..., Served]) -> None:
    served = serve(limits=Limits(sessions_per_connection=2))
    client = served.logged_on()
    client.session_setup(USER, PASSWORD)
    with pytest.raises(StatusError) as refused:
        client.session_setup(USER, PASSWORD)
    assert refused.value.status == NtStatus.INSUFFICIENT_RESOURCES


# -- previous session ----------------------------------------------------------------------------------------------


def test_a_new_logon_ends_the_previous_session_it_names(served: Served) -> None:
    lost = served.connected()
    lost.create("file", access=0x10000000, disposition=3, share=0)
    assert lost.session is not None
    client = served.negotiated()
    client.session_setup(USER, PASSWORD, previous_session_id=lost.session.session_id)
    client.tree_connect("data")
    new_file(client)
    assert served.counts() | {"idle_greenlets": 0} == {
        "connections": 2, "sessions": 1, "trees": 1, "opens": 1, "requests": 0, "idle_greenlets": 0,
    }  # fmt: skip


def test_the_previous_session_of_another_user_is_left_alone(served: Served) -> None:
    other = served.connected()
    assert other.session is not None
    client = served.negotiated()
    client.session_setup(SECOND_USER, SECOND_PASSWORD, previous_session_id=other.session.session_id)
    new_file(other)


def test_a_previous_session_that_is_not_there_is_no_error(served: Served) -> None:
    client = served.negotiated()
    client.session_setup(USER, PASSWORD, previous_session_id=0x1234)
    client.tree_connect("data")


def test_the_previous_session_stays_where_the_logon_fails(served: Served) -> None:
    other = served.connected()
    assert other.session is not None
    client = served.negotiated()
    with pytest.raises(StatusError):
        client.session_setup(USER, "wrong", previous_session_id=other.session.session_id)
    new_file(other)


# -- reauthentication ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", [0x202, 0x302, 0x311], ids=hex)
def test_reauthentication_keeps_what_is_open(served: Served, dialect: int) -> None:
    client = served.connected(dialect)
    file = new_file(client)
    client.session_setup(USER, PASSWORD, reauthenticate=True)
    client.write(file, b"still here")
    assert client.read(file, 20) == b"still here"


def test_reauthentication_as_another_user_changes_the_identity(served: Served) -> None:
    client = served.connected()
    client.session_setup(SECOND_USER, SECOND_PASSWORD, reauthenticate=True)
    assert user_names(served)[0].endswith(SECOND_USER)
    contexts = served.call(
        lambda: [tree.context.token.user_name for s in served.core.sessions.values() for tree in s.trees.values()]
    )
    assert contexts == [SECOND_USER]
    new_file(client)


def test_an_unsigned_reauthentication_may_not_change_the_user_where_all_is_signed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = served.connected()
    monkeypatch.setattr(client, "_should_sign", lambda sign: False)
    with pytest.raises(StatusError) as refused:
        client.session_setup(SECOND_USER, SECOND_PASSWORD, reauthenticate=True)
    assert refused.value.status == NtStatus.ACCESS_DENIED
    with pytest.raises(StatusError):
        client.session_setup(USER, "wrong", reauthenticate=True)
    client.session_setup(USER, PASSWORD, reauthenticate=True)
    monkeypatch.undo()
    assert user_names(served)[0].endswith(USER)
    new_file(client)


def test_the_number_of_logons_begun_at_a_time_is_limited(serve: Callable[..., Served]) -> None:
    served = serve(limits=Limits(logons_in_progress=2))
    client = served.negotiated()
    first_leg = b"NTLMSSP\0\1\0\0\0" + b"\x97\x82\x08\xe2" + bytes(24)
    for _ in range(2):
        assert attempt(client, first_leg, session_id=0).status == NtStatus.MORE_PROCESSING_REQUIRED
    assert attempt(client, first_leg, session_id=0).status == NtStatus.INSUFFICIENT_RESOURCES


# -- binding -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", [0x300, 0x302, 0x311], ids=hex)
def test_a_session_is_bound_to_a_second_connection(served: Served, dialect: int) -> None:
    first, second = served.connected(dialect), served.negotiated(dialect)
    second.session_setup(USER, PASSWORD, bind=first.session)
    second.tree_id = first.tree_id
    file = new_file(first)
    first.write(file, b"by the first")
    assert second.read(file, 100) == b"by the first"
    assert served.counts()["sessions"] == 1


def test_a_bound_session_outlives_its_first_connection(served: Served) -> None:
    first, second = served.connected(), served.negotiated()
    second.session_setup(USER, PASSWORD, bind=first.session)
    second.tree_id = first.tree_id
    file = new_file(first)
    first.disconnect()
    served.until(lambda: len(served.core.connections) == 1)
    second.write(file, b"alive")
    assert served.counts()["opens"] == 1


def test_a_logoff_ends_a_bound_session_on_both_connections(served: Served) -> None:
    first, second = served.connected(), served.negotiated()
    second.session_setup(USER, PASSWORD, bind=first.session)
    first.logoff()
    second.verify_signatures = False
    response = second.transact(smb.Command.LOGOFF, encode_empty(), tree_id=0)
    assert response.status == NtStatus.USER_SESSION_DELETED


def binding_is_refused(second: WireClient, first: WireClient, user: str = USER, password: str = PASSWORD) -> int:
    with pytest.raises(StatusError) as refused:
        second.session_setup(user, password, bind=first.session)
    new_file(first)
    return refused.value.status


def test_a_binding_needs_a_dialect_with_channels(served: Served) -> None:
    assert binding_is_refused(served.negotiated(0x210), served.connected(0x210))


def test_a_binding_needs_the_dialect_of_the_session(served: Served) -> None:
    assert binding_is_refused(served.negotiated(0x302), served.connected(0x300)) == NtStatus.INVALID_PARAMETER


def test_a_binding_needs_the_client_of_the_session(served: Served) -> None:
    second = served.client(client_guid=b"another client!!")
    second.negotiate()
    assert binding_is_refused(second, served.connected()) == NtStatus.USER_SESSION_DELETED


def test_a_binding_needs_the_user_of_the_session(served: Served) -> None:
    second = served.negotiated()
    assert binding_is_refused(second, served.connected(), SECOND_USER, SECOND_PASSWORD) == NtStatus.ACCESS_DENIED


def test_a_binding_needs_the_key_of_the_session(served: Served) -> None:
    first, other, second = served.connected(), served.connected(), served.negotiated()
    assert first.session is not None
    assert other.session is not None
    first.session.signer, right = other.session.signer, first.session.signer
    with pytest.raises(StatusError):
        second.session_setup(USER, PASSWORD, bind=first.session)
    first.session.signer = right
    new_file(first)


def test_a_binding_with_a_wrong_password_leaves_the_session_alone(served: Served) -> None:
    assert binding_is_refused(served.negotiated(), served.connected(), password="wrong")


def test_a_session_is_not_bound_twice_to_one_connection(served: Served) -> None:
    first = served.connected()
    assert binding_is_refused(first, first)


def test_without_multichannel_nothing_is_bound(serve: Callable[..., Served]) -> None:
    served = serve(multichannel=False)
    assert binding_is_refused(served.negotiated(), served.connected())


# -- logoff --------------------------------------------------------------------------------------------------------


def test_after_a_logoff_the_session_is_gone(served: Served) -> None:
    client = served.connected()
    file = new_file(client)
    client.logoff()
    for use in (client.logoff, lambda: client.tree_connect("data"), lambda: client.read(file, 1)):
        with pytest.raises(StatusError, match="USER_SESSION_DELETED"):
            use()
    assert {served.counts()[kind] for kind in ("sessions", "trees", "opens")} == {0}


def test_after_a_logoff_the_connection_may_be_used_anew(served: Served) -> None:
    client = served.connected()
    client.logoff()
    client.session_setup(SECOND_USER, SECOND_PASSWORD)
    client.tree_connect("data")
    new_file(client)


def test_a_lost_connection_ends_its_sessions(served: Served) -> None:
    client = served.connected()
    new_file(client)
    client.disconnect()
    served.until_empty()


@pytest.mark.parametrize("begun", [False, True])
def test_a_connection_on_which_nobody_logs_on_in_time_is_closed(serve: Callable[..., Served], begun: bool) -> None:
    served = serve(limits=Limits(seconds_to_authenticate=0.0))
    client = served.negotiated()
    if begun:
        attempt(client, b"NTLMSSP\0\1\0\0\0" + b"\x97\x82\x08\xe2" + bytes(24))
    served.call(served.core._sweep)
    assert client.is_closed_by_server()
    served.until_empty()


def test_who_has_logged_off_may_take_his_time_to_log_on_again(serve: Callable[..., Served]) -> None:
    served = serve(limits=Limits(seconds_to_authenticate=0.0))
    client = served.logged_on()
    client.logoff()
    served.call(served.core._sweep)
    client.session_setup(USER, PASSWORD)
