"""Operations as an option names them: by name, and by group with what belongs to it read off the operation table."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import AfterValidator

from lamina.vfs_modules.operations import OPERATIONS

ALL: Final = "all"


def known_operations(names: frozenset[str]) -> frozenset[str]:
    """`names` with "all" replaced by every operation. Raises ValueError for what is none."""
    unknown = names - OPERATIONS.keys() - {ALL}
    if unknown:
        raise ValueError(f"no operation is called {', '.join(sorted(unknown))}; there are {', '.join(OPERATIONS)}")
    return frozenset(OPERATIONS) if ALL in names else names


OperationNames = Annotated[frozenset[str], AfterValidator(known_operations)]
"""The type of an option that names operations; "all" stands for each of them."""


def _of_names(*names: str) -> frozenset[str]:
    return frozenset(known_operations(frozenset(names)))


GROUPS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "all": frozenset(OPERATIONS),
        "none": frozenset(),
        "changes": frozenset(name for name, operation in OPERATIONS.items() if operation.mutates),
        "open": _of_names("open", "open_stream"),
        "names": _of_names("mkdir", "unlink", "rmdir", "rename", "link", "symlink", "remove_stream", "rename_stream"),
        "read": _of_names("pread", "readdir", "readlink", "getxattr", "listxattr", "getxattrs_in", "list_streams"),
        "write": _of_names("pwrite", "ftruncate", "fallocate", "copy_range", "clone_range", "zero_range"),
        "attributes": _of_names(
            "set_times", "set_dos_attributes", "setxattr", "removexattr", "fchmod", "fchown", "set_compressed"
        ),
        "security": _of_names("set_security"),
    }
)
"""Groups of operations by name."""

_SAMBA: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "openat": ("open",),
        "create_file": ("open",),
        "mkdirat": ("mkdir",),
        "unlinkat": ("unlink", "rmdir"),
        "renameat": ("rename",),
        "linkat": ("link",),
        "symlinkat": ("symlink",),
        "readlinkat": ("readlink",),
        "read": ("pread",),
        "pread_send": ("pread",),
        "write": ("pwrite",),
        "pwrite_send": ("pwrite",),
        "fsync_send": ("fsync",),
        "lstat": ("stat",),
        "fstatat": ("stat",),
        "fdopendir": ("readdir",),
        "fntimes": ("set_times",),
        "ntimes": ("set_times",),
        "fgetxattr": ("getxattr",),
        "fsetxattr": ("setxattr",),
        "fremovexattr": ("removexattr",),
        "flistxattr": ("listxattr",),
        "fget_dos_attributes": ("get_dos_attributes",),
        "fset_dos_attributes": ("set_dos_attributes",),
        "fget_nt_acl": ("get_security",),
        "fset_nt_acl": ("set_security",),
        "fstreaminfo": ("list_streams",),
        "offload_write_send": ("copy_range", "clone_range"),
        "set_compression": ("set_compressed",),
        "disk_free": ("statfs",),
        "statvfs": ("statfs",),
    }
)
"""What Samba's modules call an operation, where it is called otherwise here."""


def choose(words: Iterable[str]) -> frozenset[str]:
    """The operations that words stand for: groups, operations or Samba's names; "!word" leaves them out again.

    Raises ValueError for a word that is none of them.
    """
    chosen: frozenset[str] = frozenset()
    for word in words:
        meant = _meaning(word.removeprefix("!"))
        chosen = chosen - meant if word.startswith("!") else chosen | meant
    return chosen


def _meaning(word: str) -> frozenset[str]:
    if word in GROUPS:
        return GROUPS[word]
    if word in OPERATIONS:
        return frozenset({word})
    if word in _SAMBA:
        return frozenset(_SAMBA[word])
    raise ValueError(f"{word!r} is no operation and no group of them ({', '.join(GROUPS)})")
