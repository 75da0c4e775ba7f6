"""Whether this process is one of several that are one server, each with chains of its own over the same shares.

What a process is, is one thing for all that is in it: whoever starts a worker says so once (`join`), before any chain
is connected. Modules do not ask: `turn` and `shared` of theirs hold between all processes, however many there are.
"""

from typing import NamedTuple


class Place(NamedTuple):
    """Which of several processes this is. `folder`: private to the server, in memory, gone when the server ends."""

    folder: str
    number: int


_place: Place | None = None


def join(folder: str, number: int) -> None:
    """Be one of the processes of the server that has this folder; `number` counts from 1 and is nobody else's now."""
    global _place  # noqa: PLW0603 - see above
    _place = Place(folder, number)


def place() -> Place | None:
    """Which of several processes this is; None where it is the only one."""
    return _place
