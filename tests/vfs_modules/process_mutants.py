"""Modules that say that several processes may serve their files, and are wrong: each with the case that finds it.

What they do wrong takes a moment longer here than it need, so that it is found whenever it is looked for.
"""

import errno
import functools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ShareInfo, VfsModule
from lamina.vfs_modules.open_paths import LocalOpenPaths
from lamina.vfs_modules.operations import DirectoryEntry, FileStat, OpenHow, Operation, StreamEntry
from lamina.vfs_modules.services.shared import MemoryStore, SharedValues
from lamina.vfs_modules.stock.acl_xattr import AclXattrModule
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.fruit import FruitModule
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.stock.quota import QuotaModule
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.testing.profile import Profile
from lamina.vfs_modules.token import ImpersonationToken
from lamina.vfs_modules.turn import Turn

MOMENT = 0.001

FOUND_BY: dict[str, str] = {}
"""The names of the profiles below, and of the cases that find what is wrong with them."""


def entered(case: str, name: str, kinds: Iterable[type[VfsModule]]) -> Profile:
    FOUND_BY[name] = case
    made = tuple(kinds)
    return Profile(name, lambda folder: [kind() for kind in made], processes=f"{__name__}:{name}")


class Several(VfsModule):
    def one_process(self) -> str:
        return ""


class Slow(Several):
    """Attributes come after a moment, in which another process does the same."""

    def getxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> bytes:
        try:
            return self.next.getxattr(token, handle, name)
        finally:
            time.sleep(MOMENT)


class KeepsWhatItHasRead(Several):
    def connect(self, share: ShareInfo) -> None:
        self._read: dict[tuple[int, int], bytes] = {}

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        key = (self.next.fstat(token, handle).ino, offset)
        if key not in self._read:
            count = self.next.pread(token, handle, buffer, offset)
            self._read[key] = bytes(buffer[:count])
        known = self._read[key][: len(buffer)]
        buffer[: len(known)] = known
        return len(known)

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        self._read.clear()
        return self.next.pwrite(token, handle, data, offset)


keeps_what_it_has_read = entered(
    "one_process_sees_what_another_does", "keeps_what_it_has_read", (KeepsWhatItHasRead, PosixBackend)
)


class KeepsListings(Several):
    def connect(self, share: ShareInfo) -> None:
        self._known: dict[int, list[DirectoryEntry]] = {}

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        number = self.next.fstat(token, handle).ino
        if number not in self._known:
            self._known[number] = list(self.next.readdir(token, handle, with_attributes))
        yield from self._known[number]

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        if operation.name not in {"open", "rename", "unlink", "mkdir"}:
            return call

        def changing(*arguments: Any, **keywords: Any) -> Any:
            if operation.name != "open" or arguments[-1].create:
                self._known.clear()
            return call(*arguments, **keywords)

        return changing


keeps_listings = entered("one_process_sees_what_another_does", "keeps_listings", (KeepsListings, PosixBackend))


class LooksBeforeItMakes(Several):
    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        if not how.exclusive:
            return self.next.open(token, directory, path, how)
        try:
            self.next.stat(token, directory, path)
        except FileNotFoundError:
            time.sleep(MOMENT)
            return self.next.open(token, directory, path, OpenHow(how.access, create=True))
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)


looks_before_it_makes = entered(
    "one_of_two_processes_makes_a_name", "looks_before_it_makes", (LooksBeforeItMakes, PosixBackend)
)


class WritesWholeFiles(Several):
    """One after the other in this process, which is not enough."""

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        whole = bytearray(max(self.next.fstat(token, handle).size, offset + len(data)))
        self.next.pread(token, handle, memoryview(whole), 0)
        time.sleep(MOMENT)
        whole[offset : offset + len(data)] = data
        self.next.pwrite(token, handle, memoryview(whole), 0)
        return len(data)


writes_whole_files = entered(
    "what_two_processes_write_is_all_kept", "writes_whole_files", (WritesWholeFiles, PosixBackend)
)


class StreamsInTurnsOfItsOwn(StreamsXattrModule):
    def turn(self, *key: int | str, kind: str = "") -> Turn:
        return Turn()


streams_in_turns_of_its_own = entered(
    "what_two_processes_write_to_a_stream_is_all_kept",
    "streams_in_turns_of_its_own",
    (StreamsInTurnsOfItsOwn, Slow, PosixBackend),
)


class PathsOfItsOwn(FruitModule):
    def connect(self, share: ShareInfo) -> None:
        super().connect(share)
        self._paths = LocalOpenPaths()


paths_of_its_own = entered(
    "a_stream_goes_with_its_file_whichever_process_renames_it",
    "paths_of_its_own",
    (PathsOfItsOwn, StreamsXattrModule, DosAttributesModule, PosixBackend),
)


class KnowsStreamsByNumber(StreamsXattrModule):
    """What a file has is asked once, and forgotten when this process removes one."""

    def connect(self, share: ShareInfo) -> None:
        super().connect(share)
        self._known: dict[str, list[StreamEntry]] = {}

    def open_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str, how: OpenHow) -> VfsHandle:
        self._known["last"] = [StreamEntry(name, 6, 6)]
        return super().open_stream(token, handle, name, how)

    def list_streams(self, token: ImpersonationToken, handle: VfsHandle) -> list[StreamEntry]:
        return self._known.get("last") or super().list_streams(token, handle)

    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        self._known.clear()
        self.next.unlink(token, directory, path)


knows_streams_by_number = entered(
    "streams_of_what_one_process_removes_are_nobodys", "knows_streams_by_number", (KnowsStreamsByNumber, PosixBackend)
)


class AttributesInOne(Several):
    """All in one, which is read, changed and written back."""

    def setxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str, value: bytes) -> None:
        names = self.listxattr(token, handle)
        time.sleep(MOMENT)
        self.next.setxattr(token, handle, "user.all", "\n".join([*names, name]).encode())

    def listxattr(self, token: ImpersonationToken, handle: VfsHandle) -> list[str]:
        try:
            return self.next.getxattr(token, handle, "user.all").decode().split("\n")
        except OSError:
            return []


attributes_in_one = entered(
    "attributes_that_two_processes_set_are_all_kept", "attributes_in_one", (AttributesInOne, PosixBackend)
)


class AttributesOutOfTurn(DosAttributesModule):
    def _alone(self, token: ImpersonationToken, handle: VfsHandle) -> AbstractContextManager[None]:
        return nullcontext()


attributes_out_of_turn = entered(
    "what_two_processes_set_of_one_file_is_all_kept",
    "attributes_out_of_turn",
    (AttributesOutOfTurn, Slow, PosixBackend),
)


class RemembersDescriptors(Several):
    def connect(self, share: ShareInfo) -> None:
        self._known: dict[int, bytes | None] = {}

    def get_security(self, token: ImpersonationToken, handle: VfsHandle, stat: FileStat) -> bytes | None:
        if stat.ino not in self._known:
            self._known[stat.ino] = self.next.get_security(token, handle, stat)
        return self._known[stat.ino]

    def set_security(self, token: ImpersonationToken, handle: VfsHandle, descriptor: bytes) -> None:
        self._known.clear()
        self.next.set_security(token, handle, descriptor)


remembers_descriptors = entered(
    "one_process_sees_the_descriptor_that_another_sets",
    "remembers_descriptors",
    (RemembersDescriptors, AclXattrModule, PosixBackend),
)


class LeavesALock(Several):
    """A file beside the share says that somebody writes; who is killed leaves it."""

    def connect(self, share: ShareInfo) -> None:
        self._lock = Path(f"{share.path}.lock")
        self._mine = False

    def disconnect(self) -> None:
        if self._mine:
            self._lock.unlink()

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        if not self._mine:
            self._lock.touch(exist_ok=False)
            self._mine = True
        return self.next.pwrite(token, handle, data, offset)


leaves_a_lock = entered("a_killed_process_holds_up_nobody", "leaves_a_lock", (LeavesALock, PosixBackend))


class LedgerOfItsOwn(QuotaModule):
    @functools.cached_property
    def shared(self) -> SharedValues:
        return SharedValues(MemoryStore(), "its own")


ledger_of_its_own = entered(
    "what_two_processes_write_is_counted_once", "ledger_of_its_own", (LedgerOfItsOwn, PosixBackend)
)
