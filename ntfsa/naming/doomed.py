"""The names that go with the last open of their files.

A file whose deletion is pending may have several names (MS-FSA 2.1.5.15.3 "FileDispositionInformation"): the one that
goes is that of the open which asked for it, and it follows renames.
"""

from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from lamina.ntfsa.record import FileKey


class Doomed(NamedTuple):
    """A name that goes with the last open of its file: its chain path, and the lease key of its directory that whoever
    asked for it gave (see `NtOpen.parent_key`)."""

    path: str
    parent_key: bytes

    def moved(self, source: str, target: str, is_directory: bool) -> Self:
        """What it is after a rename; itself where that was of something else."""
        if self.path == source or (is_directory and self.path.startswith(source + "/")):
            return self._replace(path=target + self.path[len(source) :])
        return self


class DoomedNames:
    """Which name of a file is to be deleted, by the file. Each method is one step, whoever else makes steps."""

    def __init__(self) -> None:
        self._names: dict[FileKey, Doomed] = {}

    def get(self, key: "FileKey") -> Doomed | None:
        """The name of a file that goes."""
        return self._names.get(key)

    def note(self, key: "FileKey", doomed: Doomed) -> None:
        """Note the name that goes, whatever was noted before."""
        self._names[key] = doomed

    def note_first(self, key: "FileKey", doomed: Doomed) -> None:
        """Note the name that goes, if none was noted before."""
        self._names.setdefault(key, doomed)

    def forget(self, key: "FileKey") -> None:
        """No name of the file goes, or not any more."""
        self._names.pop(key, None)

    def move(self, source: str, target: str, is_directory: bool) -> None:
        """Follow a rename of a file, or of a directory with all beneath it. Chain paths."""
        for key, doomed in self._names.items():
            self._names[key] = doomed.moved(source, target, is_directory)
