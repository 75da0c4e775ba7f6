"""The short names of one directory (MS-FSCC 2.1.5.2.1 8.3 Filename): each once, and none that a file really has.

A module of the chain makes them of the long names (`extensions.short_names`). Where two names of a directory come to
the same, the first of them by their letters keeps it and the others' are made with a further number; so are those of
names that a file really has. It depends on which names there are, and not on the order that they came in.

A file that goes is remembered for a while: who then makes one by its short name makes one of its long name, as NTFS has
it (MS-FSA 2.1.1.1 Per Volume, TunnelCacheList). Programs that know short names alone save their files so.
"""

from collections import OrderedDict
from typing import Final

from lamina.ntfsa.naming.names import fold, present, utf16_length
from lamina.vfs_modules.extensions import ShortNameRule

_DOTS: Final = frozenset({".", ".."})
_LONGEST: Final = 12
_MOST_NUMBERED: Final = 4096
"""Names of a directory that get another short name than their first: with more, those that sort last have none."""
_MOST_TRIES: Final = 1000
_MOST_REMEMBERED: Final = 256
_REMEMBERED_SECONDS: Final = 15
"""As long as Windows remembers them, unless it is told otherwise."""


class ShortNameIndex:
    """The short names of one directory. Names are given as they are on disk; `real` are their folded, shown forms."""

    __slots__ = ("_by_name", "_by_number", "_by_short", "_contested", "_gone", "_real", "_rule")

    def __init__(self, rule: ShortNameRule, real: "dict[str, str | tuple[str, ...]]") -> None:
        self._rule = rule
        self._real = real
        self._by_short: dict[str, set[str]] = {}
        # The short names that more than one name comes to, or one that is real; perhaps some that were.
        self._contested: set[str] = set()
        # The short names with a number, both ways; None until they are needed and after every change.
        self._by_number: dict[str, str] | None = None
        self._by_name: dict[str, str] = {}
        # The names that had these short ones, the last one last, and when they went.
        self._gone: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def add(self, name: str) -> None:
        """A name has come."""
        folded = fold(present(name))
        if folded in self._by_short:
            self._contested.add(folded)
        short = self._made(folded, 0)
        if short is not None:
            names = self._by_short.setdefault(short, set())
            names.add(name)
            if len(names) > 1 or short in self._real:
                self._contested.add(short)
        self._by_number = None

    def remove(self, name: str, now: float) -> None:
        """A name has gone; `now`: seconds on a clock that is not set."""
        self._remember(name, now)
        short = self._made(fold(present(name)), 0)
        if short is not None and short in self._by_short:
            self._by_short[short].discard(name)
            if not self._by_short[short]:
                del self._by_short[short]
        self._by_number = None

    def _remember(self, name: str, now: float) -> None:
        short = self.short_of(name)
        if short is not None:
            self._gone.pop(short, None)
            self._gone[short] = name, now
            if len(self._gone) > _MOST_REMEMBERED:
                self._gone.popitem(last=False)

    def find_gone(self, short: str, now: float) -> str | None:
        """The name of the file that a short name (folded) stood for until a while ago, or None."""
        name, since = self._gone.get(short, ("", 0.0))
        return name if name and now - since <= _REMEMBERED_SECONDS else None

    def short_of(self, name: str) -> str | None:
        """The short name of a name in this directory, None where it has none."""
        short = self._made(fold(present(name)), 0) if name not in _DOTS else None
        if short is None or short not in self._contested:
            return short
        self._number()
        found = self._by_name.get(name)
        return found if found is not None or self._keeper(short) != name else short

    def find(self, short: str) -> str | None:
        """The name on disk that a short name (folded) stands for, or None. Real names have been looked for before."""
        if len(short) > _LONGEST:
            return None
        keeper = self._keeper(short)
        return keeper if keeper is not None else self._number().get(short)

    def _made(self, folded: str, number: int) -> str | None:
        made = self._rule(folded, number)
        # A module is not trusted with the room that entries of listings have.
        return made if made is not None and utf16_length(made) <= _LONGEST else None

    def _keeper(self, short: str) -> str | None:
        names = self._by_short.get(short)
        return min(names) if names and short not in self._real else None

    def _number(self) -> dict[str, str]:
        if self._by_number is None:
            self._by_number = {}
            for short in sorted(self._contested):
                names = self._by_short.get(short, ())
                if len(names) < 2 and short not in self._real:
                    self._contested.discard(short)
                    continue
                self._number_all(sorted(names)[0 if short in self._real else 1 :])
            self._by_name = {name: short for short, name in self._by_number.items()}
        return self._by_number

    def _number_all(self, names: list[str]) -> None:
        assert self._by_number is not None
        for name in names[: max(0, _MOST_NUMBERED - len(self._by_number))]:
            short = self._free(name)
            if short is not None:
                self._by_number[short] = name

    def _free(self, name: str) -> str | None:
        assert self._by_number is not None
        folded = fold(present(name))
        for number in range(1, _MOST_TRIES):
            short = self._made(folded, number)
            if short is None:
                return None
            if short not in self._real and short not in self._by_short and short not in self._by_number:
                return short
        return None
