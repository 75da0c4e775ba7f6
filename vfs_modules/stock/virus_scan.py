"""A module that lets a virus scanner look at files: before they are read, and after they were written to.

The scanner is ClamAV's clamd, which is sent the bytes of a file and needs no access to it. Who opens a file that is
being scanned waits for the verdict, and nobody else does; what is known of a file is kept until it changes.
"""

import errno
import functools
import os
import stat as st
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Final

from lamina.vfs_modules.engine import aside
from lamina.vfs_modules.extensions import StatusError
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ShareInfo, VfsModule
from lamina.vfs_modules.open_paths import OpenPath, open_paths
from lamina.vfs_modules.operations import Access, DirectoryEntry, FileStat, OpenHow, Operation, Target
from lamina.vfs_modules.stock.scanning.clamd import Clamd
from lamina.vfs_modules.stock.scanning.clamd_protocol import Outcome, Verdict
from lamina.vfs_modules.stock.scanning.options import VirusScanOptions
from lamina.vfs_modules.stock.scanning.quarantine import ATTRIBUTE, Quarantine
from lamina.vfs_modules.stock.scanning.verdicts import Verdicts
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

STATUS_VIRUS_INFECTED: Final = 0xC0000906
"""[MS-ERREF] 2.3.1: the file contains a virus."""

_READ: Final = OpenHow(Access.READ, follow=False)
_VERSION_NS: Final = 60_000_000_000


class _Watched:
    """What is kept of an open file or directory. `place`: where a file is by now that is open to be written to.

    `reader`: a handle to scan through, where the file is open for writing only.
    """

    __slots__ = ("_opened_as", "place", "reader")

    def __init__(self, path: str, place: OpenPath | None = None, reader: VfsHandle | None = None) -> None:
        self._opened_as, self.place, self.reader = path, place, reader

    @property
    def path(self) -> str:
        """From the share's root, as it was opened or renamed since."""
        return (self.place.path if self.place is not None else None) or self._opened_as


class VirusScanModule(VfsModule):
    """Has files scanned. `clock` gives nanoseconds since 1970."""

    Options = VirusScanOptions
    name: ClassVar[str] = "virus_scan"
    before: ClassVar[tuple[str, ...]] = ("streams", "security", "dos_attributes")

    options: VirusScanOptions

    def __init__(self, options: VirusScanOptions | None = None, clock: Callable[[], int] = time.time_ns) -> None:
        super().__init__(options)
        self._clock = clock
        chosen = self.options
        self._scanner = Clamd(chosen.address, chosen.connect_timeout, chosen.io_timeout)
        self._verdicts = Verdicts(chosen.cache_entry_limit, chosen.cache_time_limit)
        self._asked_ns = 0
        self._works = True

    # Lifecycle.

    def one_process(self) -> str:
        """Each process has verdicts of its own on files as they are; the places at the scanner are for all."""
        return ""

    def connect(self, share: ShareInfo) -> None:
        """Hold the root, and see whether the scanner is there: the log says so where it is not."""
        self._root = self.next.open_root(SERVER_TOKEN)
        self._places = self.places(self.options.parallel)
        self._paths = open_paths(self)
        self._quarantine = Quarantine(self.next, self._root, self.options)
        self._scans = self.metrics.counter("scans", "files and streams scanned")
        self._infected = self.metrics.counter("infected", "of these, infected ones")
        self._seconds = self.metrics.histogram("scan_seconds", "seconds that a scan took, with its wait for a place")
        aside(self._greet)

    def _greet(self) -> None:
        if not self._scanner.is_there():
            self._note_failure("it does not answer")

    def disconnect(self) -> None:
        """Give the root back."""
        self.next.close(SERVER_TOKEN, self._root)

    # Where nobody may go.

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        """Keep everybody out of the quarantine."""
        if not self.options.quarantines:
            return call
        if operation.name == "readdir":
            return functools.partial(self._listed, call)
        if operation.target is not Target.PATH or operation.name == "open_root":
            return call

        def guarded(token: ImpersonationToken, *arguments: Any, **keywords: Any) -> Any:
            directory: VfsHandle | None = None
            for value in (*arguments, *keywords.values()):
                if isinstance(value, VfsHandle):
                    directory = value
                elif isinstance(value, str) and directory is not None and self._is_out_of_reach(directory, value):
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), value)
            return call(token, *arguments, **keywords)

        return guarded

    def _is_out_of_reach(self, directory: VfsHandle, path: str) -> bool:
        return self._quarantine.hides(self._path(directory, path))

    def _listed(
        self,
        call: Callable[..., Iterator[DirectoryEntry]],
        token: ImpersonationToken,
        handle: VfsHandle,
        with_attributes: bool = False,
    ) -> Iterator[DirectoryEntry]:
        entries = call(token, handle, with_attributes)
        path = self._path(handle, "")
        if path != self.options.quarantine_directory.rpartition("/")[0]:
            return entries
        return (entry for entry in entries if not self._quarantine.hides(f"{path}/{entry.name}".lstrip("/")))

    def _path(self, directory: VfsHandle, path: str) -> str:
        watched: _Watched | None = self.state(directory)
        return path if watched is None or not watched.path else "/".join(filter(None, (watched.path, path)))

    # Opening and closing.

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open; a file that is to be read is scanned first, and not opened where it is infected."""
        handle = self.next.open(token, directory, path, how)
        whole = self._path(directory, path)
        if handle.is_directory:
            if self.options.quarantines:
                self.set_state(handle, _Watched(whole))
            return handle
        try:
            if how.access & Access.READ and self.options.scan_on_open:
                self._examine(token, handle, whole)
            if how.access & Access.WRITE and self.options.scan_on_close:
                self._watch(handle, directory, path, whole, how)
        except BaseException:
            self.next.close(token, handle)
            raise
        return handle

    def _examine(self, token: ImpersonationToken, handle: VfsHandle, path: str) -> None:
        stat = self.next.fstat(token, handle)
        if not st.S_ISREG(stat.mode) or not self.options.wants(path.rpartition("/")[2], stat):
            return
        verdict = self._judge(token, handle, stat, path)
        if verdict.outcome is Outcome.INFECTED:
            self._act(token, path, stat, verdict)
            self._refuse(path, verdict)
        if verdict.outcome is Outcome.FAILED and self.options.block_access_on_error:
            raise PermissionError(errno.EACCES, f"could not be scanned: {verdict.detail}", path)

    def _refuse(self, path: str, verdict: Verdict) -> None:
        name = self.options.infected_file_errno_on_open
        if name:
            raise OSError(getattr(errno, name), f"infected: {verdict.detail}", path)
        raise StatusError(STATUS_VIRUS_INFECTED, f"{path!r} is infected: {verdict.detail}")

    def _watch(self, handle: VfsHandle, directory: VfsHandle, path: str, whole: str, how: OpenHow) -> None:
        reader = None
        if not how.access & Access.READ:
            reader = self.next.open(SERVER_TOKEN, directory, path, OpenHow(Access.READ, follow=how.follow))
            mine, its = self.next.fstat(SERVER_TOKEN, handle), self.next.fstat(SERVER_TOKEN, reader)
            if (mine.dev, mine.ino) != (its.dev, its.ino):
                self.next.close(SERVER_TOKEN, reader)
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
        self.set_state(handle, _Watched(whole, self._paths.add(whole), reader))

    def close(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Close; a file that may have been written to is scanned before, and dealt with where it is infected."""
        watched: _Watched | None = self.state(handle)
        if watched is None or watched.place is None:
            self.next.close(token, handle)
            return
        found: tuple[FileStat, Verdict] | None = None
        path = watched.path
        try:
            found = self._examine_written(handle, watched)
            path = watched.path
        finally:
            self._paths.remove(watched.place)
            if watched.reader is not None:
                self.next.close(SERVER_TOKEN, watched.reader)
            self.next.close(token, handle)
        if found is not None:
            self._act(token, path, *found)

    def _examine_written(self, handle: VfsHandle, watched: _Watched) -> tuple[FileStat, Verdict] | None:
        reader = watched.reader or handle
        stat = self.next.fstat(SERVER_TOKEN, reader)
        # What has no name any more nobody will open.
        if not stat.nlink or not self.options.wants(watched.path.rpartition("/")[2], stat):
            return None
        verdict = self._judge(SERVER_TOKEN, reader, stat, watched.path)
        return (stat, verdict) if verdict.outcome is Outcome.INFECTED else None

    def rename(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
        replace: bool,
    ) -> None:
        """Rename, and know files that are open by their new names."""
        self.next.rename(token, source_directory, source, target_directory, target, replace)
        self._paths.moved(self._path(source_directory, source), self._path(target_directory, target), True)

    def open_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str, how: OpenHow) -> VfsHandle:
        """Open a stream; one that is to be read is scanned first, each time."""
        stream = self.next.open_stream(token, handle, name, how)
        if not (how.access & Access.READ and self.options.scan_on_open):
            return stream
        try:
            stat = self.next.fstat(token, stream)
            if self.options.wants(name, stat):
                self._heed_stream(name, self._scan(token, stream, stat.size))
        except BaseException:
            self.next.close(token, stream)
            raise
        return stream

    def _heed_stream(self, name: str, verdict: Verdict) -> None:
        if verdict.outcome is Outcome.INFECTED:
            self.log.warning("a stream of a file is infected", stream=name, virus=verdict.detail)
            self._refuse(name, verdict)
        if verdict.outcome is Outcome.FAILED and self.options.block_access_on_error:
            raise PermissionError(errno.EACCES, f"could not be scanned: {verdict.detail}", name)

    # Scanning.

    def _judge(self, token: ImpersonationToken, handle: VfsHandle, stat: FileStat, path: str) -> Verdict:
        """The verdict on a file, kept or new."""
        self._keep_up()
        known = self._verdicts.find(stat, self._clock())
        if known is not None:
            return known
        begun = self._clock()
        verdict = self._scan(token, handle, stat.size)
        if self._is_unchanged(token, handle, stat):
            self._verdicts.keep(stat, verdict, begun)
        if verdict.outcome is Outcome.INFECTED:
            self.log.warning("a file is infected", path=path, virus=verdict.detail)
            self.announce("virus.found", path=path, virus=verdict.detail, user=token.user_name)
        return verdict

    def _is_unchanged(self, token: ImpersonationToken, handle: VfsHandle, stat: FileStat) -> bool:
        now = self.next.fstat(token, handle)
        return (now.size, now.mtime_ns, now.ctime_ns) == (stat.size, stat.mtime_ns, stat.ctime_ns)

    def _scan(self, token: ImpersonationToken, handle: VfsHandle, size: int) -> Verdict:
        def read(buffer: memoryview, offset: int) -> int:
            return self.next.pread(token, handle, buffer, offset)

        begun = time.monotonic()
        with self._places:
            verdict = self._scanner.scan(read, size)
        self._scans.add()
        self._seconds.observe(time.monotonic() - begun)
        if verdict.outcome is Outcome.INFECTED:
            self._infected.add()
        if verdict.outcome is Outcome.FAILED:
            self._note_failure(verdict.detail)
        elif not self._works:
            self._works = True
            self.health.ok()
        return verdict

    def _note_failure(self, reason: str) -> None:
        if self._works:
            self._works = False
            outcome = "may not be opened" if self.options.block_access_on_error else "are opened unseen"
            self.health.failed(f"the virus scanner fails: {reason}; files {outcome}")

    def _keep_up(self) -> None:
        """Ask now and then what signatures the scanner has: with others all is to be seen anew."""
        now = self._clock()
        if now - self._asked_ns >= _VERSION_NS:
            self._asked_ns = now
            self._verdicts.is_of(self._scanner.version())

    # What is done with what was found.

    def _act(self, token: ImpersonationToken, path: str, stat: FileStat, verdict: Verdict) -> None:
        action = self.options.infected_file_action
        try:
            if action == "quarantine":
                note = {"path": path, "user": token.user_name, "time": self._clock(), "virus": verdict.detail}
                where = self._quarantine.take(path, stat, note)
                self.log.warning("an infected file is in quarantine", path=path, where=where)
            elif action == "delete":
                self._quarantine.delete(path, stat)
                self.log.warning("an infected file is deleted", path=path)
        except OSError as error:
            reason = error.strerror or error
            self.log.error("an infected file stays", path=path, reason=str(reason))


__all__ = ["ATTRIBUTE", "STATUS_VIRUS_INFECTED", "VirusScanModule", "VirusScanOptions"]
