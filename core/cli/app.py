"""The commands of `lamina` and what they have in common. Each command's own code is imported when it runs."""

import sys
from collections.abc import Sequence

from cyclopts import App

from lamina import __version__
from lamina.core.cli import modules, running, serving, users
from lamina.core.cli.errors import CliError

app = App(name="lamina", version=__version__, help="An SMB2/3 file server for Windows, macOS and Linux clients.")
app.command(serving.serve)
app.command(running.run)
app.command(running.check)
app.command(running.reload)
app.command(users.app)
app.command(modules.app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `lamina` with `arguments` (default: the process's). Exits with 1 for a failure, 2 for wrong usage."""
    try:
        app(arguments)
    except CliError as error:
        sys.stderr.write(f"lamina: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
