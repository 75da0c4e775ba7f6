"""The bad network of the tests does what it says, to a plain echo of frames."""

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from tests.support.proxy import Chaos, Fate, Link, Proxy, Way


def _echo(connection: socket.socket) -> None:
    with connection:
        try:
            while data := connection.recv(65536):
                connection.sendall(data)
        except OSError:
            return


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=_echo, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(echo_port: int) -> Iterator[Proxy]:
    with Proxy(echo_port) as proxy:
        yield proxy


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), 10)


def send(connection: socket.socket, message: bytes) -> None:
    connection.sendall(struct.pack(">I", len(message)) + message)


def receive(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < 4 + length:
        more = connection.recv(4 + length - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data[4:]


def test_a_good_network_passes_everything_on(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        for message in (b"a", b"b" * 100_000, b"c" * 3):
            send(connection, message)
            assert receive(connection, len(message)) == message


def test_a_connection_that_is_cut_is_reset_for_the_client_and_the_others_go_on(proxy: Proxy) -> None:
    with connect(proxy) as first, connect(proxy) as second:
        for connection in (first, second):
            send(connection, b"up")
            receive(connection, 2)
        proxy.links[0].cut()
        with pytest.raises(ConnectionResetError):
            receive(first, 1)
        assert proxy.links[0].closed.wait(10)
        send(second, b"still")
        assert receive(second, 5) == b"still"


@pytest.mark.parametrize("fate", [Fate.CUT, Fate.TEAR, Fate.CUT_AFTER])
def test_a_rule_cuts_at_the_frame_that_it_chooses(proxy: Proxy, fate: Fate) -> None:
    def rule(link: Link, way: Way, frame: bytes) -> Fate:
        return fate if way is Way.REPLY and frame == b"last" else Fate.PASS

    proxy.rule = rule
    with connect(proxy) as connection:
        send(connection, b"firs")
        assert receive(connection, 4) == b"firs"
        send(connection, b"last")
        if fate is Fate.CUT_AFTER:
            assert receive(connection, 4) == b"last"
        with pytest.raises(ConnectionResetError):
            receive(connection, 4)


def test_a_dropped_frame_is_the_only_one_that_is_lost(proxy: Proxy) -> None:
    proxy.rule = lambda link, way, frame: Fate.DROP if frame == b"no" else Fate.PASS
    with connect(proxy) as connection:
        send(connection, b"no")
        send(connection, b"yes")
        assert receive(connection, 3) == b"yes"


def test_a_delayed_connection_is_overtaken_by_another(proxy: Proxy) -> None:
    with connect(proxy) as slow, connect(proxy) as quick:
        for connection in (slow, quick):
            send(connection, b"up")
            receive(connection, 2)
        proxy.links[0].stall()
        send(slow, b"first")
        send(quick, b"second")
        assert receive(quick, 6) == b"second"
        proxy.links[0].resume()
        assert receive(slow, 5) == b"first"


def test_a_stalled_connection_lives_and_may_be_cut(proxy: Proxy) -> None:
    proxy.rule = lambda link, way, frame: Fate.STALL if frame == b"stop" else Fate.PASS
    with connect(proxy) as connection:
        send(connection, b"stop")
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        proxy.cut_all()
        connection.settimeout(10)
        with pytest.raises(ConnectionResetError):
            receive(connection, 1)
    assert not proxy.open_links


def test_new_connections_are_refused_or_led_elsewhere(proxy: Proxy, echo_port: int) -> None:
    proxy.refusing = True
    with pytest.raises(ConnectionError), connect(proxy) as connection:
        send(connection, b"x")
        receive(connection, 1)
    proxy.refusing = False
    proxy.aim(1)
    with pytest.raises(ConnectionError), connect(proxy) as connection:
        send(connection, b"x")
        receive(connection, 1)
    proxy.aim(echo_port)
    with connect(proxy) as connection:
        send(connection, b"x")
        assert receive(connection, 1) == b"x"


def test_chaos_is_the_same_for_the_same_seed(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        send(connection, b"x")
        receive(connection, 1)
        link = proxy.links[0]
        link.frames = 100
        rules = [Chaos(7, cut=0.2, stall=0.1, delay=0.5) for _ in range(2)]
        fates = [[rule(link, Way.REPLY, b"") for _ in range(200)] for rule in rules]
    assert fates[0] == fates[1]
    assert Fate.CUT in fates[0]
    assert Fate.STALL in fates[0]
