"""What a session may still do when its user's ticket is over, and how it goes on (MS-SMB2 3.3.5.2.9, 3.3.5.5)."""

import time
from collections.abc import Callable

import pytest

from lamina.core.wire.constants import Command
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_II as LEVEL_II
from lamina.ntfsa.status import NtStatus as S
from tests.core.server.test_change_notify import NAMES, changes, root
from tests.core.server.test_oplocks import begin_open, hold, opened
from tests.support.served import PASSWORD, SECOND_PASSWORD, SECOND_USER, USER, Served, new_file
from tests.support.wire_client import StatusError, WireClient


def end_ticket(served: Served, client: WireClient) -> None:
    """As if the client's ticket were over."""
    assert client.session is not None
    session = served.core.sessions[client.session.session_id]
    served.call(lambda: setattr(session, "expires_at", time.time() - 1))


def prove_anew(client: WireClient) -> None:
    client.session_setup(USER, PASSWORD, reauthenticate=True)


@pytest.fixture
def other(served: Served) -> WireClient:
    return served.connected()


REQUESTS: dict[str, Callable[[WireClient, tuple[int, int]], object]] = {
    "create": lambda client, file: new_file(client, "more"),
    "read": lambda client, file: client.read(file, 1),
    "write": lambda client, file: client.write(file, b"x"),
    "flush": lambda client, file: client.flush(file),
    "query": lambda client, file: client.query_info(file, 1, 5),
    "tree": lambda client, file: client.tree_connect("data"),
    "disconnect": lambda client, file: client.tree_disconnect(),
}


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("encrypt", [False, True])
def test_requests_after_the_ticket_are_refused_until_the_user_proves_himself(
    served: Served, request_: str, encrypt: bool
) -> None:
    client = served.negotiated()
    client.session_setup(USER, PASSWORD, encrypt=encrypt)
    client.tree_connect("data")
    file = new_file(client).file_id
    client.write(file, b"kept")
    end_ticket(served, client)
    for _ in range(2):
        with pytest.raises(StatusError, match="NETWORK_SESSION_EXPIRED"):
            REQUESTS[request_](client, file)
    prove_anew(client)
    assert client.read(file, 4) == b"kept"
    client.close(file)


def test_what_gives_back_is_served(served: Served) -> None:
    client = served.connected()
    file = new_file(client).file_id
    end_ticket(served, client)
    client.close(file)
    client.echo()
    assert client.logoff().status == S.SUCCESS


def test_a_wrong_password_then_ends_the_session_and_its_opens(served: Served) -> None:
    client = served.connected()
    new_file(client)
    end_ticket(served, client)
    with pytest.raises(StatusError, match="LOGON_FAILURE"):
        client.session_setup(USER, "wrong", reauthenticate=True)
    with pytest.raises(StatusError, match="USER_SESSION_DELETED"):
        new_file(client)
    served.until(lambda: served.core.counts()["opens"] == 0)


def test_a_watch_that_waits_goes_on_and_tells_of_changes(served: Served, other: WireClient) -> None:
    client = served.connected()
    message_id = client.send_change_notify(root(client), NAMES)
    client.wait_interim(message_id)
    end_ticket(served, client)
    with pytest.raises(StatusError, match="NETWORK_SESSION_EXPIRED"):
        new_file(client, "not-made")
    new_file(other, "made")
    assert changes(client.wait(message_id)) == [(1, "made")]
    prove_anew(client)


def test_a_break_comes_is_not_acknowledged_before_the_user_is_proved_and_counts_then(
    served: Served, other: WireClient
) -> None:
    holder = hold(served.connected(), BATCH)
    end_ticket(served, holder.client)
    message_id = begin_open(other)
    assert holder.broken() == LEVEL_II
    with pytest.raises(StatusError, match="NETWORK_SESSION_EXPIRED"):
        holder.acknowledge(LEVEL_II).check()
    prove_anew(holder.client)
    assert holder.acknowledge(LEVEL_II).check().header.command == Command.OPLOCK_BREAK
    assert opened(other, message_id).response.oplock_level == 0


def test_another_user_does_not_go_on_with_what_the_first_had_open_as_he(served: Served) -> None:
    """He may take the session over, signed, as Windows lets him; from then on all is done as himself."""
    client = served.connected()
    end_ticket(served, client)
    client.session_setup(SECOND_USER, SECOND_PASSWORD, reauthenticate=True)
    session = served.core.sessions[client.session.session_id] if client.session else None
    assert session is not None
    assert session.token.user_name == SECOND_USER
    assert all(tree.context.token is session.token for tree in session.trees.values())
