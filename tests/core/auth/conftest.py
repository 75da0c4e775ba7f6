import logging
from collections.abc import Iterator
from pathlib import Path

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


@pytest.fixture(autouse=True, scope="session")
def _no_kerberos_by_accident(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where gssapi is installed, a client that negotiates would look for a KDC in the DNS before it takes NTLM."""
    config: Path = tmp_path_factory.mktemp("krb5") / "krb5.conf"
    config.write_text(
        "[libdefaults]\n default_realm = INVALID.TEST\n dns_lookup_kdc = false\n dns_lookup_realm = false\n"
        " dns_canonicalize_hostname = false\n rdns = false\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KRB5_CONFIG", str(config))
        yield
