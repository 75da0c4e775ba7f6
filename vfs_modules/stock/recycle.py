"""A module that puts deleted and replaced files into a bin, of each user or of all, instead of deleting them.

What comes to the bin is moved there as the user himself; only the bins are made, and looked after, by the server. From
his bin a user takes files back as he moves any other file, and what he deletes there is gone.
"""

import contextlib
import errno
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from hashlib import blake2b
from struct import Struct
from typing import ClassVar, Final, NamedTuple

from lamina.vfs_modules.engine import aside
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ShareInfo
from lamina.vfs_modules.operations import FileStat, Times
from lamina.vfs_modules.private_attributes import PrivateAttributes
from lamina.vfs_modules.stock.recycling.bins import FILE, Bins, descend, forget, give
from lamina.vfs_modules.stock.recycling.notes import ATTRIBUTE, Deleted, Note, is_plain
from lamina.vfs_modules.stock.recycling.options import RecycleOptions
from lamina.vfs_modules.substitution import as_component, substitute, values_for
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken
from lamina.vfs_modules.turn import Turn

log = logging.getLogger(__name__)

_OPEN_TO_ALL: Final = 0o755
_NUMBERED: Final = 32
_NAME, _BIN, _TIDY = "name", "bin", "tidy"  # kinds of turns; who has the first may take the second
_ATTEMPTS: Final = 3
_TIDY_NS: Final = 3_600_000_000_000
_LONGEST_TAIL: Final = 60
_NO_LINK: Final = frozenset({errno.ENOTSUP, errno.EPERM, errno.EMLINK, errno.EXDEV, errno.EACCES})


class _Usage(NamedTuple):
    """What is known of a bin: its bytes, -1 while nobody has looked, and when it was last tidied.

    `came`: the bytes that have come since it was last looked into, which may not have been seen.
    """

    size: int = -1
    came: int = 0
    tidied_ns: int = 0


_USAGE: Final = Struct("<qqq")


class RecycleModule(PrivateAttributes, public=("contents", "purge", "restore")):
    """Keeps deleted files. `clock` gives nanoseconds since 1970."""

    Options = RecycleOptions
    name: ClassVar[str] = "recycle"
    before: ClassVar[tuple[str, ...]] = ("streams", "security", "dos_attributes")

    options: RecycleOptions

    def __init__(self, options: RecycleOptions | None = None, clock: Callable[[], int] = time.time_ns) -> None:
        super().__init__(options)
        self._clock = clock
        self._shared = self.options.repository.partition("/")[0].replace("%%", "%")
        self._tidying: set[str] = set()
        self._turn = Turn()

    # Lifecycle.

    def one_process(self) -> str:
        """What is known of the bins is shared, and who makes or tidies one does so alone."""
        return ""

    def connect(self, share: ShareInfo) -> None:
        """Hold the root, and let what is too old go."""
        self._root = self.next.open_root(SERVER_TOKEN)
        stat = self.next.fstat(SERVER_TOKEN, self._root)
        self._root_id = (stat.dev, stat.ino)
        self._bins = Bins(self.next, self._root, self.options)
        if (self.options.retention or self.options.quota) and not share.read_only:
            aside(self._tidy_all)

    def disconnect(self) -> None:
        """Stop tidying, and give the root back."""
        self._bins.ended = True
        with self._turn:
            self.next.close(SERVER_TOKEN, self._root)

    def _is_private(self, name: str) -> bool:
        return name == ATTRIBUTE

    # What is deleted.

    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Put a file into the bin, or delete it where it is not to be kept or is in a bin already."""
        if self._worth_keeping(token, directory, path) is None:
            self.next.unlink(token, directory, path)
            return
        with self._turn_of_name(token, directory, path):
            stat = self._worth_keeping(token, directory, path)
            if stat is None or not self._put(token, directory, path, stat):
                self.next.unlink(token, directory, path)

    def rename(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
        replace: bool,
    ) -> None:
        """Rename; what is replaced comes to the bin first, and is never missing under its name meanwhile."""
        if replace and token is not SERVER_TOKEN:
            with self._turn_of_name(token, target_directory, target):
                self._replace(token, source_directory, source, target_directory, target)
        else:
            self.next.rename(token, source_directory, source, target_directory, target, replace)
        if self._is_in_bin(source_directory, source) and not self._is_in_bin(target_directory, target):
            with ExitStack() as stack:
                *folders, name = target.split("/")
                with contextlib.suppress(OSError):
                    forget(self.next, descend(self.next, token, stack, target_directory, folders), name)

    def _replace(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
    ) -> None:
        stat = self._worth_keeping(token, target_directory, target)
        undo = None
        if stat is not None and not self._is_same(token, source_directory, source, stat):
            undo = self._keep_replaced(token, target_directory, target, stat)
        try:
            self.next.rename(token, source_directory, source, target_directory, target, True)
        except BaseException:
            if undo is not None:
                undo()
            raise

    def _turn_of_name(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> Turn:
        """The turn of a name that is about to go: what is kept must be what goes, whoever else is about to."""
        above, _, name = path.rpartition("/")
        stat = self.next.stat(token, directory, above) if above else self.next.fstat(token, directory)
        return self.turn(stat.dev, stat.ino, name, kind=_NAME)

    def _worth_keeping(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> FileStat | None:
        if token is SERVER_TOKEN or self._is_in_bin(directory, path):
            return None
        try:
            stat = self.next.stat(token, directory, path)
        except OSError:
            return None
        return stat if self.options.wants(path, stat) else None

    def _is_same(self, token: ImpersonationToken, directory: VfsHandle, path: str, stat: FileStat) -> bool:
        other = self.next.stat(token, directory, path)
        return (other.dev, other.ino) == (stat.dev, stat.ino)

    def _is_in_bin(self, directory: VfsHandle, path: str) -> bool:
        return path.partition("/")[0] == self._shared and self._is_root(directory)

    def _is_root(self, directory: VfsHandle) -> bool:
        stat = self.next.fstat(SERVER_TOKEN, directory)
        return (stat.dev, stat.ino) == self._root_id

    # The way into the bin.

    def _put(self, token: ImpersonationToken, directory: VfsHandle, path: str, stat: FileStat) -> bool:
        def move(folder: VfsHandle, name: str) -> None:
            self.next.rename(token, directory, path, folder, name, False)

        return self._take(token, directory, path, stat, move) is not None

    def _keep_replaced(
        self, token: ImpersonationToken, directory: VfsHandle, path: str, stat: FileStat
    ) -> Callable[[], None] | None:
        """Give the file that is replaced a second name in the bin; what undoes that."""
        handle = self.next.open(token, directory, path, FILE)

        def link(folder: VfsHandle, name: str) -> None:
            try:
                self.next.link(token, handle, folder, name)
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise
                # Without a second name the first is missing until the other file has it.
                self.next.rename(token, directory, path, folder, name, False)

        try:
            kept = self._take(token, directory, path, stat, link)
        finally:
            self.next.close(token, handle)
        return None if kept is None else lambda: self._undo(token, directory, path, kept)

    def _undo(self, token: ImpersonationToken, directory: VfsHandle, path: str, kept: str) -> None:
        *folders, name = kept.split("/")
        with contextlib.suppress(OSError), ExitStack() as stack:
            folder = descend(self.next, SERVER_TOKEN, stack, self._root, folders)
            try:
                self.next.rename(token, folder, name, directory, path, False)
            except FileExistsError:
                self.next.unlink(token, folder, name)
        with contextlib.suppress(OSError):
            forget(self.next, directory, path)

    def _take(
        self,
        token: ImpersonationToken,
        directory: VfsHandle,
        path: str,
        stat: FileStat,
        put: Callable[[VfsHandle, str], None],
    ) -> str | None:
        """Let `put` give the file a name in the bin; its path there, or None where it cannot be and may be deleted."""
        bin_path = substitute(self.options.repository, values_for(token, self.share), as_component)
        original = path if self._is_root(directory) else ""
        try:
            kept = self._place(token, bin_path, path, original, put)
        except OSError as error:
            if self.options.when_failing == "refuse":
                raise
            share = self.share.name if self.share is not None else ""
            log.warning("share %s: %r does not come to %s: %s", share, path, bin_path, error.strerror or error)
            return None
        self._came(bin_path, stat.size)
        return kept

    def _place(
        self,
        token: ImpersonationToken,
        bin_path: str,
        path: str,
        original: str,
        put: Callable[[VfsHandle, str], None],
    ) -> str:
        folders, _, name = path.rpartition("/")
        for attempt in range(_ATTEMPTS):
            with ExitStack() as stack:
                try:
                    folder, inner = self._folder(token, stack, bin_path, folders)
                    kept = self._name(token, folder, name, put)
                except FileNotFoundError:
                    # A folder that was empty has been tidied away just now.
                    if attempt + 1 == _ATTEMPTS:
                        raise
                    continue
                self._note(token, folder, kept, original)
                return "/".join(filter(None, (bin_path, inner, kept)))
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def _name(
        self, token: ImpersonationToken, folder: VfsHandle, name: str, put: Callable[[VfsHandle, str], None]
    ) -> str:
        if not self.options.numbers(name):
            self._put_last(token, folder, name, put)
            return name
        for candidate in self._candidates(name):
            try:
                put(folder, candidate)
            except FileExistsError:
                continue
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG or candidate == name:
                    raise
                continue
            return candidate
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)

    def _put_last(
        self, token: ImpersonationToken, folder: VfsHandle, name: str, put: Callable[[VfsHandle, str], None]
    ) -> None:
        """Let a name of the bin be that of the file that came last."""
        for attempt in range(_ATTEMPTS):
            with contextlib.suppress(FileNotFoundError):
                self.next.unlink(token, folder, name)
            try:
                put(folder, name)
            except FileExistsError:
                # Another of that name has come just now.
                if attempt + 1 == _ATTEMPTS:
                    raise
            else:
                return

    def _candidates(self, name: str) -> Sequence[str]:
        numbered = [f"Copy #{number} of {name}" for number in range(1, _NUMBERED)]
        # The last two are of no other file; the very last is one for a name that is as long as can be.
        return [name, *numbered, f"Copy #{self._clock()} of {name}", f"Copy {self._clock():x} {name[-_LONGEST_TAIL:]}"]

    def _note(self, token: ImpersonationToken, folder: VfsHandle, name: str, original: str) -> None:
        now = self._clock()
        with contextlib.suppress(OSError), ExitStack() as stack:
            handle = self.next.open(SERVER_TOKEN, folder, name, FILE)
            stack.callback(self.next.close, SERVER_TOKEN, handle)
            if self.options.touch or self.options.touch_mtime:
                written = now if self.options.touch_mtime else None
                self.next.set_times(SERVER_TOKEN, handle, Times(now if self.options.touch else None, written))
            self.next.setxattr(SERVER_TOKEN, handle, ATTRIBUTE, Note(original, token.user_name, now).pack())

    # The bin.

    def _folder(
        self, token: ImpersonationToken, stack: ExitStack, bin_path: str, folders: str
    ) -> tuple[VfsHandle, str]:
        """The folder of the bin that a file goes to, and its path in the bin."""
        directory = self._open_bin(token, stack, bin_path)
        inner = []
        for name in folders.split("/") if folders and self.options.keeptree else []:
            directory, entered = self._enter_either(token, stack, directory, (name, name + "~"))
            inner.append(entered)
        return directory, "/".join(inner)

    def _enter_either(
        self, token: ImpersonationToken, stack: ExitStack, directory: VfsHandle, names: tuple[str, str]
    ) -> tuple[VfsHandle, str]:
        """Go into the first folder, or the second where a file that was deleted before has the first one's name."""
        try:
            return self._enter(token, stack, directory, names[0]), names[0]
        except NotADirectoryError:
            return self._enter(token, stack, directory, names[1]), names[1]

    def _enter(self, token: ImpersonationToken, stack: ExitStack, directory: VfsHandle, name: str) -> VfsHandle:
        try:
            return descend(self.next, token, stack, directory, [name])
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                self.next.mkdir(token, directory, name, self.options.inner_mode)
        return descend(self.next, token, stack, directory, [name])

    def _open_bin(self, token: ImpersonationToken, stack: ExitStack, bin_path: str) -> VfsHandle:
        """The repository, made by the server where it is not there; nobody goes in before it is given to its user."""
        with self.turn(bin_path, kind=_BIN):
            return self._made_bin(token, stack, bin_path)

    def _made_bin(self, token: ImpersonationToken, stack: ExitStack, bin_path: str) -> VfsHandle:
        directory = self._root
        names = bin_path.split("/")
        for depth, name in enumerate(names, 1):
            mode = self.options.mode if depth == len(names) else _OPEN_TO_ALL
            made = False
            with contextlib.suppress(FileExistsError):
                self.next.mkdir(SERVER_TOKEN, directory, name, mode)
                made = True
            directory = descend(self.next, SERVER_TOKEN, stack, directory, [name])
            if made:
                self._set_up(token, directory, mode, depth == len(names))
        self._require_own(token, directory, bin_path)
        return directory

    def _set_up(self, token: ImpersonationToken, directory: VfsHandle, mode: int, is_bin: bool) -> None:
        if is_bin and self.options.for_each_user:
            give(self.next, directory, token.uid, token.gid)
        with contextlib.suppress(OSError):
            self.next.fchmod(SERVER_TOKEN, directory, mode)  # whatever the umask

    def _require_own(self, token: ImpersonationToken, directory: VfsHandle, bin_path: str) -> None:
        """Put nothing into a folder that somebody else has made under this name."""
        stat = self.next.fstat(SERVER_TOKEN, directory)
        if self.options.for_each_user and stat.uid not in {token.uid, SERVER_TOKEN.uid}:
            raise PermissionError(errno.EACCES, "belongs to somebody else", bin_path)

    # Age and size.

    def _came(self, bin_path: str, size: int) -> None:
        options, now = self.options, self._clock()

        def more(usage: _Usage) -> _Usage:
            return usage._replace(size=usage.size + size if usage.size >= 0 else -1, came=usage.came + size)

        usage = self._note_usage(bin_path, more)
        is_due = bool(options.retention) and now - usage.tidied_ns >= _TIDY_NS
        is_over = bool(options.quota) and (usage.size < 0 or usage.size > options.quota)
        if (is_due or is_over) and bin_path not in self._tidying:
            self._tidying.add(bin_path)
            aside(self._tidy, bin_path)

    def _note_usage(self, bin_path: str, change: Callable[[_Usage], _Usage]) -> _Usage:
        """What is known of a bin, as it is after a change that all processes see."""
        key = blake2b(bin_path.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        with self.shared.step() as values:
            known = values.get(key)
            usage = change(_Usage(*_USAGE.unpack(known)) if known is not None else _Usage())
            values.put(key, _USAGE.pack(*usage))
        return usage

    def _tidy_all(self) -> None:
        with self._turn:
            bins = [] if self._bins.ended else self._bins.all()
        for bin_path in bins:
            self._tidy(bin_path)

    def _tidy(self, bin_path: str) -> None:
        self._tidying.add(bin_path)
        try:
            # Not two processes at a time; and `_turn` is what `disconnect` waits for.
            with self._turn, self.turn(bin_path, kind=_TIDY):
                if not self._bins.ended:
                    self._tidy_until_it_fits(bin_path)
        except OSError as error:
            log.warning("%s cannot be tidied: %s", bin_path, error.strerror or error)
        finally:
            self._tidying.discard(bin_path)

    def _tidy_until_it_fits(self, bin_path: str) -> None:
        """Tidy again where what came meanwhile may be too much."""
        while not self._bins.ended:
            now = self._clock()
            self._note_usage(bin_path, lambda usage: usage._replace(came=0, tidied_ns=now))  # noqa: B023 - called here
            size = self._bins.tidy(bin_path, now)
            usage = self._note_usage(bin_path, lambda usage: usage._replace(size=size + usage.came))  # noqa: B023
            if not self.options.quota or usage.size <= self.options.quota or not usage.came:
                break

    # For who administers the share.

    def contents(self) -> list[Deleted]:
        """All files in all bins, the oldest first in each."""
        return [deleted for bin_path in self._bins.all() for deleted in self._bins.contents(bin_path)]

    def purge(self, files: Sequence[Deleted]) -> None:
        """Delete files of bins for good."""
        self._bins.delete(files)

    def restore(self, deleted: Deleted, target: str = "") -> str:
        """Put a file back where it was, or to `target`; the path. Raises OSError: EEXIST where there is something."""
        path = target.strip("/") or deleted.note.path
        if not path or not is_plain(path):
            raise OSError(errno.EINVAL, "where to? it is not known where this file was", deleted.path)
        if path.partition("/")[0] == self._shared:
            raise OSError(errno.EINVAL, "that is in the bin", path)
        self._bins.restore(deleted, path)
        return path
