"""A real SMB server inside a program or a test: `with lamina.Server(shares={"data": folder}) as server:`.

It runs on an event loop and an engine of its own, in one background thread; several work side by side in one process.
No root is needed, nothing is configured, and nothing is left behind.
"""

import asyncio
import contextlib
import gc
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

from lamina.core.auth.accounts import MemoryAccounts
from lamina.core.auth.settings import AuthSettings
from lamina.core.events import ServerEvents
from lamina.core.plan import DEFAULT_CHAIN, ChainLink, Listener, ServerPlan, ShareSpec, folder_owner
from lamina.core.runtime import Runtime
from lamina.core.settings import Dialect, EncryptionPolicy, Limits, ServerSettings
from lamina.core.tracing import MAX_QUEUE_LENGTH, Filter, Record, Viewer
from lamina.vfs_modules.engine import Engine

DEFAULT_USER = "lamina"
"""The user that is made up where none is given."""

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


class SettingsOverrides(TypedDict, total=False):
    """The fields of `ServerSettings` that may be given to `Server` by name."""

    name: str
    comment: str
    min_dialect: Dialect
    max_dialect: Dialect
    require_signing: bool
    encryption: EncryptionPolicy
    keepalive: int
    multichannel: bool
    interfaces: tuple[str, ...]
    interfaces_denied: tuple[str, ...]
    posix_extensions: bool
    max_io: int
    limits: Limits


def made_up_password() -> str:
    """A random password of 79 bits that survives every shell unquoted and is easily read out on the telephone."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(4))


def new_event_loop() -> asyncio.AbstractEventLoop:
    """An event loop: uvloop's, or asyncio's where that is not installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def make_accounts(users: Mapping[str, str], owner: tuple[int, int], machine_sid: str = "") -> MemoryAccounts:
    """Accounts in memory for `users` (name → password), whose files all belong to `owner` (uid, gid)."""
    accounts = MemoryAccounts(machine_sid)
    for name, password in users.items():
        accounts.add(name, password=password, uid=owner[0], gid=owner[1])
    return accounts


class Server:
    """An SMB server for the time of a `with` block, or from `start()` to `close()`.

    `shares`: share name → folder, or → `ShareSpec` for one that needs more.
    `users`: user name → password; by default one is made up (`username`, `password`).
    `address`, `port`: where to listen; port 0 takes a free one, which `port` then tells.
    `read_only`, `guest`, `encrypt`: for all the shares.
    `chain`: modules for the shares given as folders, from the top to the backend: names, classes or instances.
    Any field of `ServerSettings` may be given too (`max_dialect=…`). `events` is told who comes and goes.
    `machine_sid`: for users who are to be the same ones at the next start, to whom their files and opens belong.
    """

    def __init__(  # noqa: PLR0913 - keyword arguments with defaults, for a `with` line in a test
        self,
        shares: Mapping[str, os.PathLike[str] | str | ShareSpec],
        *,
        users: Mapping[str, str] | None = None,
        address: str = "127.0.0.1",
        port: int = 0,
        read_only: bool = False,
        guest: bool = False,
        encrypt: bool = False,
        chain: Sequence[ChainLink] = DEFAULT_CHAIN,
        events: ServerEvents | None = None,
        machine_sid: str = "",
        **settings: Unpack[SettingsOverrides],
    ) -> None:
        self.address = address
        self.users = dict(users) if users is not None else {DEFAULT_USER: made_up_password()}
        self._requested_port = port
        self._guest = guest
        self._settings = _settings(encrypt, settings)
        self._events = events or ServerEvents()
        self._machine_sid = machine_sid
        self._chain = tuple(chain)
        self._flags = {"read_only": read_only, "guest": guest, "encrypt": encrypt}
        self._shares = self._specs(shares)
        self._thread: _ServerThread | None = None

    @property
    def username(self) -> str:
        """The first user's name."""
        return next(iter(self.users), "")

    @property
    def password(self) -> str:
        """The first user's password."""
        return self.users.get(self.username, "")

    @property
    def port(self) -> int:
        """The port that is listened on. Raises RuntimeError before the start and after the end."""
        return self.runtime.bound[0].port

    @property
    def runtime(self) -> Runtime:
        """The parts of the running server, for those who look inside; they belong to its thread."""
        if self._thread is None:
            raise RuntimeError("the server is not running: use it in a with block, or call start()")
        return self._thread.runtime

    def url(self, share: str = "") -> str:
        """The address of a share as macOS, GNOME and smbclient's siblings write it: smb://host:port/share."""
        return f"smb://{_bracketed(self.address)}:{self.port}/{share}"

    def unc(self, share: str) -> str:
        """The address of a share as Windows writes it (MS-DTYP 2.2.57): \\\\host\\share. The port is not part of it."""
        return rf"\\{self.address}\{share}"

    def start(self) -> Self:
        """Start serving and return when connections are accepted. Raises what stopped the start."""
        if self._thread is not None:
            raise RuntimeError("the server is running already")
        plan = ServerPlan(self._settings, self._shares, (Listener(self.address, self._requested_port),))
        folder = next((spec.path for spec in self._shares.values()), Path.cwd())
        owner = folder_owner(folder) if folder.exists() else (os.geteuid(), os.getegid())
        accounts = make_accounts(self.users, owner, self._machine_sid)
        thread = _ServerThread(plan, accounts, AuthSettings(allow_guest=self._guest), self._events)
        thread.start()
        self._thread = thread
        return self

    def set_shares(self, shares: Mapping[str, os.PathLike[str] | str | ShareSpec]) -> None:
        """Serve other shares from now on, with the chain and for-all flags that this server was made with.

        Who is connected to one keeps it as it was. Raises StartError, and nothing has changed then.
        """
        runtime = self.runtime
        assert self._thread is not None
        specs = self._specs(shares)
        self._thread.call(runtime.apply(replace(runtime.plan, shares=specs)))
        self._shares = specs

    @contextlib.contextmanager
    def trace(self, share: str, wanted: Filter | None = None) -> Iterator[Callable[[], list[Record]]]:
        """Trace a share inside; what is given says, each time it is called, what was done since (see `tracing`).

        Raises LookupError where there is no such share.
        """
        tracing = self.runtime.tracing
        viewer = Viewer(share, wanted or Filter(), MAX_QUEUE_LENGTH)
        self._on_loop(tracing.attach, viewer)
        try:
            yield lambda: self._on_loop(viewer.take)[0]
        finally:
            self._on_loop(tracing.detach, viewer)

    def _on_loop(self, function: Callable[..., Any], *arguments: Any) -> Any:
        async def call() -> Any:
            return function(*arguments)

        assert self._thread is not None
        return self._thread.call(call())

    def _specs(self, shares: Mapping[str, os.PathLike[str] | str | ShareSpec]) -> dict[str, ShareSpec]:
        return {name: _spec(share, self._chain, self._flags) for name, share in shares.items()}

    def close(self) -> None:
        """End every connection and the server's thread. Harmless when it is closed already."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _ServerThread:
    """The background thread: an event loop, an engine and a Runtime in it."""

    def __init__(self, plan: ServerPlan, accounts: MemoryAccounts, auth: AuthSettings, events: ServerEvents) -> None:
        self._arguments = (plan, accounts, auth, events)
        self._started: Future[Runtime] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="lamina-server", daemon=True)

    @property
    def runtime(self) -> Runtime:
        """The running server."""
        return self._started.result()

    def start(self) -> None:
        """Return when the server accepts connections; raise what stopped it."""
        self._thread.start()
        try:
            self._started.result()
        except BaseException:
            self._thread.join()
            raise

    def call(self, work: Any) -> Any:
        """Run a coroutine on the server's loop and give its result."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """End the server and wait for the thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            try:
                runner.run(self._serve())
            except BaseException as error:
                if self._started.done():
                    raise
                self._started.set_exception(error)
            finally:
                # Greenlets are freed where they ran: not in another thread, by whichever collection comes next.
                gc.collect()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        engine = Engine(self._loop)
        try:
            runtime = await Runtime.start(engine, *self._arguments)
            self._started.set_result(runtime)
            await self._stop.wait()
            await runtime.close()
        finally:
            engine.close()


def _settings(encrypt: bool, overrides: SettingsOverrides) -> ServerSettings:
    settings = replace(ServerSettings(), **overrides)
    return replace(settings, encryption=EncryptionPolicy.REQUIRED) if encrypt else settings


def _spec(
    share: os.PathLike[str] | str | ShareSpec, chain: tuple[ChainLink, ...], flags: Mapping[str, bool]
) -> ShareSpec:
    spec = share if isinstance(share, ShareSpec) else ShareSpec(Path(share), chain=chain)
    return replace(spec, **{name: True for name, wanted in flags.items() if wanted})  # type: ignore[arg-type]


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
