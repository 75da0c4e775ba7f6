"""How clients that watch a folder learn of what other clients of the volume do.

Bricks tell each client that knows a folder or file that another one has changed it (upcalls, where the volume has
features.cache-invalidation), once, until it looks again. They do not tell what: so a thread lists the folder anew and
compares. It also looks at each watched folder every few seconds, which keeps the bricks telling, and finds what they
have not told: names come to be known either way, and the contents of files where one folder is watched and no tree.

What this client does itself is left out. Whoever changes names says so before and after (`own`), and a listing from
between is not used.
"""

import asyncio
import atexit
import contextlib
import errno
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from lamina.vfs_modules.changes import LOST, Change, ChangeQuery, shown
from lamina.vfs_modules.names import decode_name, encode_name
from lamina.vfs_modules.token import ImpersonationToken

from lamina_glusterfs.binding import EVENT_INODE_INVALIDATE, REASON_INODE_INVALIDATE, file_stat
from lamina_glusterfs.diffing import Entry, changes

if TYPE_CHECKING:
    from lamina_glusterfs.volume import Volume

PERIOD: Final = 5.0
"""Seconds between two looks at a folder. Bricks forget who knows one after features.cache-invalidation-timeout, 60."""

_SOON: Final = 0.1
_MOST_CHANGES: Final = 1000
_MOST_FOLDERS: Final = 4096


class Folder:
    """A folder that a watch is about: its listing, and where it is in the watch's tree."""

    def __init__(self, object_: Any, gfid: bytes, parent: "Folder | None", name: str) -> None:
        self.object = object_
        self.gfid = gfid
        self.parent = parent
        self.name = name
        self.entries: dict[str, Entry | None] = {}
        self.changed = 0
        # How many changes of our own are under way, and how many there have been.
        self.pending = 0
        self.generation = 0

    def has(self, numbers: set[int]) -> bool:
        """Whether one of these files is in it."""
        return any(entry is not None and entry.number in numbers for entry in self.entries.values())

    def is_in(self, parent: "Folder", numbers: set[int]) -> bool:
        """Whether it is one of these folders in `parent`, or somewhere beneath one."""
        one: Folder | None = self
        while one is not None:
            if one.parent is parent and number_of(one.gfid) in numbers:
                return True
            one = one.parent
        return False

    @property
    def path(self) -> str:
        """From the watched folder, with a "/" at its end; "" for that itself."""
        return f"{self.parent.path}{self.name}/" if self.parent is not None else ""


class Watch:
    """One client's watch. Its folders are the thread's, its changes the loop's."""

    def __init__(self, watching: "Watching", token: ImpersonationToken, query: ChangeQuery) -> None:
        self.token = token
        self.query = query
        self.folders: dict[int, Folder] = {}
        self.is_closed = False
        self.loop = asyncio.get_running_loop()
        self._watching = watching
        self._changes: list[Change] = []

    def tell(self, told: list[Change]) -> None:
        """Called on the loop's thread."""
        found = [left for change in told if (left := shown(change, self.query.skip)) is not None]
        if self.is_closed or not found:
            return
        self._changes += found
        if len(self._changes) > _MOST_CHANGES:
            self._changes = [LOST]
        self.query.wake()

    def poll(self) -> list[Change]:
        """What has happened since the last time."""
        told, self._changes = self._changes, []
        return told

    def close(self) -> None:
        """Stop; more than once does no harm."""
        self.is_closed = True
        self._watching.leave(self)


class Watching:
    """All watches of a volume."""

    def __init__(self, volume: "Volume") -> None:
        self._volume = volume
        self._lock = threading.Condition()
        self._watches: set[Watch] = set()
        self._dirty: set[int] = set()
        self._touched: set[int] = set()
        self._left: list[Folder] = []
        self._thread: threading.Thread | None = None
        self._upcall: Any = None
        self.is_active = False

    # What the operations say.

    @contextlib.contextmanager
    def own(self, *parents: Any, of_folders: bool = False) -> Iterator[list[tuple[Any, bytes, bool]]]:
        """Around a change of names in these folders. What has been done is put into the list that it gives.

        That is the folder, the name, and whether it is there now. `of_folders`: it may be a folder's name.
        """
        done: list[tuple[Any, bytes, bool]] = []
        if not self.is_active:
            yield done
            return
        numbers = {number_of(self._volume.gfid(parent)) for parent in parents}
        with self._lock:
            for folder in self._having(numbers):
                folder.pending += 1
        try:
            yield done
        finally:
            made = [(number_of(self._volume.gfid(parent)), name, there) for parent, name, there in done]
            with self._lock:
                for folder in self._having(numbers):
                    folder.pending = max(folder.pending - 1, 0)
                    folder.generation += 1
                for number, name, there in made:
                    for folder in self._having({number}):
                        _take_over(folder, decode_name(name), there)
                if of_folders:
                    # Where a tree is watched, it has another shape now.
                    self._dirty |= numbers
                    self._lock.notify()

    def touch(self, number: int) -> None:
        """Data or attributes of a file are being changed by this client."""
        if self.is_active:
            self._touched.add(number)

    def _having(self, numbers: set[int]) -> list[Folder]:
        return [folder for watch in self._watches for n in numbers if (folder := watch.folders.get(n)) is not None]

    # Beginning and ending.

    def begin(self, watch: Watch, object_: Any) -> None:
        """Take a folder, and what is beneath where the watch is of a tree, as it is now; on a thread of the volume, as
        the watch's user. ENOSPC where that are too many."""
        self._start()
        with self._lock:
            # From now on what this client does is noted.
            self._watches.add(watch)
            self.is_active = True
        try:
            self._include(watch, Folder(object_, self._volume.gfid(object_), None, ""))
        except OSError:
            watch.close()
            raise

    def leave(self, watch: Watch) -> None:
        """A watch has ended."""
        with self._lock:
            self._watches.discard(watch)
            self.is_active = bool(self._watches)
            # The thread may be looking at one of them just now.
            self._left += watch.folders.values()
            watch.folders = {}
            if not self.is_active:
                self._touched.clear()
            self._lock.notify()

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._work, name=f"gluster-watch-{self._volume.name}", daemon=True)
        api = self._volume.api
        self._upcall = api.ffi.callback("glfs_upcall_cbk", self._told)
        api.lib.glfs_upcall_register(self._volume.fs, EVENT_INODE_INVALIDATE, self._upcall, api.ffi.NULL)
        # When Python has ended there is nobody to be told.
        atexit.register(api.lib.glfs_upcall_unregister, self._volume.fs, EVENT_INODE_INVALIDATE)
        self._thread.start()

    def _include(self, watch: Watch, folder: Folder) -> None:
        todo = [folder]
        while todo:
            one = todo.pop()
            watch.folders[number_of(one.gfid)] = one
            if len(watch.folders) > _MOST_FOLDERS:
                raise OSError(errno.ENOSPC, f"more than {_MOST_FOLDERS} folders to watch", one.path)
            listing = self._list(one)
            one.entries = dict(listing)
            if watch.query.tree:
                todo += self._below(one, listing, watch)

    def _below(self, folder: Folder, listing: dict[str, Entry], watch: Watch) -> list[Folder]:
        """Folders in a folder that are not known yet; those that are, are where they are found."""
        new: list[Folder] = []
        for name, entry in listing.items():
            if not entry.is_directory:
                continue
            known = watch.folders.get(entry.number)
            if known is not None:
                known.parent, known.name = folder, name
                continue
            # What the user may not list, or what has just gone, is not watched.
            with contextlib.suppress(OSError):
                object_ = self._look(folder, name)
                new.append(Folder(object_, self._volume.gfid(object_), folder, name))
        return new

    # Looking.

    def _look(self, folder: Folder, name: str) -> Any:
        api = self._volume.api
        found = api.lib.glfs_h_lookupat(
            self._volume.fs, folder.object, encode_name(name), api.ffi.new("struct stat *"), 0
        )
        if found == api.ffi.NULL:
            raise self._volume.failure()
        return found

    def _list(self, folder: Folder) -> dict[str, Entry]:
        api = self._volume.api
        folder.changed = self._stat(folder)
        descriptor = api.lib.glfs_h_opendir(self._volume.fs, folder.object)
        if descriptor == api.ffi.NULL:
            raise self._volume.failure()
        status, entry, found = (api.ffi.new(kind) for kind in ("struct stat *", "struct dirent *", "struct dirent **"))
        raw = api.ffi.buffer(status)
        listing: dict[str, Entry] = {}
        try:
            while True:
                if api.lib.glfs_readdirplus_r(descriptor, status, entry, found):
                    raise self._volume.failure()
                if found[0] == api.ffi.NULL:
                    return listing
                name = api.ffi.string(entry.d_name)
                told = file_stat(api.form, raw)
                if name not in {b".", b".."} and told.mode:
                    listing[decode_name(name)] = Entry.of(told)
        finally:
            api.lib.glfs_closedir(descriptor)

    def _stat(self, folder: Folder) -> int:
        api = self._volume.api
        status = api.ffi.new("struct stat *")
        if api.lib.glfs_h_stat(self._volume.fs, folder.object, status):
            raise self._volume.failure()
        return file_stat(api.form, api.ffi.buffer(status)).mtime_ns

    # The thread.

    def _told(self, event: Any, _: Any) -> None:
        """A brick says that something was changed; on a thread of the library."""
        api = self._volume.api
        lib, null = api.lib, api.ffi.NULL
        try:
            if lib.glfs_upcall_get_reason(event) != REASON_INODE_INVALIDATE:
                return
            inode = api.ffi.cast("glfs_upcall_inode_t *", lib.glfs_upcall_get_event(event))
            asked = lib.glfs_upcall_inode_get_object, lib.glfs_upcall_inode_get_pobject
            objects = [ask(inode) for ask in (*asked, lib.glfs_upcall_inode_get_oldpobject)]
            numbers = {number_of(self._volume.gfid(one)) for one in objects if one != null}
        finally:
            lib.glfs_free(event)
        with self._lock:
            self._dirty |= numbers
            self._lock.notify()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._dirty and not self._left:
                    self._lock.wait(PERIOD)
                dirty, self._dirty = self._dirty, set()
                left, self._left = self._left, []
                watches, touched = list(self._watches), set(self._touched)
            self._close(left)
            for watch in watches:
                for folder in self._wanted(watch, dirty, touched):
                    with contextlib.suppress(OSError):
                        self._compare(watch, folder)
            if not dirty:
                self._touched -= touched

    def _close(self, folders: list[Folder]) -> None:
        for folder in folders:
            self._volume.api.lib.glfs_h_close(folder.object)

    def _wanted(self, watch: Watch, dirty: set[int], touched: set[int]) -> list[Folder]:
        """The folders to be listed: those that something was told of, or all that look changed where nothing was."""
        self._volume.become(watch.token)
        with self._lock:
            folders = list(watch.folders.values())
            asked = dirty or touched
            of_files = [folder for folder in folders if watch.query.contents and folder.has(asked)]
        if dirty:
            return [folder for folder in folders if number_of(folder.gfid) in dirty or folder in of_files]
        # Of one folder, but not of a whole tree, files are looked at as well: bricks need not be able to tell.
        every = watch.query.contents and not watch.query.tree
        return [folder for folder in folders if every or folder in of_files or self._looks_changed(folder)]

    def _looks_changed(self, folder: Folder) -> bool:
        try:
            return self._stat(folder) != folder.changed
        except OSError:
            # When its brick is back something may have happened meanwhile.
            folder.changed = 0
            return False

    def _compare(self, watch: Watch, folder: Folder) -> None:
        with self._lock:
            generation = folder.generation
        listing = self._list(folder)
        with self._lock:
            if folder.pending or folder.generation != generation or watch.is_closed:
                self._dirty.add(number_of(folder.gfid))
                # Whoever is changing it will be done soon.
                self._lock.wait(_SOON)
                return
            found = list(changes(folder.entries, listing, watch.query.contents, self._touched))
            was = folder.entries
            folder.entries = dict(listing)
        told = [_within(folder.path, change) for change in found]
        if watch.query.tree:
            self._shrink(watch, folder, was, listing)
            told += self._grow(watch, folder, listing, was)
        if told:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                watch.loop.call_soon_threadsafe(watch.tell, told)

    def _shrink(self, watch: Watch, folder: Folder, was: dict[str, Entry | None], listing: dict[str, Entry]) -> None:
        """Leave folders that are not there any more, with what was beneath; not those that are elsewhere by now."""
        there = {entry.number for entry in listing.values()}
        gone = {entry.number for entry in was.values() if entry is not None and entry.number not in there}
        with self._lock:
            left = [one for one in watch.folders.values() if one.is_in(folder, gone)]
            for one in left:
                del watch.folders[number_of(one.gfid)]
        self._close(left)

    def _grow(
        self, watch: Watch, folder: Folder, listing: dict[str, Entry], was: dict[str, Entry | None]
    ) -> list[Change]:
        """Watch folders that are new, and say what is in them, unless they are this client's own."""
        told: list[Change] = []
        for new in self._below(folder, listing, watch):
            before = set(watch.folders)
            try:
                self._include(watch, new)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    told.append(LOST)
                continue
            if new.name in was:
                continue
            for number in set(watch.folders) - before:
                one = watch.folders[number]
                told += [_within(one.path, change) for change in changes({}, _known(one), False, set())]
        return told


def _known(folder: Folder) -> dict[str, Entry]:
    return {name: entry for name, entry in folder.entries.items() if entry is not None}


def _take_over(folder: Folder, name: str, there: bool) -> None:
    if there:
        folder.entries[name] = None
    else:
        folder.entries.pop(name, None)


def _within(path: str, change: Change) -> Change:
    return change._replace(path=path + change.path, target=path + change.target if change.target else "")


def number_of(gfid: bytes) -> int:
    """The inode number that the library makes of a gfid."""
    return int.from_bytes(gfid[8:], "big")


__all__ = ["Watch", "Watching", "number_of"]
