"""What `posix` lets programs beside the server know, and learns of them: range locks and leases of the kernel.

All of it is off by default and then costs nothing: the functions below are put around the operations only where an
option asks for it.
"""

import asyncio
import errno
import os
import time
from collections.abc import Callable
from typing import Any

from pydantic import Field, model_validator

from lamina.vfs_modules import syscalls
from lamina.vfs_modules.engine import offload, wait
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import Backend, ModuleOptions, named_by_samba
from lamina.vfs_modules.operations import Capability, OpenHow
from lamina.vfs_modules.outside import FileLease, LeaseBroken, RangeLock
from lamina.vfs_modules.token import ImpersonationToken

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.1


class OutsideOptions(ModuleOptions):
    """The options of `posix` about local programs."""

    samba_names = named_by_samba(
        "", posix_locking="posix locking", strict_locking="strict locking", kernel_oplocks="kernel oplocks"
    )

    posix_locking: bool = Field(
        default=False,
        description="take clients' byte-range locks on the file system too, so that local programs' and theirs exclude "
        "each other (Samba's `posix locking`)",
    )
    strict_locking: bool = Field(
        default=False,
        description="refuse clients' reads and writes over ranges that local programs have locked: one system call "
        "more for each (like Samba's `strict locking`); asks for `posix_locking`",
    )
    kernel_oplocks: bool = Field(
        default=False,
        description="take a lease of the kernel for what clients cache, so that they give it up before a local program "
        "opens the file (Samba's `kernel oplocks`); local file systems only",
    )

    @model_validator(mode="after")
    def _strict_asks_for_locks(self) -> "OutsideOptions":
        if self.strict_locking and not self.posix_locking:
            raise ValueError("strict_locking does nothing without posix_locking")
        return self


class PosixOutside(Backend):
    """The part of `posix` that deals with local programs."""

    Options = OutsideOptions
    options: OutsideOptions

    def set_range_lock(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, kind: RangeLock
    ) -> None:
        """Take a lock of the open file description."""
        _asked_for(self.options.posix_locking)
        syscalls.set_range(handle.fd, offset, length, kind)

    def set_lease(self, token: ImpersonationToken, handle: VfsHandle, kind: FileLease, broken: LeaseBroken) -> None:
        """Take a lease of the kernel."""
        _asked_for(self.options.kernel_oplocks)
        syscalls.set_lease(handle.fd, kind, broken)


def _asked_for(option: bool) -> None:
    """What is not claimed is not there."""
    if not option:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


def outside_capabilities(options: OutsideOptions, local: bool) -> Capability:
    """What the options ask for. `local`: it is a file system of this machine, where alone leases are known to work."""
    found = Capability.RANGE_LOCKS if options.posix_locking else Capability(0)
    return found | Capability.LEASES if options.kernel_oplocks and local else found


def beside_others(options: OutsideOptions, name: str, call: Callable[..., Any], waits: bool) -> Callable[..., Any]:
    """`call`, the operation `name`, as the options have it; itself where they do not concern it.

    `waits`: a system call on a descriptor may sleep.
    """
    if options.strict_locking and name in _CHECKED:
        return _CHECKED[name](call, _ask_on_thread if waits else _ask)
    if options.kernel_oplocks and name == "open":
        return _patient(call)
    if options.kernel_oplocks and name == "close":
        return _forgetting(call)
    return call


_Ask = Callable[[ImpersonationToken, VfsHandle, int, int, bool], None]


def _ask(token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, for_writing: bool) -> None:
    if syscalls.is_locked(handle.fd, offset, length, for_writing):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _ask_on_thread(token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, for_writing: bool) -> None:
    offload(token, _ask, token, handle, offset, length, for_writing)


def _reading(call: Callable[..., Any], ask: _Ask) -> Callable[..., Any]:
    def pread(token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        ask(token, handle, offset, len(buffer), False)
        count: int = call(token, handle, buffer, offset)
        return count

    return pread


def _writing(call: Callable[..., Any], ask: _Ask) -> Callable[..., Any]:
    def pwrite(token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        ask(token, handle, offset, len(data), True)
        count: int = call(token, handle, data, offset)
        return count

    return pwrite


def _zeroing(call: Callable[..., Any], ask: _Ask) -> Callable[..., Any]:
    def zero_range(token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, deallocate: bool) -> None:
        ask(token, handle, offset, length, True)
        call(token, handle, offset, length, deallocate)

    return zero_range


def _copying(call: Callable[..., Any], ask: _Ask) -> Callable[..., Any]:
    def copy(
        token: ImpersonationToken,
        source: VfsHandle,
        source_offset: int,
        target: VfsHandle,
        target_offset: int,
        length: int,
    ) -> Any:
        ask(token, source, source_offset, length, False)
        ask(token, target, target_offset, length, True)
        return call(token, source, source_offset, target, target_offset, length)

    return copy


_CHECKED: dict[str, Callable[[Callable[..., Any], _Ask], Callable[..., Any]]] = {
    "pread": _reading,
    "pwrite": _writing,
    "zero_range": _zeroing,
    "copy_range": _copying,
    "clone_range": _copying,
}


def _patient(call: Callable[..., VfsHandle]) -> Callable[..., VfsHandle]:
    # The kernel has asked whoever leases the file, perhaps ourselves, to give it up, and does not wait for us.
    def open_patiently(token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        try:
            return call(token, directory, path, how)
        except BlockingIOError:
            return _open_after_break(call, token, directory, path, how)

    return open_patiently


def _open_after_break(
    call: Callable[..., VfsHandle], token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow
) -> VfsHandle:
    until, pause = time.monotonic() + syscalls.lease_break_seconds() + 1, _FIRST_PAUSE
    while True:
        wait(asyncio.sleep(pause), indefinite=True)
        try:
            return call(token, directory, path, how)
        except BlockingIOError:
            if time.monotonic() > until:
                raise
        pause = min(pause * 2, _LONGEST_PAUSE)


def _forgetting(call: Callable[..., None]) -> Callable[..., None]:
    def close(token: ImpersonationToken, handle: VfsHandle) -> None:
        syscalls.forget_lease(handle.fd)
        call(token, handle)

    return close
