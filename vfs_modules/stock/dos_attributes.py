"""NT attributes, creation and change times in the extended attribute user.DOSATTRIB, in Samba's form (`dosattrib`).

A share that moves here from Samba, or back, keeps them. A change time that was set is shown while the file system's
own, which nobody can set, says that nothing has happened since: whoever changes the file, here or beside the server,
ends it. Who may read a file's data says nothing of who may see or
change its attributes and times: the caller has checked that (MS-FSA 2.1.5.15.2, FILE_WRITE_ATTRIBUTES), so where the
mode of the file refuses the user, the server does it.
"""

import errno
import logging
import stat as st
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from itertools import islice
from types import MethodType
from typing import Any, ClassVar

from lamina.vfs_modules.forms import dosattrib
from lamina.vfs_modules.forms.dosattrib import ChangeTime, StoredAttributes
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.known_attributes import KnownAttributes
from lamina.vfs_modules.known_entries import HALF, KnownEntries
from lamina.vfs_modules.module import ModuleOptions, VfsModule
from lamina.vfs_modules.operations import (
    Capability,
    DirectoryEntry,
    DosAttributes,
    EntryXattrs,
    FileStat,
    Times,
)
from lamina.vfs_modules.private_attributes import is_told
from lamina.vfs_modules.processes import place
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

log = logging.getLogger(__name__)

XATTR = "user.DOSATTRIB"
_XATTR_BYTES = XATTR.encode()
_DIRECTORY = 0x10
_NEVER_STORED = 0x10 | 0x40 | 0x80  # DIRECTORY, DEVICE, NORMAL: properties of the file itself
_S_IFMT = 0o170000
_ANSWERED = frozenset({st.S_IFREG, st.S_IFDIR})
_BATCH = 128
_CLOCK_REALTIME_COARSE = 5  # clock_gettime(2); the module time has no name for it
# How often a change time is stored until its bound is right, how near the first bound must be, and what is allowed for
# the clock of the file system to go on while it is stored (nanoseconds).
_ATTEMPTS = 6
_NEAR = 10_000_000
_STORING = 100_000
_new = tuple.__new__
_ALONE = nullcontext()
# ENODATA: nothing is stored. The others: this kind of file, or this file system, keeps no user attributes.
_ABSENT = frozenset({errno.ENODATA, errno.ENOTSUP, errno.EPERM, errno.ENOENT, errno.ELOOP})


# Of an entry of a directory: one that has gone is not told of as if it was there.
_ABSENT_IN = _ABSENT - {errno.ENOENT}
_NAMES = (XATTR,)
_NOTHING = EntryXattrs((), (errno.ENOTSUP,))


@lru_cache(maxsize=1024)
def _tells(attributes: tuple[str, ...]) -> bool:
    """Whether clients are told of any of these; most files of a folder have the same."""
    return any(map(is_told, attributes))


class DosAttributesModule(VfsModule):
    """Keeps NT attributes, creation times and change times that were set beside the file."""

    name: ClassVar[str] = "dos_attributes"
    # What is below may change while somebody looks at what modules do (`Chain.tap`).
    _below: Any = None
    _has_xattrs = True
    _find: Callable[[ImpersonationToken, VfsHandle, bytes], bytes] | None = None

    def __init__(self, options: ModuleOptions | None = None) -> None:
        super().__init__(options)
        self._known = KnownAttributes()
        self._entries = KnownEntries()

    def one_process(self) -> str:
        """All that it keeps is in the files, where it is changed in the file's turn."""
        return ""

    def capabilities(self, below: Capability) -> Capability:
        """Attributes, creation and change times, where there are extended attributes to keep them in."""
        self._has_xattrs = Capability.XATTRS in below
        if not self._has_xattrs:
            return below
        return below | Capability.DOS_ATTRIBUTES | Capability.CREATION_TIME | Capability.CHANGE_TIME

    def get_dos_attributes(self, token: ImpersonationToken, handle: VfsHandle, stat: FileStat) -> DosAttributes:
        """What is stored and still counts, with the birth time of `stat` where no creation time is."""
        known = self._known.get(stat)
        if known is not None:
            return known
        dos = _answer(self._value(token, handle), stat)
        if self._finder() is not None:
            self._known.put(handle.fd, stat, dos)
        return dos

    def set_dos_attributes(self, token: ImpersonationToken, handle: VfsHandle, dos: DosAttributes) -> None:
        """Store; without a creation time the stored one stays. To change attributes is to change the file."""
        with self._alone(token, handle):
            self._store(token, handle, dos.attributes, dos.creation_ns, self._stored(token, handle))

    def _alone(self, token: ImpersonationToken, handle: VfsHandle) -> AbstractContextManager[None]:
        """While the value is read, changed and stored: another process may be about to do so, too."""
        if place() is None:
            return _ALONE
        stat = self.next.fstat(token, handle)
        return self.turn(stat.dev, stat.ino)

    def set_times(self, token: ImpersonationToken, handle: VfsHandle, times: Times) -> None:
        """Set the times; creation and change time are kept here."""
        try:
            self.next.set_times(token, handle, times)
        except PermissionError:
            # POSIX lets only the owner say what the times are.
            self.next.set_times(SERVER_TOKEN, handle, times)
        if times.change_ns is not None:
            with self._alone(token, handle):
                self._store_with_change(token, handle, times.creation_ns, times.change_ns)
        elif times.creation_ns is not None:
            with self._alone(token, handle):
                stored = self._stored(token, handle)
                self._store(token, handle, stored.attributes or 0, times.creation_ns, stored)

    def _store_with_change(
        self, token: ImpersonationToken, handle: VfsHandle, creation_ns: int | None, change_ns: int
    ) -> None:
        stored = self._stored(token, handle)
        # To store it is a status change itself, at a time that only the kernel knows: say one, look, and correct it.
        # The coarse clock is the one that most file systems stamp with, so the first guess is mostly exact.
        until, near, before = time.clock_gettime_ns(_CLOCK_REALTIME_COARSE), _NEAR, 0
        for _ in range(_ATTEMPTS):
            begun = time.monotonic_ns()
            change = ChangeTime(change_ns, until)
            self._store(token, handle, stored.attributes or 0, creation_ns, stored, change)
            changed = self.next.fstat(token, handle).ctime_ns
            if changed <= until <= changed + near:
                return
            took = max(time.monotonic_ns() - begun, changed - before if before else 0)
            near = min(_STORING + 2 * took, dosattrib.LASTING_NS)
            until, before = changed + near, changed
        log.debug("a change time could not be kept: the file system's clock runs away")

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        """The entries below; with attributes, those of files and directories."""
        entries = self.next.readdir(token, handle, with_attributes)
        return self._with_attributes(token, handle, entries) if with_attributes else entries

    def _with_attributes(
        self, token: ImpersonationToken, handle: VfsHandle, entries: Iterator[DirectoryEntry]
    ) -> Iterator[DirectoryEntry]:
        known, device, left = self._entries, -1, HALF
        if self._finder() is not None and self._is_asked_directly():
            device = self.next.fstat(token, handle).dev
            device = device if known.trusts(handle.fd, device) else -1
        while batch := list(islice(entries, _BATCH)):
            unknown = known.fill_in(batch) if device >= 0 else range(len(batch))
            places = [number for number in unknown if _is_answered(batch[number].stat)]
            if places:
                certain = self._look_at(token, handle, batch, places)
                # One listing of everything there is does not make the others forgotten.
                if certain and device >= 0 and left > 0:
                    known.put(device, [batch[number] for number in places])
                    left -= len(places)
            yield from batch

    def _is_asked_directly(self) -> bool:
        """Whether the backend itself answers for many entries, with no module between."""
        return getattr(self.next.getxattrs_in, "__self__", None) is getattr(self.next.getxattr, "__self__", self)

    def _look_at(
        self, token: ImpersonationToken, handle: VfsHandle, entries: list[DirectoryEntry], places: list[int]
    ) -> bool:
        """Put what is stored into entries; whether it is what anybody would be told."""
        found, certain = self._values_in(token, handle, [entries[number].name for number in places])
        for number, (told, (value,)) in zip(places, found, strict=True):
            name, stat, _, _ = entries[number]
            assert stat is not None
            if type(value) is bytes:
                dos = _answer(value, stat)
            elif value in _ABSENT_IN:
                dos = _new(DosAttributes, (0, stat.btime_ns, None))
            else:
                continue  # whoever wants to know is to ask for it alone
            entries[number] = _new(DirectoryEntry, (name, stat, dos, _tells(told) if told else False))
        return certain

    def _values_in(
        self, token: ImpersonationToken, directory: VfsHandle, entries: list[str]
    ) -> tuple[list[EntryXattrs], bool]:
        """What entries have, and what is stored for each, also where the user may not see it; whether he always may."""
        if not self._has_xattrs:
            return [_NOTHING] * len(entries), False
        found = self.next.getxattrs_in(token, directory, entries, _NAMES)
        refused = [number for number, (_, values) in enumerate(found) if values[0] == errno.EACCES]
        if refused and token is not SERVER_TOKEN:
            again = self.next.getxattrs_in(SERVER_TOKEN, directory, [entries[number] for number in refused], _NAMES)
            for number, entry in zip(refused, again, strict=True):
                found[number] = EntryXattrs(found[number].names, entry.values)
        return found, not refused

    def _finder(self) -> Callable[[ImpersonationToken, VfsHandle, bytes], bytes] | None:
        """The backend's own way to look for an attribute, where nobody is between, not even one who looks on."""
        below: Any = self.next.getxattr
        if below is not self._below:
            self._below, self._find = below, None
            find = getattr(below.__self__, "find_xattr", None) if type(below) is MethodType else None
            # Whoever inherits the one and has another of his own of the other has none that counts.
            if find is not None and find.__func__.__module__ == below.__func__.__module__:
                self._find = find
        return self._find

    def _value(self, token: ImpersonationToken, handle: VfsHandle) -> bytes:
        """The stored value, b"" where there is none."""
        try:
            find = self._finder()
            return self.next.getxattr(token, handle, XATTR) if find is None else find(token, handle, _XATTR_BYTES)
        except OSError as error:
            if error.errno == errno.EACCES and token is not SERVER_TOKEN:
                return self._value(SERVER_TOKEN, handle)
            if error.errno not in _ABSENT:
                raise
            return b""

    def _stored(self, token: ImpersonationToken, handle: VfsHandle) -> StoredAttributes:
        value = self._value(token, handle)
        try:
            return dosattrib.decode(value) if value else dosattrib.NOTHING
        except ValueError:
            return dosattrib.NOTHING

    def _store(
        self,
        token: ImpersonationToken,
        handle: VfsHandle,
        attributes: int,
        creation_ns: int | None,
        previous: StoredAttributes,
        change: ChangeTime | None = None,
    ) -> None:
        attributes = attributes & ~_NEVER_STORED | (_DIRECTORY if handle.is_directory else 0)
        value = dosattrib.encode(attributes, creation_ns, previous, change)
        try:
            self.next.setxattr(token, handle, XATTR, value)
        except OSError as error:
            if error.errno == errno.EPERM and st.S_ISLNK(self.next.fstat(token, handle).mode):
                return  # a symbolic link has no place for them, and goes on without
            if error.errno != errno.EACCES:
                raise
        else:
            return
        self.next.setxattr(SERVER_TOKEN, handle, XATTR, value)


def _is_answered(stat: FileStat | None) -> bool:
    return stat is not None and stat.mode & _S_IFMT in _ANSWERED


def _answer(value: bytes, stat: FileStat) -> DosAttributes:
    if not value:
        return _new(DosAttributes, (0, stat.btime_ns, None))
    try:
        attributes, creation, change = dosattrib.read(value)
    except ValueError:
        # Somebody else's attribute, or a damaged one: the file is served as if there were none.
        log.debug("a value of %s that cannot be read is ignored", XATTR)
        return DosAttributes(0, stat.btime_ns)
    if creation is None:
        creation = stat.btime_ns
    changed = change.change_ns if change is not None and change.counts(stat.ctime_ns) else None
    return _new(DosAttributes, ((attributes or 0) & ~_NEVER_STORED, creation, changed))
