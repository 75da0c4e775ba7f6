import logging
from collections.abc import Iterator

import pytest


class _Unexpected(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture(autouse=True)
def _no_unexpected_errors() -> Iterator[None]:
    """The last net of an exchange turns any exception into a status and logs it as a bug: no test may need it."""
    handler = _Unexpected()
    logger = logging.getLogger("lamina.core.auth.authenticator")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)
    assert not handler.messages
