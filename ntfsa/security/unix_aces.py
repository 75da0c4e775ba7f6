"""Owner, group and mode of a file as entries of its descriptor, for clients that asked for them (UNIX_ACES).

macOS reads them, and changes the mode, with entries that grant and deny nothing: of S-1-5-88-1-UID, S-1-5-88-2-GID and
S-1-5-88-3-MODE, the SIDs that Windows' NFS server has for them. So does Linux, mounted with `modefromsid`; beside the
mode its lists then hold an entry that grants everything to everybody, which is not meant to be taken at its word.
"""

from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.security.security_descriptor import ACCESS_DENIED_ACE_TYPE, Ace, Acl, SecurityDescriptor
from lamina.ntfsa.security.sid import AUTHENTICATED_USERS, OWNER_RIGHTS

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.operations import FileStat
    from lamina.vfs_modules.token import ImpersonationToken

_PREFIX: Final = "S-1-5-88-"
_USER: Final = f"{_PREFIX}1-"
_GROUP: Final = f"{_PREFIX}2-"
_MODE: Final = f"{_PREFIX}3-"
_PERMISSIONS: Final = 0o777
_SPECIAL: Final = 0o7000


def with_unix_aces(descriptor: SecurityDescriptor, stat: "FileStat") -> SecurityDescriptor:
    """The descriptor with what `stat` says of owner, group and mode; as it is without a list, which grants all."""
    acl = without_unix_aces(descriptor).dacl
    if acl is None:
        return descriptor
    sids = (f"{_MODE}{stat.mode}", f"{_USER}{stat.uid}", f"{_GROUP}{stat.gid}")
    told = tuple(Ace(ACCESS_DENIED_ACE_TYPE, 0, 0, sid) for sid in sids)
    return descriptor._replace(dacl=acl._replace(aces=acl.aces + told))


def without_unix_aces(descriptor: SecurityDescriptor) -> SecurityDescriptor:
    """The descriptor without such entries, which are nothing to store."""
    if descriptor.dacl is None:
        return descriptor
    kept = tuple(ace for ace in descriptor.dacl.aces if not _is_unix(ace))
    return descriptor._replace(dacl=descriptor.dacl._replace(aces=kept))


def _is_unix(ace: Ace) -> bool:
    return ace.sid.startswith(_PREFIX)


def says_only_unix(descriptor: SecurityDescriptor) -> bool:
    """Whether the list has such entries and no others: then it is not meant to replace the file's."""
    return descriptor.dacl is not None and bool(descriptor.dacl.aces) and all(map(_is_unix, descriptor.dacl.aces))


def wanted_mode(descriptor: SecurityDescriptor, settable: int = _PERMISSIONS) -> int | None:
    """The permission bits, of `settable` ones, that a descriptor asks for, None where it says nothing of them."""
    aces = descriptor.dacl.aces if descriptor.dacl is not None else ()
    for ace in aces:
        text = ace.sid.removeprefix(_MODE)
        if text != ace.sid and text.isdecimal():
            return int(text) & settable
    return None


def without_mode(
    token: "ImpersonationToken", open_: "NtOpen", new: SecurityDescriptor, security_information: int
) -> tuple[SecurityDescriptor, int]:
    """Give the file the mode that a client's descriptor asks for; what is left to set of that, and which parts."""
    # Set-user-id and the like are left to those who have a shell, or a file system like a local one.
    settable = _PERMISSIONS | _SPECIAL if open_.posix else _PERMISSIONS
    mode = wanted_mode(new, settable)
    if mode is not None:
        _change_mode(token, open_, mode, settable)
    if says_only_unix(new):
        return new, security_information & ~c.DACL_SECURITY_INFORMATION
    return without_unix_aces(new), security_information


def _change_mode(token: "ImpersonationToken", open_: "NtOpen", wanted: int, settable: int) -> None:
    chain = open_.volume.chain
    mode = chain.fstat(token, open_.handle).mode & (_PERMISSIONS | _SPECIAL)
    if wanted != mode & settable:
        chain.fchmod(token, open_.handle, mode & ~settable | wanted)


def list_after_chmod(stored: SecurityDescriptor, made: SecurityDescriptor) -> Acl:
    """The list of a file whose mode has been set: `made` of the mode, and what is `stored` for others than it is of."""
    assert made.dacl is not None
    spoken_of = {AUTHENTICATED_USERS, OWNER_RIGHTS, stored.owner, stored.group} | {ace.sid for ace in made.dacl.aces}
    kept = stored.dacl.aces if stored.dacl is not None else ()
    return Acl(tuple(ace for ace in kept if ace.sid not in spoken_of) + made.dacl.aces)
