"""`lamina run` with several workers: the supervisor in the foreground."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

from lamina.core.cli.errors import CliError
from lamina.core.cli.foreground import notify, on_hangup, why_not_listening, write
from lamina.core.config.diagnostics import ConfigurationError
from lamina.core.config.loading import Configuration, load
from lamina.core.control import answering
from lamina.core.plan import Listener
from lamina.core.reload import Instance, ReloadResult, changes, reload_command
from lamina.core.reporter import Reporter
from lamina.core.runtime import StartError
from lamina.core.server import new_event_loop
from lamina.core.workers.gathering import all_answers, gathered_commands
from lamina.core.workers.supervisor import Supervisor

log = logging.getLogger(__name__)

_COUNTS = ("connections", "sessions", "opens", "requests", "bytes_received", "bytes_sent")


def supervise(instance: Instance, configuration: Configuration, reporter: Reporter, as_json: bool) -> None:
    """Serve by several workers until SIGINT or SIGTERM. Raises CliError."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_Supervised(configuration, reporter, as_json).serve(instance))


class _Supervised:
    """A server of several workers, and the configuration that it has now."""

    def __init__(self, configuration: Configuration, reporter: Reporter, as_json: bool) -> None:
        self._configuration = configuration
        self._reporter = reporter
        self._as_json = as_json
        self._lock = asyncio.Lock()
        self._bound: dict[Listener, int] = {}

    async def serve(self, instance: Instance) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        server = self._configuration.server
        file = str(self._configuration.file.absolute())
        command = (sys.executable, "-m", "lamina.core.workers", file, "json" if self._as_json else "text")
        self._supervisor = Supervisor(command, server.workers, self._configuration.plan.settings.limits)
        self._supervisor.ended = lambda number, status: self._reporter.emit(
            "worker_ended", worker=number, status=status
        )
        try:
            await self._start()
            commands = {"reload": reload_command(self.reload), **gathered_commands(self._supervisor)}
            async with answering(instance.socket_file, commands), on_hangup(self.reload):
                self._say_listening()
                notify("READY=1")
                await stop.wait()
                notify("STOPPING=1")
        finally:
            await self._supervisor.stop()
        self._reporter.emit("stopped", **{key: self._supervisor.statistics[key] for key in _COUNTS})

    async def _start(self) -> None:
        try:
            await self._supervisor.start()
            await self._listen(self._configuration.plan.listeners)
        except StartError as error:
            raise CliError(str(error)) from error
        except OSError as error:
            raise CliError(why_not_listening(self._configuration.plan, error)) from error

    async def _listen(self, listeners: Sequence[Listener]) -> None:
        new = [listener for listener in listeners if listener not in self._bound]
        try:
            for listener in new:
                self._bound[listener] = await self._supervisor.listen(listener.address, listener.port)
        except BaseException:
            self._stop_listening([listener for listener in new if listener in self._bound])
            raise

    def _stop_listening(self, listeners: Sequence[Listener]) -> None:
        for listener in listeners:
            self._supervisor.stop_listening(listener.address, self._bound.pop(listener))

    def _say_listening(self) -> None:
        places = [Listener(listener.address, port) for listener, port in self._bound.items()]
        shares = list(self._configuration.plan.shares)
        addresses = [{"address": place.address, "port": place.port} for place in places]
        pids = [worker.process.pid for worker in self._supervisor.workers.values()]
        self._reporter.emit("listening", pid=os.getpid(), listeners=addresses, shares=shares, workers=pids)
        if not self._as_json:
            write(f"serving {', '.join(shares)} on {', '.join(map(str, places))} by {len(pids)} workers")

    # -- reload -------------------------------------------------------------------------------------------------

    async def reload(self) -> ReloadResult:
        """Reload: first what only the supervisor has, then each worker; never raises what a wrong file causes."""
        async with self._lock:
            result = await self._reload()
        self._reporter.emit("reloaded", changes=[*result.changes, *result.notes], errors=list(result.errors))
        for line in result.errors:
            log.error("not reloaded: %s", line)
        return result

    async def _reload(self) -> ReloadResult:
        old = self._configuration
        try:
            new = await asyncio.to_thread(load, old.file, lambda share, names: old.chain_names.get(share) == names)
            await self._listen(new.plan.listeners)
        except ConfigurationError as error:
            return ReloadResult(errors=tuple(map(str, error.problems)))
        except OSError as error:
            return ReloadResult(errors=(str(error),))
        replies = [lines[0] for lines in await all_answers(self._supervisor, {"command": "reload"}) if lines]
        errors = tuple(dict.fromkeys(error for reply in replies for error in reply.get("errors", ())))
        if errors:
            return ReloadResult(errors=errors)
        self._stop_listening([listener for listener in self._bound if listener not in new.plan.listeners])
        self._configuration = new
        self._supervisor.reception.limits = new.plan.settings.limits
        notes = tuple(dict.fromkeys(note for reply in replies for note in reply.get("notes", ())))
        return ReloadResult(changes(old.plan, new.plan), notes)
