"""Leases of files: being told before another program opens one (fcntl(2), F_SETLEASE).

The kernel tells by a signal. It is sent to the one thread that runs the event loop, blocked in that thread only, and
read there through a descriptor: so this works in a thread that is not the main one, beside whatever the process does
with signals, and interrupts nothing. If the queue of signals is full the kernel sends SIGIO instead, which says no more
than that something has happened: then every lease is looked at.
"""

import asyncio
import errno
import fcntl
import os
import signal
import threading
from struct import Struct
from typing import Final

from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.outside import FileLease, LeaseBroken
from lamina.vfs_modules.syscalls import libc
from lamina.vfs_modules.token import SERVER_TOKEN

_SIGNAL: Final = signal.SIGRTMIN + 13
_F_SETOWN_EX: Final = 15
_F_OWNER_TID: Final = 0
_OWNER = Struct("ii")  # struct f_owner_ex
_INFO = Struct("I16xi104x")  # struct signalfd_siginfo: the signal, and the descriptor
_SIGSET_SIZE: Final = 128
_KERNEL_KINDS: Final = {FileLease.NONE: fcntl.F_UNLCK, FileLease.READ: fcntl.F_RDLCK, FileLease.WRITE: fcntl.F_WRLCK}
_KINDS: Final = {kernel: kind for kind, kernel in _KERNEL_KINDS.items()}
_BREAK_TIME: Final = "/proc/sys/fs/lease-break-time"


class _Leases:
    """The leases that one thread has, and the descriptor that tells of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.held: dict[int, tuple[FileLease, LeaseBroken]] = {}
        signal.pthread_sigmask(signal.SIG_BLOCK, {_SIGNAL, signal.SIGIO})
        mask = (1 << (_SIGNAL - 1) | 1 << (signal.SIGIO - 1)).to_bytes(_SIGSET_SIZE, "little")
        self._fd = libc.signalfd(-1, mask, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            libc.fail()
        loop.add_reader(self._fd, self._read)

    def _read(self) -> None:
        try:
            raw = os.read(self._fd, _INFO.size * 64)
        except BlockingIOError:
            return
        for number, fd in _INFO.iter_unpack(raw):
            for each in (fd,) if number == _SIGNAL else list(self.held):
                self._tell(each)

    def _tell(self, fd: int) -> None:
        kind, broken = self.held.get(fd, (FileLease.NONE, None))
        # While a lease breaks this is what will be left of it. The signal may be that of a file that is closed.
        to = _KINDS[fcntl.fcntl(fd, fcntl.F_GETLEASE)] if broken is not None else kind
        if broken is not None and to < kind:
            broken(to)

    def close(self) -> None:
        """Give the descriptor back. The signals stay blocked: one may still be on its way."""
        if not self.loop.is_closed():
            self.loop.remove_reader(self._fd)
        os.close(self._fd)


class _Thread(threading.local):
    leases: _Leases | None = None


_thread = _Thread()


def set_lease(fd: int, kind: FileLease, broken: LeaseBroken) -> None:
    """Lease the file of a descriptor, change the lease, or (NONE) give it back. On the event loop's thread.

    `broken` is called by the event loop. EAGAIN where the file is open elsewhere, or for READ anywhere for writing;
    EACCES where the file belongs to somebody else and the server is not root; EINVAL where files cannot be leased.
    """
    if kind is FileLease.NONE:
        _give_back(fd)
        return
    leases = _thread.leases
    if leases is None or leases.loop is not asyncio.get_running_loop():
        leases = _thread.leases = _Leases(asyncio.get_running_loop())
    # CAP_LEASE is root's, and whoever asks for the signal must be allowed to send it.
    assume(SERVER_TOKEN)
    try:
        if fd not in leases.held:
            fcntl.fcntl(fd, _F_SETOWN_EX, _OWNER.pack(_F_OWNER_TID, threading.get_native_id()))
            fcntl.fcntl(fd, fcntl.F_SETSIG, _SIGNAL)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, _KERNEL_KINDS[kind])
        leases.held[fd] = kind, broken
    finally:
        _close_if_idle(leases)


def _give_back(fd: int) -> None:
    leases = _thread.leases
    if leases is None or leases.held.pop(fd, None) is None:
        return
    assume(SERVER_TOKEN)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        if error.errno != errno.EAGAIN:  # the kernel has taken it away
            raise
    finally:
        _close_if_idle(leases)


def _close_if_idle(leases: _Leases) -> None:
    if not leases.held:
        leases.close()
        _thread.leases = None


def forget_lease(fd: int) -> None:
    """The descriptor is about to be closed, which ends its lease."""
    leases = _thread.leases
    if leases is not None and leases.held.pop(fd, None) is not None:
        _close_if_idle(leases)


def lease_break_seconds() -> int:
    """How long the kernel lets the holder of a lease keep others waiting."""
    fd = os.open(_BREAK_TIME, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(fd, 32))
    finally:
        os.close(fd)
