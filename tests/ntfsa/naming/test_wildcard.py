"""Wildcards against tables and against a plain recursive reading of MS-FSA 2.1.4.4."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.ntfsa.naming.wildcard import is_name_in_expression, matcher


def reference(name: str, pattern: str) -> bool:
    if not name or not pattern:
        return not name and not pattern
    if pattern in {"*", "*.*"}:
        return True
    return _reference(name, pattern)


def _reference(name: str, pattern: str) -> bool:
    if not pattern:
        return not name
    first, rest = pattern[0], pattern[1:]
    eats = bool(name)
    if first == "*":
        return _reference(name, rest) or (eats and _reference(name[1:], pattern))
    if first == "<":
        eats = eats and (name[0] != "." or "." in name[1:])
        return _reference(name, rest) or (eats and _reference(name[1:], pattern))
    if first == ">":
        if not name or name[0] == ".":
            return _reference(name, rest)
        return _reference(name[1:], rest)
    if first == '"' and not name:
        return _reference(name, rest)
    if first == '"':
        return name[0] == "." and _reference(name[1:], rest)
    return eats and first in {"?", name[0]} and _reference(name[1:], rest)


@given(st.text("AB.", max_size=8), st.text('AB.*?<>"', max_size=8))
@settings(max_examples=1500, deadline=None)
def test_agrees_with_the_recursive_reading(name: str, pattern: str) -> None:
    assert is_name_in_expression(name, pattern) == reference(name, pattern)


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("anything", "*", True),
        ("noperiod", "*.*", True),
        ("", "*", False),
        ("", "", True),
        ("a", "", False),
        ("File.TXT", "*.txt", True),
        ("File.TXT", "file.txt", True),
        ("File.TXT", "f*t", True),
        ("ft", "f*t", True),
        ("f", "f*f", False),
        ("readme", "readme*", True),
        ("a.b.c", "<.c", True),
        ("a.b.c", "<.b", False),
        ("abc", "<", True),
        ("abc.d", "<", False),
        ("abc", 'abc"', True),
        ("abc.", 'abc"', True),
        ("abcd", 'abc"', False),
        ("ab", ">>>>", True),
        ("abcde", ">>>>", False),
        ("ab.c", '>>>>">>>', True),
        (".c", '>>>>">>>', True),
        ("ab", "???", False),
        ("Äpfel", "ä*", True),
    ],
)
def test_table(name: str, pattern: str, expected: bool) -> None:
    assert is_name_in_expression(name, pattern) is expected


@pytest.mark.parametrize("pattern", ["*a" * 120 + "b", "<a" * 120 + "b", "*" + ">" * 250 + "b", "?*" * 120 + "b"])
def test_hostile_patterns_end(pattern: str) -> None:
    assert not is_name_in_expression("a." * 127, pattern)


def test_case_is_kept_where_asked() -> None:
    assert not is_name_in_expression("FILE", "file", ignore_case=False)
    assert matcher("f*", ignore_case=False)("file")
