"""`lamina serve`: a folder on the network in one command, without configuration and without root."""

import contextlib
import logging
import os
import pwd
import re
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from lamina.core.auth.settings import AuthSettings
from lamina.core.cli.errors import CliError
from lamina.core.cli.foreground import Started, serve_until_stopped, set_up_log, sink
from lamina.core.composition import make_chain
from lamina.core.config.loading import folder_problem
from lamina.core.control import answering, serving_socket
from lamina.core.handles import handle_commands
from lamina.core.interface_rules import announced
from lamina.core.interfaces import network_interfaces
from lamina.core.panel import Described, commands, facts
from lamina.core.plan import DEFAULT_CHAIN, Listener, ServerPlan, ShareSpec, folder_owner
from lamina.core.ports import FIRST_UNPRIVILEGED, bind_message, choose_port
from lamina.core.reporter import Reporter
from lamina.core.runtime import Runtime
from lamina.core.server import DEFAULT_USER, made_up_password, make_accounts
from lamina.core.settings import EncryptionPolicy, ServerSettings
from lamina.core.status import status_command
from lamina.core.tracing import trace_command

log = logging.getLogger(__name__)

LogLevel = Literal["debug", "info", "warning", "error"]
_NOT_IN_A_NAME = re.compile(r'[\x00-\x1f"/\\\[\]:;|=,+*?<>]')


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """The options of `lamina serve`."""

    name: Annotated[str, Parameter(help="Another name for the (first) share.")] = ""
    address: Annotated[str, Parameter(help="The address to listen on; all of the machine's by default.")] = ""
    port: Annotated[
        int | None, Parameter(help="The port; by default 445 if allowed and free, else 4445 or the next free one.")
    ] = None
    user: Annotated[
        tuple[str, ...],
        Parameter(help="NAME or NAME:PASSWORD, repeatable; what is not given is made up and shown.", negative=()),
    ] = ()
    guest: Annotated[bool, Parameter(help="Admit users without a password too.", negative=())] = False
    read_only: Annotated[bool, Parameter(help="Let nobody change anything.", negative=())] = False
    encrypt: Annotated[bool, Parameter(help="Refuse clients that do not encrypt.", negative=())] = False
    chain: Annotated[str, Parameter(help="The VFS modules of the shares, with commas, the backend last.")] = ",".join(
        DEFAULT_CHAIN
    )
    log_level: Annotated[LogLevel, Parameter(help="What to log on stderr.")] = "warning"
    json: Annotated[bool, Parameter(help="Print one JSON object per line for every event.", negative=())] = False


def serve(
    *folders: Annotated[Path, Parameter(name="FOLDER", help="The folders to share, each under its own name.")],
    options: ServeOptions | None = None,
) -> None:
    """Share one or more folders until Ctrl-C."""
    options = options or ServeOptions()
    set_up_log(options.log_level, options.json)
    shares = _shares(folders, options)
    users, shown = _users(options.user)
    owner = folder_owner(folders[0])
    port, note = _port(options)
    described = Described(
        shares={name: str(spec.path) for name, spec in shares.items()},
        addresses=_addresses(options.address),
        port=port,
        user=next(iter(users)),
        password=shown[next(iter(users))],
        read_only=options.read_only,
        encrypt=options.encrypt,
        guest=options.guest,
        others={name: shown[name] for name in list(users)[1:]},
        owner=_owner(owner[0]),
    )
    policy = EncryptionPolicy.REQUIRED if options.encrypt else EncryptionPolicy.DESIRED
    plan = ServerPlan(ServerSettings(encryption=policy), shares, (Listener(options.address, port),))
    accounts = make_accounts(users, owner)
    reporter = Reporter(sink(options.json))
    auth = AuthSettings(allow_guest=options.guest)
    serve_until_stopped(plan, accounts, auth, reporter, _introduction(reporter, described, note, options.json))


def _introduction(reporter: Reporter, described: Described, note: str, as_json: bool) -> Started:
    @contextlib.asynccontextmanager
    async def started(runtime: Runtime) -> AsyncIterator[None]:
        if as_json:
            # A program that starts us needs the made-up password as much as a person does.
            for user, password in ((described.user, described.password), *described.others.items()):
                reporter.emit("credentials", user=user, password=password)
        else:
            show_panel(replace(described, port=runtime.bound[0].port), note)
        async with contextlib.AsyncExitStack() as stack:
            try:
                answered = {
                    "status": status_command(runtime),
                    "trace": trace_command(runtime.tracing),
                    **handle_commands(runtime),
                }
                answers = answering(serving_socket(), answered)
                await stack.enter_async_context(answers)
            except OSError as error:
                log.info("this server cannot be traced: %s", error)
            yield

    return started


def show_panel(described: Described, note: str) -> None:
    """Print where and as whom, framed, and the commands below it, each on a line of its own."""
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    table = Table.grid(padding=(0, 2))
    for title, text in facts(described):
        table.add_row(Text(title, style="bold"), Text(text))
    console.print(Panel(table, title="Lamina is sharing", title_align="left", expand=False))
    if note:
        console.print(f"({note})", markup=False)
    console.print("To connect, paste one of these:")
    for title, command in commands(described):
        console.print(f"\n  {title}", style="dim", markup=False, soft_wrap=True)
        console.print(f"  {command}", markup=False, soft_wrap=True)
    console.print("\nCtrl-C ends it. Who comes and goes is told below.")
    sys.stdout.flush()


def _shares(folders: Sequence[Path], options: ServeOptions) -> dict[str, ShareSpec]:
    shares: dict[str, ShareSpec] = {}
    chain = tuple(part.strip() for part in options.chain.split(",") if part.strip())
    for folder in folders:
        problem = folder_problem(folder)
        if problem:
            raise CliError(problem)
        name = options.name if options.name and not shares else share_name(folder)
        if _NOT_IN_A_NAME.search(name) or len(name) > 80:
            raise CliError(f"{name!r} cannot be the name of a share")
        shares[_free_name(name, shares)] = ShareSpec(
            folder.resolve(),
            read_only=options.read_only,
            encrypt=options.encrypt,
            guest=options.guest,
            chain=chain,
        )
    if not shares:
        raise CliError("name a folder to share: lamina serve FOLDER")
    _check_chain(*next(iter(shares.items())))
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


def _users(given: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Name → password, and the same with "" for the passwords that the person gave."""
    users: dict[str, str] = {}
    shown: dict[str, str] = {}
    for text in given or [DEFAULT_USER]:
        name, colon, password = text.partition(":")
        if not name:
            raise CliError(f"--user {text}: a user has a name, NAME or NAME:PASSWORD")
        users[name] = password if colon else made_up_password()
        shown[name] = "" if colon else users[name]
    return users, shown


def _owner(uid: int) -> str:
    """Whose the files are, for the panel; "" where they are the person's own and nobody would wonder."""
    if uid == os.geteuid() != 0:
        return ""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _port(options: ServeOptions) -> tuple[int, str]:
    try:
        return choose_port(options.address, options.port)
    except OSError as error:
        raise CliError(bind_message(options.address, options.port or FIRST_UNPRIVILEGED, error)) from error


def _addresses(address: str) -> list[str]:
    if address and address not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return [address]
    found = announced(network_interfaces(), (), (), reached_by="", listens_on=lambda address: ":" not in address)
    return [interface.address for interface in found] or ["127.0.0.1"]
