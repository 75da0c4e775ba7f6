"""`lamina status`: how a running server is, down to the modules of each share."""

import json as json_text
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from lamina.core.cli.errors import CliError
from lamina.core.cli.foreground import write
from lamina.core.control import NotRunningError, ask, serving_sockets
from lamina.core.reload import socket_of
from lamina.core.status import as_metrics, as_text

DEFAULT_CONFIG = Path("/etc/lamina/lamina.toml")


def status(
    *,
    config: Annotated[Path | None, Parameter(name=["--config", "-c"])] = None,
    json: Annotated[bool, Parameter(negative=())] = False,
    metrics: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Tell how a running server is: its shares, how the modules of each are, and what they count.

    Ends with 1 where a module has failed. Only the server's own user and root may ask.

    Parameters
    ----------
    config
        The configuration file that the server was started with; without it the server of the usual one, or a
        `lamina serve` of yours.
    json
        Print one JSON object.
    metrics
        Print what a monitoring system reads, in the text format of Prometheus.
    """
    shown = _ask(config)
    lines = as_metrics(shown) if metrics else (json_text.dumps(shown),) if json else as_text(shown)
    for line in lines:
        write(line)
    if any(module["health"] == "failed" for share in shown["shares"] for module in share["modules"]):
        sys.exit(1)


def _ask(config: Path | None) -> dict[str, Any]:
    sockets = [socket_of(config)] if config is not None else [socket_of(DEFAULT_CONFIG), *serving_sockets()]
    for socket in sockets:
        try:
            answer = next(ask(socket, {"command": "status"}), None)
        except NotRunningError:
            continue
        if answer is None:
            raise CliError("the server ended before it answered")
        if "errors" in answer:
            raise CliError("; ".join(answer["errors"]))
        return answer
    raise CliError(f"no server runs with {config}" if config is not None else "no server of yours runs")
