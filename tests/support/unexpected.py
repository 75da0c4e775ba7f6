"""No test passes in which Lamina met an error that it did not expect, even if the client was told what it should be."""

import logging
from pathlib import Path
from typing import Final

CONFESSIONS: Final = ("this is a bug in Lamina", "Exception in callback", "exception was never retrieved")
"""Of Lamina, and of the event loop where a callback or a task of Lamina has ended so."""


class Confessions(logging.Handler):
    """The errors that servers in this process did not expect, since they were last taken."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._seen: list[str] = []
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it with its traceback."""
        if _confession_in(record.getMessage()) >= 0:
            self._seen.append(self.format(record))

    def take(self) -> list[str]:
        """What was seen; nothing is left."""
        seen, self._seen = self._seen, []
        return seen


def require_none_in(log: Path) -> None:
    """AssertionError if a server in a process of its own has confessed one in its log."""
    text = log.read_text(errors="replace") if log.exists() else ""
    at = _confession_in(text)
    assert at < 0, f"{log} has: {text[max(0, at - 200) : at + 6000]}"


def _confession_in(text: str) -> int:
    """Where it is, and below 0 where there is none."""
    return max(text.find(words) for words in CONFESSIONS)
