"""Sessions over several connections: who may bind one, what each channel is and outlives (MS-SMB2 3.3.5.5, 3.3.7.1)."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.core.plan import ShareSpec
from lamina.core.session import SessionState, SmbSession
from lamina.core.settings import EncryptionPolicy, Limits
from lamina.core.wire import constants as smb
from lamina.core.wire.session_setup import SessionSetupRequest, encode_session_setup_request
from lamina.core.wire.write import WriteRequest, encode_write_request
from lamina.ntfsa.status import NtStatus
from tests.support.served import PASSWORD, SECOND_PASSWORD, SECOND_USER, USER, Served, new_file
from tests.support.wire_client import Open, Response, Session, StatusError, WireClient

EXCLUSIVE = [(0, 10, smb.LOCKFLAG_EXCLUSIVE_LOCK)]
dialects = pytest.mark.parametrize("dialect", [0x300, 0x302, 0x311], ids=hex)


def the_session(served: Served) -> SmbSession:
    return next(iter(served.core.sessions.values()))


def refusal(second: WireClient, first: WireClient) -> int:
    """The status that a binding is refused with; the session goes on."""
    with pytest.raises(StatusError) as refused:
        second.session_setup(USER, PASSWORD, bind=first.session)
    first.echo()
    return refused.value.status


def first_leg(client: WireClient, session: Session | None, **header: object) -> Response:
    """The first SESSION_SETUP of a binding, with whatever header."""
    token = b"NTLMSSP\0\1\0\0\0" + b"\x97\x82\x08\xe2" + bytes(24)
    body = encode_session_setup_request(SessionSetupRequest(memoryview(token), smb.SESSION_FLAG_BINDING, 1, 1, 0))
    client.verify_signatures = False
    header.setdefault("session_id", session.session_id if session else 0x1234)
    return client.transact(smb.Command.SESSION_SETUP, body, tree_id=0, **header)


# -- who may bind ---------------------------------------------------------------------------------------------------


def test_an_unknown_session_cannot_be_bound(served: Served) -> None:
    assert first_leg(served.negotiated(), None).status == NtStatus.USER_SESSION_DELETED


def test_a_binding_must_be_signed(served: Served) -> None:
    first = served.connected()
    assert first_leg(served.negotiated(), first.session, sign=False).status == NtStatus.INVALID_PARAMETER


def test_a_session_that_is_not_authenticated_yet_cannot_be_bound(served: Served) -> None:
    first = served.negotiated()
    token = b"NTLMSSP\0\1\0\0\0" + b"\x97\x82\x08\xe2" + bytes(24)
    body = encode_session_setup_request(SessionSetupRequest(memoryview(token), 0, 1, 1, 0))
    begun = first.transact(smb.Command.SESSION_SETUP, body, sign=False, tree_id=0)
    response = first_leg(served.negotiated(), None, session_id=begun.header.session_id)
    assert response.status == NtStatus.REQUEST_NOT_ACCEPTED


def test_a_session_whose_time_is_over_cannot_be_bound_until_it_is_renewed(served: Served) -> None:
    first, second = served.connected(), served.negotiated()
    session = the_session(served)
    served.call(lambda: setattr(session, "expires_at", time.time() - 1))
    assert refusal(second, first) == NtStatus.NETWORK_SESSION_EXPIRED
    first.session_setup(USER, PASSWORD, reauthenticate=True)
    second.session_setup(USER, PASSWORD, bind=first.session)


def test_a_guests_session_cannot_be_bound(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve(shares={"data": ShareSpec(tmp_path / "data", guest=True)}, guest=True, require_signing=False)
    first = served.negotiated()
    first.session_setup("stranger", "x")
    first.tree_connect("data")
    assert first_leg(served.negotiated(), first.session, sign=False).status == NtStatus.NOT_SUPPORTED


def test_a_session_has_so_many_channels_and_no_more(serve: Callable[..., Served]) -> None:
    served = serve(limits=Limits(channels_per_session=3))
    first = served.connected()
    second, third = served.bound(first), served.bound(first)
    assert refusal(served.negotiated(), first) == NtStatus.INSUFFICIENT_RESOURCES
    third.disconnect()
    served.until(lambda: len(the_session(served).channels) == 2)
    served.bound(first)
    second.echo()


def test_a_binding_that_fails_leaves_nothing_on_its_connection(served: Served) -> None:
    first, second = served.connected(), served.negotiated()
    with pytest.raises(StatusError):
        second.session_setup(SECOND_USER, SECOND_PASSWORD, bind=first.session)
    assert served.call(lambda: sorted(len(each.channels) for each in served.core.connections)) == [0, 1]
    second.session_setup(USER, PASSWORD, bind=first.session)


def test_a_binding_to_a_session_that_ends_meanwhile_leaves_nothing(served: Served) -> None:
    first, second = served.connected(), served.negotiated()
    second.session = first.session
    assert first_leg(second, first.session).status == NtStatus.MORE_PROCESSING_REQUIRED
    first.logoff()
    assert first_leg(second, first.session, sign=False).status == NtStatus.USER_SESSION_DELETED
    assert not served.call(lambda: any(each.channels for each in served.core.connections))


# -- keys -----------------------------------------------------------------------------------------------------------


@dialects
def test_each_channel_signs_with_a_key_of_its_own(served: Served, dialect: int) -> None:
    first = served.connected(dialect)
    file = new_file(first)
    second = served.bound(first)
    second.write(file, b"signed with the channel's key")
    assert first.session is not None
    assert second.session is not None
    second.session.signer = first.session.signer
    second.verify_signatures = False
    body = encode_write_request(WriteRequest(*file.file_id, 0, memoryview(b"x")))
    assert second.transact(smb.Command.WRITE, body, payload=1).status == NtStatus.ACCESS_DENIED
    first.write(file, b"and the first goes on")


@dialects
def test_the_channels_of_an_encrypted_session_share_its_keys(serve: Callable[..., Served], dialect: int) -> None:
    served = serve(encryption=EncryptionPolicy.DESIRED)
    first = served.connected(dialect)
    second = served.bound(first)
    assert second.session is not None
    assert second.session.encrypt
    file = new_file(second)
    second.write(file, b"secret")
    assert first.read(file, 6) == b"secret"
    first.disconnect()
    assert second.read(file, 6) == b"secret"


def test_a_second_channel_may_authenticate_anew_for_the_session(served: Served) -> None:
    first = served.connected()
    file = new_file(first)
    second = served.bound(first)
    second.session_setup(USER, PASSWORD, reauthenticate=True)
    first.write(file, b"on both")
    assert second.read(file, 7) == b"on both"


# -- what a session outlives ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_session_lives_as_long_as_one_channel_does(served: Served, lost: int) -> None:
    channels = [served.connected()]
    file = new_file(channels[0])
    channels += [served.bound(channels[0]), served.bound(channels[0])]
    for index in range(3):
        channel = channels[(lost + index) % 3]
        channel.write(file, b"here")
        channel.disconnect()
    served.until_empty()


def test_what_waits_on_a_lost_channel_is_cancelled_and_what_waits_on_others_goes_on(served: Served) -> None:
    first = served.connected()
    second = served.bound(first)
    holder, waiter, other_waiter = (new_file(first) for _ in range(3))
    first.lock(holder, EXCLUSIVE)
    lost = second.send_lock(waiter, EXCLUSIVE)
    second.wait_interim(lost)
    kept = first.send_lock(other_waiter, EXCLUSIVE)
    first.wait_interim(kept)
    second.disconnect()
    served.until(lambda: len(served.core.connections) == 1 and served.core.engine.running == 1)
    first.lock(holder, [(0, 10, smb.LOCKFLAG_UNLOCK)])
    first.wait(kept).check()
    first.close(waiter)


def lock_that_waits(first: WireClient, second: WireClient) -> tuple[Open, Open, int]:
    """An open that has a lock, another that waits for it, and the message on the second channel that asked for it."""
    holder, waiter = new_file(first), new_file(first)
    first.lock(holder, EXCLUSIVE)
    waiting = second.send_lock(waiter, EXCLUSIVE)
    second.wait_interim(waiting)
    return holder, waiter, waiting


def test_a_request_is_answered_on_the_channel_on_which_it_came(served: Served) -> None:
    first = served.connected()
    second = served.bound(first)
    holder, _, waiting = lock_that_waits(first, second)
    first.lock(holder, [(0, 10, smb.LOCKFLAG_UNLOCK)])
    second.wait(waiting).check()
    first.echo()
    assert not first.unclaimed


def test_a_close_on_one_channel_ends_what_waits_on_another(served: Served) -> None:
    first = served.connected()
    second = served.bound(first)
    _, waiter, waiting = lock_that_waits(first, second)
    first.close(waiter)
    assert second.wait(waiting).status == NtStatus.RANGE_NOT_LOCKED


def test_a_logoff_ends_what_waits_on_every_channel(served: Served) -> None:
    first = served.connected()
    second = served.bound(first)
    _, _, waiting = lock_that_waits(first, second)
    first.logoff()
    second.verify_signatures = False
    assert second.wait(waiting).status
    assert served.counts()["opens"] == 0


def test_a_request_is_cancelled_on_its_own_channel_only(served: Served) -> None:
    first = served.connected()
    second = served.bound(first)
    holder, waiter = new_file(first), new_file(first)
    first.lock(holder, EXCLUSIVE)
    waiting = second.send_lock(waiter, EXCLUSIVE)
    interim = second.wait_interim(waiting)
    asynchronous = {"flags": smb.FLAGS_ASYNC_COMMAND, "async_id": interim.header.async_id, "charge": 0}
    first.send(smb.Command.CANCEL, b"\x04\0\0\0", message_id=0, **asynchronous)
    first.echo()
    assert served.call(lambda: sum(len(each.parked) for each in served.core.connections)) == 1
    second.send(smb.Command.CANCEL, b"\x04\0\0\0", message_id=0, **asynchronous)
    assert second.wait(waiting).status == NtStatus.CANCELLED


def test_each_channel_has_credits_of_its_own(served: Served) -> None:
    first = served.connected()
    second = served.bound(first)
    file = new_file(first)
    for _ in range(200):
        first.echo()
    assert second.message_id < 10
    second.write(file, b"x")


def test_another_previous_session_is_ended_on_all_its_channels(served: Served) -> None:
    first = served.connected()
    assert first.session is not None
    second = served.bound(first)
    new_file(second)
    third = served.negotiated()
    third.session_setup(USER, PASSWORD, previous_session_id=first.session.session_id)
    second.verify_signatures = first.verify_signatures = False
    for channel in (first, second):
        with pytest.raises(StatusError, match="USER_SESSION_DELETED"):
            channel.tree_connect("data")
    assert served.counts()["opens"] == 0


def test_expiry_is_for_all_channels_and_so_is_renewal(served: Served) -> None:
    first = served.connected()
    second = served.bound(first)
    file = new_file(first)
    session = the_session(served)
    served.call(lambda: setattr(session, "expires_at", time.time() - 1))
    for channel in (first, second):
        with pytest.raises(StatusError, match="NETWORK_SESSION_EXPIRED"):
            channel.write(file, b"x")
    second.session_setup(USER, PASSWORD, reauthenticate=True)
    assert session.state is SessionState.VALID
    for channel in (first, second):
        channel.write(file, b"x")


def test_while_a_session_is_expired_locks_are_given_back_but_not_taken(served: Served) -> None:
    client = served.connected()
    file = new_file(client)
    client.lock(file, EXCLUSIVE)
    session = the_session(served)
    served.call(lambda: setattr(session, "expires_at", time.time() - 1))
    client.lock(file, [(0, 10, smb.LOCKFLAG_UNLOCK)])
    with pytest.raises(StatusError, match="NETWORK_SESSION_EXPIRED"):
        client.lock(file, EXCLUSIVE)
    client.close(file)
