"""A module that counts what users and groups have in a share, and keeps them to limits: for file systems without.

What counts is the size of files, by their owner and group. The count is kept in step with what is done through the
share, and made anew in the background when the share is connected. Clients see and set limits as on NTFS.
"""

import grp
import pwd
import stat as st
import time
from collections.abc import Callable
from typing import ClassVar, Final

from lamina.vfs_modules.engine import aside, offload
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ModuleError, ShareInfo, VfsModule
from lamina.vfs_modules.operations import Access, Capability, FileStat, OpenHow, VolumeStatistics
from lamina.vfs_modules.processes import place
from lamina.vfs_modules.quotas import Quota, QuotaKind
from lamina.vfs_modules.stock.accounting.books import Booked, BookKeeping, LocalBooks
from lamina.vfs_modules.stock.accounting.census import Census
from lamina.vfs_modules.stock.accounting.ledger import Ledger, Limits, Owner, Rules
from lamina.vfs_modules.stock.accounting.options import Allowance, QuotaOptions
from lamina.vfs_modules.stock.accounting.shared_books import SharedBooks
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken
from lamina.vfs_modules.turn import Turn

_KEY: Final = "ledger"
_DAY: Final = 86_400.0
_WRITING: Final = Access.WRITE


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
        self._turn = Turn()

    # Lifecycle.

    def one_process(self) -> str:
        """Several processes have one ledger."""
        return ""

    def connect(self, share: ShareInfo) -> None:
        """Take over what was known, and count in the background where that is asked for or needed."""
        rules, where = offload(SERVER_TOKEN, _rules, self.options), place()
        self._books: BookKeeping = (
            LocalBooks(Ledger(rules), self._clock)
            if where is None
            else SharedBooks(rules, self._clock, self.shared, where)
        )
        self._root = self.next.open_root(SERVER_TOKEN)
        kept, is_exact = self._kept(rules)
        if self._books.begin(kept, is_exact, self.options.count != "needed"):
            aside(self._count, self._books.make_census(self.next, self._root, self.options.exclude))
        self._save()

    def _kept(self, rules: Rules) -> tuple[Ledger | None, bool]:
        """What was kept of the ledger, and whether it is exact."""
        ledger, value = Ledger(rules), self.storage.get(_KEY)
        try:
            return (ledger, ledger.unpack(value)) if value is not None else (None, False)
        except ValueError as error:
            self.log.warning("what was kept of the quotas cannot be read, and is counted anew", reason=str(error))
            return None, False

    def _save(self) -> None:
        with self.turn(_KEY):
            with self._books.ledger() as ledger:
                value = ledger.pack(False)
            self.storage.set(_KEY, value)

    def _count(self, census: Census) -> None:
        with self._turn:
            if census.ended:
                return
            try:
                if census.count():
                    self._books.counted(census)
                    self._save()
            except OSError as error:
                self.log.error("the files of the share cannot be counted", reason=error.strerror or str(error))
            finally:
                if not census.ended:
                    self._books.count_ended()

    @property
    def counting(self) -> bool:
        """Whether files are being counted just now: until then limits hold for what is known."""
        return self._books.is_counting

    def disconnect(self) -> None:
        """Keep what is known."""
        if self._books.census is not None:
            self._books.census.ended = True
        with self._turn, self.turn(_KEY):
            self.storage.set(_KEY, self._books.end())
            self.next.close(SERVER_TOKEN, self._root)

    def capabilities(self, below: Capability) -> Capability:
        """Quotas."""
        return below | Capability.QUOTAS

    # What clients ask.

    def get_quota(self, token: ImpersonationToken, handle: VfsHandle, kind: QuotaKind, number: int) -> Quota:
        """An account of the ledger."""
        with self._books.ledger() as ledger:
            return ledger.quota((kind, number))

    def set_quota(self, token: ImpersonationToken, handle: VfsHandle, quota: Quota) -> None:
        """Set limits; they hold until others are set, whatever configuration says."""
        with self._books.ledger() as ledger:
            ledger.choose((quota.kind, quota.number), Limits(quota.soft, quota.hard), self._clock())
        self._save()

    def list_quotas(
        self, token: ImpersonationToken, handle: VfsHandle, kind: QuotaKind, start: int, limit: int
    ) -> list[Quota]:
        """The accounts that have something, or limits."""
        with self._books.ledger() as ledger:
            return ledger.entries(kind, start, limit)

    def statfs(self, token: ImpersonationToken, handle: VfsHandle) -> VolumeStatistics:
        """Sizes, with no more room than the share, the user and his group have left."""
        sizes = self.next.statfs(token, handle)
        with self._books.ledger() as ledger:
            whole, room, used = ledger.rules.share.hard, ledger.room(token.uid, token.gid), ledger.total.used
        if whole is not None:
            free = max(min(sizes.free, whole - used), 0)
            sizes = sizes._replace(total=min(sizes.total, whole), free=free, available=min(sizes.available, free))
        return sizes if room is None else sizes._replace(available=min(sizes.available, room))

    # Booking.

    def _grow(self, token: ImpersonationToken, file: Booked, size: int, at_least: bool = False) -> None:
        """Let a file have a size, or at least that. Raises EDQUOT or ENOSPC for who may not."""
        self._books.grow(file, size, token is SERVER_TOKEN, at_least)

    def _settle(self, file: Booked, handle: VfsHandle) -> None:
        """Book the size that a file really has: something has failed, or others have changed it."""
        self._books.settle(file, self.next.fstat(SERVER_TOKEN, handle).size)

    # Opening and closing.

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open, and know the size of what may be written to."""
        handle = self.next.open(token, directory, path, how)
        if handle.is_directory or not (how.access & _WRITING or (how.create and self._books.is_counting)):
            return handle
        try:
            stat = self.next.fstat(token, handle)
        except BaseException:
            self.next.close(token, handle)
            raise
        if not stat.size and self._books.is_counting:
            self._books.met(stat)  # it may be new, in a directory that was counted before
        if how.access & _WRITING and st.S_ISREG(stat.mode):
            self.set_state(handle, self._books.opened(stat))
        return handle

    def close(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Close, and book what others have done to the file meanwhile."""
        file: Booked | None = self.state(handle)
        if file is None:
            self.next.close(token, handle)
            return
        try:
            self._settle(file, handle)
        finally:
            self._books.closed(file)
            self.next.close(token, handle)

    # Data.

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        """Write what there is room for in the quota."""
        file: Booked | None = self.state(handle)
        if file is None or offset + len(data) <= file.size or not len(data):
            return self.next.pwrite(token, handle, data, offset)
        self._grow(token, file, offset + len(data), True)
        try:
            return self.next.pwrite(token, handle, data, offset)
        except BaseException:
            self._settle(file, handle)
            raise

    def ftruncate(self, token: ImpersonationToken, handle: VfsHandle, length: int) -> None:
        """Set the end of file where there is room for it in the quota."""
        file: Booked | None = self.state(handle)
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
        file: Booked | None = self.state(target)
        if file is not None and offset + length > file.size:
            there = max(min(length, self.next.fstat(token, source).size - start), 0)
            self._grow(token, file, offset + there if there else 0, True)

    def _settle_target(self, target: VfsHandle) -> None:
        file: Booked | None = self.state(target)
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
        if st.S_ISREG(stat.mode) and stat.nlink <= 1:
            self._books.gone(stat)

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
        if self._books.is_counting:
            if st.S_ISREG(moved.mode):
                self._books.met(moved)
            elif st.S_ISDIR(moved.mode):
                self._books.folder_moved()

    def fchown(self, token: ImpersonationToken, handle: VfsHandle, uid: int, gid: int) -> None:
        """Set owner and group, and book the file on their accounts. Nobody is refused what he is given."""
        before = self.next.fstat(token, handle)
        self.next.fchown(token, handle, uid, gid)
        if not st.S_ISREG(before.mode):
            return
        self._books.given(before, before.uid if uid == -1 else uid, before.gid if gid == -1 else gid)


__all__ = ["QuotaModule", "QuotaOptions"]
