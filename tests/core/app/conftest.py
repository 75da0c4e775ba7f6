"""Lamina's command in processes of its own."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

SECONDS = 60


class LaminaProcess:
    """A running `lamina` that prints JSON lines. Waits are for lines, never for time."""

    def __init__(
        self, arguments: tuple[str, ...], environment: Mapping[str, str], python: str = sys.executable
    ) -> None:
        self.process = subprocess.Popen(
            [python, "-m", "lamina.core.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self._asked_to_end = False
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def line(self) -> str:
        """The next line of stdout; "" at its end."""
        line = self._lines.get(timeout=SECONDS)
        return "" if line is None else line.rstrip("\n")

    def event(self, kind: str) -> dict[str, Any]:
        """The next event of that kind; the others before it are dropped. Every line must be JSON."""
        while line := self.line():
            event: dict[str, Any] = json.loads(line)
            if event["event"] == kind:
                return event
        raise AssertionError(f"ended without {kind!r}: {self.errors()}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._asked_to_end = self._asked_to_end or number in (signal.SIGINT, signal.SIGTERM)
        self.process.send_signal(number)

    def errors(self) -> str:
        """All that came on stderr; waits for the end."""
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def end(self) -> int:
        """End it with SIGTERM unless it was told to end before; its exit status."""
        if self.process.poll() is None and not self._asked_to_end:
            self.process.terminate()
        status = self.process.wait(timeout=SECONDS)
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return status


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A runtime folder of the test's own, and plain output."""
    return {"LAMINA_RUNTIME_DIR": str(tmp_path / "run"), "COLUMNS": "160", "NO_COLOR": "1", "TERM": "dumb"}


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable[..., LaminaProcess]]:
    """Starts `lamina ARGUMENTS…`; what still runs at the end of the test is ended."""
    started: list[LaminaProcess] = []

    def start_one(*arguments: object) -> LaminaProcess:
        process = LaminaProcess(tuple(map(str, arguments)), environment)
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.end()


@pytest.fixture
def lamina(environment: dict[str, str]) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs `lamina ARGUMENTS…` to its end."""

    def run(*arguments: object, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "lamina.core.cli", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            timeout=SECONDS,
            check=False,
        )

    return run
