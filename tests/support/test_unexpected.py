"""The tests notice what a server did not expect."""

import asyncio
import logging
from pathlib import Path

import pytest

from tests.support.unexpected import Confessions, require_none_in


@pytest.fixture
def seen() -> Confessions:
    return Confessions()


def test_an_error_that_the_server_calls_its_own_is_kept_with_its_traceback(seen: Confessions) -> None:
    record = logging.LogRecord("lamina.core", logging.ERROR, "", 0, "x failed; this is a bug in Lamina", (), None)
    seen.handle(record)
    assert seen.take() == ["x failed; this is a bug in Lamina"]
    assert seen.take() == []


@pytest.mark.provokes_bugs
def test_so_is_a_callback_of_the_loop_that_failed(seen: Confessions) -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    logging.getLogger("asyncio").addHandler(seen)
    asyncio.run(main())
    logging.getLogger("asyncio").removeHandler(seen)
    (text,) = seen.take()
    assert "ZeroDivisionError" in text


def test_other_errors_are_nobodys_fault(seen: Confessions) -> None:
    seen.handle(logging.LogRecord("lamina.core", logging.ERROR, "", 0, "the disk is full", (), None))
    assert seen.take() == []


def test_a_log_is_searched(tmp_path: Path) -> None:
    log = tmp_path / "log"
    require_none_in(log)
    log.write_text("all is well\n")
    require_none_in(log)
    log.write_text("command 17 failed; this is a bug in Lamina\nTraceback: here\n")
    with pytest.raises(AssertionError, match="Traceback: here"):
        require_none_in(log)
