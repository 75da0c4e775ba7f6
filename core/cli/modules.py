"""`lamina module list|info`: which VFS modules are installed, and what one can be told."""

from cyclopts import App

from lamina.core.cli.errors import CliError
from lamina.core.cli.foreground import write
from lamina.vfs_modules.loader import LoadError, installed_modules, load_module
from lamina.vfs_modules.module import Backend, VfsModule, implements
from lamina.vfs_modules.operations import OPERATIONS

app = App(name="module", help="The VFS modules that chains are made of.")


@app.command(name="list")
def list_() -> None:
    """List the installed modules and where each comes from."""
    for name, distribution in sorted(installed_modules().items()):
        write(f"{name:<24} {distribution:<16} {_summary(name)}")


@app.command
def info(name: str, /) -> None:
    """Tell what a module does, its options and the operations it takes part in.

    Parameters
    ----------
    name
        The module's name, as chains have it.
    """
    try:
        kind = load_module(name)
    except LoadError as error:
        raise CliError(str(error)) from error
    write(f"{name}: {_first_line(kind)}")
    write(f"from {installed_modules()[name]}, {kind.__module__}.{kind.__qualname__}")
    write("a backend: stands last" if issubclass(kind, Backend) else "stands above a backend")
    for option, field in kind.Options.model_fields.items():
        default = "required" if field.is_required() else f"default {field.get_default(call_default_factory=True)!r}"
        write(f"option {option} ({default}): {field.description or ''}".rstrip(": "))
    write("operations: " + (", ".join(one for one in OPERATIONS if implements(kind, one)) or "none"))


def _summary(name: str) -> str:
    try:
        return _first_line(load_module(name))
    except LoadError as error:
        return f"({error})"


def _first_line(kind: type[VfsModule]) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]
