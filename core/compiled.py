"""Which of Lamina's modules are machine code: those of an installation with `LAMINA_COMPILE=1` (setup.py).

It is looked for where Python looks, which prefers a compiled module to the source beside it.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


@cache
def compiled_modules() -> tuple[str, ...]:
    """The names of the compiled modules, without the "lamina." that all begin with; () where all is Python."""
    return tuple(sorted(_found()))


def _found() -> Iterator[str]:
    for folder, _, files in os.walk(_PACKAGE, followlinks=True):
        package = Path(folder).relative_to(_PACKAGE).parts
        for name in files:
            if name.endswith(tuple(EXTENSION_SUFFIXES)):
                yield ".".join((*package, name.partition(".")[0]))


def in_short() -> str:
    """What is said behind the version: how many modules are compiled, nothing if none is."""
    count = len(compiled_modules())
    return f" ({count} modules compiled)" if count else ""


def by_package(modules: Sequence[str]) -> str:
    """For people: the packages with compiled modules, each with how many those are."""
    counts = Counter(name.rpartition(".")[0] for name in modules)
    return ", ".join(f"{package} {count}" for package, count in sorted(counts.items()))
