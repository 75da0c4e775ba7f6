"""NT attributes and creation times in the extended attribute user.DOSATTRIB, in Samba's form (`dosattrib`).

A share that moves here from Samba, or back, keeps them. Who may read a file's data says nothing of who may see or
change its attributes: the caller has checked that (MS-FSA 2.1.5.15.4, FILE_WRITE_ATTRIBUTES), so where the mode of the
file refuses the user, the server does it.
"""

import errno
import logging
import stat as st
from collections.abc import Iterator
from itertools import islice
from typing import ClassVar

from lamina.vfs_modules import dosattrib, syscalls
from lamina.vfs_modules.dosattrib import StoredAttributes
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule, reaches_kernel_files
from lamina.vfs_modules.operations import Capability, DirectoryEntry, DosAttributes, FileStat, Times
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

log = logging.getLogger(__name__)

XATTR = "user.DOSATTRIB"
_XATTR_BYTES = XATTR.encode()
_DIRECTORY = 0x10
_NEVER_STORED = 0x10 | 0x40 | 0x80 | 0x400  # DIRECTORY, DEVICE, NORMAL, REPARSE_POINT: properties of the file itself
_S_IFMT = 0o170000
_ANSWERED = frozenset({st.S_IFREG, st.S_IFDIR})
_BATCH = 64
_new = tuple.__new__
# ENODATA: nothing is stored. The others: this kind of file, or this file system, keeps no user attributes.
_ABSENT = frozenset({errno.ENODATA, errno.ENOTSUP, errno.EPERM, errno.ENOENT, errno.ELOOP})


class DosAttributesModule(VfsModule):
    """Keeps NT attributes and creation times beside the file."""

    name: ClassVar[str] = "dos_attributes"

    def capabilities(self, below: Capability) -> Capability:
        """Attributes and creation times, where there are extended attributes to keep them in."""
        if Capability.XATTRS not in below:
            return below
        return below | Capability.DOS_ATTRIBUTES | Capability.CREATION_TIME

    def get_dos_attributes(self, token: ImpersonationToken, handle: VfsHandle, stat: FileStat) -> DosAttributes:
        """What is stored, with the birth time of `stat` where no creation time is."""
        return _answer(self._value(token, handle), stat)

    def set_dos_attributes(self, token: ImpersonationToken, handle: VfsHandle, dos: DosAttributes) -> None:
        """Store; without a creation time the stored one stays."""
        self._store(token, handle, dos.attributes, dos.creation_ns, self._stored(token, handle))

    def set_times(self, token: ImpersonationToken, handle: VfsHandle, times: Times) -> None:
        """Set the times; the creation time is kept here."""
        self.next.set_times(token, handle, times)
        if times.creation_ns is not None:
            stored = self._stored(token, handle)
            self._store(token, handle, stored.attributes or 0, times.creation_ns, stored)

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        """The entries below; with attributes, those of files and directories whose descriptors are the kernel's."""
        entries = self.next.readdir(token, handle, with_attributes)
        if not with_attributes or not reaches_kernel_files(self, "getxattr"):
            return entries
        return self._with_attributes(token, handle, entries)

    def _with_attributes(
        self, token: ImpersonationToken, handle: VfsHandle, entries: Iterator[DirectoryEntry]
    ) -> Iterator[DirectoryEntry]:
        while batch := list(islice(entries, _BATCH)):
            values = syscalls.getxattrs_in(token, handle.fd, [entry.name for entry in batch], _XATTR_BYTES)
            yield from [
                _new(DirectoryEntry, (name, stat, self._dos(handle.fd, name, value, stat)))
                if stat is not None and stat.mode & _S_IFMT in _ANSWERED
                else DirectoryEntry(name, stat)
                for (name, stat, _), value in zip(batch, values, strict=True)
            ]

    def _dos(self, directory: int, name: str, value: bytes | OSError, stat: FileStat) -> DosAttributes:
        if isinstance(value, OSError):
            if value.errno != errno.EACCES:
                return _new(DosAttributes, (0, stat.btime_ns))
            value = self._value_in(directory, name)
        return _answer(value, stat)

    def _value_in(self, directory: int, name: str) -> bytes:
        value = syscalls.getxattrs_in(SERVER_TOKEN, directory, [name], _XATTR_BYTES)[0]
        return value if isinstance(value, bytes) else b""

    def _value(self, token: ImpersonationToken, handle: VfsHandle) -> bytes:
        """The stored value, b"" where there is none."""
        try:
            return self.next.getxattr(token, handle, XATTR)
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
    ) -> None:
        attributes = attributes & ~_NEVER_STORED | (_DIRECTORY if handle.is_directory else 0)
        value = dosattrib.encode(attributes, creation_ns, previous)
        try:
            self.next.setxattr(token, handle, XATTR, value)
        except OSError as error:
            if error.errno != errno.EACCES:
                raise
        else:
            return
        self.next.setxattr(SERVER_TOKEN, handle, XATTR, value)


def _answer(value: bytes, stat: FileStat) -> DosAttributes:
    if not value:
        return _new(DosAttributes, (0, stat.btime_ns))
    try:
        attributes, creation = dosattrib.read(value)
    except ValueError:
        # Somebody else's attribute, or a damaged one: the file is served as if there were none.
        log.debug("a value of %s that cannot be read is ignored", XATTR)
        return DosAttributes(0, stat.btime_ns)
    return _new(DosAttributes, ((attributes or 0) & ~_NEVER_STORED, stat.btime_ns if creation is None else creation))
