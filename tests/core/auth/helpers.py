"""An authentication between a client library and our acceptor, with nothing in between."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

import spnego

from lamina.core.auth.accounts import MemoryAccounts
from lamina.core.auth.authenticator import Authenticated, Authenticator
from lamina.core.auth.settings import AuthSettings, ThrottleSettings

PASSWORD = "Passw0rd!"
UNTHROTTLED = AuthSettings(throttle=ThrottleSettings(enabled=False))
ADDRESS = "192.0.2.7"


class Client(Protocol):
    """The side of pyspnego that is used here."""

    @property
    def complete(self) -> bool: ...

    @property
    def session_key(self) -> bytes: ...

    def step(self, in_token: bytes | None = None) -> bytes | None: ...


class Outcome(NamedTuple):
    authenticated: Authenticated
    client: Client
    outputs: list[bytes]


def accounts_of(*names: str) -> MemoryAccounts:
    accounts = MemoryAccounts()
    for name in names:
        accounts.add(name, PASSWORD)
    return accounts


def server(*names: str, **changes: object) -> Authenticator:
    """An authenticator that knows `names` (by default alice), unthrottled, with these settings changed."""
    return Authenticator(accounts_of(*(names or ("alice",))), replace(UNTHROTTLED, **changes))  # type: ignore[arg-type]


def ntlm_client(user: str = "alice", password: str = PASSWORD, protocol: str = "negotiate") -> Client:
    client: Client = spnego.client(user, password, hostname="lamina", service="cifs", protocol=protocol)
    return client


def authenticate(
    authenticator: Authenticator,
    client: Client,
    alter: Callable[[int, bytes], bytes] = lambda leg, token: token,
) -> Outcome:
    """Run the exchange to its end; `alter(leg, token)` may change what the client sends."""
    exchange = authenticator.begin(ADDRESS)
    outputs: list[bytes] = []
    token = client.step()
    for leg in range(6):
        step = exchange.step(alter(leg, token or b""))
        outputs.append(step.output)
        if step.authenticated is not None:
            if step.output:
                client.step(step.output)
            return Outcome(step.authenticated, client, outputs)
        token = client.step(step.output)
    raise AssertionError("the exchange does not end")
