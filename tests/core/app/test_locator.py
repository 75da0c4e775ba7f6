"""Lines of keys in TOML files, against what tomllib makes of the same text."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.core.config.locator import line_of, locate

FILE = '''\
# a comment with [brackets] and = signs
[server]
name = "X"   # trailing
listen = [
    "*:445",  # one
    "[::1]:4445",
]
limits.credits = 5

[share."my data".audit]
text = """
[not.a.table]
key = 1
"""
literal = \'\'\'
x = 2\'\'\'
inline = { a = 1, "b c" = [1, { d = 2 }] }
when = 2026-11-21T04:00:00Z

[[list]]
name = 'first'
[[list]]
name = 'second'
[list.sub]
deep = true
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("server",), 2),
        (("server", "name"), 3),
        (("server", "listen"), 4),
        (("server", "listen", 0), 5),
        (("server", "listen", 1), 6),
        (("server", "limits"), 8),
        (("server", "limits", "credits"), 8),
        (("share", "my data"), 10),
        (("share", "my data", "audit", "text"), 11),
        (("share", "my data", "audit", "literal"), 15),
        (("share", "my data", "audit", "inline", "b c", 1, "d"), 17),
        (("share", "my data", "audit", "when"), 18),
        (("list", 0, "name"), 21),
        (("list", 1, "name"), 23),
        (("list", 1, "sub", "deep"), 25),
    ],
)
def test_a_key_is_found_on_its_line(path: tuple[str | int, ...], line: int) -> None:
    assert locate(FILE)[path] == line


def test_what_is_missing_stands_where_its_table_does() -> None:
    assert line_of(locate(FILE), ("share", "my data", "audit", "no", "such")) == 10
    assert line_of(locate(FILE), ("nothing",)) is None


def paths_of(value: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    found = {path} if path else set()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found |= paths_of(inner, (*path, key))
    return found


def test_every_path_that_tomllib_finds_has_a_line_and_no_other() -> None:
    assert set(locate(FILE)) == paths_of(tomllib.loads(FILE))


@given(
    st.lists(
        st.sampled_from([*FILE.splitlines(), "", "a.b = [ [ ], [1,] ]", 'x = "\\"]"', "y = '''a'b''''"]), max_size=14
    )
)
def test_whatever_tomllib_accepts_is_walked_to_the_end(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(locate(text)) == paths_of(raw)
