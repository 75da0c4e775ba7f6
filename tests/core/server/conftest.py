"""A server for each test; what it leaves behind, or logs as an error, fails the test."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lamina
from tests.support.durable import Kept
from tests.support.served import PASSWORD, SECOND_PASSWORD, SECOND_USER, USER, Served
from tests.support.wire_client import WireClient


class _BugReports(logging.Handler):
    """Keeps what is logged as an error: a request must never cause that."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


@pytest.fixture(autouse=True)
def bug_reports() -> Iterator[list[str]]:
    """Fails the test if the server logged an error."""
    handler = _BugReports()
    loggers = [logging.getLogger(name) for name in ("lamina", "asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
    yield handler.messages
    for logger in loggers:
        logger.removeHandler(handler)
    assert not handler.messages


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start a server with the arguments of `lamina.Server`; at the end nothing of its clients may be left in it."""
    folder = tmp_path / "data"
    folder.mkdir()
    with contextlib.ExitStack() as started:
        running: list[Served] = []

        def start(**arguments: Any) -> Served:
            users = {USER: PASSWORD, SECOND_USER: SECOND_PASSWORD}
            server = lamina.Server(arguments.pop("shares", {"data": folder}), users=users, **arguments)
            running.append(started.enter_context(Served(started.enter_context(server), folder)))
            return running[-1]

        yield start
        for served in running:
            if not served.running:
                continue
            served.disconnect()
            served.until_empty()


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    """A server as it is without settings, with the share "data"."""
    return serve()


@pytest.fixture
def client(served: Served) -> WireClient:
    """A client connected to the share "data"."""
    return served.connected()


@pytest.fixture
def kept(served: Served) -> Iterator[Kept]:
    """At its end no open waits any more, as if its time were over."""
    kept = Kept(served)
    yield kept
    kept.let_go()
