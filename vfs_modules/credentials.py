"""Taking on a token's credentials, for this thread only.

Linux keeps credentials per thread, but the C library's wrappers change every thread of the process; so the raw
system calls are used. The file-system identity (setfsuid, setfsgid, setgroups) is switched and not the effective
one: that is all that access checks look at, the kernel drops the file capabilities with it, and the process can
always come back. A thread that already acts for the token (same `cache_id`) is left alone, which costs one comparison.

Without root nothing is switched: everything is done as the user who started the server.
"""

import ctypes
import os
import platform
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

_library = ctypes.CDLL(None, use_errno=True)
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITY_HEADER = struct.Struct("=Ii")
_CAPABILITY_SETS = struct.Struct("=6I")  # effective, permitted and inheritable, the lower 32 of each and then the upper
_CAP_SYS_RESOURCE = 24

# setgroups, setfsuid, setfsgid by machine (the kernel's system call tables).
_CALLS = {"x86_64": (116, 122, 123), "aarch64": (159, 151, 152), "riscv64": (159, 151, 152)}


class _Current(threading.local):
    # A new thread inherits the credentials of whichever identity its creator had just assumed: it is nobody's yet.
    cache_id = -1
    bounded = False


_current = _Current()


def can_impersonate() -> bool:
    """Whether this process may act for other users: it is root, on a machine whose system calls are known."""
    return os.geteuid() == 0 and platform.machine() in _CALLS


def _make_switch() -> "ctypes._NamedFuncPointer | None":
    return ctypes.CDLL(None, use_errno=True).syscall if can_impersonate() else None


_syscall = _make_switch()
_SETGROUPS, _SETFSUID, _SETFSGID = _CALLS.get(platform.machine(), (0, 0, 0))


def assume(token: ImpersonationToken) -> None:
    """Let this thread's system calls be made for `token`, until another is assumed.

    Raises PermissionError if the kernel does not let the server take on the identity; the thread is then the server's.
    """
    if token.cache_id == _current.cache_id:
        return
    if _syscall is not None:
        _switch(token)
    _current.cache_id = token.cache_id


def _switch(token: ImpersonationToken) -> None:
    assert _syscall is not None
    # Until all three have succeeded nobody may believe that the thread is somebody.
    _current.cache_id = -1
    if not _current.bounded:
        _give_up_exemption()
    # The groups and the gid first: with another fsuid the thread keeps CAP_SETGID, but order must not matter to safety.
    groups = (ctypes.c_uint32 * len(token.groups))(*token.groups)
    if _syscall(_SETGROUPS, ctypes.c_size_t(len(token.groups)), groups) != 0:
        raise PermissionError(ctypes.get_errno(), f"cannot take on the groups of uid {token.uid}")
    _set_and_verify(_SETFSGID, token.gid, "gid")
    _set_and_verify(_SETFSUID, token.uid, "uid")


def _give_up_exemption() -> None:
    """Let this thread be bound by quotas and by the space that file systems keep for root.

    Another file-system identity does not see to that: whoever has CAP_SYS_RESOURCE is exempt (capabilities(7)).
    """
    header = ctypes.create_string_buffer(_CAPABILITY_HEADER.pack(_CAPABILITY_VERSION_3, 0))
    sets = ctypes.create_string_buffer(_CAPABILITY_SETS.size)
    if _library.capget(header, sets) != 0:
        raise PermissionError(ctypes.get_errno(), "cannot tell the capabilities of a thread")
    effective, *others = _CAPABILITY_SETS.unpack(sets.raw)
    sets.raw = _CAPABILITY_SETS.pack(effective & ~(1 << _CAP_SYS_RESOURCE), *others)
    if _library.capset(header, sets) != 0:
        raise PermissionError(ctypes.get_errno(), "cannot give up a capability of a thread")
    _current.bounded = True


def _set_and_verify(call: int, wanted: int, what: str) -> None:
    # setfsuid and setfsgid report nothing but the old value: asking with -1 tells what is in force.
    assert _syscall is not None
    _syscall(call, ctypes.c_uint32(wanted))
    if _syscall(call, ctypes.c_uint32(0xFFFFFFFF)) & 0xFFFFFFFF != wanted & 0xFFFFFFFF:
        raise PermissionError(1, f"cannot take on {what} {wanted}")


@contextmanager
def server_identity() -> Iterator[None]:
    """Do what stands inside as the server itself: its own files (accounts, configuration, state)."""
    assume(SERVER_TOKEN)
    yield
