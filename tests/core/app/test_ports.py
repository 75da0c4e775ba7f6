"""Choosing a port and telling why one cannot be had."""

import errno
import socket
from collections.abc import Iterator

import pytest

from lamina.core import ports
from lamina.core.ports import bind_message, choose_port, probe


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_port_that_was_asked_for_is_taken_or_refused(taken: int) -> None:
    with pytest.raises(OSError) as caught:
        choose_port("127.0.0.1", taken)
    assert bind_message("127.0.0.1", taken, caught.value) == f"port {taken} is in use by another program"


def test_port_zero_on_all_addresses_is_one_number() -> None:
    port, note = choose_port("", 0)
    assert port > 0
    assert note == ""
    assert probe("", port) is None


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({}, (445, "")),
        ({445: errno.EACCES}, (4445, "")),
        ({445: errno.EADDRINUSE, 4445: errno.EADDRINUSE}, (4446, "port 4445 is in use; took 4446")),
    ],
)
def test_445_then_4445_then_the_next_free(
    answers: dict[int, int], expected: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(address: str, port: int) -> OSError | None:
        return OSError(answers[port], "") if port in answers else None

    monkeypatch.setattr(ports, "probe", answer)
    assert choose_port("", None) == expected


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.EACCES, ""), "port 445 needs root (ports below 1024 do); 4445 does not"),
        (OSError(errno.EADDRNOTAVAIL, ""), "this machine has no address '192.0.2.1'"),
        (socket.gaierror(-2, ""), "this machine has no address '192.0.2.1'"),
        (OSError(errno.ENOBUFS, "No buffers"), "cannot listen on port 445: No buffers"),
    ],
)
def test_a_failed_bind_in_words(error: OSError, message: str) -> None:
    assert bind_message("192.0.2.1", 445, error) == message
