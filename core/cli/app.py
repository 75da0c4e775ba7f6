"""The commands of `lamina` and what they have in common. Each command's own code is imported when it runs."""

import sys
from collections.abc import Sequence

from cyclopts import App

from lamina import __version__
from lamina.core.cli.audit import app as audit_app
from lamina.core.cli.errors import CliError
from lamina.core.cli.groups import app as group_app
from lamina.core.cli.handles import app as handles_app
from lamina.core.cli.identity import identity
from lamina.core.cli.modules import app as module_app
from lamina.core.cli.recycle import app as recycle_app
from lamina.core.cli.replay import replay
from lamina.core.cli.running import check, reload, run
from lamina.core.cli.serving import serve
from lamina.core.cli.status import status
from lamina.core.cli.trace import trace
from lamina.core.cli.users import app as user_app
from lamina.core.compiled import in_short

app = App(
    name="lamina",
    version=f"{__version__}{in_short()}",
    help="An SMB2/3 file server for Windows, macOS and Linux clients.",
)
app.command(serve)
app.command(run)
app.command(check)
app.command(reload)
app.command(status)
app.command(trace)
app.command(replay)
app.command(handles_app)
app.command(identity, name="id")
app.command(user_app)
app.command(group_app)
app.command(module_app)
app.command(audit_app)
app.command(recycle_app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `lamina` with `arguments` (default: the process's). Exits with 1 for a failure, 2 for wrong usage."""
    try:
        app(arguments)
    except CliError as error:
        sys.stderr.write(f"lamina: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
