"""What `lamina module` prints about modules: lines made from what their classes say."""

import inspect
import re
import types
import typing
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

from pydantic.fields import FieldInfo

from lamina.vfs_modules.deprecation import deprecated_uses
from lamina.vfs_modules.loader import Installed, LoadError, load_module
from lamina.vfs_modules.module import Backend, ModuleError, ModuleOptions, VfsModule, implements
from lamina.vfs_modules.operations import OPERATIONS, Capability
from lamina.vfs_modules.substitution import Substituted

_DECLARATIONS = {
    "provides": "provides",
    "before": "stands above",
    "after": "stands below",
    "requires": "needs",
    "conflicts": "cannot be in one chain with",
}


def listing(modules: Sequence[Installed]) -> Iterator[str]:
    """A line for each module: name, kind, what it is, and the distribution it is from."""
    rows = [_row(module) for module in modules]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for *cells, summary in rows:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield "  ".join([*padded, summary]).rstrip()


def _row(module: Installed) -> tuple[str, str, str, str]:
    source = f"{module.distribution} {module.version}".rstrip()
    try:
        kind = load_module(module.name)
    except LoadError as error:
        return module.name, "broken", source, str(error)
    return module.name, "backend" if issubclass(kind, Backend) else "module", source, summary_of(kind)


def summary_of(kind: type[VfsModule]) -> str:
    """What a module does, in a sentence: the first of its file, where no other module stands, or of its class."""
    text = _text_of(kind) or kind.__dict__.get("__doc__") or ""
    sentence = _SENTENCE.split(" ".join(text.partition("\n\n")[0].split()))[0]
    return _OPENING.sub(lambda found: found[1].upper(), sentence)


_SENTENCE = re.compile(r"(?<=[.!?]) (?=[A-Z`])")
_OPENING = re.compile(r"^A module that (\w)")


def _text_of(kind: type[VfsModule]) -> str:
    """The docstring of the file that a module has to itself."""
    file = inspect.getmodule(kind)
    inside = [one for one in vars(file).values() if isinstance(one, type) and issubclass(one, VfsModule)]
    alone = [one for one in inside if one.__module__ == kind.__module__] == [kind]
    return inspect.cleandoc(file.__doc__ or "") if alone and file is not None else ""


def about(module: Installed, kind: type[VfsModule]) -> Iterator[str]:
    """All that `lamina module info` tells of a module."""
    yield f"{module.name}: {summary_of(kind)}"
    yield f"from {module.distribution} {module.version}, {module.place}".replace(" ,", ",")
    yield versions_text(kind)
    yield from (f"deprecated: it {use.partition(' ')[2]}" for use in deprecated_uses(kind))
    text = _text_of(kind) or inspect.cleandoc(kind.__dict__.get("__doc__") or "")
    rest = text.partition("\n\n")[2]
    yield from ("", *rest.splitlines(), "") if rest else ("",)
    yield f"for example: chain = [{_example(kind, module.name)}]"
    for attribute, words in _DECLARATIONS.items():
        names = getattr(kind, attribute)
        if names:
            yield f"{words}: {', '.join(names)}"
    yield f"capabilities: {_capabilities(kind)}"
    yield f"operations: {', '.join(one for one in OPERATIONS if implements(kind, one)) or 'none of its own'}"
    if kind.around is not VfsModule.around:
        yield "may take part in every operation (around)"
    count = len(kind.Options.model_fields)
    yield f"options: {count or 'none'}" + (f", told by: lamina module options {module.name}" if count else "")


def _example(kind: type[VfsModule], name: str) -> str:
    """A chain that a module can stand in."""
    from lamina.vfs_modules.testing.subject import kinds_of

    try:
        names = [name if one is kind else one.name for one in kinds_of(kind)]
    except ModuleError:
        names = [name, *kind.requires, "…"]
    return ", ".join(f'"{one}"' for one in names)


def versions_text(kind: type[VfsModule]) -> str:
    """With which versions of the contract a module works."""
    least, before = kind.api_version, kind.api_before or (kind.api_version[0] + 1, 0)
    return f"works with versions {least[0]}.{least[1]} to before {before[0]}.{before[1]} of the contract"


def _capabilities(kind: type[VfsModule]) -> str:
    if kind.capabilities is VfsModule.capabilities:
        return "none" if issubclass(kind, Backend) else "those of the chain below"
    spoken_of = [one for one in kind.capabilities.__code__.co_names if one in Capability.__members__]
    words = _SENTENCE.split(inspect.cleandoc(kind.capabilities.__doc__ or "").partition("\n")[0])[0]
    return f"{words} ({', '.join(dict.fromkeys(spoken_of))})" if spoken_of else words or "its own"


def options(kind: type[VfsModule]) -> Iterator[str]:
    """Each option with its type and default, its name in Samba, and below it what it means."""
    if not kind.Options.model_fields:
        yield "no options"
    yield from _options_of(kind.Options, "")


def _options_of(table: type[ModuleOptions], indent: str) -> Iterator[str]:
    for name, field in table.model_fields.items():
        theirs = table.samba_names.get(name, "")
        samba = f"  (Samba: {theirs})" if theirs else ""
        yield f"{indent}{name}: {value_text(field)} = {default_text(field)}{_limits(field)}{samba}"
        if field.description:
            yield f"{indent}    {field.description}"
        for inner in _tables_in(field.annotation):
            yield f"{indent}    each has:" if type_text(field.annotation).startswith("list") else f"{indent}    it has:"
            yield from _options_of(inner, indent + "        ")


def _tables_in(annotation: Any) -> Iterator[type[ModuleOptions]]:
    if isinstance(annotation, type) and issubclass(annotation, ModuleOptions):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _tables_in(part)


_WORDS: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    type(None): "nothing",
    typing.Any: "anything",
}


def type_text(annotation: Any) -> str:
    """What may be given for an option of this type, as an administrator writes it in TOML."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if origin is typing.Literal:
        return " or ".join(map(_toml, arguments))
    if origin in _COMPOSED:
        inner = arguments[:1] if origin is typing.Annotated else arguments
        parts = dict.fromkeys(type_text(one) for one in inner if one not in (type(None), Ellipsis))
        return _COMPOSED[origin].format(" or ".join(parts))
    return _class_text(annotation) if isinstance(annotation, type) else "table"


_COMPOSED: dict[Any, str] = {typing.Annotated: "{}", typing.Union: "{}", types.UnionType: "{}"}
_COMPOSED |= dict.fromkeys((tuple, list, set, frozenset), "list of {}")


def _class_text(kind: type) -> str:
    if issubclass(kind, Enum):
        return " or ".join(_toml(one.value) for one in kind)
    return f"table of {', '.join(kind.model_fields)}" if issubclass(kind, ModuleOptions) else kind.__name__


def default_text(field: FieldInfo) -> str:
    """The default as TOML has it; "required" where there is none."""
    return "required" if field.is_required() else _toml(field.get_default(call_default_factory=True))


def _toml(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, set | frozenset):
        return f"[{', '.join(sorted(map(_toml, value)))}]"
    return str(value)


def value_text(field: FieldInfo) -> str:
    """The type of an option, and the substitutions that may stand in it."""
    letters = next((one.letters for one in field.metadata if isinstance(one, Substituted)), "")
    return " with ".join((type_text(field.annotation), *([" ".join(f"%{one}" for one in letters)] if letters else [])))


_LIMITS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than", "max_length": "at most as long as"}


def _limits(field: FieldInfo) -> str:
    found = [
        f"{words} {getattr(one, name)}"
        for one in field.metadata
        for name, words in _LIMITS.items()
        if hasattr(one, name)
    ]
    return f"  [{', '.join(found)}]" if found else ""
