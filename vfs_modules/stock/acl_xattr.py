"""Security descriptors in an extended attribute, in the form that Samba's module of this name keeps them (`ntacl`).

A share that moves here from Samba, or back, keeps its descriptors. ntfsa evaluates them; the kernel still looks at the
mode of a file, and for a descriptor to give more than the mode does there is `ignore_system_acls`: then what the kernel
refuses the user is done by the server, because ntfsa has already granted it (MS-FSA 2.1.5.1.2.1 Algorithm to Check
Access to an Existing File, 2.1.5.1.1 Creation of a New File).

With each descriptor goes the hash by which Samba, and with `notice_local_changes` this module, sees that mode, owner or
POSIX ACL have been changed by somebody else since: such a descriptor no longer counts.
"""

import dataclasses
import errno
import functools
import logging
import stat as st
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from lamina.vfs_modules.changes import ChangeQuery, ChangeWatch
from lamina.vfs_modules.forms import ntacl, posix_acl
from lamina.vfs_modules.forms.ntacl_hash import PosixSide, system_acl_hash
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ModuleOptions, ShareInfo, VfsModule, named_by_samba
from lamina.vfs_modules.operations import Access, Capability, DirectoryEntry, FileStat, OpenHow, Operation
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

log = logging.getLogger(__name__)

PROTECTED = "security.NTACL"
"""Where only root may write."""

UNPROTECTED = "user.NTACL"
"""Where whoever may write to the file may write."""

_PROBE = "security.lamina.probe"
_REMEMBERED = 4096
"""Bytes of a value up to which the reading of it is remembered, which bounds the memory."""
_FILETIME_1970 = 116_444_736_000_000_000
_NEVER_SHOWN = frozenset({PROTECTED, UNPROTECTED})
# ENODATA: nothing is stored. The others: this kind of file, or this file system, keeps no such attributes.
_ABSENT = frozenset({errno.ENODATA, errno.ENOTSUP, errno.EPERM, errno.ENOENT, errno.ELOOP})
_RETRIED = frozenset(
    {
        "stat", "unlink", "rmdir", "rename", "link", "symlink", "readlink", "set_times", "fallocate", "fsync", "watch",
        "getxattr", "setxattr", "removexattr", "listxattr", "get_dos_attributes", "set_dos_attributes",
        "allocated_ranges", "set_compressed",
    }
)  # fmt: skip
_STYLES = {
    "windows": Capability(0),
    "posix": Capability.DEFAULT_LIST_OF_MODE,
    "everyone": Capability.DEFAULT_LIST_FOR_EVERYONE,
}
_DIRECTORY_ITSELF = OpenHow(Access.PATH, directory=True, follow=False)


class AclXattrOptions(ModuleOptions):
    """Options of `acl_xattr`."""

    samba_names: ClassVar[Mapping[str, str]] = {
        **named_by_samba(
            "acl_xattr",
            attribute="security_acl_name",
            ignore_system_acls="ignore system acls",
            default_acl_style="default acl style",
        ),
        "canonicalize_inherited": "acl flag inherited canonicalization",
    }

    attribute: str | None = Field(
        default=None,
        pattern=r"^(security|trusted|user)\..+$",
        description=f"the extended attribute; without, {PROTECTED} where the server may write it, else {UNPROTECTED}",
    )
    ignore_system_acls: bool = Field(
        default=False,
        description="let descriptors alone decide: what the mode refuses a user whom one admits, the server does",
    )
    posix_acls: bool = Field(
        default=False,
        description="give files POSIX ACLs that let local programs do about what the descriptor lets clients do, where "
        "the file system has them",
    )
    default_acl_style: Literal["windows", "posix", "everyone"] = Field(
        default="windows",
        description="the list of a new file that inherits none: the creator's and the system's, one made of its mode, "
        "or one for everyone",
    )
    canonicalize_inherited: bool = Field(
        default=True,
        description="a list counts as inherited only for a client that asks for inheritance, as with Windows; a backup "
        "that is restored by one that does not wants false",
    )
    notice_local_changes: bool = Field(
        default=False,
        description="a descriptor counts only while mode, owner and POSIX ACL are as they were when it was stored, "
        "as with Samba; costs a system call per open, and has no effect with ignore_system_acls",
    )


class AclXattrModule(VfsModule):
    """Keeps security descriptors beside the file."""

    Options = AclXattrOptions
    name: ClassVar[str] = "acl_xattr"
    provides: ClassVar[tuple[str, ...]] = ("security",)

    options: AclXattrOptions

    def __init__(self, options: AclXattrOptions | None = None) -> None:
        super().__init__(options)
        self._attribute = self.options.attribute or PROTECTED
        self._hidden = _NEVER_SHOWN | {self._attribute}
        self._has_posix_acls = False
        self._checks = self.options.notice_local_changes and not self.options.ignore_system_acls

    def one_process(self) -> str:
        """All that it keeps is in the files."""
        return ""

    def connect(self, share: ShareInfo) -> None:
        """Find out which attribute can be written."""
        if self.options.attribute is None:
            self._attribute = PROTECTED if self._may_protect() else UNPROTECTED
            log.debug("share %s: descriptors are kept in %s", share.name, self._attribute)
        if self.options.posix_acls:
            self._has_posix_acls = self._finds_posix_acls()
            if not self._has_posix_acls:
                log.warning("share %s: the file system has no POSIX ACLs to keep in step", share.name)

    def _finds_posix_acls(self) -> bool:
        root = self.next.open_root(SERVER_TOKEN)
        try:
            self.next.getxattr(SERVER_TOKEN, root, posix_acl.ACCESS)
        except OSError as error:
            return error.errno == errno.ENODATA
        finally:
            self.next.close(SERVER_TOKEN, root)
        return True

    def _may_protect(self) -> bool:
        # Removing what is not there changes nothing, and tells whether it could be.
        root = self.next.open_root(SERVER_TOKEN)
        try:
            self.next.removexattr(SERVER_TOKEN, root, _PROBE)
        except OSError as error:
            return error.errno not in {errno.EPERM, errno.EACCES}
        finally:
            self.next.close(SERVER_TOKEN, root)
        return True

    def capabilities(self, below: Capability) -> Capability:
        """Descriptors, where there are extended attributes to keep them in."""
        if Capability.XATTRS not in below:
            return below
        own = Capability.SECURITY
        own |= Capability.MODE_IGNORED if self.options.ignore_system_acls else Capability(0)
        own |= Capability.POSIX_ACLS if self._has_posix_acls else Capability(0)
        own |= Capability(0) if self.options.canonicalize_inherited else Capability.LISTS_AS_GIVEN
        own |= _STYLES[self.options.default_acl_style]
        return below | own

    # Descriptors.

    def get_security(self, token: ImpersonationToken, handle: VfsHandle, stat: FileStat) -> bytes | None:
        """What is stored; a value that cannot be read counts as none, and the mode decides."""
        try:
            value = self.next.getxattr(token, handle, self._attribute)
        except OSError as error:
            if error.errno == errno.EACCES and token is not SERVER_TOKEN:
                return self.get_security(SERVER_TOKEN, handle, stat)
            if error.errno not in _ABSENT:
                raise
            return None
        descriptor, seal = _read(value) if len(value) <= _REMEMBERED else _read.__wrapped__(value)
        if seal and self._checks and not self._still_fits(handle, stat, seal):
            return None
        return descriptor

    def _still_fits(self, handle: VfsHandle, stat: FileStat, seal: bytes) -> bool:
        side = self._posix_side(handle, stat)
        return side is None or system_acl_hash(side) == seal

    def set_security(self, token: ImpersonationToken, handle: VfsHandle, descriptor: bytes) -> None:
        """Store. Done as the server, whose alone the attribute is: the caller has checked WRITE_DAC and the like."""
        ignoring = self.options.ignore_system_acls
        seal = None if ignoring else self._seal(handle)
        self.next.setxattr(SERVER_TOKEN, handle, self._attribute, ntacl.encode(descriptor, ignoring, seal))

    def _seal(self, handle: VfsHandle) -> ntacl.Seal | None:
        side = self._posix_side(handle, self.next.fstat(SERVER_TOKEN, handle))
        return None if side is None else ntacl.Seal(system_acl_hash(side), time.time_ns() // 100 + _FILETIME_1970)

    def _posix_side(self, handle: VfsHandle, stat: FileStat) -> PosixSide | None:
        """What the hash is of; None where the file system has no POSIX ACLs."""
        try:
            access = self._posix_acl(handle, posix_acl.ACCESS)
            default = self._posix_acl(handle, posix_acl.DEFAULT) or () if st.S_ISDIR(stat.mode) else None
        except (OSError, ValueError) as error:
            log.debug("the POSIX ACL of a file cannot be read: %s", error)
            return None
        return PosixSide(stat.mode, stat.uid, stat.gid, access or posix_acl.of_mode(stat.mode), default)

    def _posix_acl(self, handle: VfsHandle, name: str) -> posix_acl.PosixAcl | None:
        try:
            return posix_acl.parse(self.next.getxattr(SERVER_TOKEN, handle, name))
        except OSError as error:
            if error.errno == errno.ENODATA:
                return None
            raise

    # The attribute is nobody's but this module's, whatever it is called.

    def getxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> bytes:
        """The others' attributes; ENODATA for this module's."""
        if name in self._hidden:
            raise OSError(errno.ENODATA, "an attribute that the server keeps for itself", name)
        return self.next.getxattr(token, handle, name)

    def setxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str, value: bytes) -> None:
        """Set the others' attributes; EACCES for this module's."""
        self._refuse(name)
        self.next.setxattr(token, handle, name, value)

    def removexattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Remove the others' attributes; EACCES for this module's."""
        self._refuse(name)
        self.next.removexattr(token, handle, name)

    def listxattr(self, token: ImpersonationToken, handle: VfsHandle) -> list[str]:
        """The others' attributes."""
        return [name for name in self.next.listxattr(token, handle) if name not in self._hidden]

    def _refuse(self, name: str) -> None:
        if name in self._hidden:
            raise OSError(errno.EACCES, "an attribute that the server keeps for itself", name)

    # What the kernel refuses the user.

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        """Where system ACLs are ignored: as the user, and where the kernel refuses that, as the server."""
        if not self.options.ignore_system_acls:
            return call
        if operation.name in _RETRIED:
            return _retried(call)
        special: dict[str, Callable[..., Callable[..., Any]]] = {
            "open": self._opening,
            "mkdir": self._making,
            "readdir": _reading,
            "fchown": _owning,
            "watch_changes": _watching,
        }
        return special[operation.name](call) if operation.name in special else call

    def _opening(self, call: Callable[..., VfsHandle]) -> Callable[..., VfsHandle]:
        def open_(token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
            try:
                return call(token, directory, path, how)
            except PermissionError:
                if token is SERVER_TOKEN:
                    raise
            if not how.create:
                return call(SERVER_TOKEN, directory, path, how)
            return self._create(call, token, directory, path, how)

        return open_

    def _create(
        self,
        call: Callable[..., VfsHandle],
        token: ImpersonationToken,
        directory: VfsHandle,
        path: str,
        how: OpenHow,
    ) -> VfsHandle:
        existing = dataclasses.replace(how, create=False)
        if not how.exclusive:
            try:
                return call(SERVER_TOKEN, directory, path, existing)
            except FileNotFoundError:
                pass
        handle = call(SERVER_TOKEN, directory, path, dataclasses.replace(how, exclusive=True))
        try:
            self._give(token, handle)
        except BaseException:
            self.next.close(SERVER_TOKEN, handle)
            self.next.unlink(SERVER_TOKEN, directory, path)
            raise
        return handle

    def _making(self, call: Callable[..., None]) -> Callable[..., None]:
        def mkdir(token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> None:
            try:
                call(token, directory, path, mode)
            except PermissionError:
                if token is SERVER_TOKEN:
                    raise
            else:
                return
            call(SERVER_TOKEN, directory, path, mode)
            handle = self.next.open(SERVER_TOKEN, directory, path, _DIRECTORY_ITSELF)
            try:
                self._give(token, handle)
            finally:
                self.next.close(SERVER_TOKEN, handle)

        return mkdir

    def _give(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Make what the server has just made the user's; a group that the directory passed on (set-group-ID) stays."""
        passed_on = self.next.fstat(SERVER_TOKEN, handle).gid != SERVER_TOKEN.gid
        self.next.fchown(SERVER_TOKEN, handle, token.uid, -1 if passed_on else token.gid)


@functools.lru_cache(maxsize=4096)
def _read(value: bytes) -> tuple[bytes | None, bytes]:
    """The descriptor in a value, and the hash of the POSIX side that it was stored for, if it has one."""
    # Few descriptors are on many files.
    try:
        stored = ntacl.decode(value)
    except ValueError as error:
        log.debug("a stored descriptor that cannot be read is ignored: %s", error)
        return None, b""
    return stored.descriptor, stored.system_hash


def _retried(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def retried(token: ImpersonationToken, *arguments: Any, **keywords: Any) -> Any:
        try:
            return call(token, *arguments, **keywords)
        except PermissionError:
            if token is SERVER_TOKEN:
                raise
        return call(SERVER_TOKEN, *arguments, **keywords)

    return retried


def _reading(call: Callable[..., Iterator[DirectoryEntry]]) -> Callable[..., Iterator[DirectoryEntry]]:
    # An iteration that is refused half way could not be begun again.
    def readdir(
        token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        return call(SERVER_TOKEN, handle, with_attributes)

    return readdir


def _watching(call: Callable[..., ChangeWatch]) -> Callable[..., ChangeWatch]:
    def watch_changes(token: ImpersonationToken, handle: VfsHandle, query: ChangeQuery) -> ChangeWatch:
        # Modes say nothing about what this user may list beneath; who watches a tree on Windows learns of all of it.
        return call(SERVER_TOKEN, handle, query)

    return watch_changes


def _owning(call: Callable[..., None]) -> Callable[..., None]:
    # Taking is what a descriptor can give the right to (WRITE_OWNER); giving away stays with the kernel's rules.
    def fchown(token: ImpersonationToken, handle: VfsHandle, uid: int, gid: int) -> None:
        try:
            call(token, handle, uid, gid)
        except PermissionError:
            if uid not in {-1, token.uid} or gid not in {-1, token.gid, *token.groups}:
                raise
        else:
            return
        call(SERVER_TOKEN, handle, uid, gid)

    return fchown
