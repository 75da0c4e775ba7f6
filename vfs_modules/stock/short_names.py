"""Gives files short names of 8.3 characters (MS-FSCC 2.1.5.2.1 8.3 Filename), for clients of another age.

A short name is a PREFIX of the long one, digits of a hash of it, "~" and one more digit, and the beginning of the
extension: the same for the same name, in whatever order files are made, in every folder, on every server. Nothing is
stored. What this module makes is a rule; which of two names in a directory has it when they come to the same, the NT
level decides. Options and form follow Samba's `mangled names`, `mangle prefix` and `mangling char` (method hash2).
"""

import re
from hashlib import blake2b
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field

from lamina.vfs_modules.extensions import short_names
from lamina.vfs_modules.module import ModuleOptions, VfsModule, named_by_samba

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BASE: Final = 8
_EXTENSION: Final = 3
_PLAIN: Final = r"\-A-Z0-9!#$%&'()@^_`{}"
# What FAT allows in a name, but for lower case, which NT shows in upper.
_legal: Final = re.compile(rf"[{_PLAIN}~\x80-\xff]{{1,8}}(\.[{_PLAIN}~\x80-\xff]{{1,3}})?").fullmatch
_unfit: Final = re.compile(rf"[^{_PLAIN}]").sub
# How NT shows what it forbids in names (MS-FSCC 2.1.5.2): U+F000 and the character's code.
_is_illegal: Final = re.compile("[\uf001-\uf01f\uf022\uf02a\uf03a\uf03c\uf03e\uf03f\uf05c\uf07c]").search


def is_short(name: str) -> bool:
    """Whether a name, in upper case, is a short one itself."""
    return _legal(name) is not None


def _ours(value: object) -> object:
    return "all" if value == "yes" else value


class ShortNamesOptions(ModuleOptions):
    """Options of `short_names`."""

    samba_names = named_by_samba("", names="mangled names", prefix="mangle prefix", mark="mangling char")

    names: Annotated[Literal["all", "illegal"], BeforeValidator(_ours)] = Field(
        default="all",
        description="which names get short ones: all that are not short already, or those that Windows forbids",
    )
    prefix: int = Field(default=1, ge=1, le=6, description="letters of the long name that a short one begins with")
    mark: str = Field(
        default="~", pattern=rf"^[{_PLAIN}~]$", description="the character before the last digit of a short name"
    )


class ShortNamesModule(VfsModule):
    """Makes short names."""

    Options = ShortNamesOptions
    name: ClassVar[str] = "short_names"

    options: ShortNamesOptions

    def one_process(self) -> str:
        """All that it keeps is in the files."""
        return ""

    @short_names
    def short_name(self, name: str, number: int) -> str | None:
        """The short name of a name, None where it has none.

        Further ones have one letter only, however many the first has, so that there are always enough of them.
        """
        if is_short(name) if self.options.names == "all" else not _is_illegal(name):
            return None
        stem, _, extension = name.rpartition(".") if "." in name.lstrip(".") else (name, "", "")
        prefix = 1 if number else self.options.prefix
        beginning = _unfit("", stem)[:prefix].ljust(prefix, "_")
        hashed = blake2b(f"{number}:{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        digits = _to_digits(int.from_bytes(hashed), _BASE - 1 - prefix)
        short = f"{beginning}{digits[:-1]}{self.options.mark}{digits[-1]}"
        ending = _unfit("", extension)[:_EXTENSION]
        return f"{short}.{ending}" if ending else short


def _to_digits(value: int, count: int) -> str:
    digits = ""
    for _ in range(count):
        value, digit = divmod(value, len(_DIGITS))
        digits += _DIGITS[digit]
    return digits
