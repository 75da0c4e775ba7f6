"""The control socket of a running server: whoever may open it asks, a JSON line, and gets JSON lines back.

It stands in a folder that only the server's own user can enter, and every caller's identity is asked of the kernel: the
server's user and root are its administrators, and nobody else is answered.
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
import stat
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from lamina.vfs_modules.credentials import server_identity

log = logging.getLogger(__name__)

LINE_LIMIT: Final = 1 << 24
_REQUEST_LIMIT: Final = 1 << 16
_SERVE: Final = "lamina-serve-"
_CREDENTIALS: Final = struct.Struct("3i")

Say = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Sends one line, and returns when there is room for another. Raises OSError where nobody reads any more."""

Command = Callable[[Mapping[str, Any], Say], Awaitable[None]]
"""Carries out one request. It is cancelled when who asked has gone."""


class NotRunningError(Exception):
    """No server answers."""


def runtime_folder() -> Path:
    """Where pid files and control sockets of this user's servers are: LAMINA_RUNTIME_DIR, or the system's place."""
    if folder := os.environ.get("LAMINA_RUNTIME_DIR"):
        return Path(folder)
    if os.geteuid() == 0:
        return Path("/run/lamina")
    if folder := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(folder) / "lamina"
    return Path(f"/tmp/lamina-{os.geteuid()}")  # noqa: S108 - made 0700 and its owner checked, see private_folder


def private_folder(folder: Path) -> Path:
    """`folder`, made if need be. Raises PermissionError where others can write to it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(f"{folder} is not a folder that only this user can write to")
    return folder


@contextlib.asynccontextmanager
async def answering(path: Path, commands: Mapping[str, Command]) -> AsyncIterator[None]:
    """Answer inside at the socket `path`. Raises OSError where it cannot be made."""
    path.unlink(missing_ok=True)
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await _answer(commands, reader, writer)
        finally:
            running.discard(task)
            writer.close()

    server = await asyncio.start_unix_server(serve, path, limit=_REQUEST_LIMIT)
    path.chmod(0o600)
    try:
        yield
    finally:
        server.close()
        for task in running:
            task.cancel()
        await server.wait_closed()
        # The last request may have left its user's identity to this thread.
        with server_identity():
            path.unlink(missing_ok=True)


async def _answer(commands: Mapping[str, Command], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async def say(line: Mapping[str, Any]) -> None:
        writer.write(json.dumps(line).encode() + b"\n")
        await writer.drain()

    try:
        line = await reader.readline()
        if not _is_administrator(writer.get_extra_info("socket")):
            await say({"errors": ["only the server's own user and root may ask"]})
            return
        request = json.loads(line)
        command = commands.get(str(request.get("command", ""))) if isinstance(request, dict) else None
        if command is None:
            await say({"errors": [f"unknown request; this server answers to {', '.join(commands)}"]})
            return
        await _while_there(command(request, say), reader)
    except (OSError, ValueError) as error:
        log.debug("a request on the control socket failed: %s", error)


def _is_administrator(connection: socket.socket) -> bool:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(credentials)[1] in (0, os.geteuid())


async def _while_there(work: Awaitable[None], reader: asyncio.StreamReader) -> None:
    """Await `work`, but no longer than who asked is there."""
    done, gone = asyncio.ensure_future(work), asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait((done, gone), return_when=asyncio.FIRST_COMPLETED)
        if done.done():
            await done
    finally:
        for task in (done, gone):
            task.cancel()
        await asyncio.gather(done, gone, return_exceptions=True)


def serving_socket() -> Path:
    """Where a server without a configuration file answers, in a process of its own. Raises OSError as above."""
    return private_folder(runtime_folder()) / f"{_SERVE}{os.getpid()}.sock"


def serving_sockets() -> list[Path]:
    """The sockets of this user's servers without a configuration file, the newest first; some may be dead."""
    try:
        found = [(path.stat().st_mtime, path) for path in runtime_folder().glob(f"{_SERVE}*.sock")]
    except OSError:
        return []
    return [path for _, path in sorted(found, reverse=True)]


def ask(path: Path, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Ask the server at the socket `path`, and give its lines as they come. Raises NotRunningError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(str(path))
            client.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise NotRunningError(f"no server answers at {path}") from error
        with client.makefile("rb") as answers:
            while line := answers.readline(LINE_LIMIT):
                yield json.loads(line)
