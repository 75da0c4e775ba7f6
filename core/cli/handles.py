"""`lamina handles`: which files are open on a running server, and closing them."""

import json as json_text
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from lamina.core.cli.asking import ask_server
from lamina.core.cli.errors import CliError
from lamina.core.cli.foreground import write
from lamina.core.handles import as_line
from lamina.core.reporter import printable

ConfigOption = Annotated[
    Path | None,
    Parameter(
        name=["--config", "-c"],
        help="The configuration file of the server; without it the usual one, or a `lamina serve` of yours.",
    ),
]

app = App(name="handles", help="Open files of a running server, and those that wait for clients without connection.")


@app.command(name="list")
def list_(
    *,
    share: Annotated[str, Parameter(help="Only those of this share.")] = "",
    json: Annotated[bool, Parameter(help="One JSON object per line.", negative=())] = False,
    config: ConfigOption = None,
) -> None:
    """List open files: id, user and client, where, for how long, what was promised and is cached, locks, time left."""
    for listed in ask_server(config, {"command": "handles", "share": share}):
        write(json_text.dumps(listed) if json else printable(as_line(listed)))


@app.command
def close(
    *ids: Annotated[int, Parameter(help="What the list calls them.")],
    config: ConfigOption = None,
) -> None:
    """Close open files, whatever their clients do with them; what those have not written yet is lost."""
    answers = ask_server(config, {"command": "close handles", "ids": list(ids)})
    closed: list[int] = next(answers, {"closed": []})["closed"]
    for number in closed:
        write(f"closed {number}")
    missing = [str(number) for number in ids if number not in closed]
    if missing:
        raise CliError(f"not open: {', '.join(missing)}")
