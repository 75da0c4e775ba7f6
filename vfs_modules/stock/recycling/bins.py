"""The bins as the server looks after them: what is in them, what goes because of its age or their size, and back.

A bin belongs to its user, who may put anything into it, links too. So everything here goes down from handle to handle,
one name at a time, and follows no link: the server never does for a user what he could not do himself.
"""

import contextlib
import stat as st
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Final

from lamina.vfs_modules.engine import breathe
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, FileStat, OpenHow, Operations
from lamina.vfs_modules.stock.recycling.notes import ATTRIBUTE, Deleted, Note, unpack
from lamina.vfs_modules.stock.recycling.options import RecycleOptions
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

FOLDER: Final = OpenHow(Access.PATH, directory=True, follow=False)
"""How a folder is gone down into."""

FILE: Final = OpenHow(Access.PATH, follow=False)
"""How a file is looked at."""

_LIST: Final = OpenHow(Access.READ, directory=True, follow=False)
_DAY_NS: Final = 86_400_000_000_000
_DEPTH: Final = 200
_PARENT_MODE: Final = 0o755


def descend(
    below: Operations, token: ImpersonationToken, stack: ExitStack, directory: VfsHandle, names: Sequence[str]
) -> VfsHandle:
    """A handle of the folder that `names` lead to, which is closed with `stack`. Follows no link."""
    for name in names:
        directory = below.open(token, directory, name, FOLDER)
        stack.callback(below.close, token, directory)
    return directory


class Bins:
    """The bins of a share. `below` are the layers beneath the module; `root` the share's."""

    def __init__(self, below: Operations, root: VfsHandle, options: RecycleOptions) -> None:
        self._below = below
        self._root = root
        self._options = options
        self.ended = False

    def all(self) -> list[str]:
        """The paths of all bins that there are."""
        found = [""]
        for component in self._options.repository.split("/"):
            if "%" in component.replace("%%", ""):
                found = [f"{path}/{name}" for path in found for name in self._folders(path)]
            else:
                plain = component.replace("%%", "%")
                found = [f"{path}/{plain}".lstrip("/") for path in found if plain in self._folders(path)]
        return found

    def _folders(self, path: str) -> list[str]:
        with ExitStack() as stack, contextlib.suppress(FileNotFoundError, NotADirectoryError):
            parent = descend(self._below, SERVER_TOKEN, stack, self._root, path.split("/") if path else [])
            return sorted(name for name, stat in self._entries(parent) if st.S_ISDIR(stat.mode))
        return []

    def _entries(self, directory: VfsHandle) -> Iterator[tuple[str, FileStat]]:
        below = self._below
        listing = below.open(SERVER_TOKEN, directory, "", _LIST)
        try:
            names = [entry.name for entry in below.readdir(SERVER_TOKEN, listing)]
        finally:
            below.close(SERVER_TOKEN, listing)
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                yield name, below.stat(SERVER_TOKEN, directory, name)

    # What is in a bin.

    def contents(self, bin_path: str) -> list[Deleted]:
        """The files in a bin, the oldest first."""
        with ExitStack() as stack:
            try:
                top = descend(self._below, SERVER_TOKEN, stack, self._root, bin_path.split("/"))
            except (FileNotFoundError, NotADirectoryError):
                return []
            found = list(self._walk(bin_path, "", top, _DEPTH))
        return sorted(found, key=lambda deleted: deleted.note.time_ns)

    def _walk(self, bin_path: str, inner: str, directory: VfsHandle, depth: int) -> Iterator[Deleted]:
        for name, stat in self._entries(directory):
            path = f"{inner}/{name}" if inner else name
            if self.ended:
                return
            breathe()
            if st.S_ISREG(stat.mode):
                note = self._note(directory, name) or self._guess(bin_path, path, stat)
                yield Deleted(bin_path, f"{bin_path}/{path}", stat.size, stat.uid, stat.gid, note)
            elif st.S_ISDIR(stat.mode) and depth:
                with ExitStack() as stack, contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    deeper = descend(self._below, SERVER_TOKEN, stack, directory, [name])
                    yield from self._walk(bin_path, path, deeper, depth - 1)

    def _note(self, directory: VfsHandle, name: str) -> Note | None:
        below = self._below
        try:
            handle = below.open(SERVER_TOKEN, directory, name, FILE)
        except OSError:
            return None
        try:
            return unpack(below.getxattr(SERVER_TOKEN, handle, ATTRIBUTE))
        except OSError:
            return None  # no note, or a file system that keeps none
        finally:
            below.close(SERVER_TOKEN, handle)

    def _guess(self, bin_path: str, path: str, stat: FileStat) -> Note:
        """Without a note the place says where a file was, and its change time when it came."""
        user = bin_path.rpartition("/")[2] if self._options.for_each_user else ""
        return Note(path if self._options.keeptree else "", user, stat.ctime_ns)

    # What goes.

    def tidy(self, bin_path: str, now_ns: int) -> int:
        """Delete what is too old, then the oldest of what is too much; how many bytes are left."""
        kept = self.contents(bin_path)
        if self._options.retention:
            oldest = now_ns - round(self._options.retention * _DAY_NS)
            expired = [deleted for deleted in kept if deleted.note.time_ns < oldest]
            self.delete(expired)
            kept = kept[len(expired) :]
        total = sum(deleted.size for deleted in kept)
        if self._options.quota:
            for number, deleted in enumerate(kept):
                if total <= self._options.quota:
                    break
                self.delete(kept[number : number + 1])
                total -= deleted.size
        return total

    def delete(self, files: Sequence[Deleted]) -> None:
        """Delete files of bins for good, and the folders that are empty then."""
        for deleted in files:
            if self.ended:
                return
            breathe()
            *folders, name = deleted.path.split("/")
            with ExitStack() as stack, contextlib.suppress(FileNotFoundError, NotADirectoryError):
                parent = descend(self._below, SERVER_TOKEN, stack, self._root, folders)
                self._below.unlink(SERVER_TOKEN, parent, name)
            self._remove_empty(deleted.bin, folders)

    def _remove_empty(self, bin_path: str, folders: Sequence[str]) -> None:
        """Remove folders of a bin from the innermost up, as long as they are empty."""
        top = len(bin_path.split("/"))
        for depth in range(len(folders), top, -1):
            with ExitStack() as stack:
                try:
                    parent = descend(self._below, SERVER_TOKEN, stack, self._root, folders[: depth - 1])
                    self._below.rmdir(SERVER_TOKEN, parent, folders[depth - 1])
                except OSError:
                    return

    # What comes back.

    def restore(self, deleted: Deleted, target: str) -> None:
        """Put a file back to `target`, a path from the share's root. Raises FileExistsError where that is taken."""
        below = self._below
        *folders, name = deleted.path.split("/")
        *parents, new_name = target.split("/")
        with ExitStack() as stack:
            source = descend(below, SERVER_TOKEN, stack, self._root, folders)
            parent = self._make_parents(stack, parents, deleted)
            below.rename(SERVER_TOKEN, source, name, parent, new_name, False)
            forget(below, parent, new_name)
        self._remove_empty(deleted.bin, folders)

    def _make_parents(self, stack: ExitStack, parents: Sequence[str], deleted: Deleted) -> VfsHandle:
        below, directory = self._below, self._root
        for name in parents:
            made = False
            with contextlib.suppress(FileExistsError):
                below.mkdir(SERVER_TOKEN, directory, name, _PARENT_MODE)
                made = True
            directory = descend(below, SERVER_TOKEN, stack, directory, [name])
            if made:
                give(below, directory, deleted.uid, deleted.gid)
        return directory


def give(below: Operations, handle: VfsHandle, uid: int, gid: int) -> None:
    """Let something that the server made belong to a user, where the server can give it away."""
    if SERVER_TOKEN.uid == 0:
        with contextlib.suppress(OSError):
            below.fchown(SERVER_TOKEN, handle, uid, gid)


def forget(below: Operations, directory: VfsHandle, name: str) -> None:
    """Take the note off a file that is no longer in a bin."""
    with contextlib.suppress(OSError):
        handle = below.open(SERVER_TOKEN, directory, name, FILE)
        try:
            below.removexattr(SERVER_TOKEN, handle, ATTRIBUTE)
        finally:
            below.close(SERVER_TOKEN, handle)
