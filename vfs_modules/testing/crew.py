"""Several processes of one server, as a check has them: each has the chain of the profile over one folder.

They are started by multiprocessing's fork server, which has the code in its memory already.
"""

import multiprocessing
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any, Final

from lamina.vfs_modules.engine import offload
from lamina.vfs_modules.testing.trial import LeftOut, NotClaimed, Trial
from lamina.vfs_modules.token import SERVER_TOKEN

_WORK: Final = "lamina.vfs_modules.testing.process_work"
_LAYER: Final = "lamina.vfs_modules."
_PATIENCE: Final = 20.0
_starting: Final = multiprocessing.get_context("forkserver")


class Colleague:
    """One of the processes."""

    def __init__(self, process: Any, connection: Connection) -> None:
        self._process = process
        self._connection = connection

    def begin(self, deed: str, *arguments: Any) -> None:
        """Have it begin with something."""
        from lamina.vfs_modules.testing.process_work import Errand

        self._connection.send(Errand(deed, arguments))

    def result(self) -> Any:
        """What came of it. Raises OSError as it was raised there, AssertionError where the process has ended."""
        try:
            how, result = offload(SERVER_TOKEN, self._connection.recv)
        except EOFError:
            raise AssertionError("a process of the server has ended by itself") from None
        if how == "error":
            raise OSError(*result)
        assert how == "done", result
        return result

    def do(self, deed: str, *arguments: Any) -> Any:
        """Have something done, and wait for it."""
        self.begin(deed, *arguments)
        return self.result()

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self._process.kill()
        offload(SERVER_TOKEN, self._process.join)
        assert self._process.exitcode == -signal.SIGKILL

    def end(self) -> None:
        """Let it end in order."""
        self._connection.close()
        offload(SERVER_TOKEN, self._process.join, _PATIENCE)
        if self._process.exitcode is None:
            self._process.kill()
            offload(SERVER_TOKEN, self._process.join)
            raise AssertionError(f"a process of the server does not end within {_PATIENCE:g} s")
        assert self._process.exitcode in {0, -signal.SIGKILL}, "a process of the server has failed at its end"


@contextmanager
def two_processes(trial: Trial) -> Iterator[tuple[Colleague, Colleague]]:
    """Two processes over the folder of a trial."""
    _require_several(trial)
    crew = tempfile.mkdtemp(prefix="lamina-crew-")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, crew, ignore_errors=True)
        yield _started(trial, crew, 1, stack), _started(trial, crew, 2, stack)


def _require_several(trial: Trial) -> None:
    with trial.chain() as chain:
        if any(module.one_process() for module in chain.modules):
            raise NotClaimed
    try:
        import lmdb  # noqa: F401
    except ImportError:
        raise LeftOut("pip install lmdb: several processes share its memory") from None


def _started(trial: Trial, crew: str, number: int, stack: ExitStack) -> Colleague:
    from lamina.vfs_modules.testing.process_work import Seat, serve

    # What is in this process's memory is in that of the fork server, too, and need not be read by each it starts.
    _starting.set_forkserver_preload([_WORK, *(name for name in sys.modules if name.startswith(_LAYER))])
    ours, theirs = _starting.Pipe()
    seat = Seat(crew, number, trial.profile.processes, str(trial.folder))
    process = _starting.Process(target=serve, args=(seat, theirs), daemon=True)
    offload(SERVER_TOKEN, process.start)
    theirs.close()
    colleague = Colleague(process, ours)
    stack.callback(colleague.end)
    colleague.result()
    return colleague


__all__ = ["Colleague", "two_processes"]
