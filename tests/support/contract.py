"""The contract with module writers as lines of text, and what a change of them asks of its version.

`python -m tests.support.contract` writes the contract as it is into the snapshot that a test compares it with, and
refuses where the version has not been raised as the change asks. What counts is the source: names, parameters, kinds,
annotations, defaults; neither documentation nor code.
"""

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lamina.vfs_modules.operations import API_VERSION, BACKEND_MUST_IMPLEMENT
from tests.support.processes import REPOSITORY

SNAPSHOT = REPOSITORY / "tests/vfs_modules/contract.txt"
RENEW = "python -m tests.support.contract"

MODULES: dict[str, tuple[str, ...]] = {
    "operations": (),
    "module": (),
    "handle": (),
    "token": (),
    "changes": (),
    "outside": (),
    "streams": ("StreamFile",),
    "extensions": (
        "MAX_ANSWER", "StatusError", "ClientTrait", "NO_TRAITS", "Client", "OpenedFile", "EntryDetails", "InfoType",
        "control", "query_information", "set_information", "create_context", "directory_entries",
        "file_sharing", "short_names", "ShortNameRule",
    ),
    "hooks": ("Announcements", "listens"),
    "engine": ("RequestCancelled", "aside", "breathe", "offload", "sleep", "wait"),
    "turn": ("Turn",),
    "places": ("Places",),
    "processes": ("Place", "place"),
    "open_paths": ("OpenPath", "OpenPaths", "open_paths", "open_at"),
    "workers": ("Answer", "Workers"),
    "names": ("decode_name", "encode_name"),
    "services": (),
    "deprecation": ("ContractDeprecationWarning",),
    "testing/__init__": (),
    "testing/suite": ("applicable", "checks"),
    "testing/profile": ("Profile",),
    "testing/conformance": ("cases", "conformance_test"),
    "testing/subject": ("profile_of",),
    "testing/replay": ("replay",),
    "recording/form": ("Recording",),
    "snapshots": ("Snapshot", "SnapshotProvider"),
}  # fmt: skip
"""What module writers may count on: the modules of `vfs_modules`, and which of their names; () is all public ones."""

_REQUIRED = "required "
"""Begins a line that, when it is new, breaks what was written before it."""

Version = tuple[int, int]


class Change(NamedTuple):
    """What a contract has lost and gained."""

    removed: tuple[str, ...]
    added: tuple[str, ...]

    @property
    def is_breaking(self) -> bool:
        """Whether something that was written for the old one may not work with the new one."""
        asked = (line.removeprefix(_REQUIRED) for line in self.added if line.startswith(_REQUIRED))
        return bool(self.removed) or not all(self._is_of_something_new(line) for line in asked)

    def _is_of_something_new(self, required: str) -> bool:
        """Whether what is required belongs to a class or function that nobody can have used before."""
        owner = required.split(maxsplit=1)[0].partition("(")[0]
        return " field " in required and any(line.startswith(f"{owner}(") for line in self.added)

    def least_version(self, old: Version) -> Version:
        """The first version that may have it."""
        if self.is_breaking:
            return old[0] + 1, 0
        return (old[0], old[1] + 1) if self.added else old


def compare(old: Sequence[str], new: Sequence[str]) -> Change:
    """What has changed from one description to the other."""
    return Change(
        tuple(line for line in old if line not in set(new)), tuple(line for line in new if line not in set(old))
    )


def complaint(old: Sequence[str], old_version: Version, new: Sequence[str], version: Version) -> str:
    """What is to be done about a change, for who made it; "" where there is nothing."""
    change = compare(old, new)
    least = change.least_version(old_version)
    if version >= least > old_version or not any(change):
        return "" if (list(old), old_version) == (list(new), version) else f"write the new snapshot: {RENEW}"
    what = "is removed or changed, which breaks modules" if change.is_breaking else "is added"
    part = "major" if change.is_breaking else "minor"
    lines = [*(f"  - {line}" for line in change.removed), *(f"  + {line}" for line in change.added)]
    return "\n".join(
        [
            f"the contract with module writers has changed, and its version has not: something {what}.",
            f"Raise the {part} part, API_VERSION = {least} in vfs_modules/operations, and then: {RENEW}",
            *lines,
        ]
    )


def describe(folder: Path = REPOSITORY / "vfs_modules") -> list[str]:
    """The contract, a line for everything that a module may use or must do."""
    lines = [f"{_REQUIRED}of backends: {name}" for name in BACKEND_MUST_IMPLEMENT]
    for module, names in MODULES.items():
        path = module.replace("/", ".").removesuffix(".__init__")
        if (folder / module).is_dir():
            lines += _package(folder / module, path)
            continue
        for statement in _statements(folder / f"{module}.py"):
            lines += [line for name, line in _lines(statement, path) if name in names or not names]
    return sorted(lines)


def _statements(file: Path) -> list[ast.stmt]:
    return ast.parse(file.read_text(encoding="utf-8")).body


def _package(folder: Path, path: str) -> Iterator[str]:
    """What a package exports, whatever file of it that stands in; the parts of a class that it puts together are one.

    Such a class derives from nothing but classes of its own package.
    """
    top, *rest = [_statements(file) for file in sorted(folder.glob("*.py"))]
    names = next(ast.literal_eval(one.value) for one in top if isinstance(one, ast.Assign) and _name(one) == "__all__")
    whole = {_base(base): one.name for one in top if isinstance(one, ast.ClassDef) for base in one.bases}
    for statement in (statement for statements in (top, *rest) for statement in statements):
        if isinstance(statement, ast.ClassDef) and statement.name in whole:
            own = f"{path}.{whole[statement.name]}"
            yield from (line for line in _class(statement, own) if line != f"{own}()")
        elif isinstance(statement, ast.ClassDef) and statement.name in whole.values():
            yield f"{path}.{statement.name}()"
        else:
            yield from (line for name, line in _lines(statement, path) if name in names)


def _base(tree: ast.expr) -> str:
    return ast.unparse(tree).rpartition(".")[2]


def _lines(statement: ast.stmt, path: str) -> Iterator[tuple[str, str]]:
    """The public name that a statement of a module makes, with each line about it."""
    name = _name(statement)
    if not name or name.startswith("_"):
        return
    if isinstance(statement, ast.ClassDef):
        for line in _class(statement, f"{path}.{name}"):
            yield name, line
    elif isinstance(statement, ast.FunctionDef):
        for line in _called(statement):
            yield name, f"{path}.{line}"
    elif name not in {"API_VERSION", "log"}:
        yield name, f"{path}.{name}"


def _class(tree: ast.ClassDef, path: str) -> Iterator[str]:
    # What it makes public stands below.
    keywords = [keyword.value for keyword in tree.keywords if keyword.arg != "public"]
    bases = [ast.unparse(base) for base in (*tree.bases, *keywords)]
    yield f"{path}(){_decorated(tree)}"
    # A further base breaks nobody; one that goes may.
    yield from (f"{path} is a {base}" for base in bases)
    fields = [one for one in tree.body if isinstance(one, ast.AnnAssign) and "ClassVar" not in ast.unparse(one)]
    # A value that writers make must not get a field that they do not give.
    is_value = "NamedTuple" in bases or "dataclass" in _decorated(tree)
    for statement in tree.body:
        name = _name(statement)
        if not name or (name.startswith("_") and name != "__init__"):
            continue
        if isinstance(statement, ast.FunctionDef):
            yield from _method(statement, path)
        elif statement in fields and is_value:
            lacks_default = isinstance(statement, ast.AnnAssign) and statement.value is None
            place = fields.index(statement)  # type: ignore[arg-type]
            yield f"{_REQUIRED * lacks_default}{path} field {place}: {ast.unparse(statement)}"
        else:
            yield f"{path}.{ast.unparse(statement)}"


def _method(tree: ast.FunctionDef, path: str) -> Iterator[str]:
    for decorator in tree.decorator_list:
        if _is_deprecation(decorator):
            yield f"{path}.{tree.name} is {ast.unparse(decorator)}"
    if not path.endswith(".Announcements"):
        yield f"{path}.{_function(tree)}"
        return
    # A listener takes as many of the arguments as it wants, so they may become more.
    yield f"{path}.{tree.name}"
    for argument in tree.args.args[1:]:
        yield f"{path}.{tree.name} tells {ast.unparse(argument)}"


def _called(tree: ast.FunctionDef) -> Iterator[str]:
    """A function that modules call and do not override: more that may be given breaks nobody."""
    arguments = tree.args
    optional = {
        arg.arg: default for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default
    }
    places = [*arguments.posonlyargs, *arguments.args]
    given = len(places) - len(arguments.defaults)
    for place, default in enumerate(arguments.defaults, given):
        yield f"{tree.name} takes {place}: {ast.unparse(places[place])}={ast.unparse(default)}"
    for argument in arguments.kwonlyargs:
        if argument.arg in optional:
            yield f"{tree.name} takes {ast.unparse(argument)}={ast.unparse(optional[argument.arg])}"
    needed = ast.arguments(
        arguments.posonlyargs,
        places[len(arguments.posonlyargs) : given],
        arguments.vararg,
        [one for one in arguments.kwonlyargs if one.arg not in optional],
        [None for one in arguments.kwonlyargs if one.arg not in optional],
        arguments.kwarg,
        [],
    )
    result = f" -> {ast.unparse(tree.returns)}" if tree.returns is not None else ""
    yield f"{tree.name}({ast.unparse(needed)}){result}{_decorated(tree)}"


def _function(tree: ast.FunctionDef) -> str:
    result = f" -> {ast.unparse(tree.returns)}" if tree.returns is not None else ""
    return f"{tree.name}({ast.unparse(tree.args)}){result}{_decorated(tree)}"


def _decorated(tree: ast.ClassDef | ast.FunctionDef) -> str:
    return "".join(f" @{ast.unparse(one)}" for one in tree.decorator_list if not _is_deprecation(one))


def _is_deprecation(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "deprecated"


def _name(statement: ast.stmt) -> str:
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        return statement.name
    target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
    return target.id if isinstance(target, ast.Name) else ""


def read_snapshot(file: Path = SNAPSHOT) -> tuple[Version, list[str]]:
    """The version that a snapshot is of, and its lines."""
    first, *lines = file.read_text(encoding="utf-8").splitlines()
    major, minor = first.removeprefix("version ").split(".")
    return (int(major), int(minor)), lines


def write_snapshot(file: Path = SNAPSHOT) -> None:
    """Make the contract as it is the one that the next change is compared with."""
    version = ".".join(map(str, API_VERSION))
    file.write_text("\n".join([f"version {version}", *describe()]) + "\n", encoding="utf-8")


def main() -> int:
    """Renew the snapshot, unless the version has yet to be raised."""
    if SNAPSHOT.exists():
        version, lines = read_snapshot()
        change = compare(lines, describe())
        if change.least_version(version) > API_VERSION:
            sys.stderr.write(complaint(lines, version, describe(), API_VERSION) + "\n")
            return 1
    write_snapshot()
    return 0


if __name__ == "__main__":
    sys.exit(main())
