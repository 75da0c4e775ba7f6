"""Wildcards of directory queries: MS-FSA 2.1.4.4 Algorithm for Determining if a FileName Is in an Expression.

`*` any characters, `?` one character; and what Windows makes of the DOS commands' patterns: `<` (DOS_STAR) any
characters up to the last period, `>` (DOS_QM) one character or, at a period or the end, none, `"` (DOS_DOT) a period or
nothing at the end. The general matcher walks the name once with the set of reachable places in the pattern, so that
no pattern is expensive; most patterns are one of a few simple shapes and need no walk. Comparison ignores case.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from lamina.ntfsa.naming.names import fold

Matcher = Callable[[str], bool]

_WILDCARDS: Final = frozenset('*?<>"')
_CACHED_PATTERN: Final = 260


def has_wildcards(pattern: str) -> bool:
    """Whether `pattern` holds any wildcard (MS-FSA 2.1.4.3)."""
    return not _WILDCARDS.isdisjoint(pattern)


def matcher(pattern: str, ignore_case: bool = True) -> Matcher:
    """A function that says of a name whether it is in `pattern`.

    With `ignore_case` it must be given *folded* names (`names.fold`): a directory's index has them. An empty pattern
    matches the empty name only.
    """
    make = _compile_cached if len(pattern) <= _CACHED_PATTERN else _compile
    return make(fold(pattern) if ignore_case else pattern)


def is_name_in_expression(name: str, pattern: str, ignore_case: bool = True) -> bool:
    """Whether `name` is in `pattern` (FsRtlIsNameInExpression); for one name: otherwise keep a `matcher`."""
    return matcher(pattern, ignore_case)(fold(name) if ignore_case else name)


def _compile(pattern: str) -> Matcher:
    # "*" and "*.*" match everything, by the first part of the algorithm: "*.*" too, which would need a period.
    if pattern in {"*", "*.*"}:
        return bool
    if not has_wildcards(pattern):
        return pattern.__eq__
    head, star, tail = pattern.partition("*")
    if star and not head and not has_wildcards(tail):
        return lambda name: name.endswith(tail)
    if star and not tail and not has_wildcards(head):
        return lambda name: name.startswith(head)
    if star and not has_wildcards(head) and not has_wildcards(tail):
        least = len(head) + len(tail)
        return lambda name: len(name) >= least and name.startswith(head) and name.endswith(tail)
    return _general(pattern)


_compile_cached = lru_cache(maxsize=1024)(_compile)


def _general(pattern: str) -> Matcher:
    """Match by walking the name with the set of places in the pattern, as bits of an integer.

    Bit i is set if what was read of the name is matched by the first i characters of the pattern.
    """
    steps = _Steps(pattern)
    complete = 1 << len(pattern)

    def match(name: str) -> bool:
        state = 1 if name else 0
        last_period = name.rfind(".")
        for index, character in enumerate(name):
            if character == ".":
                state = steps.at_period(state, last=index == last_period)
            else:
                state = steps.at_letter(state, character)
            if not state:
                return False
        return bool(_skip(state, steps.skipped_at_end) & complete)

    return match


def _skip(state: int, skippable: int) -> int:
    """The places reachable without reading: past runs of wildcards that may match nothing.

    Adding lets a carry run from a place through the rest of its run of skippable ones, to the place behind it.
    """
    return state | (skippable ^ (skippable + (state & skippable)))


class _Steps:
    """Bit sets of a pattern (bit i stands for its i-th character), and the steps they make."""

    __slots__ = ("_dos_star", "_letters", "_one_not_period", "_optional", "_period", "_skipped", "skipped_at_end")

    def __init__(self, pattern: str) -> None:
        def places(wanted: str) -> int:
            return sum(1 << i for i, character in enumerate(pattern) if character in wanted)

        self._dos_star = places("<")
        self._optional = places("*<")
        self._one_not_period = places("?>")
        self._period = places('.?"')
        self._skipped = places("*<>")
        self.skipped_at_end = places('*<>"')
        self._letters = {character: places(character) for character in set(pattern) - _WILDCARDS}

    def at_letter(self, state: int, character: str) -> int:
        """The places after reading a character that is no period."""
        state = _skip(state, self._optional)
        moves = self._one_not_period | self._letters.get(character, 0)
        return (state & self._optional) | (state & moves) << 1

    def at_period(self, state: int, last: bool) -> int:
        """The places after reading a period; the name's last one no DOS_STAR may match, and no DOS_QM any."""
        state = _skip(state, self._skipped)
        stays = self._optional & ~self._dos_star if last else self._optional
        return (state & stays) | (state & self._period) << 1
