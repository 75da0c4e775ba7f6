"""`lamina status`: how a running server is, down to the modules of each share."""

import json as json_text
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from lamina.core.cli.asking import ask_server
from lamina.core.cli.errors import CliError
from lamina.core.cli.foreground import write
from lamina.core.handles import as_line
from lamina.core.reporter import printable
from lamina.core.status import as_metrics, as_text


def status(
    *,
    config: Annotated[Path | None, Parameter(name=["--config", "-c"])] = None,
    json: Annotated[bool, Parameter(negative=())] = False,
    metrics: Annotated[bool, Parameter(negative=())] = False,
    handles: Annotated[bool, Parameter(negative=())] = False,
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
    handles
        Tell of every open file, too, as `lamina handles list` does.
    """
    shown = _ask(config)
    if handles:
        shown["handles"] = list(ask_server(config, {"command": "handles"}))
    lines = as_metrics(shown) if metrics else (json_text.dumps(shown),) if json else as_text(shown)
    for line in lines:
        write(line)
    if handles and not json and not metrics:
        write("")
        for listed in shown["handles"]:
            write(printable(as_line(listed)))
    if any(module["health"] == "failed" for share in shown["shares"] for module in share["modules"]):
        sys.exit(1)


def _ask(config: Path | None) -> dict[str, Any]:
    answer = next(ask_server(config, {"command": "status"}), None)
    if answer is None:
        raise CliError("the server ended before it answered")
    return answer
