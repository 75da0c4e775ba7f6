# ruff: noqa: T201 - a program for the command line
"""Fuzz a live server with mutated exchanges: it must go on serving others, and log no bug.

    python -m tests.fuzz.fuzz_server --seconds 60 --seed 1

Mutated bodies are signed or encrypted rightly, so that they reach the commands; mutated frames try what stands before.
A failure prints the seed and what was sent last, and ends with 1.
"""

import argparse
import logging
import random
import struct
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Self

import lamina
from lamina.core.auth.settings import ThrottleSettings
from lamina.core.auth.throttle import Throttle
from lamina.core.wire import constants as smb
from lamina.core.wire.constants import Command
from lamina.core.wire.empty import encode_empty
from tests.fuzz.fuzz_wire import mutate
from tests.support.wire_client import ALL_DIALECTS, ConnectionClosedError, Open, StatusError, WireClient
from tests.support.wire_samples import FILE, SAMPLES

_COMMANDS = (
    ("negotiate", Command.NEGOTIATE), ("sessionsetup", Command.SESSION_SETUP), ("tree_connect", Command.TREE_CONNECT),
    ("create", Command.CREATE), ("close", Command.CLOSE), ("flush", Command.FLUSH), ("read", Command.READ),
    ("write", Command.WRITE), ("lock", Command.LOCK), ("ioctl", Command.IOCTL),
    ("querydirectory", Command.QUERY_DIRECTORY), ("changenotify", Command.CHANGE_NOTIFY),
    ("queryinfo", Command.QUERY_INFO), ("setinfo", Command.SET_INFO), ("oplock", Command.OPLOCK_BREAK),
    ("lease", Command.OPLOCK_BREAK),
)  # fmt: skip
_FILE_ID = struct.pack("<QQ", *FILE)
_REMEMBERED = 8


class FindingError(Exception):
    """The server did what it must not do."""


def _bodies() -> list[tuple[int, bytes]]:
    """A valid body, or more, for every command, with FILE as the file id."""
    found = []
    for sample in SAMPLES:
        if sample.data[:4] != b"\xfeSMB" or "esponse" in sample.name or "notification" in sample.name:
            continue
        name = sample.name.replace("_", "").lower()
        command = next((c for prefix, c in _COMMANDS if name.startswith(prefix.replace("_", ""))), None)
        if command is not None:
            found.append((int(command), sample.data[64:]))
    return found


class _Bugs(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


class ServerFuzzer:
    """A server, a client that is never disturbed, and one that disturbs."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.chance = random.Random(seed)
        self.server = lamina.Server({"data": folder}, users={"fuzz": "fuzz"})
        self.bodies = _bodies()
        self.last: deque[str] = deque(maxlen=_REMEMBERED)
        self._bugs = _Bugs()
        self._canary: WireClient | None = None
        self._client: WireClient | None = None
        self._file: Open | None = None

    def __enter__(self) -> Self:
        for name in ("lamina", "asyncio"):
            logging.getLogger(name).addHandler(self._bugs)
        self.server.start()
        # Guessing is what this does: nobody shall be kept out for it.
        self.server.runtime.server.authenticator.throttle = Throttle(ThrottleSettings(enabled=False))
        self._canary = self._connect()
        return self

    def __exit__(self, *error: object) -> None:
        for client in (self._client, self._canary):
            if client is not None:
                client.disconnect()
        self.server.close()
        for name in ("lamina", "asyncio"):
            logging.getLogger(name).removeHandler(self._bugs)

    def _connect(self, *dialects: int, encrypt: bool | None = None) -> WireClient:
        client = WireClient("127.0.0.1", self.server.port, timeout=20.0)
        client.negotiate(dialects or ALL_DIALECTS)
        client.session_setup("fuzz", "fuzz", encrypt=encrypt)
        client.tree_connect("data")
        return client

    def _live(self) -> tuple[WireClient, Open]:
        """The disturbing client with an open file, both made anew where they have gone."""
        if self._client is None:
            dialect = self.chance.choice(ALL_DIALECTS)
            encrypt = dialect >= smb.DIALECT_300 and self.chance.random() < 0.3
            self._client = self._connect(dialect, encrypt=encrypt or None)
            self._file = None
        if self._file is None or self.chance.random() < 0.05:
            stream = self.chance.choice(("", "", ":s", ":T:$DATA"))
            self._file = self._client.create(f"f{self.chance.randrange(5)}{stream}", disposition=3)
        return self._client, self._file

    def _drop(self) -> None:
        if self._client is not None:
            self._client.disconnect()
        self._client = self._file = None

    # -- what is sent ------------------------------------------------------------------------------------------------

    def _body(self, file: Open) -> tuple[int, bytes]:
        command, body = self.chance.choice(self.bodies)
        body = body.replace(_FILE_ID, struct.pack("<QQ", *file.file_id))
        if self.chance.random() < 0.9:
            body = mutate(body, self.chance)
        if self.chance.random() < 0.05:
            command = self.chance.choice(sorted(Command))
        return command, body

    def _request(self) -> None:
        """One mutated body in a right message."""
        client, file = self._live()
        command, body = self._body(file)
        if command == Command.CANCEL:
            return
        self.last.append(f"{command} {body.hex()}")
        client.send(command, body)
        self._settle(client)

    def _compound(self) -> None:
        """Several mutated bodies in a right chain."""
        client, file = self._live()
        parts = [self._body(file) for _ in range(self.chance.randrange(2, 6))]
        related = self.chance.random() < 0.7
        self.last.append(f"compound {related} " + " ".join(f"{command}:{body.hex()}" for command, body in parts))
        chain, _ = client.build_chain(parts, related)
        client.send_message(chain)
        self._settle(client)

    def _message(self) -> None:
        """A right body in a message that is mutated as a whole, signature or not."""
        client, file = self._live()
        command, body = self.chance.choice(self.bodies)
        body = body.replace(_FILE_ID, struct.pack("<QQ", *file.file_id))
        message = bytearray(mutate(bytes(client.build(command, body)), self.chance))
        if len(message) >= 64 and self.chance.random() < 0.8 and client.session and client.session.signer:
            client.sign(message)
        self.last.append(f"message {message.hex()}")
        if message:
            client.send_message(message)
        self._settle(client)

    def _stranger(self) -> None:
        """Mutated messages on a connection without a session."""
        client = WireClient("127.0.0.1", self.server.port, timeout=20.0)
        with client:
            if self.chance.random() < 0.7:
                client.negotiate((self.chance.choice(ALL_DIALECTS),))
            for _ in range(self.chance.randrange(1, 4)):
                sample = self.chance.choice(SAMPLES)
                message = bytearray(mutate(sample.data, self.chance))
                if len(message) >= 32 and self.chance.random() < 0.8:
                    struct.pack_into("<Q", message, 24, client.message_id)
                    client.message_id += 1
                self.last.append(f"stranger {message.hex()}")
                client.send_raw(message)

    def _broken_off(self) -> None:
        """A message cut short by the end of the connection, and requests nobody waits for."""
        client, file = self._live()
        for _ in range(self.chance.randrange(1, 8)):
            command, body = self._body(file)
            if command != Command.CANCEL:
                client.send(command, body)
        message = client.build(Command.ECHO, encode_empty())
        client.send_bytes(len(message).to_bytes(4, "big") + message[: self.chance.randrange(len(message))])
        self._drop()

    def _settle(self, client: WireClient) -> None:
        """Wait until the server has dealt with what was sent: it answers an ECHO, or has closed the connection."""
        session, client.session = client.session, None
        try:
            echo = client.send(Command.ECHO, encode_empty())
        finally:
            client.session = session
        client.wait(echo)
        client.unclaimed.clear()
        if client.message_id > 500_000 or client.credits < 0:
            self._drop()

    # -- what must hold ------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Disturb the server once. Raises FindingError."""
        kinds: tuple[Callable[[], None], ...] = (self._request, self._compound, self._message)
        rare = (self._stranger, self._broken_off)
        kind = self.chance.choice(rare) if self.chance.random() < 0.1 else self.chance.choice(kinds)
        try:
            kind()
        except (ConnectionClosedError, ConnectionError, StatusError):
            self._drop()
        except TimeoutError as error:
            raise FindingError(f"no answer within 20 seconds; sent: {list(self.last)}") from error
        if self._bugs.messages:
            raise FindingError(f"logged: {self._bugs.messages[0]}; sent: {list(self.last)}")

    def check_others(self) -> None:
        """Others are served as if nothing had happened. Raises FindingError."""
        assert self._canary is not None
        try:
            file = self._canary.create("canary", disposition=3)
            self._canary.write(file, b"sings")
            alive = self._canary.read(file, 10) == b"sings"
            self._canary.close(file)
        except (ConnectionClosedError, ConnectionError, StatusError, TimeoutError) as error:
            raise FindingError(f"another client: {error!r}; sent: {list(self.last)}") from error
        if not alive:
            raise FindingError(f"another client reads other bytes than it wrote; sent: {list(self.last)}")


def run(seed: int, iterations: int | None = None, seconds: float | None = None) -> int:
    """Fuzz until one limit is reached; how many steps were made. Raises FindingError."""
    end = None if seconds is None else time.monotonic() + seconds
    steps = 0
    with tempfile.TemporaryDirectory() as folder, ServerFuzzer(seed, Path(folder)) as fuzzer:
        while (iterations is None or steps < iterations) and (end is None or time.monotonic() < end):
            fuzzer.step()
            steps += 1
            if steps % 50 == 0:
                fuzzer.check_others()
        fuzzer.check_others()
    return steps


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None, help="by default another one each time; it is printed")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    logging.getLogger("lamina").setLevel(logging.ERROR)
    print(f"seed {seed}")
    try:
        print(f"{run(seed, seconds=options.seconds)} steps, nothing found")
    except FindingError as finding:
        traceback.print_exception(finding)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
