"""Commands to a Ceph cluster's monitors through librados: the `ceph` program takes half a second for each."""

import ctypes
import json
from pathlib import Path
from types import TracebackType
from typing import Any


class Monitors:
    """A connection to the monitors with the rights of the administrator, as a context manager."""

    def __init__(self, configuration: Path, seconds: int) -> None:
        """Connect; raises OSError where they do not answer in so many seconds."""
        self._library = ctypes.CDLL("librados.so.2")
        self._cluster = ctypes.c_void_p()
        _checked(self._library.rados_create(ctypes.byref(self._cluster), b"admin"))
        _checked(self._library.rados_conf_read_file(self._cluster, bytes(configuration)))
        for option in (b"client_mount_timeout", b"rados_mon_op_timeout"):
            _checked(self._library.rados_conf_set(self._cluster, option, b"%d" % seconds))
        _checked(self._library.rados_connect(self._cluster))

    def ask(self, prefix: str, **arguments: Any) -> Any:
        """One command, and its answer as JSON gives it. Raises OSError with what the monitors said."""
        command = ctypes.c_char_p(json.dumps({"prefix": prefix, "format": "json", **arguments}).encode())
        answer, answer_length = ctypes.c_void_p(), ctypes.c_size_t()
        status, status_length = ctypes.c_void_p(), ctypes.c_size_t()
        result = self._library.rados_mon_command(
            self._cluster,
            ctypes.byref(command),
            ctypes.c_size_t(1),
            None,
            ctypes.c_size_t(0),
            *(ctypes.byref(answer), ctypes.byref(answer_length), ctypes.byref(status), ctypes.byref(status_length)),
        )
        said = self._taken(answer, answer_length)
        _checked(result, f"{prefix}: {self._taken(status, status_length).decode()}")
        return json.loads(said) if said.strip() else None

    def _taken(self, buffer: ctypes.c_void_p, length: ctypes.c_size_t) -> bytes:
        """What the library has put into a buffer of its own, which is given back."""
        if not buffer.value:
            return b""
        taken = ctypes.string_at(buffer.value, length.value)
        self._library.rados_buffer_free(buffer)
        return taken

    def __enter__(self) -> "Monitors":
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._library.rados_shutdown(self._cluster)


def _checked(result: int, what: str = "librados") -> None:
    if result < 0:
        raise OSError(-result, what)
