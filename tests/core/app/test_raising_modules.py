"""Whatever a module raises, wherever: every request is answered, nothing stays open, and the share serves on."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import smbclient
from smbprotocol.exceptions import SMBException

import lamina
from lamina.core.plan import ShareSpec
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Operation

BELOW = ("streams_xattr", "acl_xattr", "dos_attributes", "posix")


REACHED = (
    "statfs", "open", "stat", "mkdir", "unlink", "rmdir", "rename", "link", "close", "fstat", "pread", "pwrite",
    "ftruncate", "readdir", "set_times", "getxattr", "setxattr", "listxattr", "get_dos_attributes",
    "set_dos_attributes", "get_security", "open_stream", "list_streams",
)  # fmt: skip
"""The operations that the work below brings about."""


class Odd(BaseException):
    """An exception that is no `Exception`."""


class Raises(VfsModule, public=("armed", "raised")):
    """Raises `armed[1]` in the operation `armed[0]`, after the layers below have done it where `close` must be."""

    name = "raises"

    def __init__(self) -> None:
        super().__init__()
        self.armed: tuple[str, BaseException] | None = None
        self.raised = 0

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        name = operation.name

        def maybe(*arguments: Any, **keywords: Any) -> Any:
            if self.armed is None or self.armed[0] != name:
                return call(*arguments, **keywords)
            self.raised += 1
            if name == "close":
                call(*arguments, **keywords)
            raise self.armed[1].with_traceback(None)

        return maybe


class Work:
    """What a client does, with as many operations of the chain as it can bring about."""

    def __init__(self, server: lamina.Server) -> None:
        self._cache: dict[str, Any] = {}
        self._arguments: dict[str, Any] = {
            "username": server.username,
            "password": server.password,
            "port": server.port,
            "connection_cache": self._cache,
        }

    def call(self, function: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        return function(*arguments, **more, **self._arguments)

    def all(self, share: str) -> None:
        """Everything, however much of it fails."""
        base = rf"\\127.0.0.1\{share}"
        file, folder = rf"{base}\file", rf"{base}\folder"
        steps: list[Callable[[], Any]] = [
            lambda: self._write(file, b"content"),
            lambda: self._read(file),
            lambda: self._write(rf"{file}:stream", b"stream"),
            lambda: self.call(smbclient.stat, file),
            lambda: self.call(smbclient.truncate, file, 3),
            lambda: self.call(smbclient.utime, file, times=(1, 2)),
            lambda: self.call(smbclient.setxattr, file, "name", b"value"),
            lambda: self.call(smbclient.listxattr, file),
            lambda: self.call(smbclient.mkdir, folder),
            lambda: self.call(smbclient.listdir, base),
            lambda: self.call(smbclient.link, file, rf"{base}\second"),
            lambda: self.call(smbclient.rename, file, rf"{base}\moved"),
            lambda: self.call(smbclient.stat_volume, base),
            lambda: self.call(smbclient.rmdir, folder),
            *(lambda name=name: self.call(smbclient.remove, rf"{base}\{name}") for name in ("file", "moved", "second")),
        ]
        for step in steps:
            with contextlib.suppress(SMBException, OSError):
                step()

    def _write(self, path: str, data: bytes) -> None:
        with self.call(smbclient.open_file, path, mode="wb", share_access="rwd") as file:
            file.write(data)

    def _read(self, path: str) -> bytes:
        with self.call(smbclient.open_file, path, mode="rb", share_access="rwd") as file:
            return bytes(file.read())

    def alone(self, share: str) -> bytes:
        """Write and read a file that nobody else may have open, and remove it."""
        path = rf"\\127.0.0.1\{share}\file"
        with self.call(smbclient.open_file, path, mode="wb", share_access="") as file:
            file.write(b"mine")
        with self.call(smbclient.open_file, path, mode="rb", share_access="") as file:
            data = bytes(file.read())
        self.call(smbclient.remove, path)
        return data

    def close(self) -> None:
        smbclient.reset_connection_cache(fail_on_error=False, connection_cache=self._cache)


@pytest.fixture(scope="module")
def module() -> Raises:
    return Raises()


@pytest.fixture(scope="module")
def server(module: Raises, tmp_path_factory: pytest.TempPathFactory) -> Iterator[lamina.Server]:
    folder = tmp_path_factory.mktemp("shares")
    for share in ("data", "other"):
        (folder / share).mkdir()
    shares = {"data": ShareSpec(folder / "data", chain=(module, *BELOW)), "other": ShareSpec(folder / "other")}
    with lamina.Server(shares) as server:
        yield server


@pytest.mark.parametrize("error", [RuntimeError("boom"), SystemExit(3), Odd("odd")], ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("name", REACHED)
def test_whatever_is_raised_every_request_is_answered(
    server: lamina.Server, module: Raises, name: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    work = Work(server)
    before = module.raised
    module.armed = name, error
    try:
        work.all("data")
        assert work.alone("other") == b"mine"
    finally:
        module.armed = None
    work.close()
    again = Work(server)
    again.all("data")
    assert again.alone("data") == b"mine"
    again.close()
    told = [record for record in caplog.records if "module raises in maybe" in record.getMessage()]
    assert len([record for record in told if record.levelno >= logging.ERROR]) <= 1, "the same is told once a minute"
    assert not any(record.exc_info for record in caplog.records if record.levelno >= logging.ERROR)
    assert module.raised > before
