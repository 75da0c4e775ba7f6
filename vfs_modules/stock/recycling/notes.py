"""What is noted of a deleted file, in an attribute of it: where it was, who deleted it, and when. Pure."""

import json
from dataclasses import dataclass
from typing import Final

ATTRIBUTE: Final = "user.lamina.recycled"
"""The attribute; clients do not see it and cannot set it. Whoever has local access to a file can."""


@dataclass(frozen=True, slots=True)
class Note:
    """Where a file was (from the share's root; "" where that is not known), who deleted it, and when."""

    path: str
    user: str
    time_ns: int

    def pack(self) -> bytes:
        """The value of the attribute."""
        return json.dumps({"path": self.path, "user": self.user, "time": self.time_ns}).encode("ascii")


def unpack(value: bytes) -> Note | None:
    """The note that a value holds; None for what is none, or names a path that cannot be."""
    try:
        fields = json.loads(value)
        note = Note(str(fields["path"]), str(fields["user"]), int(fields["time"]))
    except (ValueError, KeyError, TypeError):
        return None
    return note if is_plain(note.path) else None


def is_plain(path: str) -> bool:
    """Whether a path leads down from the root and nowhere else."""
    return not path or all(component not in {"", ".", ".."} for component in path.split("/"))


@dataclass(frozen=True, slots=True)
class Deleted:
    """A file in a bin: its path there and the bin's, both from the share's root, its size, owner, and the note."""

    bin: str
    path: str
    size: int
    uid: int
    gid: int
    note: Note
