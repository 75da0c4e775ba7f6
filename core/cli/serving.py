"""`lamina serve`: a folder on the network in one command, without configuration and without root."""

import contextlib
import re
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from lamina.core.auth.settings import AuthSettings
from lamina.core.cli.errors import CliError
from lamina.core.cli.foreground import serve_until_stopped, set_up_log, sink
from lamina.core.config.loading import folder_problem
from lamina.core.interfaces import network_interfaces
from lamina.core.panel import Described, commands, facts
from lamina.core.plan import DEFAULT_CHAIN, Listener, ServerPlan, ShareSpec, folder_owner
from lamina.core.ports import bind_message, choose_port
from lamina.core.reporter import Reporter
from lamina.core.runtime import Runtime, make_chain
from lamina.core.server import DEFAULT_USER, made_up_password, make_accounts
from lamina.core.settings import EncryptionPolicy, ServerSettings

LogLevel = Literal["debug", "info", "warning", "error"]
_NOT_IN_A_NAME = re.compile(r'[\x00-\x1f"/\\\[\]:;|=,+*?<>]')


def serve(
    folders: Annotated[list[Path], Parameter(name="FOLDER", consume_multiple=True, negative=())],
    /,
    *,
    name: str = "",
    address: str = "",
    port: int | None = None,
    user: Annotated[list[str] | None, Parameter(negative=())] = None,
    guest: Annotated[bool, Parameter(negative=())] = False,
    read_only: Annotated[bool, Parameter(negative=())] = False,
    encrypt: Annotated[bool, Parameter(negative=())] = False,
    chain: str = ",".join(DEFAULT_CHAIN),
    log_level: LogLevel = "warning",
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Share one or more folders until Ctrl-C.

    Parameters
    ----------
    folders
        The folders to share, each under its own name.
    name
        Another name for the (first) share.
    address
        The address to listen on; all of the machine's by default.
    port
        The port; by default 445 if that is allowed and free, else 4445 or the next free one.
    user
        NAME or NAME:PASSWORD, as often as needed. What is not given is made up and shown.
    guest
        Admit users without a password too.
    read_only
        Let nobody change anything.
    encrypt
        Refuse clients that do not encrypt.
    chain
        The VFS modules that requests go through, with commas, the backend last.
    log_level
        What to log on stderr.
    json
        Print one JSON object per line for every event instead of text.
    """
    set_up_log(log_level, json)
    shares = _shares(folders, name, tuple(part.strip() for part in chain.split(",") if part.strip()))
    shares = {key: _flagged(spec, read_only, encrypt, guest) for key, spec in shares.items()}
    users, shown = _users(user or [])
    chosen, note = _port(address, port)
    policy = EncryptionPolicy.REQUIRED if encrypt else EncryptionPolicy.DESIRED
    plan = ServerPlan(ServerSettings(encryption=policy), shares, (Listener(address, chosen),))
    described = Described(
        shares={key: str(spec.path) for key, spec in shares.items()},
        addresses=_addresses(address),
        port=chosen,
        user=next(iter(users)),
        password=shown,
        read_only=read_only,
        encrypt=encrypt,
        guest=guest,
    )
    accounts = make_accounts(users, folder_owner(folders[0]))
    reporter = Reporter(sink(json))

    @contextlib.asynccontextmanager
    async def started(runtime: Runtime) -> AsyncIterator[None]:
        if not json:
            show_panel(described, note)
        yield

    serve_until_stopped(plan, accounts, AuthSettings(allow_guest=guest), _with_panel(reporter, described, json), started)


def _with_panel(reporter: Reporter, described: Described, as_json: bool) -> Reporter:
    # A program that starts us needs the made-up password as much as a person does.
    if as_json:
        reporter.emit("starting", user=described.user, password=described.password, port=described.port)
    return reporter


def show_panel(described: Described, note: str) -> None:
    """Print where and as whom, framed, and the commands below it, each on a line of its own."""
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table

    console = Console(highlight=False)
    table = Table.grid(padding=(0, 2))
    for title, text in facts(described):
        table.add_row(f"[bold]{title}[/bold]", _plain(text))
    console.print(Panel(table, title="Lamina is sharing", title_align="left", expand=False))
    if note:
        console.print(f"({note})", markup=False)
    for title, command in commands(described):
        console.print(title, style="dim", markup=False, soft_wrap=True)
        console.print(f"  {command}", markup=False, soft_wrap=True)
    console.print("Ctrl-C ends it.", style="dim")
    sys.stdout.flush()


def _plain(text: str) -> "object":
    from rich.text import Text

    return Text(text)


def _shares(folders: Sequence[Path], name: str, chain: tuple[str, ...]) -> dict[str, ShareSpec]:
    shares: dict[str, ShareSpec] = {}
    for folder in folders:
        problem = folder_problem(folder)
        if problem:
            raise CliError(problem)
        wanted = name if name and not shares else share_name(folder)
        if _NOT_IN_A_NAME.search(wanted) or len(wanted) > 80:
            raise CliError(f"{wanted!r} cannot be the name of a share")
        shares[_free_name(wanted, shares)] = ShareSpec(folder.resolve(), chain=chain)
    if not shares:
        raise CliError("name a folder to share: lamina serve FOLDER")
    _check_chain(next(iter(shares)), next(iter(shares.values())))
    return shares


def share_name(folder: Path) -> str:
    """What a folder is called as a share."""
    return _NOT_IN_A_NAME.sub("_", folder.resolve().name)[:80].strip() or "root"


def _free_name(name: str, taken: dict[str, ShareSpec]) -> str:
    lower = {key.lower() for key in taken} | {"ipc$"}
    candidate, number = name, 2
    while candidate.lower() in lower:
        candidate, number = f"{name}-{number}", number + 1
    return candidate


def _check_chain(name: str, spec: ShareSpec) -> None:
    try:
        make_chain(name, spec)
    except Exception as error:  # a module is anybody's code: the person gets its message, not a traceback
        raise CliError(f"--chain: {error}") from error


def _flagged(spec: ShareSpec, read_only: bool, encrypt: bool, guest: bool) -> ShareSpec:
    return ShareSpec(spec.path, read_only=read_only, encrypt=encrypt, guest=guest, chain=spec.chain)


def _users(given: Sequence[str]) -> tuple[dict[str, str], str]:
    """Name → password, and the first one's password if it was made up."""
    users: dict[str, str] = {}
    shown: list[str] = []
    for text in given or [DEFAULT_USER]:
        name, colon, password = text.partition(":")
        if not name:
            raise CliError(f"--user {text}: a user has a name, NAME or NAME:PASSWORD")
        users[name] = password if colon else made_up_password()
        shown.append("" if colon else users[name])
    return users, shown[0]


def _port(address: str, port: int | None) -> tuple[int, str]:
    try:
        return choose_port(address, port)
    except OSError as error:
        raise CliError(bind_message(address, port if port is not None else 4445, error)) from error


def _addresses(address: str) -> list[str]:
    if address and address not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return [address]
    return [interface.address for interface in network_interfaces("")] or ["127.0.0.1"]
