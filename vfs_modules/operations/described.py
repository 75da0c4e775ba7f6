"""The documentation of an operation, taken apart: its docstring in the order that all of them have.

First what it does, in a line, and what more is to be said of it; then, each under its own word and in this order, what
goes in and comes out, what may go wrong, whether it may wait, which calls on the same handle may be running when it is
made, what whoever implements it may count on, and what a chain does in which nobody does.
"""

import inspect
from typing import Final, NamedTuple

from lamina.vfs_modules.operations import Operations

PARTS: Final = ("Arguments", "Answer", "Errors", "Waits", "Overlaps", "May assume", "Default")
"""The words that the parts begin with, in their order. What returns nothing has no "Answer"."""


class Description(NamedTuple):
    """What is written of an operation. `parts`: the text under each word, in the order of the docstring."""

    what: str
    more: str
    parts: dict[str, str]


def description(name: str) -> Description:
    """The documentation of the operation `name`."""
    head, _, rest = (inspect.getdoc(getattr(Operations, name)) or "").partition("\n")
    more: list[str] = []
    parts: dict[str, str] = {}
    word = ""
    for line in rest.splitlines():
        label, colon, text = line.partition(": ")
        if colon and label in PARTS:
            word = label
            parts[word] = text
        elif word:
            parts[word] += " " + line.strip()
        else:
            more.append(line)
    return Description(head.strip(), " ".join(more).strip(), {word: text.strip() for word, text in parts.items()})
