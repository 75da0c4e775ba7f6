"""Opening the accounts database for a command."""

from pathlib import Path

from lamina.core.auth.account_database import SqliteAccounts
from lamina.core.cli.errors import CliError


def open_accounts(path: Path) -> SqliteAccounts:
    """The accounts database at `path`, made if there is none. Raises CliError."""
    try:
        return SqliteAccounts(path)
    except OSError as error:
        raise CliError(f"accounts {path}: {error.strerror or error}") from error
