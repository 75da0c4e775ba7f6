"""Saying what is wrong with a configuration: every fault at once, with file, line, key and the nearest valid name."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from lamina.core.config.locator import KeyPath, line_of


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault. `line` from 1, None if it has no place; `key` as one writes it in TOML, "" for the file.

    `share`: the share that it is about, and nothing else is; "" where there is none.
    """

    file: str
    line: int | None
    key: str
    message: str
    share: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else self.file
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigurationError(Exception):
    """A configuration that cannot be used; `problems` says all that is wrong, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line or 0, problem.key)))
        super().__init__("\n".join(map(str, self.problems)))


class Report:
    """Collects the problems of one file."""

    def __init__(self, file: str, lines: Mapping[KeyPath, int]) -> None:
        self.file = file
        self.lines = lines
        self.problems: list[Problem] = []
        self.unloadable: dict[str, str] = {}

    def add_unloadable(self, path: KeyPath, message: str) -> None:
        """A module of a share's chain, at `path`, cannot be loaded."""
        self.unloadable.setdefault(str(path[1]), message)
        self.add(path, message)

    def add(self, path: KeyPath, message: str) -> None:
        """Something is wrong with the value at `path`."""
        share = str(path[1]) if path[0] == "share" and len(path) > 1 else ""
        self.problems.append(Problem(self.file, line_of(self.lines, path), key_text(path), message, share))

    def add_error(self, path: KeyPath, error: Any, names: Iterable[str]) -> None:
        """A finding of pydantic below `path`; `names` are the keys that are valid where an unknown one stands."""
        self.add((*path, *_real(error["loc"])), _message(error, names))


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A hint at the nearest of `names`, or nothing."""
    near = difflib.get_close_matches(name.lower(), sorted(names), 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def key_text(path: KeyPath) -> str:
    """A key path as TOML writes it, list positions in brackets (from 1, as people count)."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            plain = part.replace("-", "").replace("_", "").isalnum() and part.isascii()
            text += ("." if text else "") + (part if plain else f'"{part}"')
    return text


def field_names(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """The keys of the table that `location` stands in, by walking down the models."""
    current = model
    for part in location[:-1]:
        field = current.model_fields.get(str(part))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        current = inner
    return list(current.model_fields)


def _real(location: tuple[str | int, ...]) -> KeyPath:
    # A set has no positions, so pydantic's are meaningful only for lists; TOML has no sets: they are positions.
    return tuple(part for part in location if part != "[key]")


_PLAIN = {
    "missing": "is missing",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "frozen_set_type": "must be a list",
    "set_type": "must be a list",
    "path_type": "must be a path",
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}
_NUMERIC = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_long": "must have at most {max_length} characters",
    "value_error": "{error}",
}


def _message(error: Any, names: Iterable[str]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return "unknown key" + did_you_mean(str(error["loc"][-1]), names)
    if kind in ("literal_error", "enum"):
        choices = context["expected"]
        given = str(error.get("input"))
        return f"must be {choices}, not {given!r}" + did_you_mean(given, choices.replace(" or ", ", ").split("'")[1::2])
    if kind == "string_pattern_mismatch":
        return f"cannot be {error.get('input')!r}"
    template = _PLAIN.get(kind) or _NUMERIC.get(kind)
    return template.format(**context) if template else str(error["msg"])
