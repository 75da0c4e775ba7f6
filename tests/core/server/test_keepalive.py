"""Clients that are gone without a word are noticed."""

import socket
from collections.abc import Callable

import pytest

from tests.support.served import Served


def option(served: Served, number: int) -> int:
    """A TCP option of the only connection, at the server's end."""

    def look() -> int:
        (connection,) = served.core.connections
        raw = connection.transport._transport.get_extra_info("socket")  # type: ignore[union-attr]
        return int(raw.getsockopt(socket.IPPROTO_TCP, number))

    return int(served.call(look))


@pytest.mark.parametrize(("seconds", "between"), [(300, 30), (60, 6), (3, 1)])
def test_who_is_silent_is_asked_whether_he_is_there(serve: Callable[..., Served], seconds: int, between: int) -> None:
    served = serve(keepalive=seconds)
    served.negotiated()
    assert option(served, socket.TCP_KEEPIDLE) == seconds
    assert option(served, socket.TCP_KEEPINTVL) == between
    assert option(served, socket.TCP_KEEPCNT) == 3


def test_it_may_be_left_to_the_kernel(serve: Callable[..., Served]) -> None:
    served = serve(keepalive=0)
    served.negotiated()
    with socket.socket() as plain:
        assert option(served, socket.TCP_KEEPIDLE) == plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
