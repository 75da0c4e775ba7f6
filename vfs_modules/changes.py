"""Changes that others make in a directory: what the operation `watch_changes` tells of, and how it is asked for.

"Others" are local programs, other shares of the same folder, other machines: whoever changes what is shared without
going through this chain. What clients of the share do themselves ntfsa reports, and it does so once (see
`ntfsa.local_changes`); so a backend does either of two things with changes that were made through its own chain: it
tells of them before the operation that made them has returned to its caller and is polled, as inotify does, and ntfsa
knows them again; or it leaves them out. The first is better where it can be had: among what others do to a name while a
client is at it, ntfsa then knows when the client did it.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final, NamedTuple, Protocol


class ChangeKind(Enum):
    """What happened to a name. LOST: not everything can be told, whoever watches must look for themselves."""

    ADDED = auto()
    REMOVED = auto()
    RENAMED = auto()
    DATA = auto()
    ATTRIBUTES = auto()
    LOST = auto()


class Change(NamedTuple):
    """One change. `path` is the changed file's from the watched directory; `target` its new one, where it was RENAMED.

    A name that leaves or enters what is watched was REMOVED or ADDED. DATA is content or size, ATTRIBUTES everything
    else that is kept of a file: times, mode, owner, extended attributes.
    """

    kind: ChangeKind
    path: str = ""
    is_directory: bool = False
    target: str = ""


LOST: Final = Change(ChangeKind.LOST)
"""The change that stands for those that were lost."""


class ChangeQuery(NamedTuple):
    """What is wanted of a watch.

    `tree`: also what happens in the directories beneath. `contents`: also DATA and ATTRIBUTES. `wake` is called, from
    the event loop's thread and outside any request, whenever there is something to poll; it polls and returns soon.
    `skip` says of a path from the watched directory that nobody is to know of it, nor of what is beneath: a module that
    hides names sets it, with what it finds there (`without`).
    """

    tree: bool
    contents: bool
    wake: Callable[[], None]
    skip: Callable[[str], bool] | None = None

    def without(self, hides: Callable[[str], bool]) -> "ChangeQuery":
        """The same, but for the paths of which `hides` is true."""
        skip = self.skip
        return self._replace(skip=hides if skip is None else lambda path: hides(path) or skip(path))


def shown(change: Change, skip: Callable[[str], bool] | None) -> Change | None:
    """What is left of a change where some paths are skipped; None for nothing."""
    if skip is None or change is LOST:
        return change
    hidden = skip(change.path)
    if change.kind is not ChangeKind.RENAMED:
        return None if hidden else change
    if skip(change.target):
        return None if hidden else Change(ChangeKind.REMOVED, change.path, change.is_directory)
    return Change(ChangeKind.ADDED, change.target, change.is_directory) if hidden else change


class ChangeWatch(Protocol):
    """A watch that has begun. Used on the event loop's thread only."""

    def poll(self) -> list[Change]:
        """What happened since the last poll, in order; never waits. What is kept meanwhile is bounded: LOST.

        A source that tells of its own chain's changes looks for those of all its watches, and wakes who has some.
        """
        ...

    def close(self) -> None:
        """Stop watching and give back what it cost. Harmless the second time."""
        ...
