"""The command `lamina`. `main` is what the installed script and `python -m lamina.core.cli` call."""

from lamina.core.cli.app import main

__all__ = ["main"]
