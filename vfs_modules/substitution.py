"""The %-substitutions of Samba in the paths of shares and the options of modules. Pure, and never a shell's.

What a client says of itself (its name, the user's) is in some of them: nothing of it may lead anywhere else in a path.
An option that takes them says so by its type, and which: `Annotated[str, Substituted("S")]`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from lamina.vfs_modules.module import ShareInfo
from lamina.vfs_modules.token import ImpersonationToken

KNOWN: Final = "UuDImShT"
"""The letters: the name the user gave, the account's, its domain, the client's address and name, the share, host, and
the time of the logon."""

AT_CONNECT: Final = "S"
"""The letters that mean something when a share is connected, before there is any user."""

LONGEST_COMPONENT: Final = 255
_USERS: Final = "Uu"
_MARK: Final = re.compile("%(.?)", re.DOTALL)
_NOT_IN_A_COMPONENT: Final = re.compile(r"[/\0-\x1f\x7f]")


class UnfitValueError(ValueError):
    """What somebody is called cannot be part of a path; the message says what."""


def check_template(template: str, letters: str = KNOWN) -> str:
    """The same text. Raises ValueError where it has a substitution that there is not, or not here."""
    for letter in _MARK.findall(template):
        if not letter or letter not in KNOWN + "%":
            raise ValueError(f"there is no substitution %{letter} ({_listed(letters)})")
        if letter not in letters + "%":
            raise ValueError(f"%{letter} stands for nothing here ({_listed(letters)})")
    return template


def _listed(letters: str) -> str:
    return ", ".join(f"%{letter}" for letter in letters + "%")


@dataclass(frozen=True, slots=True)
class Substituted:
    """Marks the type of an option in which these substitutions stand for something; others are refused."""

    letters: str = KNOWN

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Called by pydantic when the option's model is made."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, template: str) -> str:
        return check_template(template, self.letters)


def substituted_options(options: type[BaseModel]) -> dict[str, str]:
    """The options of a module that take substitutions, and the letters that each takes."""
    marks = ((name, one) for name, field in options.model_fields.items() for one in field.metadata)
    return {name: one.letters for name, one in marks if isinstance(one, Substituted)}


def letters_of(template: str) -> frozenset[str]:
    """The substitutions in a template."""
    return frozenset(letter for letter in _MARK.findall(template) if letter != "%")


def names_the_user(template: str) -> bool:
    """Whether what a template gives is another for each user."""
    return any(letter and letter in _USERS for letter in _MARK.findall(template))


def values_for(token: ImpersonationToken, share: ShareInfo | None) -> Mapping[str, str]:
    """What the substitutions stand for in an operation of this token, by letter."""
    values = {"U": token.user_name, "u": token.user_name, **token.substitutions}
    return values if share is None else values | {"S": share.name} | dict(share.substitutions)


def substitute(template: str, values: Mapping[str, str], clean: Callable[[str], str] = str) -> str:
    """A template with its values put in, each as `clean` makes it; what has no value is empty."""
    return _MARK.sub(lambda found: "%" if found[1] == "%" else clean(values.get(found[1], "")), template)


def as_component(value: str) -> str:
    """A value as one component of a path, or a part of one, that leads nowhere else."""
    plain = re.sub(r"[/\\\0-\x1f:]", "_", value).strip(".")
    return plain or "_"


def substitute_path(template: str, values: Mapping[str, str]) -> str:
    """A path with its values put in, as they are: one that would be another folder than meant is refused.

    Raises UnfitValueError: for a value that is empty, or has a slash or a control character in it, and for a component
    that becomes `.` or `..` or is too long. So two names never lead to one folder, and none out of where it should be.
    """
    return "/".join(_component(component, values) for component in template.split("/"))


def _component(template: str, values: Mapping[str, str]) -> str:
    if "%" not in template:
        return template
    made = _MARK.sub(lambda found: "%" if found[1] == "%" else _fit(found[1], values), template)
    if made in {".", ".."} or len(made.encode(errors="surrogateescape")) > LONGEST_COMPONENT:
        raise UnfitValueError(f"{made!r} is no name of a folder")
    return made


def _fit(letter: str, values: Mapping[str, str]) -> str:
    value = values.get(letter, "")
    if not value or _NOT_IN_A_COMPONENT.search(value):
        raise UnfitValueError(
            f"%{letter} is {value!r}, which is no part of a path" if value else f"%{letter} is nothing"
        )
    return value


def fixed_part(template: str) -> str:
    """The folder above the first component of a path that has substitutions in it."""
    components = template.split("/")
    first = next((index for index, component in enumerate(components) if letters_of(component)), len(components))
    return "/".join(components[:first]).replace("%%", "%") or "/"
