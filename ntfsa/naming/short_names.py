"""Short names of 8.3 characters for clients of another age (MS-FSCC 2.1.5.2.1 8.3 Filename), made of the long ones.

A short name is PREFIX, digits of a hash of the long name, "~" and one more digit, and the beginning of the extension:
the same for the same name, in whatever order files are made, and at every start. Where two names of a directory come to
the same, the first of them by their letters keeps it and the others' are made with a further number; so are those of
names that a file really has. Options and form follow Samba's `mangled names` and `mangle prefix` (method hash2).
"""

import re
from hashlib import blake2b
from typing import Final, Literal, NamedTuple

from lamina.ntfsa.naming.names import fold, present

MangledNames = Literal["no", "yes", "illegal"]

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BASE: Final = 8
_EXTENSION: Final = 3
# What FAT allows in a name, but for lower case, which NT shows in upper.
_legal = re.compile(r"[A-Z0-9!#$%&'()@^_`{}~\x80-\xff-]{1,8}(\.[A-Z0-9!#$%&'()@^_`{}~\x80-\xff-]{1,3})?").fullmatch
_unfit = re.compile(r"[^A-Z0-9!#$%&'()@^_`{}-]").sub
_mangled = re.compile(r"[^~.]{6}~[0-9A-Z](\.[^.]{1,3})?").fullmatch


def is_short(name: str) -> bool:
    """Whether a name is a short one itself, whatever its case."""
    return _legal(fold(name)) is not None


class ShortNames(NamedTuple):
    """The rule of a share: which names have short ones ("yes": all that are none; "illegal": those that NT forbids).

    `prefix` is how many letters of the long name a short one begins with, 1 to 6.
    """

    mode: MangledNames = "yes"
    prefix: int = 1

    def of(self, stored: str, number: int = 0) -> str | None:
        """The short name of a name on disk, None where it has none. `number` makes others of the same.

        Those have one letter only, however many the first has, so that there are always enough of them.
        """
        shown = present(stored)
        if is_short(shown) if self.mode == "yes" else shown == stored:
            return None
        stem, _, extension = shown.rpartition(".") if "." in shown.lstrip(".") else (shown, "", "")
        prefix = 1 if number else self.prefix
        beginning = _unfit("", fold(stem))[:prefix].ljust(prefix, "_")
        hashed = blake2b(f"{number}:{fold(shown)}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        digits = _to_digits(int.from_bytes(hashed), _BASE - 1 - prefix)
        short = f"{beginning}{digits[:-1]}~{digits[-1]}"
        ending = _unfit("", fold(extension))[:_EXTENSION]
        return f"{short}.{ending}" if ending else short


def _to_digits(value: int, count: int) -> str:
    digits = ""
    for _ in range(count):
        value, digit = divmod(value, len(_DIGITS))
        digits += _DIGITS[digit]
    return digits


class ShortNameIndex:
    """The short names of one directory. Names are given as they are on disk; `real` are their folded, shown forms."""

    __slots__ = ("_by_name", "_by_number", "_by_short", "_real", "rule")

    def __init__(self, rule: ShortNames, real: "dict[str, str | tuple[str, ...]]") -> None:
        self.rule = rule
        self._real = real
        self._by_short: dict[str, set[str]] = {}
        # The short names with a number, both ways; None until they are needed and after every change.
        self._by_number: dict[str, str] | None = None
        self._by_name: dict[str, str] = {}

    def add(self, name: str) -> None:
        """A name has come."""
        short = self.rule.of(name)
        if short is not None:
            self._by_short.setdefault(short, set()).add(name)
        self._by_number = None

    def remove(self, name: str) -> None:
        """A name has gone."""
        short = self.rule.of(name)
        if short is not None and short in self._by_short:
            self._by_short[short].discard(name)
            if not self._by_short[short]:
                del self._by_short[short]
        self._by_number = None

    def short_of(self, name: str) -> str | None:
        """The short name of a name in this directory, None where it has none."""
        short = self.rule.of(name)
        if short is None or (len(self._by_short.get(short, ())) == 1 and short not in self._real):
            return short
        self._number()
        return self._by_name.get(name, short)

    def find(self, short: str) -> str | None:
        """The name on disk that a short name (folded) stands for, or None. Real names have been looked for before."""
        if not _mangled(short):
            return None
        found = self._by_short.get(short)
        if found and short not in self._real:
            return min(found)
        return self._number().get(short)

    def _number(self) -> dict[str, str]:
        if self._by_number is None:
            self._by_number = {}
            for short, names in sorted(self._by_short.items()):
                if len(names) > 1 or short in self._real:
                    for name in sorted(names)[0 if short in self._real else 1 :]:
                        self._by_number[self._free(name)] = name
            self._by_name = {name: short for short, name in self._by_number.items()}
        return self._by_number

    def _free(self, name: str) -> str:
        assert self._by_number is not None
        number = 1
        while True:
            short = self.rule.of(name, number)
            assert short is not None
            if short not in self._real and short not in self._by_short and short not in self._by_number:
                return short
            number += 1
