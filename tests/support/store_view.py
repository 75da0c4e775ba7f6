"""A second view of a store: a client that is not Lamina's, in a process of its own, as the libraries may hang for ever.

`python -m tests.support.store_view KIND ARGUMENT...` is that process: pickled calls on stdin, their results on stdout.
"""

import contextlib
import errno
import pickle
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.processes import REPOSITORY

_TRIES = 200


class Stat(NamedTuple):
    """What is told of a file; `mode` with its type."""

    uid: int
    gid: int
    mode: int
    size: int


class StoreView:
    """The administrator's view of a store. Paths begin with a slash; all methods raise OSError."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._asking = threading.Lock()

    def stat(self, path: str) -> Stat:
        return Stat(*self._ask("stat", path))

    def read(self, path: str) -> bytes:
        return bytes(self._ask("read", path))

    def write(self, path: str, data: bytes) -> None:
        """Write a whole file; it is made where there is none."""
        self._ask("write", path, data)

    def names(self, path: str) -> list[str]:
        """What is in a folder, sorted."""
        return list(self._ask("names", path))

    def make_folder(self, path: str) -> None:
        self._ask("make_folder", path)

    def remove_folder(self, path: str) -> None:
        self._ask("remove_folder", path)

    def remove(self, path: str) -> None:
        """Remove a file."""
        self._ask("remove", path)

    def give(self, path: str, uid: int, gid: int, mode: int) -> None:
        """Change owner, group and mode."""
        self._ask("give", path, uid, gid, mode)

    def attribute(self, path: str, name: str) -> bytes:
        """The value of an extended attribute."""
        return bytes(self._ask("attribute", path, name))

    def set_attribute(self, path: str, name: str, value: bytes) -> None:
        """Set an extended attribute."""
        self._ask("set_attribute", path, name, value)

    def empty(self, path: str) -> None:
        """Remove what is in a folder, also what a server still removes or makes."""
        for _ in range(_TRIES):
            for name in self.names(path):
                with contextlib.suppress(FileNotFoundError):
                    self._remove_all(f"{path.rstrip('/')}/{name}")
            if not self.names(path):
                return
            time.sleep(0.05)
        raise OSError(errno.ENOTEMPTY, f"{path} does not become empty")

    def _remove_all(self, path: str) -> None:
        if not stat.S_ISDIR(self.stat(path).mode):
            self.remove(path)
            return
        try:
            self.remove_folder(path)
        except OSError:
            self.empty(path)

    def _ask(self, method: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._asking:
            pickle.dump((method, arguments), self._process.stdin)
            self._process.stdin.flush()
            result = pickle.load(self._process.stdout)
        if isinstance(result, Exception):
            raise result
        return result


@contextlib.contextmanager
def store_view(kind: str, *arguments: str | Path) -> Iterator[StoreView]:
    """A view for the time of a with block: `ceph` CONFIGURATION FILESYSTEM, or `gluster` HOST VOLUME."""
    command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.support.store_view", kind, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY)
    with process:
        try:
            yield StoreView(process)
        finally:
            process.kill()


def _serve(view: Any) -> None:
    """Do what is asked, until nobody is left to ask."""
    with contextlib.suppress(EOFError):
        while True:
            method, arguments = pickle.load(sys.stdin.buffer)
            try:
                result = getattr(view, method)(*arguments)
            except OSError as error:
                result = error
            pickle.dump(result, sys.stdout.buffer)
            sys.stdout.buffer.flush()


def main() -> None:
    """Serve the view that the command line asks for."""
    from tests.support.ceph_view import CephView
    from tests.support.gluster_view import GlusterView

    kind, first, second = sys.argv[1:]
    _serve(CephView(Path(first), second) if kind == "ceph" else GlusterView(first, second))


if __name__ == "__main__":
    main()
