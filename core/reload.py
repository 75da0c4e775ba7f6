"""One running server per configuration file, and how it is asked to read that file again.

In the runtime folder a server keeps a pid file, locked for as long as it lives, and a control socket (`control`). The
lock is the kernel's: after `kill -9` it is free, and whatever files are left are simply taken over.
"""

import asyncio
import fcntl
import hashlib
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from lamina.core.config.diagnostics import ConfigurationError
from lamina.core.config.loading import Configuration, Tolerates, load
from lamina.core.control import Command, NotRunningError, Say, ask, private_folder, runtime_folder
from lamina.core.plan import ServerPlan
from lamina.core.runtime import Runtime, StartError
from lamina.vfs_modules.credentials import server_identity

log = logging.getLogger(__name__)


class AlreadyRunningError(Exception):
    """A server runs with this configuration file already."""


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """What a reload did. With `errors` nothing has changed; `notes` say what takes a restart."""

    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


def instance_name(config: Path) -> str:
    """What the server of a configuration file is called in the runtime folder."""
    return "lamina-" + hashlib.sha256(os.fsencode(config.resolve())).hexdigest()[:12]


class Instance:
    """The claim of this process to be the server of one configuration file, for the time of a `with` block.

    Making one raises AlreadyRunningError, or OSError where the runtime folder cannot be used.
    """

    def __init__(self, config: Path) -> None:
        base = private_folder(runtime_folder()) / instance_name(config)
        self.pid_file, self.socket_file = base.with_suffix(".pid"), base.with_suffix(".sock")
        self._lock = os.open(self.pid_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.read(self._lock, 20).decode().strip()
            os.close(self._lock)
            raise AlreadyRunningError(f"a server runs with {config} already (pid {pid})") from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket_file.unlink(missing_ok=True)
        self.pid_file.unlink(missing_ok=True)
        os.close(self._lock)


def socket_of(config: Path) -> Path:
    """The control socket of the server of a configuration file, whether or not it runs."""
    return (runtime_folder() / instance_name(config)).with_suffix(".sock")


def reload_command(reload: Callable[[], Awaitable[ReloadResult]]) -> Command:
    """What the control socket does when it is asked to reload."""

    async def answer(_: Mapping[str, Any], say: Say) -> None:
        await say(asdict(await asyncio.shield(reload())))

    return answer


def request_reload(config: Path) -> ReloadResult:
    """Ask the server of `config` to reload and wait for what became of it. Raises NotRunningError."""
    try:
        reply = next(ask(socket_of(config), {"command": "reload"}), None)
    except NotRunningError as error:
        raise NotRunningError(f"no server runs with {config}") from error
    if reply is None:
        raise NotRunningError(f"the server of {config} ended before it answered")
    return ReloadResult(*(tuple(reply.get(key, ())) for key in ("changes", "notes", "errors")))


class Reloader:
    """Reads the configuration file of a running server again and applies what it says, one reload at a time."""

    def __init__(self, runtime: Runtime, configuration: Configuration, report: Callable[[ReloadResult], None]) -> None:
        self._runtime = runtime
        self._current = configuration
        self._report = report
        self._lock = asyncio.Lock()

    async def reload(self) -> ReloadResult:
        """Reload, and report the result too; never raises what a wrong file causes."""
        async with self._lock:
            result = await self._reload()
        self._report(result)
        return result

    async def _reload(self) -> ReloadResult:
        try:
            old, new = self._current, await asyncio.to_thread(_load_as_server, self._current.file, self._is_as_before)
            authenticator = None
            if new.authentication != old.authentication:
                authenticator = self._runtime.authenticator_for(new.authentication)
            await self._runtime.apply(new.plan)
        except ConfigurationError as error:
            return ReloadResult(errors=tuple(map(str, error.problems)))
        except (StartError, OSError) as error:
            return ReloadResult(errors=(str(error),))
        self._current = new
        if authenticator is not None:
            self._runtime.authenticate_by(authenticator)
        return ReloadResult(changes(old.plan, new.plan), (*restart_notes(old, new), *refusals(new)))

    def _is_as_before(self, share: str, modules: tuple[str, ...]) -> bool:
        """Whether a module that cannot be loaded has gone; one that is named for the first time is misspelt."""
        return self._current.chain_names.get(share) == modules


def _load_as_server(file: Path, tolerates: Tolerates) -> Configuration:
    # A worker thread may have inherited the identity of a client's request.
    with server_identity():
        return load(file, tolerates)


def refusals(configuration: Configuration) -> tuple[str, ...]:
    """A line for each share that is not served, as a module of its chain cannot be loaded."""
    return tuple(f"share {name} is not served: {why}" for name, why in configuration.refused.items())


def changes(old: ServerPlan, new: ServerPlan) -> tuple[str, ...]:
    """What differs between two plans, in words."""
    added = [f"share {name} added" for name in new.shares if name not in old.shares]
    removed = [f"share {name} removed" for name in old.shares if name not in new.shares]
    common = [name for name in new.shares if name in old.shares]
    changed = [f"share {name} changed" for name in common if new.shares[name] != old.shares[name]]
    listening = [f"listening on {listener} too" for listener in new.listeners if listener not in old.listeners]
    deaf = [f"no longer listening on {listener}" for listener in old.listeners if listener not in new.listeners]
    same = _comparable(old) == _comparable(new)
    return (*added, *removed, *changed, *listening, *deaf, *(() if same else ("settings changed",)))


def _comparable(plan: ServerPlan) -> dict[str, Any]:
    # The server's GUID is made anew each time a file is read.
    return {key: value for key, value in asdict(plan.settings).items() if key != "server_guid"}


def restart_notes(old: Configuration, new: Configuration) -> tuple[str, ...]:
    """What a new configuration changes that only a restart can."""
    notes = [
        ("accounts", old.accounts != new.accounts),
        ("state", old.plan.state != new.plan.state),
        ("workers", old.server.workers != new.server.workers),
    ]
    return tuple(f"server.{key} takes a restart" for key, changed in notes if changed)
