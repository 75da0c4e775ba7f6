"""`lamina recycle`: what is in the bins of a share, and putting it back or deleting it for good."""

import asyncio
import json as json_format
import time
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

from cyclopts import App, Parameter

from lamina.core.cli.errors import CliError
from lamina.core.cli.foreground import write
from lamina.core.cli.running import DEFAULT_CONFIG, ConfigOption
from lamina.core.composition import make_module
from lamina.core.config.diagnostics import ConfigurationError
from lamina.core.config.loading import load
from lamina.core.plan import ShareSpec
from lamina.vfs_modules.chain import ShareInfo, build_chain
from lamina.vfs_modules.engine import Engine
from lamina.vfs_modules.stock.recycle import RecycleModule
from lamina.vfs_modules.stock.recycling.notes import Deleted

_DAY_NS = 86_400_000_000_000
_T = TypeVar("_T")

ShareArgument = Annotated[str, Parameter(help="The share, whose chain has the module recycle.")]
UserOption = Annotated[str | None, Parameter(help="Only what this user has deleted.")]

app = App(name="recycle", help="Deleted files in the bins that the module recycle keeps.")


@app.command(name="list")
def list_(
    share: ShareArgument,
    /,
    *,
    user: UserOption = None,
    json: Annotated[bool, Parameter(help="One JSON object per line.", negative=())] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """List deleted files: when, by whom, how large, where they were, and (→) where they are now."""
    for deleted in _with_bins(config, share, lambda module: _chosen(module, user)):
        write(_as_json(deleted) if json else _as_text(deleted))


@app.command
def restore(
    share: ShareArgument,
    path: Annotated[str, Parameter(help="Where the file is now, as the list tells it.")],
    /,
    *,
    to: Annotated[str, Parameter(help="Where to, from the share's root; by default where it was.")] = "",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Put a deleted file back; nothing is overwritten by it.

    Folders that are not there any more are made, for the file's owner. Look at where it goes: who has local access to
    his bin can have changed what is noted there.
    """

    def put_back(module: RecycleModule) -> str:
        found = [deleted for deleted in module.contents() if deleted.path == path]
        if not found:
            raise CliError(f"there is no {path} in the bins; lamina recycle list {share} tells what is")
        try:
            return module.restore(found[0], to)
        except FileExistsError as error:
            raise CliError(f"{to or found[0].note.path} is there already; --to PATH puts it elsewhere") from error

    write(f"restored {_with_bins(config, share, put_back)}")


@app.command
def purge(
    share: ShareArgument,
    /,
    *,
    user: UserOption = None,
    older_than: Annotated[float | None, Parameter(help="Delete what was deleted more than so many days ago.")] = None,
    all_: Annotated[bool, Parameter(name="--all", help="Delete everything.", negative=())] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Delete files in the bins for good: all of them, or those that are old enough."""
    if (older_than is None) != all_:
        raise CliError("which? --older-than DAYS, or --all")
    before = time.time_ns() - round((older_than or 0) * _DAY_NS)

    def delete(module: RecycleModule) -> list[Deleted]:
        doomed = [deleted for deleted in _chosen(module, user) if all_ or deleted.note.time_ns < before]
        module.purge(doomed)
        return doomed

    doomed = _with_bins(config, share, delete)
    write(f"deleted {len(doomed)} files, {sum(deleted.size for deleted in doomed)} bytes")


def _chosen(module: RecycleModule, user: str | None) -> list[Deleted]:
    return [deleted for deleted in module.contents() if user is None or deleted.note.user == user]


def _as_text(deleted: Deleted) -> str:
    when = datetime.fromtimestamp(deleted.note.time_ns / 1e9).strftime("%Y-%m-%d %H:%M")
    return f"{when}  {deleted.note.user:<12} {deleted.size:>12}  {deleted.note.path or '(not known)'} → {deleted.path}"


def _as_json(deleted: Deleted) -> str:
    note = deleted.note
    fields: dict[str, Any] = {"path": deleted.path, "was": note.path, "user": note.user, "size": deleted.size}
    return json_format.dumps(fields | {"time": note.time_ns / 1e9})


def _with_bins(config: Any, share: str, do: Callable[[RecycleModule], _T]) -> _T:
    """Do something with the module of a share. Its chain is made from there down: nobody above it takes part."""
    try:
        spec = load(config).plan.shares.get(share)
    except ConfigurationError as error:
        raise CliError(str(error)) from error
    if spec is None:
        raise CliError(f"{config}: there is no share {share!r}")
    modules = [make_module(link) for link in spec.chain]
    places = [place for place, module in enumerate(modules) if isinstance(module, RecycleModule)]
    if not places:
        raise CliError(f"share {share}: there is no module recycle in its chain")
    try:
        return asyncio.run(_in_engine(share, spec, modules[places[0] :], do))
    except OSError as error:
        raise CliError(f"share {share}: {error.filename or ''}: {error.strerror or error}") from error


async def _in_engine(share: str, spec: ShareSpec, modules: list[Any], do: Callable[[RecycleModule], _T]) -> _T:
    engine = Engine(asyncio.get_running_loop())
    # Read-only: nothing is tidied by looking.
    chain = build_chain(modules, ShareInfo(share, str(spec.path), True, follow_symlinks=spec.follow_symlinks))

    def connected() -> _T:
        chain.connect()
        try:
            return do(modules[0])
        finally:
            chain.disconnect()

    try:
        return await engine.run(connected)
    finally:
        engine.close()
