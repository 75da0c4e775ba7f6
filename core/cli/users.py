"""`lamina user`: the accounts database, from the command line.

A password is never an argument, where every user of the machine could read it: it is asked for, or read from stdin.
"""

import contextlib
import getpass
import pwd
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from lamina.core.auth.account import Account
from lamina.core.auth.account_database import SqliteAccounts
from lamina.core.cli.accounts import open_accounts
from lamina.core.cli.errors import CliError
from lamina.core.cli.foreground import write
from lamina.core.config.model import DEFAULT_ACCOUNTS

NameArgument = Annotated[str, Parameter(help="The name to log on with.")]
AccountsOption = Annotated[Path, Parameter(help="The accounts database.")]
StdinOption = Annotated[bool, Parameter(help="Read the password from stdin, one line.", negative=())]

app = App(name="user", help="The users who may log on.")


@app.command
def add(
    name: NameArgument,
    /,
    *,
    uid: Annotated[int | None, Parameter(help="Whose files they are; by default the namesake's.")] = None,
    gid: Annotated[int | None, Parameter(help="The group of new files; by default that user's.")] = None,
    group: Annotated[tuple[str, ...], Parameter(help="A group, repeatable.", negative=())] = (),
    password_stdin: StdinOption = False,
    accounts: AccountsOption = DEFAULT_ACCOUNTS,
) -> None:
    """Add a user. Members of the group "administrators" administer the server."""
    with accounts_database(accounts) as database:
        if database.lookup(name) is not None:
            raise CliError(f"there is a user {name!r} already; lamina user passwd changes the password")
        uid, gid = _ids(name, uid, gid)
        database.add(name, _new_password(name, password_stdin), uid=uid, gid=gid, groups=group)
    write(f"added {name} (uid {uid}, gid {gid})")


@app.command(name="set")
def set_(
    name: NameArgument,
    /,
    *,
    group: Annotated[
        tuple[str, ...] | None, Parameter(help="A group, repeatable; of these and no others.", negative="--no-group")
    ] = None,
    privilege: Annotated[
        tuple[str, ...] | None,
        Parameter(help='A privilege, such as "SeBackupPrivilege", repeatable.', negative="--no-privilege"),
    ] = None,
    claim: Annotated[
        tuple[str, ...] | None,
        Parameter(help='A claim for conditions, "department=Finance", repeatable.', negative="--no-claim"),
    ] = None,
    sid: Annotated[
        tuple[str, ...] | None,
        Parameter(help="A further SID that means the user, as of a server before, repeatable.", negative="--no-sid"),
    ] = None,
    accounts: AccountsOption = DEFAULT_ACCOUNTS,
) -> None:
    """Change what a user is; each option replaces all that there was of its kind, --no-OPTION leaves none.

    It counts from the next logon on.
    """
    with accounts_database(accounts) as database:
        _known(database, name)
        if group is not None:
            database.set_groups(name, group)
        if privilege is not None:
            database.set_privileges(name, privilege)
        if claim is not None:
            database.set_claims(name, _claims(claim))
        if sid is not None:
            database.set_sids(name, sid)
    write(f"changed {name}")


def _claims(texts: tuple[str, ...]) -> dict[str, list[int | str]]:
    claims: dict[str, list[int | str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise CliError(f"{text!r} must be NAME=VALUE")
        claims.setdefault(name.lower(), []).append(int(value) if value.lstrip("-").isdecimal() else value)
    return claims


@app.command
def passwd(
    name: NameArgument, /, *, password_stdin: StdinOption = False, accounts: AccountsOption = DEFAULT_ACCOUNTS
) -> None:
    """Give a user another password."""
    with accounts_database(accounts) as database:
        _known(database, name)
        database.set_password(name, _new_password(name, password_stdin))
    write(f"changed the password of {name}")


@app.command(name="list")
def list_(*, accounts: AccountsOption = DEFAULT_ACCOUNTS) -> None:
    """List the users."""
    with accounts_database(accounts) as database:
        for name in sorted(database.names(), key=str.lower):
            account = _known(database, name)
            state = "  disabled" if account.disabled else ""
            write(f"{account.name:<20} uid {account.uid:<6} gid {account.gid:<6} {account.sid}{state}")


@app.command
def remove(name: NameArgument, /, *, accounts: AccountsOption = DEFAULT_ACCOUNTS) -> None:
    """Remove a user; files stay."""
    with accounts_database(accounts) as database:
        _known(database, name)
        database.remove(name)
    write(f"removed {name}")


@app.command(name="import")
def import_(
    file: Annotated[Path | None, Parameter(help="The file, or - for stdin.", allow_leading_hyphen=True)] = None,
    /,
    *,
    accounts: AccountsOption = DEFAULT_ACCOUNTS,
) -> None:
    """Take over Samba's users, passwords and all: from an smbpasswd file, or what `pdbedit -Lw` prints.

    Who is known already gets the password of the file. Either all lines are taken over, or on an error none.
    """
    text = _text_of(file)
    with accounts_database(accounts) as database:
        done = database.import_smbpasswd(text)
    for verb, names in (("added", done.added), ("changed the password of", done.updated)):
        for name in names:
            write(f"{verb} {name}")
    for skipped in done.skipped:
        sys.stderr.write(f"line {skipped.line}: {skipped.name} left out: {skipped.reason}\n")
    if not done.added and not done.updated:
        raise CliError("nobody was imported")


def _text_of(file: Path | None) -> str:
    if file is None or str(file) == "-":
        return sys.stdin.read()
    try:
        return file.read_text(errors="surrogateescape")
    except OSError as error:
        raise CliError(f"{file}: {error.strerror or error}") from error


@contextlib.contextmanager
def accounts_database(path: Path) -> Iterator[SqliteAccounts]:
    """The database at `path`; its errors become those of a command."""
    database = open_accounts(path)
    try:
        yield database
    except (OSError, ValueError, LookupError) as error:
        raise CliError(str(error)) from error
    finally:
        database.close()


def _known(database: SqliteAccounts, name: str) -> Account:
    account = database.lookup(name)
    if account is None:
        raise CliError(f"there is no user {name!r}")
    return account


def _ids(name: str, uid: int | None, gid: int | None) -> tuple[int, int]:
    try:
        system = pwd.getpwnam(name) if uid is None else pwd.getpwuid(uid)
    except KeyError:
        if uid is None or gid is None:
            raise CliError(f"the system has no such user as {name!r}: say --uid and --gid") from None
        return uid, gid
    return system.pw_uid, system.pw_gid if gid is None else gid


def _new_password(name: str, from_stdin: bool) -> str:
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = getpass.getpass(f"New password of {name}: ")
        if getpass.getpass("Once more: ") != password:
            raise CliError("the two passwords differ")
    if not password:
        raise CliError("an empty password is no password")
    return password
