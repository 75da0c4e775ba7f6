"""The %-substitutions of Samba in the options of modules: %U, %u, %D, %I, %m, %S and %h. Pure.

What a client says of itself (its name, the user's) is in some of them: nothing of it may lead anywhere else in a path.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from lamina.vfs_modules.module import ShareInfo
from lamina.vfs_modules.token import ImpersonationToken

KNOWN: Final = "UuDImSh"
"""The letters: the name the user gave, the account's, its domain, the client's address and name, the share, host."""

_USERS: Final = "Uu"
_MARK: Final = re.compile("%(.?)", re.DOTALL)


def check_template(template: str) -> str:
    """The same text. Raises ValueError where it has a substitution that there is not."""
    for letter in _MARK.findall(template):
        if letter not in KNOWN + "%" or not letter:
            raise ValueError(f"there is no substitution %{letter} ({', '.join('%' + known for known in KNOWN)}, %%)")
    return template


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
