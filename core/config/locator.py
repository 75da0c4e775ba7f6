"""Where in a TOML file a key stands.

`tomllib` gives values without positions, and a configuration error without a line is half an answer. This walks a
text that tomllib has already accepted, so it need not judge it: it only skips values and counts lines (TOML 1.0.0).
"""

import re
import tomllib
from collections.abc import Mapping

KeyPath = tuple[str | int, ...]

_SPACE = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]*")
_STRINGS = (
    re.compile(r'"""(?:\\.|(?!""").)*"""(?:"{0,2}(?!"))', re.DOTALL),
    re.compile(r"'''(?:(?!''').)*'''(?:'{0,2}(?!'))", re.DOTALL),
    re.compile(r'"(?:\\.|[^"\\\n])*"'),
    re.compile(r"'[^'\n]*'"),
)


def locate(text: str) -> Mapping[KeyPath, int]:
    """The line (from 1) of every table, key and array element of `text`, by its path from the root."""
    walker = _Walker(text)
    walker.document()
    return walker.lines


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int | None:
    """The line of `path`, or of the nearest table around it that the file has; None if it has none of them."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


class _Walker:
    """One pass over the text. Each method leaves `at` behind what it is named after."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self._array_tables: dict[KeyPath, int] = {}
        self._counted = (0, 1)

    def document(self) -> None:
        """Every table header and key of the file."""
        table: KeyPath = ()
        self._skip(_SPACE)
        while self.at < len(self.text):
            if self.text.startswith("[", self.at):
                table = self._header()
            else:
                self._pair(table)
            self._skip(_SPACE)

    def _header(self) -> KeyPath:
        array = self.text.startswith("[[", self.at)
        start = self.at
        self.at += 2 if array else 1
        path = self._inside_arrays(self._keys(), last_too=not array)
        self.at += 2 if array else 1
        if array:
            index = self._array_tables.get(path, -1) + 1
            self._array_tables[path] = index
            self._note(path, start)
            path = (*path, index)
        self._note(path, start)
        return path

    def _inside_arrays(self, keys: KeyPath, last_too: bool) -> KeyPath:
        # [fruit.variety] after [[fruit]] means the last fruit.
        path: KeyPath = ()
        for position, key in enumerate(keys):
            path = (*path, key)
            if path in self._array_tables and (last_too or position < len(keys) - 1):
                path = (*path, self._array_tables[path])
        return path

    def _pair(self, table: KeyPath) -> None:
        start = self.at
        path = (*table, *self._keys())
        self._note(path, start)
        self.at += 1  # "="
        self._skip(_BLANK)
        self._value(path)

    def _keys(self) -> KeyPath:
        keys = [self._key()]
        while self.text.startswith(".", self.at):
            self.at += 1
            keys.append(self._key())
        return tuple(keys)

    def _key(self) -> str:
        self._skip(_BLANK)
        start = self.at
        if self.text[start] in "\"'":
            self._string()
            key = next(iter(tomllib.loads(f"{self.text[start : self.at]} = 0")))
        else:
            self._skip(_BARE_KEY)
            key = self.text[start : self.at]
        self._skip(_BLANK)
        return key

    def _value(self, path: KeyPath) -> None:
        opening = self.text[self.at]
        if opening == "[":
            self._array(path)
        elif opening == "{":
            self._inline_table(path)
        elif opening in "\"'":
            self._string()
        else:
            self._skip(_SCALAR)

    def _array(self, path: KeyPath) -> None:
        self.at += 1
        self._skip(_SPACE)
        index = 0
        while self.text[self.at] != "]":
            self._note((*path, index), self.at)
            self._value((*path, index))
            index += 1
            self._skip(_SPACE)
        self.at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self.at += 1
        self._skip(_SPACE)
        while self.text[self.at] != "}":
            self._pair(path)
            self._skip(_SPACE)
        self.at += 1

    def _string(self) -> None:
        match = next(filter(None, (pattern.match(self.text, self.at) for pattern in _STRINGS)))
        self.at = match.end()

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def _note(self, path: KeyPath, start: int) -> None:
        # The tables that a dotted key or header makes on its way stand on the same line, where they are first named.
        line = self._line(start)
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)

    def _line(self, position: int) -> int:
        counted_to, line = self._counted
        line += self.text.count("\n", counted_to, position)
        self._counted = (position, line)
        return line
