"""Where the open files of a chain are: their paths, kept true when they, or folders above them, are renamed.

A handle does not say what its file is called, and a file beside it is found by its name.
"""

from lamina.vfs_modules.handle import VfsHandle


class Place:
    """The path of one open file from the share's root; None once it has no name any more.

    `shared`: the handle that tells others how it is open.
    """

    __slots__ = ("path", "shared")

    def __init__(self, path: str) -> None:
        self.path: str | None = path
        self.shared: VfsHandle | None = None


class Places:
    """The places of all handles of a chain."""

    def __init__(self) -> None:
        self._by_path: dict[str, set[Place]] = {}

    def add(self, path: str) -> Place:
        """A place for one more handle of what `path` names."""
        place = Place(path)
        self._by_path.setdefault(path, set()).add(place)
        return place

    def remove(self, place: Place) -> None:
        """The handle is closed."""
        if place.path is not None:
            self._discard(place.path, place)

    def _discard(self, path: str, place: Place) -> None:
        places = self._by_path.get(path)
        if places is not None:
            places.discard(place)
            if not places:
                del self._by_path[path]

    def gone(self, path: str) -> None:
        """The name was removed."""
        for place in self._by_path.pop(path, ()):
            place.path = None

    def moved(self, source: str, target: str, is_directory: bool) -> None:
        """`source` is called `target` now, and everything beneath it lies beneath that."""
        if source == target:
            return
        self.gone(target)
        self._rename(source, target)
        if is_directory:
            # Looks at every open file: renaming folders is rare.
            for path in [path for path in self._by_path if path.startswith(source + "/")]:
                self._rename(path, target + path[len(source) :])

    def _rename(self, source: str, target: str) -> None:
        places = self._by_path.pop(source, None)
        if places:
            for place in places:
                place.path = target
            self._by_path.setdefault(target, set()).update(places)

    def __len__(self) -> int:
        return sum(map(len, self._by_path.values()))
