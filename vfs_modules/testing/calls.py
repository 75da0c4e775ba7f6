"""One ordinary call of each operation, on a directory that was laid out for it: for checks that are about all of them.

What is laid out is the same for each: `file` with ten bytes, an extended attribute and a stream where there are such,
`empty`, a directory, and `link`, a symbolic link. What a call makes is called `new`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from lamina.vfs_modules.changes import ChangeQuery
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import OPERATIONS, Capability, DosAttributes, OpenHow, Times
from lamina.vfs_modules.outside import FileLease, RangeLock
from lamina.vfs_modules.quotas import Quota, QuotaKind
from lamina.vfs_modules.testing.hand import CREATE, LIST, MOMENT, READ_WRITE, Hand

DATA: Final = b"0123456789"
"""What `file` holds."""

ATTRIBUTE: Final = "user.lamina-test"

NEW: Final = "new"

_USER: Final = 0x7FFF_F003

_OPEN_ID: Final = 0x7FFF_F003_0000_0001


@dataclass(frozen=True, slots=True)
class Scene:
    """A directory that is laid out, with `file` and the directory open."""

    hand: Hand
    directory: VfsHandle
    file: VfsHandle
    base: str

    def names(self) -> set[str]:
        """The names in it."""
        return self.hand.names(self.base)

    def data(self, name: str) -> bytes:
        """What a file holds."""
        return self.hand.read(self.hand.open(f"{self.base}/{name}", READ_WRITE), 99)


def lay_out(hand: Hand, base: str) -> Scene:
    """Make the directory `base`."""
    hand.mkdir(base)
    file = hand.make(f"{base}/file", DATA)
    hand.mkdir(f"{base}/empty")
    has = hand.chain.capabilities
    if Capability.XATTRS in has:
        hand.chain.setxattr(hand.token, file, ATTRIBUTE, b"value")
    if Capability.STREAMS in has:
        hand.chain.close(hand.token, hand.chain.open_stream(hand.token, file, "stream", CREATE))
    if Capability.SYMLINKS in has:
        hand.chain.symlink(hand.token, "file", hand.root, f"{base}/link")
    return Scene(hand, hand.open(base, LIST), file, base)


_OWNER: Final = "0105000000000005150000000100000002000000030000005c040000"  # S-1-5-21-1-2-3-1116

_GROUP: Final = "0105000000000005150000000100000002000000030000005d040000"

_DACL: Final = f"02002c0001000000 00002400ff011f00 {_OWNER}"  # one entry, which allows its owner everything

DESCRIPTOR: Final = bytes.fromhex(f"01000480 14000000 30000000 00000000 4c000000 {_OWNER} {_GROUP} {_DACL}")
"""A self-relative security descriptor (MS-DTYP 2.4.6) that gives its owner everything."""

_ITERATE: Final = frozenset({"readdir", "load_opens"})
"""What these return is done while it is looped over."""

Arguments = Callable[[Scene], tuple[Any, ...]]

_ARGUMENTS: Final[Mapping[str, Arguments]] = {
    "statfs": lambda scene: (scene.directory,),
    "open_root": lambda scene: (),
    "open": lambda scene: (scene.directory, NEW, CREATE),
    "stat": lambda scene: (scene.directory, "file"),
    "mkdir": lambda scene: (scene.directory, NEW, 0o755),
    "unlink": lambda scene: (scene.directory, "file"),
    "rmdir": lambda scene: (scene.directory, "empty"),
    "rename": lambda scene: (scene.directory, "file", scene.directory, NEW, False),
    "link": lambda scene: (scene.file, scene.directory, NEW),
    "symlink": lambda scene: ("file", scene.directory, NEW),
    "readlink": lambda scene: (scene.directory, "link"),
    "close": lambda scene: (_another(scene),),
    "fstat": lambda scene: (scene.file,),
    "pread": lambda scene: (scene.file, memoryview(bytearray(4)), 2),
    "pwrite": lambda scene: (scene.file, memoryview(DATA[2:6]), 2),
    "fsync": lambda scene: (scene.file,),
    "ftruncate": lambda scene: (scene.file, len(DATA)),
    "fallocate": lambda scene: (scene.file, 0, 4),
    "readdir": lambda scene: (scene.directory, True),
    "set_times": lambda scene: (scene.file, Times(write_ns=MOMENT)),
    "fchmod": lambda scene: (scene.file, 0o644),
    "fchown": lambda scene: (scene.file, -1, -1),
    "getxattr": lambda scene: (scene.file, ATTRIBUTE),
    "setxattr": lambda scene: (scene.file, ATTRIBUTE, b"value"),
    "removexattr": lambda scene: (scene.file, ATTRIBUTE),
    "listxattr": lambda scene: (scene.file,),
    "getxattrs_in": lambda scene: (scene.directory, ("file", "empty"), (ATTRIBUTE,)),
    "get_dos_attributes": lambda scene: (scene.file, _status(scene)),
    "set_dos_attributes": lambda scene: (scene.file, DosAttributes(0x20, MOMENT)),
    "get_security": lambda scene: (scene.file, _status(scene)),
    "set_security": lambda scene: (scene.file, DESCRIPTOR),
    "watch": lambda scene: (scene.directory,),
    "copy_range": lambda scene: (scene.file, 0, scene.file, 5, 0),
    "clone_range": lambda scene: (scene.file, 0, scene.file, 1 << 20, 0),
    "zero_range": lambda scene: (scene.file, 20, 10, False),
    "allocated_ranges": lambda scene: (scene.file, 0, 100, 10),
    "set_compressed": lambda scene: (scene.file, False),
    "open_stream": lambda scene: (scene.file, NEW, CREATE),
    "list_streams": lambda scene: (scene.file,),
    "remove_stream": lambda scene: (scene.file, "stream"),
    "rename_stream": lambda scene: (scene.file, "stream", NEW, False),
    "watch_changes": lambda scene: (scene.directory, ChangeQuery(False, False, lambda: None)),
    "set_range_lock": lambda scene: (scene.file, 0, 1, RangeLock.NONE),
    "set_lease": lambda scene: (scene.file, FileLease.NONE, lambda to: None),
    "get_quota": lambda scene: (scene.directory, QuotaKind.USER, _USER),
    "set_quota": lambda scene: (scene.directory, Quota(QuotaKind.USER, _USER, 0)),
    "list_quotas": lambda scene: (scene.directory, QuotaKind.USER, _USER, 1),
    "durable_cookie": lambda scene: (scene.file,),
    "durable_disconnect": lambda scene: (scene.file,),
    "durable_reconnect": lambda scene: (scene.file,),
    "durable_upgrade": lambda scene: (scene.file,),
    "durable_open": lambda scene: (scene.hand.root, b"no cookie of anybody", OpenHow()),
    "save_open": lambda scene: (_OPEN_ID, b"record"),
    "forget_open": lambda scene: (_OPEN_ID,),
    "load_opens": lambda scene: (),
}


def _another(scene: Scene) -> VfsHandle:
    return scene.hand.chain.open(scene.hand.token, scene.directory, "file", READ_WRITE)


def _status(scene: Scene) -> Any:
    return scene.hand.chain.fstat(scene.hand.token, scene.file)


def prepared(scene: Scene, name: str) -> Callable[[], Any]:
    """The call of the operation `name`: everything before it is done, nothing of it yet."""
    arguments = _ARGUMENTS[name](scene)
    call = getattr(scene.hand.chain, name)
    token = scene.hand.token
    if name in _ITERATE:
        return lambda: list(call(token, *arguments))
    return lambda: call(token, *arguments)


def give_back(scene: Scene, result: Any) -> None:
    """Close what a call has returned, where that is something to close."""
    if isinstance(result, VfsHandle):
        scene.hand.chain.close(scene.hand.token, result)
    elif hasattr(result, "close") and not isinstance(result, type):
        result.close()


LOSES: Final[Mapping[str, str]] = MappingProxyType({"unlink": "file", "rename": "file", "rmdir": "empty"})
"""The name that an operation takes away."""


def callable_operations() -> tuple[str, ...]:
    """The operations that have a call here: all, but for those that are newer than this file."""
    return tuple(name for name in OPERATIONS if name in _ARGUMENTS)


def waiting_operations() -> tuple[str, ...]:
    """Those of them that may wait."""
    return tuple(name for name in callable_operations() if OPERATIONS[name].waits)


__all__ = [
    "ATTRIBUTE",
    "DATA",
    "DESCRIPTOR",
    "LOSES",
    "NEW",
    "Scene",
    "callable_operations",
    "give_back",
    "lay_out",
    "prepared",
    "waiting_operations",
]
