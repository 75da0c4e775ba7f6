"""Asking a running server through its control socket, from the command line."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lamina.core.cli.errors import CliError
from lamina.core.control import NotRunningError, ask, serving_sockets
from lamina.core.reload import socket_of

DEFAULT_CONFIG = Path("/etc/lamina/lamina.toml")


def ask_server(config: Path | None, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The lines that the server of a configuration file answers with; without one the usual, or a `lamina serve`.

    Raises CliError where no server runs, or it refuses.
    """
    sockets = [socket_of(config)] if config is not None else [socket_of(DEFAULT_CONFIG), *serving_sockets()]
    for socket in sockets:
        try:
            for line in ask(socket, request):
                if "errors" in line:
                    raise CliError("; ".join(line["errors"]))
                yield line
        except NotRunningError:
            continue
        return
    raise CliError(f"no server runs with {config}" if config is not None else "no server of yours runs")
