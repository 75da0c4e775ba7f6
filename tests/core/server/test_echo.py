"""ECHO and the life of a connection that only does that."""

from tests.support.served import Served
from tests.support.wire_client import WireClient


def test_echo_is_answered_without_a_session(served: Served) -> None:
    assert served.negotiated().echo().status == 0


def test_echo_is_answered_in_a_session(client: WireClient) -> None:
    assert client.echo().signed
