"""`lamina run`, `check` and `reload`: a server from a configuration file."""

import contextlib
import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lamina.core.cli.accounts import open_accounts
from lamina.core.cli.errors import CliError
from lamina.core.cli.foreground import Started, on_hangup, serve_until_stopped, set_up_log, sink, write
from lamina.core.config.diagnostics import ConfigurationError
from lamina.core.config.loading import Configuration, Tolerates, load
from lamina.core.control import NotRunningError, answering
from lamina.core.handles import handle_commands
from lamina.core.identity.explain import summary
from lamina.core.reload import (
    AlreadyRunningError,
    Instance,
    Reloader,
    ReloadResult,
    refusals,
    reload_command,
    request_reload,
)
from lamina.core.reporter import Reporter
from lamina.core.runtime import Runtime
from lamina.core.status import status_command
from lamina.core.tracing import trace_command

log = logging.getLogger(__name__)

DEFAULT_CONFIG = Path("/etc/lamina/lamina.toml")
ConfigOption = Annotated[Path, Parameter(name=["--config", "-c"])]


def run(*, config: ConfigOption = DEFAULT_CONFIG, json: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Serve what a configuration file says, in the foreground, until SIGTERM or Ctrl-C.

    Parameters
    ----------
    config
        The configuration file.
    json
        Print one JSON object per line for every event instead of text.
    """
    configuration = load_configuration(config, lambda share, modules: True)
    set_up_log(configuration.server.log_level, json or configuration.server.log_format == "json")
    for line in refusals(configuration):
        log.error("%s", line)
    try:
        instance = Instance(config)
    except (AlreadyRunningError, OSError) as error:
        raise CliError(str(error)) from error
    reporter = Reporter(sink(json))
    with instance:
        if configuration.server.workers > 1:
            # What only several workers need is not there where one is enough.
            from lamina.core.cli.supervising import supervise

            supervise(instance, configuration, reporter, json)
            return
        accounts = open_accounts(configuration.accounts)
        started = _control(instance, configuration, reporter, not json)
        serve_until_stopped(configuration.plan, accounts, configuration.authentication, reporter, started)


def _control(instance: Instance, configuration: Configuration, reporter: Reporter, for_people: bool) -> Started:
    def reloaded(result: ReloadResult) -> None:
        reporter.emit("reloaded", changes=[*result.changes, *result.notes], errors=list(result.errors))
        for line in result.errors:
            log.error("not reloaded: %s", line)
        for line in result.notes:
            log.warning("%s", line)

    @contextlib.asynccontextmanager
    async def started(runtime: Runtime) -> AsyncIterator[None]:
        reloader = Reloader(runtime, configuration, reloaded)
        commands = {
            "reload": reload_command(reloader.reload),
            "status": status_command(runtime),
            **handle_commands(runtime),
            "trace": trace_command(runtime.tracing),
        }
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(answering(instance.socket_file, commands))
            except OSError as error:
                why = error.strerror or error
                raise CliError(f"the control socket {instance.socket_file} cannot be made: {why}") from error
            await stack.enter_async_context(on_hangup(reloader.reload))
            if for_people:
                _say_listening(runtime)
            yield

    return started


def check(config: Path = DEFAULT_CONFIG, /) -> None:
    """Say all that is wrong with a configuration file, or how the chain of each share is composed.

    Parameters
    ----------
    config
        The configuration file.
    """
    configuration = load_configuration(config)
    for name, chain in configuration.chains().items():
        write(f"share {name}: {' → '.join(spec_name(module) for module in chain.modules)}")
        for operation, modules in chain.explain().items():
            write(f"    {operation:<20} {' → '.join(modules) or '(not supported)'}")
    for line in summary(configuration.authentication.identity):
        write(f"identity: {line}")
    write(f"{config}: no errors")


def reload(*, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Let the running server read its configuration file again, without dropping a connection.

    Parameters
    ----------
    config
        The configuration file that the server was started with.
    """
    try:
        result = request_reload(config)
    except NotRunningError as error:
        raise CliError(str(error)) from error
    if result.errors:
        raise CliError("nothing has changed:\n" + "\n".join(result.errors))
    write("reloaded: " + ("; ".join((*result.changes, *result.notes)) or "nothing has changed"))


def spec_name(module: object) -> str:
    """What a module is called."""
    return str(getattr(module, "name", "")) or type(module).__qualname__


def _say_listening(runtime: Runtime) -> None:
    where = ", ".join(map(str, runtime.bound))
    write(f"serving {', '.join(runtime.shares())} on {where}")


def load_configuration(config: Path, tolerates: Tolerates | None = None) -> Configuration:
    """Read a configuration file. Raises CliError, with all that is wrong told on stderr."""
    try:
        return load(config, tolerates)
    except ConfigurationError as error:
        for problem in error.problems:
            sys.stderr.write(f"{problem}\n")
        count = len(error.problems)
        raise CliError(f"{count} error{'' if count == 1 else 's'} in {config}") from error
