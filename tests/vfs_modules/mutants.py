"""Modules that are wrong on purpose, one fault each, with the case of the conformance suite that must find it.

Each stands above `memory`, which has no faults, or above what keeps opens: what fails is the module's doing.
"""

import errno
import os
from collections.abc import Callable, Iterator

from lamina.vfs_modules.engine import breathe, wait
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Access, Capability, DirectoryEntry, EntryXattrs, OpenHow, Times
from lamina.vfs_modules.stock.durable import DurableModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.persistent_store import PersistentStoreModule
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.token import ImpersonationToken

FOUND_BY: dict[type[VfsModule], str] = {}
"""Each faulty module, and the case that finds it."""


Kinds = tuple[type[VfsModule], ...]

KEEPS_OPENS: Kinds = (PersistentStoreModule, DurableModule, PosixBackend)

ABOVE: dict[type[VfsModule], Kinds] = {}
"""What each stands on."""


def found_by(case: str, above: Kinds = (MemoryBackend,)) -> Callable[[type[VfsModule]], type[VfsModule]]:
    def enter(kind: type[VfsModule]) -> type[VfsModule]:
        kind.name = kind.__name__
        FOUND_BY[kind], ABOVE[kind] = case, above
        return kind

    return enter


# Data.


@found_by("what_is_written_is_read")
class ForgetsWrites(VfsModule):
    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        return len(data)


@found_by("large_transfers_are_whole")
class ReadsShort(VfsModule):
    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        return self.next.pread(token, handle, buffer[:65536], offset)


@found_by("large_transfers_are_whole")
class WritesShort(VfsModule):
    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        return self.next.pwrite(token, handle, data[: 1 << 20], offset)


@found_by("what_is_written_is_read")
class AppendsOnly(VfsModule):
    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        return self.next.pwrite(token, handle, data, self.next.fstat(token, handle).size)


@found_by("the_end_of_file_moves")
class NeverExtends(VfsModule):
    def ftruncate(self, token: ImpersonationToken, handle: VfsHandle, length: int) -> None:
        self.next.ftruncate(token, handle, min(length, self.next.fstat(token, handle).size))


@found_by("the_end_of_file_moves")
class ExtendsWithOldBytes(VfsModule):
    def ftruncate(self, token: ImpersonationToken, handle: VfsHandle, length: int) -> None:
        size = self.next.fstat(token, handle).size
        self.next.ftruncate(token, handle, length)
        if length > size:
            self.next.pwrite(token, handle, memoryview(b"\xff" * (length - size)), size)


@found_by("files_are_larger_than_4_gib_or_say_so")
class OffsetsOf32Bits(VfsModule):
    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        return self.next.pwrite(token, handle, data, offset & 0xFFFFFFFF if offset > 0xFFFFFFFF else offset % (1 << 20))


@found_by("sizes_and_offsets_at_the_limits_are_answered")
class OverflowsAtTheLimits(VfsModule):
    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        offset.to_bytes(7, "little")
        return self.next.pread(token, handle, buffer, offset)


@found_by("a_range_is_copied_or_refused")
class CopiesTooMuch(VfsModule):
    def copy_range(self, token, source, source_offset, target, target_offset, length):
        return self.next.copy_range(token, source, source_offset, target, target_offset, length + 1)


@found_by("a_range_is_zeroed_or_refused")
class ZeroesBeyondTheEnd(VfsModule):
    def zero_range(self, token, handle, offset, length, deallocate):
        self.next.pwrite(token, handle, memoryview(bytes(length)), offset)


# Names.


@found_by("a_missing_name_is_not_found")
class WrongErrorForMissing(VfsModule):
    def stat(self, token, directory, path, follow=False):
        try:
            return self.next.stat(token, directory, path, follow)
        except FileNotFoundError as error:
            raise OSError(errno.EIO, os.strerror(errno.EIO)) from error


@found_by("a_created_file_is_empty_and_regular")
class ForgetsExclusive(VfsModule):
    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        plain = OpenHow(how.access, how.create, False, how.directory, how.follow, how.mode)
        return self.next.open(token, directory, path, plain)


@found_by("rename_replaces_only_when_told")
class AlwaysReplaces(VfsModule):
    def rename(self, token, source_directory, source, target_directory, target, replace):
        self.next.rename(token, source_directory, source, target_directory, target, True)


@found_by("one_of_many_renames_to_a_name")
class LooksBeforeItRenames(VfsModule):
    """Looks whether the target is there, waits, and renames over it."""

    def rename(self, token, source_directory, source, target_directory, target, replace):
        if not replace:
            try:
                self.next.stat(token, target_directory, target)
            except FileNotFoundError:
                breathe()
            else:
                raise FileExistsError(errno.EEXIST, "there is such a name", target)
        self.next.rename(token, source_directory, source, target_directory, target, True)


@found_by("one_of_many_makes_a_file")
class LooksBeforeItMakes(VfsModule):
    """Looks whether the file is there, waits, and opens whatever is there then."""

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        if how.create and how.exclusive:
            try:
                self.next.stat(token, directory, path)
            except FileNotFoundError:
                breathe()
            else:
                raise FileExistsError(errno.EEXIST, "there is such a name", path)
        return self.next.open(token, directory, path, OpenHow(how.access, how.create, False, how.directory))


@found_by("removal_tells_files_from_directories")
class UnlinksDirectories(VfsModule):
    def unlink(self, token, directory, path):
        try:
            self.next.unlink(token, directory, path)
        except IsADirectoryError:
            self.next.rmdir(token, directory, path)


@found_by("names_are_kept_as_they_are")
class ComposesNames(VfsModule):
    """Spells names as some file systems do, with accents in characters of their own."""

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        import unicodedata

        for entry in self.next.readdir(token, handle, with_attributes):
            yield entry._replace(name=unicodedata.normalize("NFD", entry.name))


@found_by("hostile_names_are_kept_or_refused")
class FailsOnNul(VfsModule):
    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        if "\0" in path:
            raise ValueError("embedded null byte")
        return self.next.open(token, directory, path, how)


@found_by("a_name_has_255_bytes_at_most_or_says_so")
class CutsLongNames(VfsModule):
    def mkdir(self, token, directory, path, mode):
        head, slash, name = path.rpartition("/")
        self.next.mkdir(token, directory, head + slash + name[:120], mode)


@found_by("names_that_differ_in_case_are_different")
class FoldsCase(VfsModule):
    def stat(self, token, directory, path, follow=False):
        return self.next.stat(token, directory, path.lower(), follow)

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        return self.next.open(token, directory, path.lower(), how)


@found_by("a_directory_is_listed_from_its_beginning_each_time")
class ListsDots(VfsModule):
    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        yield DirectoryEntry(".")
        yield from self.next.readdir(token, handle, with_attributes)


@found_by("a_directory_is_listed_from_its_beginning_each_time")
class ListsOnce(VfsModule):
    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        if self.state(handle):
            return iter(())
        self.set_state(handle, True)
        return self.next.readdir(token, handle, with_attributes)


@found_by("a_listing_goes_on_while_the_directory_changes")
class ListsAgainAfterAChange(VfsModule):
    """Begins anew when the number of entries has changed."""

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        before = len(list(self.next.readdir(token, handle)))
        for entry in self.next.readdir(token, handle, with_attributes):
            yield entry
            if len(list(self.next.readdir(token, handle))) != before:
                yield from self.next.readdir(token, handle, with_attributes)
                return


# Attributes and streams.


@found_by("times_are_set_one_by_one")
class SetsAllTimes(VfsModule):
    def set_times(self, token, handle, times):
        stat = self.next.fstat(token, handle)
        self.next.set_times(token, handle, Times(times.access_ns or 0, times.write_ns or stat.mtime_ns, *times[2:]))


@found_by("times_are_set_one_by_one")
class TimesInSeconds(VfsModule):
    def set_times(self, token, handle, times):
        whole = (value if value is None else value // 10**9 * 10**9 for value in times)
        self.next.set_times(token, handle, Times(*whole))


@found_by("the_mode_is_set")
class IgnoresTheMode(VfsModule):
    def fchmod(self, token, handle, mode):
        pass


@found_by("extended_attributes_are_kept")
class EmptyAttributesAreNone(VfsModule):
    def getxattr(self, token, handle, name):
        value = self.next.getxattr(token, handle, name)
        if not value:
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA), name)
        return value


@found_by("attributes_of_many_entries_are_those_of_each")
class SortsTheAnswers(VfsModule):
    """Answers in the order of the names, whatever that of the question was."""

    def getxattrs_in(self, token, directory, entries, names):
        return self.next.getxattrs_in(token, directory, sorted(entries), names)


@found_by("attributes_of_many_entries_are_those_of_each")
class LeavesOutWhatIsMissing(VfsModule):
    def getxattrs_in(self, token, directory, entries, names):
        found = self.next.getxattrs_in(token, directory, entries, names)
        return [entry for entry in found if errno.ENOENT not in entry.values]


@found_by("attributes_of_many_entries_are_those_of_each")
class FailsForAllBecauseOfOne(VfsModule):
    def getxattrs_in(self, token, directory, entries, names):
        for entry in entries:
            self.next.stat(token, directory, entry)
        return self.next.getxattrs_in(token, directory, entries, names)


@found_by("attributes_of_many_entries_are_those_of_each")
class EmptyOnesAreMissingAmongMany(VfsModule):
    def getxattrs_in(self, token, directory, entries, names):
        found = self.next.getxattrs_in(token, directory, entries, names)
        return [entry._replace(values=tuple(value or errno.ENODATA for value in entry.values)) for entry in found]


@found_by("attributes_of_entries_are_those_of_now")
class RemembersEntriesByName(VfsModule):
    """Tells what it has been told before of an entry of that name."""

    def __init__(self, options=None):
        super().__init__(options)
        self._known = {}

    def getxattrs_in(self, token, directory, entries, names):
        found = self.next.getxattrs_in(token, directory, entries, names)
        return [self._known.setdefault((entry, tuple(names)), one) for entry, one in zip(entries, found, strict=True)]


@found_by("attributes_of_entries_are_not_those_that_links_lead_to")
class FollowsLinksOfEntries(VfsModule):
    def getxattrs_in(self, token, directory, entries, names):
        return [self._of(token, directory, entry, names) for entry in entries]

    def _of(self, token, directory, entry, names):
        try:
            handle = self.next.open(token, directory, entry, OpenHow())
        except FileNotFoundError:
            return EntryXattrs((), (errno.ENOENT,) * len(names))
        told = self.next.listxattr(token, handle)
        values = tuple(self.next.getxattr(token, handle, name) if name in told else errno.ENODATA for name in names)
        self.next.close(token, handle)
        return EntryXattrs(tuple(told), values)


@found_by("streams_go_with_their_file")
class KeepsStreamsByName(VfsModule):
    """Renames a file without its streams."""

    def rename(self, token, source_directory, source, target_directory, target, replace):
        self.next.rename(token, source_directory, source, target_directory, target, replace)
        handle = self.next.open(token, target_directory, target, OpenHow())
        for stream in self.next.list_streams(token, handle):
            self.next.remove_stream(token, handle, stream.name)
        self.next.close(token, handle)


@found_by("a_stream_grows_with_zeros")
class StreamsOf256Bytes(VfsModule):
    def list_streams(self, token, handle):
        return [entry._replace(size=entry.size & 0xFF) for entry in self.next.list_streams(token, handle)]

    def open_stream(self, token, handle, name, how):
        stream = self.next.open_stream(token, handle, name, how)
        self.set_state(stream, "stream")
        return stream

    def fstat(self, token, handle):
        stat = self.next.fstat(token, handle)
        return stat._replace(size=stat.size & 0xFF) if self.state(handle) else stat


@found_by("the_creation_time_is_known_and_stays")
class BornWithEachWrite(VfsModule):
    def get_dos_attributes(self, token, handle, stat):
        return self.next.get_dos_attributes(token, handle, stat)._replace(creation_ns=stat.mtime_ns)


# Handles, waiting, errors.


@found_by("a_handle_outlives_its_name")
class LooksByName(VfsModule):
    """Reads whatever has the name of the file now."""

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        handle = self.next.open(token, directory, path, how)
        self.set_state(handle, (directory, path))
        return handle

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        directory, path = self.state(handle)
        again = self.next.open(token, directory, path, OpenHow(Access.READ))
        try:
            return self.next.pread(token, again, buffer, offset)
        finally:
            self.next.close(token, again)


@found_by("a_cancelled_request_leaves_nothing_behind")
class LeaksWhenCancelled(VfsModule):
    """Looks at the file that it has opened, and does not close it where that ends the request."""

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        handle = self.next.open(token, directory, path, how)
        self.next.fstat(token, handle)
        return handle


@found_by("a_cancelled_request_leaves_nothing_behind")
class SwallowsTheCancellation(VfsModule):
    """Goes on as if nothing was, and leaves a name that is only half of what was to be done."""

    def rename(self, token, source_directory, source, target_directory, target, replace):
        handle = self.next.open(token, source_directory, source, OpenHow())
        try:
            self.next.link(token, handle, target_directory, target)
            self.next.unlink(token, source_directory, source)
        finally:
            self.next.close(token, handle)


@found_by("a_failure_underneath_leaves_nothing_behind")
class TurnsErrorsIntoOthers(VfsModule):
    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        try:
            return self.next.pwrite(token, handle, data, offset)
        except OSError as error:
            raise RuntimeError("the write has failed") from error


@found_by("a_failure_underneath_leaves_nothing_behind")
class LeavesATemporaryFile(VfsModule):
    """Makes a file under another name first."""

    def mkdir(self, token, directory, path, mode):
        self.next.mkdir(token, directory, f"{path}.tmp", mode)
        self.next.rename(token, directory, f"{path}.tmp", directory, path, False)


@found_by("every_operation_answers_or_raises_oserror")
class RaisesWhatItLikes(VfsModule):
    def statfs(self, token, handle):
        raise KeyError("free")


@found_by("a_created_file_is_empty_and_regular")
class Hangs(VfsModule):
    """Waits for what never comes."""

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        import asyncio

        if how.create:
            wait(asyncio.get_running_loop().create_future())
        return self.next.open(token, directory, path, how)


@found_by("writes_to_different_places_are_all_kept")
class WritesBlocks(VfsModule):
    """Reads what is there, waits, and writes it back with the new bytes in it."""

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        start = offset - offset % 4096
        block = bytearray(max(4096, offset - start + len(data)))
        count = self.next.pread(token, handle, memoryview(block), start)
        breathe()
        block[offset - start : offset - start + len(data)] = data
        end = max(count, offset - start + len(data))
        self.next.pwrite(token, handle, memoryview(block)[:end], start)
        return len(data)


@found_by("any_history_goes_as_with_the_reference")
class GrowsForNothing(VfsModule):
    """Writing no bytes beyond the end moves the end."""

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        if not data and offset > self.next.fstat(token, handle).size:
            self.next.ftruncate(token, handle, offset)
        return self.next.pwrite(token, handle, data, offset)


# Opens that outlive their connection, and the server.


@found_by("a_handle_goes_on_when_its_client_is_back", KEEPS_OPENS)
class KeepsWhatItHasRead(VfsModule):
    """Answers from what it had when the client went."""

    def durable_disconnect(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        kept = bytearray(100)
        count = self.next.pread(token, handle, memoryview(kept), 0)
        self.set_state(handle, kept[:count])
        self.next.durable_disconnect(token, handle)

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        kept = self.state(handle)
        if kept is None:
            return self.next.pread(token, handle, buffer, offset)
        buffer[: len(kept)] = kept
        return len(kept)


@found_by("a_cookie_finds_no_other_file", KEEPS_OPENS)
class FindsFilesByName(VfsModule):
    """Makes cookies of names alone."""

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        handle = self.next.open(token, directory, path, how)
        self.set_state(handle, path)
        return handle

    def durable_cookie(self, token: ImpersonationToken, handle: VfsHandle) -> bytes:
        return self.state(handle).encode()

    def durable_open(self, token: ImpersonationToken, directory: VfsHandle, cookie: bytes, how: OpenHow) -> VfsHandle:
        try:
            return self.next.open(token, directory, cookie.decode(), how)
        except FileNotFoundError as error:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE)) from error


@found_by("a_cookie_finds_its_file_again", KEEPS_OPENS)
class FindsFilesWhileItLives(VfsModule):
    """Numbers cookies, and forgets what the numbers mean."""

    def durable_cookie(self, token: ImpersonationToken, handle: VfsHandle) -> bytes:
        return b"1"


@found_by("records_of_opens_are_kept", KEEPS_OPENS)
class CutsNumbersOfOpens(VfsModule):
    def save_open(self, token: ImpersonationToken, open_id: int, record: bytes) -> None:
        self.next.save_open(token, open_id & 0xFFFFFFFF, record)


@found_by("records_may_be_kept_all_at_once", KEEPS_OPENS)
class KeepsOneRecordAtATime(VfsModule):
    """What comes while another is being kept is dropped."""

    _busy = False

    def save_open(self, token: ImpersonationToken, open_id: int, record: bytes) -> None:
        if not self._busy:
            self._busy = True
            self.next.save_open(token, open_id, record)
            self._busy = False


# Claims.


@found_by("claims_streams")
class HidesThatItHasStreams(VfsModule):
    def capabilities(self, below: Capability) -> Capability:
        return below & ~Capability.STREAMS


@found_by("nt_attributes_are_kept")
class ClaimsWhatItHasNot(VfsModule):
    def capabilities(self, below: Capability) -> Capability:
        return below | Capability.DOS_ATTRIBUTES
