"""`lamina trace`: what a running server does for each request, down to the modules of the chain."""

import contextlib
import json as json_text
import sys
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from lamina.core.cli.errors import CliError
from lamina.core.cli.foreground import write
from lamina.core.cli.trace_text import HEADING, lines
from lamina.core.control import NotRunningError, ask, serving_sockets
from lamina.core.reload import socket_of

DEFAULT_CONFIG = Path("/etc/lamina/lamina.toml")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which requests to show; patterns have * and ?, and mean any case."""

    user: Annotated[str, Parameter(help="Those of this user (a pattern).")] = ""
    client: Annotated[str, Parameter(help="Those from this address (a pattern).")] = ""
    operation: Annotated[str, Parameter(help="This SMB command, or in which this operation of a module was done.")] = ""
    path: Annotated[
        str, Parameter(help='Those of this path from the share\'s root, "/" between names (a pattern).')
    ] = ""
    module: Annotated[str, Parameter(help="In which this module of the chain took part.")] = ""
    failures: Annotated[bool, Parameter(help="Which were refused.", negative=())] = False
    slower_us: Annotated[float, Parameter(name="--slower", help="Which took so many microseconds or more.")] = 0


def trace(
    share: str,
    /,
    *,
    wanted: Wanted | None = None,
    config: Annotated[Path | None, Parameter(name=["--config", "-c"])] = None,
    count: int = 0,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Show live each request of a share, what was done for it in the chain, and the time that each module took.

    Only the server's own user and root may. Ctrl-C ends it; the server is then as it was before.

    Parameters
    ----------
    share
        The name of the share.
    wanted
        Which requests to show.
    config
        The configuration file that the server was started with; without it the server of the usual one, or a
        `lamina serve` of yours that has the share.
    count
        End after so many requests.
    json
        Print one JSON object per line.
    """
    shown = 0
    with contextlib.closing(_records(share, wanted or Wanted(), config)) as records:
        for record in records:
            if json:
                write(json_text.dumps(record))
            elif "dropped" in record:
                write(f"({record['dropped']} requests are not shown: they came faster than they could be taken)")
            else:
                for line in lines(record):
                    write(line)
            shown += "dropped" not in record
            if count and shown >= count:
                return


def _records(share: str, wanted: Wanted, config: Path | None) -> Generator[dict[str, Any], None, None]:
    request = {"command": "trace", "share": share, "filter": asdict(wanted)}
    complaints = []
    sockets = [socket_of(config)] if config is not None else [socket_of(DEFAULT_CONFIG), *serving_sockets()]
    for socket in sockets:
        answers = ask(socket, request)
        try:
            first: Mapping[str, Any] = next(answers, {"errors": ["the server ended before it answered"]})
        except NotRunningError:
            continue
        if "errors" in first:
            complaints += first["errors"]
            continue
        sys.stderr.write(f"tracing {share}; Ctrl-C ends it\n{HEADING}\n")
        yield from answers
        return
    raise CliError("\n".join(complaints) or f"no server runs with {config or f'{DEFAULT_CONFIG}, and no lamina serve'}")
