"""`lamina group`: the groups of the accounts database."""

from typing import Annotated

from cyclopts import App, Parameter

from lamina.core.cli.foreground import write
from lamina.core.cli.users import AccountsOption, accounts_database
from lamina.core.config.model import DEFAULT_ACCOUNTS

NameArgument = Annotated[str, Parameter(help="The group.")]

app = App(name="group", help="The groups that users are in.")


@app.command
def add(
    name: NameArgument,
    /,
    *,
    gid: Annotated[int | None, Parameter(help="The system's group that it stands for.")] = None,
    sid: Annotated[tuple[str, ...] | None, Parameter(help="A further SID that means the group, repeatable.")] = None,
    accounts: AccountsOption = DEFAULT_ACCOUNTS,
) -> None:
    """Add a group, or change the one of that name.

    Members of "administrators" and of "backup operators" have the privileges that they have on Windows.
    """
    with accounts_database(accounts) as database:
        group = database.add_group(name, gid)
        if sid is not None:
            database.set_group_sids(name, sid)
    write(f"{group.name} is {group.sid}" + (f" (gid {gid})" if gid is not None else ""))


@app.command(name="list")
def list_(*, accounts: AccountsOption = DEFAULT_ACCOUNTS) -> None:
    """List the groups."""
    with accounts_database(accounts) as database:
        for group in database.groups():
            write(f"{group.name:<20} gid {'-' if group.gid is None else group.gid:<6} {group.sid}")


@app.command
def remove(name: NameArgument, /, *, accounts: AccountsOption = DEFAULT_ACCOUNTS) -> None:
    """Remove a group; its members stay."""
    with accounts_database(accounts) as database:
        database.remove_group(name)
    write(f"removed {name}")
