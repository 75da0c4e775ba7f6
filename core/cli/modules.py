"""`lamina module list|info|options|test|new`: which modules are installed, what each does, trying and beginning one."""

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from pydantic import ValidationError

from lamina.core.cli.errors import CliError
from lamina.core.cli.foreground import write
from lamina.core.cli.module_text import about, listing
from lamina.core.cli.module_text import options as option_lines
from lamina.core.config.diagnostics import Report
from lamina.vfs_modules.loader import Installed, LoadError, all_installed, load_module
from lamina.vfs_modules.module import VfsModule

if TYPE_CHECKING:
    from lamina.vfs_modules.testing.profile import Profile

app = App(name="module", help="The VFS modules that chains are made of.")


@app.command(name="list")
def list_() -> None:
    """List the installed modules, what each is, and which distribution each comes from."""
    for line in listing(all_installed()):
        write(line)


@app.command
def info(name: str, /) -> None:
    """Tell what a module does, what it asks of a chain, and the operations that it takes part in.

    Parameters
    ----------
    name
        The module's name, as chains have it.
    """
    for line in about(_installed(name), _load(name)):
        write(line)


@app.command
def options(name: str, /) -> None:
    """Tell the options of a module: name, type, default, Samba's name and meaning.

    Parameters
    ----------
    name
        The module's name, as chains have it.
    """
    kind = _load(name)
    if kind.Options.model_fields:
        write(f"In [share.NAME.{name}] of the configuration file:\n")
    for line in option_lines(kind):
        write(line)


@app.command(name="test")
def try_(
    name: str,
    /,
    *,
    on: str = "",
    option: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    folder: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Run the conformance suite on a module; nothing that is served is touched.

    Parameters
    ----------
    name
        The module's name, as chains have it, or the place of a profile, as package.module:name. A module is tried with
        the profile that its distribution announces, unless `--on` or `--option` is given.
    on
        The other modules of the chain to try it in, with commas, the backend last; by default those of a share that
        names none, and nothing for a backend.
    option
        NAME=VALUE, as the configuration file has it, repeatable: an option of the module.
    folder
        Where the checks make their folders, to try another file system.
    json
        Print one JSON object instead of text.
    """
    from lamina.vfs_modules.testing.console import examine

    try:
        report = examine(_profile(name, on, _given(option)), write, folder, json)
    except ValidationError as error:
        raise CliError(_wrong_options(name, error)) from error
    except (TypeError, OSError) as error:
        raise CliError(str(error)) from error
    if not report.conforms:
        sys.exit(1)


@app.command
def new(name: str, /, *, backend: Annotated[bool, Parameter(negative=())] = False, folder: Path | None = None) -> None:
    """Write a new distribution with a module in it: code, tests, documentation, CI; its tests pass.

    Parameters
    ----------
    name
        What the module is to be called in chains: lower-case letters, digits and underscores.
    backend
        Begin with a backend, which keeps files itself, instead of a module that stands above one.
    folder
        Where to write it, a folder that is not there yet; by default lamina-NAME here.
    """
    from lamina.core.cli.new_module import write_distribution

    if any(one.name == name for one in all_installed()):
        raise CliError(f"there is a module {name!r} already: lamina module info {name}")
    target = folder or Path(f"lamina-{name.replace('_', '-')}")
    try:
        files = write_distribution(name, target, backend)
    except ValueError as error:
        raise CliError(str(error)) from error
    except OSError as error:
        raise CliError(f"{target}: {error.strerror}" if error.strerror else str(error)) from error
    for file in files:
        write(str(target / file))
    write(f"\nNow: pip install -e '{target}[test]' && pytest {target}, and begin with {target / files[0]}")


def _profile(name: str, on: str, given: dict[str, Any]) -> "Profile":
    from lamina.vfs_modules.testing.profile import find_profile
    from lamina.vfs_modules.testing.subject import profile_named, profile_of

    try:
        if ":" in name:
            return find_profile(name)
        if not on and not given:
            return profile_named(name)
    except LookupError as error:
        raise CliError(str(error.args[0])) from error
    others = tuple(_load(part.strip()) for part in on.split(",")) if on else None
    return profile_of(_load(name), given, others)


def _wrong_options(name: str, error: ValidationError) -> str:
    """What is wrong with the options of a module, as a configuration file is told of it."""
    report = Report("--option", {})
    for found in error.errors():
        report.add_error((), found, _load(name).Options.model_fields)
    return "\n".join([*map(str, report.problems), f"there are: lamina module options {name}"])


def _given(texts: tuple[str, ...]) -> dict[str, Any]:
    """The options that were given as NAME=VALUE; a value that is no TOML is a text."""
    given: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise CliError(f"--option {text}: an option is NAME=VALUE")
        try:
            given[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            given[name.strip()] = value
    return given


def _load(name: str) -> type[VfsModule]:
    try:
        return load_module(name)
    except LoadError as error:
        raise CliError(str(error)) from error


def _installed(name: str) -> Installed:
    _load(name)
    return next(module for module in all_installed() if module.name == name)
