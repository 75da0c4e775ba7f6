"""A module that counts what users and groups have in a share, and keeps them to limits: for file systems without.

What counts is the size of files, by their owner and group. The count is kept in step with what is done through the
share, and made anew in the background when the share is connected. Clients see and set limits as on NTFS.
"""

import grp
import os
import pwd
import stat as st
import time
from collections.abc import Callable
from typing import ClassVar, Final

from lamina.vfs_modules.engine import aside, offload
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ModuleError, ShareInfo, VfsModule
from lamina.vfs_modules.operations import Access, Capability, FileStat, OpenHow, VolumeStatistics
from lamina.vfs_modules.quotas import Quota, QuotaKind
from lamina.vfs_modules.stock.accounting.census import Census, FileKey
from lamina.vfs_modules.stock.accounting.ledger import Ledger, Limits, Owner, Rules
from lamina.vfs_modules.stock.accounting.options import Allowance, QuotaOptions
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken
from lamina.vfs_modules.turn import Turn

_KEY: Final = "ledger"
_DAY: Final = 86_400.0
_WRITING: Final = Access.WRITE


class _File:
    """A file that is open to be written to, once for all its handles: whose it is, and the size that is booked."""

    __slots__ = ("gid", "handles", "key", "nameless", "size", "uid")

    def __init__(self, stat: FileStat) -> None:
        self.key: FileKey = (stat.dev, stat.ino)
        self.uid, self.gid, self.size = stat.uid, stat.gid, stat.size
        self.handles = 0
        self.nameless = False


def _number_of(kind: QuotaKind, name: str) -> int:
    if name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid if kind is QuotaKind.USER else grp.getgrnam(name).gr_gid
    except KeyError:
        raise ModuleError(
            f"quota: there is no {kind.name.lower()} {name!r} on this machine; a number will do"
        ) from None


def _rules(options: QuotaOptions) -> Rules:
    named: dict[Owner, Limits] = {}
    tables: tuple[tuple[QuotaKind, dict[str, Allowance]], ...] = (
        (QuotaKind.USER, options.users),
        (QuotaKind.GROUP, options.groups),
    )
    for kind, table in tables:
        named |= {(kind, _number_of(kind, name)): allowance.limits() for name, allowance in table.items()}
    defaults = {QuotaKind.USER: options.default_user.limits(), QuotaKind.GROUP: options.default_group.limits()}
    return Rules(named, defaults, options.share.limits(), options.grace * _DAY)


class QuotaModule(VfsModule, public=("counting",)):
    """Counts and limits. `clock` gives seconds since 1970."""

    Options = QuotaOptions
    name: ClassVar[str] = "quota"
    # Beneath all that make, move or give away files on their own; by name, as a backend may have streams itself.
    after: ClassVar[tuple[str, ...]] = (
        "streams_xattr",
        "streams_depot",
        "acl_xattr",
        "dos_attributes",
        "recycle",
        "virus_scan",
        "shadow_copy",
    )

    options: QuotaOptions

    def __init__(self, options: QuotaOptions | None = None, clock: Callable[[], float] = time.time) -> None:
        super().__init__(options)
        self._clock = clock
        self._files: dict[FileKey, _File] = {}
        self._census: Census | None = None
        self._turn = Turn()

    # Lifecycle.

    def connect(self, share: ShareInfo) -> None:
        """Take over what was known, and count in the background where that is asked for or needed."""
        self._ledger = Ledger(offload(SERVER_TOKEN, _rules, self.options))
        self._root = self.next.open_root(SERVER_TOKEN)
        is_exact = self._load()
        if not (is_exact and self.options.count == "needed"):
            self._census = Census(self.next, self._root, self.options.exclude)
            aside(self._count)
        self._save(False)

    def _load(self) -> bool:
        value = self.storage.get(_KEY)
        try:
            return value is not None and self._ledger.unpack(value)
        except ValueError as error:
            self.log.warning("what was kept of the quotas cannot be read, and is counted anew", reason=str(error))
            return False

    def _save(self, is_exact: bool) -> None:
        self.storage.set(_KEY, self._ledger.pack(is_exact))

    def _count(self) -> None:
        census = self._census
        assert census is not None
        with self._turn:
            try:
                if census.count():
                    self._ledger.count_as(census.result(), max(census.total, 0), self._clock())
                    self._save(False)
            except OSError as error:
                self.log.error("the files of the share cannot be counted", reason=error.strerror or str(error))
            finally:
                self._census = None

    @property
    def counting(self) -> bool:
        """Whether files are being counted just now: until then limits hold for what is known."""
        return self._census is not None

    def disconnect(self) -> None:
        """Keep what is known."""
        census = self._census
        if census is not None:
            census.ended = True
        with self._turn:
            self._save(census is None)
            self.next.close(SERVER_TOKEN, self._root)

    def capabilities(self, below: Capability) -> Capability:
        """Quotas."""
        return below | Capability.QUOTAS

    # What clients ask.

    def get_quota(self, token: ImpersonationToken, handle: VfsHandle, kind: QuotaKind, number: int) -> Quota:
        """An account of the ledger."""
        return self._ledger.quota((kind, number))

    def set_quota(self, token: ImpersonationToken, handle: VfsHandle, quota: Quota) -> None:
        """Set limits; they hold until others are set, whatever configuration says."""
        self._ledger.choose((quota.kind, quota.number), Limits(quota.soft, quota.hard), self._clock())
        self._save(False)

    def list_quotas(
        self, token: ImpersonationToken, handle: VfsHandle, kind: QuotaKind, start: int, limit: int
    ) -> list[Quota]:
        """The accounts that have something, or limits."""
        return self._ledger.entries(kind, start, limit)

    def statfs(self, token: ImpersonationToken, handle: VfsHandle) -> VolumeStatistics:
        """Sizes, with no more room than the share, the user and his group have left."""
        sizes = self.next.statfs(token, handle)
        whole, room = self._ledger.rules.share.hard, self._ledger.room(token.uid, token.gid)
        if whole is not None:
            free = max(min(sizes.free, whole - self._ledger.total.used), 0)
            sizes = sizes._replace(total=min(sizes.total, whole), free=free, available=min(sizes.available, free))
        return sizes if room is None else sizes._replace(available=min(sizes.available, room))

    # Booking.

    def _grow(self, token: ImpersonationToken, file: _File, size: int) -> None:
        """Let a file have a size. Raises EDQUOT or ENOSPC for who may not."""
        change = size - file.size
        if not change:
            return
        now = self._clock()
        if token is not SERVER_TOKEN:
            refusal = self._ledger.refusal(file.uid, file.gid, change, now)
            if refusal:
                raise OSError(refusal, os.strerror(refusal))
        file.size = size
        self._book(file.key, file.uid, file.gid, change)

    def _book(self, key: FileKey, uid: int, gid: int, change: int) -> None:
        self._ledger.book(uid, gid, change, self._clock())
        if self._census is not None:
            self._census.change(key, uid, gid, change)

    def _settle(self, file: _File, handle: VfsHandle) -> None:
        """Book the size that a file really has: something has failed, or others have changed it."""
        stat = self.next.fstat(SERVER_TOKEN, handle)
        if stat.size != file.size:
            change, file.size = stat.size - file.size, stat.size
            self._book(file.key, file.uid, file.gid, change)

    # Opening and closing.

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open, and know the size of what may be written to."""
        handle = self.next.open(token, directory, path, how)
        if handle.is_directory or not (how.access & _WRITING or (how.create and self._census is not None)):
            return handle
        try:
            stat = self.next.fstat(token, handle)
        except BaseException:
            self.next.close(token, handle)
            raise
        if self._census is not None and not stat.size:
            self._census.meet(stat)  # it may be new, in a directory that was counted before
        if how.access & _WRITING and st.S_ISREG(stat.mode):
            file = self._files.get((stat.dev, stat.ino))
            if file is None:
                file = self._files[stat.dev, stat.ino] = _File(stat)
            file.handles += 1
            self.set_state(handle, file)
        return handle

    def close(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Close, and book what others have done to the file meanwhile."""
        file: _File | None = self.state(handle)
        if file is None:
            self.next.close(token, handle)
            return
        try:
            self._settle(file, handle)
        finally:
            file.handles -= 1
            if not file.handles:
                self._let_go(file)
            self.next.close(token, handle)

    def _let_go(self, file: _File) -> None:
        if file.nameless:
            self._book(file.key, file.uid, file.gid, -file.size)
        else:
            del self._files[file.key]

    # Data.

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        """Write what there is room for in the quota."""
        file: _File | None = self.state(handle)
        if file is None or offset + len(data) <= file.size or not len(data):
            return self.next.pwrite(token, handle, data, offset)
        self._grow(token, file, offset + len(data))
        try:
            return self.next.pwrite(token, handle, data, offset)
        except BaseException:
            self._settle(file, handle)
            raise

    def ftruncate(self, token: ImpersonationToken, handle: VfsHandle, length: int) -> None:
        """Set the end of file where there is room for it in the quota."""
        file: _File | None = self.state(handle)
        if file is not None:
            self._grow(token, file, length)
        try:
            self.next.ftruncate(token, handle, length)
        except BaseException:
            if file is not None:
                self._settle(file, handle)
            raise

    def copy_range(
        self,
        token: ImpersonationToken,
        source: VfsHandle,
        source_offset: int,
        target: VfsHandle,
        target_offset: int,
        length: int,
    ) -> int:
        """Copy what there is room for in the quota."""
        self._make_room(token, source, source_offset, target, target_offset, length)
        try:
            return self.next.copy_range(token, source, source_offset, target, target_offset, length)
        finally:
            self._settle_target(target)

    def clone_range(
        self,
        token: ImpersonationToken,
        source: VfsHandle,
        source_offset: int,
        target: VfsHandle,
        target_offset: int,
        length: int,
    ) -> None:
        """Share what there is room for in the quota: what is shared counts for each."""
        self._make_room(token, source, source_offset, target, target_offset, length)
        try:
            self.next.clone_range(token, source, source_offset, target, target_offset, length)
        finally:
            self._settle_target(target)

    def _make_room(
        self, token: ImpersonationToken, source: VfsHandle, start: int, target: VfsHandle, offset: int, length: int
    ) -> None:
        file: _File | None = self.state(target)
        if file is not None and offset + length > file.size:
            there = max(min(length, self.next.fstat(token, source).size - start), 0)
            self._grow(token, file, max(file.size, offset + there if there else 0))

    def _settle_target(self, target: VfsHandle) -> None:
        file: _File | None = self.state(target)
        if file is not None:
            self._settle(file, target)

    def zero_range(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, deallocate: bool
    ) -> None:
        """The size stays."""
        self.next.zero_range(token, handle, offset, length, deallocate)

    def allocated_ranges(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, limit: int
    ) -> list[tuple[int, int]]:
        """The size stays."""
        return self.next.allocated_ranges(token, handle, offset, length, limit)

    # Names and owners.

    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a name; with the last one, and the last who may write to it, what the file had is free."""
        stat = self.next.stat(token, directory, path)
        self.next.unlink(token, directory, path)
        self._gone(stat)

    def _gone(self, stat: FileStat) -> None:
        if not st.S_ISREG(stat.mode) or stat.nlink > 1:
            return
        key = (stat.dev, stat.ino)
        file = self._files.pop(key, None)  # the number may be another file's soon
        if file is not None:
            file.nameless = True
        else:
            self._book(key, stat.uid, stat.gid, -stat.size)

    def rename(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
        replace: bool,
    ) -> None:
        """Rename; what is replaced is free."""
        moved = self.next.stat(token, source_directory, source)
        try:
            there = self.next.stat(token, target_directory, target) if replace else None
        except OSError:
            there = None
        self.next.rename(token, source_directory, source, target_directory, target, replace)
        if there is not None and (there.dev, there.ino) != (moved.dev, moved.ino):
            self._gone(there)
        if self._census is not None:
            self._tell_census(moved)

    def _tell_census(self, moved: FileStat) -> None:
        assert self._census is not None
        if st.S_ISREG(moved.mode):
            self._census.meet(moved)
        elif st.S_ISDIR(moved.mode):
            self._census.moved = True

    def fchown(self, token: ImpersonationToken, handle: VfsHandle, uid: int, gid: int) -> None:
        """Set owner and group, and book the file on their accounts. Nobody is refused what he is given."""
        before = self.next.fstat(token, handle)
        self.next.fchown(token, handle, uid, gid)
        if not st.S_ISREG(before.mode):
            return
        new_uid, new_gid = before.uid if uid == -1 else uid, before.gid if gid == -1 else gid
        file = self._files.get((before.dev, before.ino))
        size = before.size if file is None else file.size
        self._book((before.dev, before.ino), before.uid, before.gid, -size)
        self._book((before.dev, before.ino), new_uid, new_gid, size)
        if file is not None:
            file.uid, file.gid = new_uid, new_gid


__all__ = ["QuotaModule", "QuotaOptions"]
