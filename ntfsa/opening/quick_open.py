"""The way of most opens: a file or directory that is there, under the very name that was given, and nothing special.

It comes to exactly what the long way (`create_check`, `create_existing`) comes to, or to nothing at all: whatever is
not plain - another disposition, a stream, a reparse point, a refusal, somebody's caching grant, a pending deletion - is
left to that, which goes on from the same first call to the chain and says what is wrong. A property test has both
answer the same.

What depends on the numbers of the request alone, on its path alone, or on the file's mode, its owner and the user's
token is worked out once and remembered.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from lamina.ntfsa import constants as c
from lamina.ntfsa.file_state import network_open
from lamina.ntfsa.fscc.file_information import NetworkOpenInformation
from lamina.ntfsa.grants.grant_holders import lease_identity
from lamina.ntfsa.naming.lookup import exact_path, nt_path
from lamina.ntfsa.naming.names import parse_path
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.opening.create_check import check_access, check_numbers, data_access
from lamina.ntfsa.opening.create_existing import MODE_OPTIONS
from lamina.ntfsa.opening.first_try import FirstTry
from lamina.ntfsa.opening.sharing import close_file, open_file
from lamina.ntfsa.security.access import MODIFIES, rights_to
from lamina.ntfsa.security.audit import NOT_AUDITED
from lamina.ntfsa.security.posix_security import maximal_posix_access
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.times.modification import shown_stat
from lamina.vfs_modules.operations import Access, FileStat, OpenHow

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.opening.create import CreateParameters
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.handle import VfsHandle
    from lamina.vfs_modules.token import ImpersonationToken

Admitted = tuple[NtOpen, int, NetworkOpenInformation, int]

_SUCCESS: Final = NtStatus.SUCCESS
_LONGEST_PATH: Final = 260
_TYPE: Final = 0o170000
_DIRECTORY: Final = 0o040000
_LONG_WAY: Final = (
    c.FILE_DELETE_ON_CLOSE | c.FILE_OPEN_REPARSE_POINT | c.FILE_NO_EA_KNOWLEDGE | c.FILE_OPEN_FOR_BACKUP_INTENT
)
_SPECIAL_ACCESS: Final = c.MAXIMUM_ALLOWED | c.ACCESS_SYSTEM_SECURITY | c.DELETE
_BY_DIRECTORY: Final = c.DELETE | c.FILE_READ_ATTRIBUTES
_SPECIAL_ATTRIBUTES: Final = c.FILE_ATTRIBUTE_READONLY | c.FILE_ATTRIBUTE_REPARSE_POINT
_SHARE_LIMITS: Final = ~c.ACCESS_SYSTEM_SECURITY


class Shape(NamedTuple):
    """What the numbers of a request come to: the rights it wants, how to open for them, and NtOpen.mode."""

    desired: int
    how: OpenHow
    mode: int
    file_only: bool


@lru_cache(maxsize=1024)
def shape_of(desired: int, attributes: int, share: int, disposition: int, options: int) -> Shape | None:
    """The shape of a plain open; None where the request is none, or one to be refused."""
    if disposition not in {c.FILE_OPEN, c.FILE_OPEN_IF} or options & _LONG_WAY:
        return None
    try:
        check_access(frozenset(), desired)
        check_numbers(desired, attributes, share, disposition, options)
    except NtStatusError:
        return None
    desired = c.map_generic(desired)
    if desired & _SPECIAL_ACCESS:
        return None
    directory = bool(options & c.FILE_DIRECTORY_FILE)
    access = (Access.READ if desired & c.FILE_LIST_DIRECTORY else Access.PATH) if directory else data_access(desired)
    how = OpenHow(access, directory=directory)
    return Shape(desired, how, options & MODE_OPTIONS, bool(options & c.FILE_NON_DIRECTORY_FILE))


@lru_cache(maxsize=4096)
def names_of(path: str) -> tuple[str, str, str] | None:
    """The chain path, the NT path and the last name that a plain NT path stands for; None where it is not plain."""
    try:
        parsed = parse_path(path)
    except NtStatusError:
        return None
    if parsed.stream or parsed.stream_type or parsed.trailing_separator or path.startswith("$"):
        return None
    vfs_path = exact_path(parsed.components)
    shown = nt_path(vfs_path)
    return vfs_path, shown, shown.rpartition("\\")[2]


@lru_cache(maxsize=4096)
def _rights_by_mode(mode: int, uid: int, gid: int, token: "ImpersonationToken", limits: int) -> int:
    return maximal_posix_access(mode, uid, gid, token) & limits


def quick_open(context: "NtContext", volume: "NtVolume", parameters: "CreateParameters") -> Admitted | FirstTry | None:
    """The open, if it is a plain one; else what came of the first try, or None where the name was not even tried.

    Raises what the chain does for other reasons than that the open is refused.
    """
    path = parameters.path
    if not parameters.is_simple or len(path) > _LONGEST_PATH:
        return None
    shape = shape_of(
        parameters.desired_access,
        parameters.file_attributes,
        parameters.share_access,
        parameters.disposition,
        parameters.options,
    )
    names = names_of(path)
    if shape is None or names is None:
        return None
    moves, chain, token = volume.moves, volume.chain, context.token
    try:
        handle = chain.open(token, volume.root, names[0], shape.how)
    except OSError as error:
        return FirstTry(names[0], shape.how, moves, error=error)
    try:
        if moves == volume.moves:
            admitted = _admit(context, volume, parameters, shape, names, handle)
            if admitted is not None:
                return admitted
    except BaseException:
        chain.close(token, handle)
        raise
    return FirstTry(names[0], shape.how, moves, handle)


def _admit(  # what is known of the request, each in a place of its own
    context: "NtContext",
    volume: "NtVolume",
    parameters: "CreateParameters",
    shape: Shape,
    names: tuple[str, str, str],
    handle: "VfsHandle",
) -> Admitted | None:
    token, chain, registry = context.token, volume.chain, volume.registry
    moves, lease = volume.moves, parameters.lease
    stat = chain.fstat(token, handle)
    dos = chain.get_dos_attributes(token, handle, stat)
    if (
        not stat.nlink
        or dos.attributes & _SPECIAL_ATTRIBUTES
        or (shape.file_only and stat.mode & _TYPE == _DIRECTORY)
        or shape.desired & ~(maximal := _rights(context, volume, handle, stat))
        # What the directory would give besides takes more than a look.
        or (parameters.want_maximal_access and _BY_DIRECTORY & ~maximal)
        or moves != volume.moves
    ):
        return None
    key = (stat.dev, stat.ino, "")
    if lease is not None:
        volume.leases.check(lease_identity(context, lease.key), key)
    # From here on nothing waits.
    owner = registry.new_owner()
    record, result, _ = registry.update(key, open_file, owner, shape.desired, parameters.share_access)
    if result is not _SUCCESS:
        return None
    if record.write_time is not None:
        stat = shown_stat(volume, stat)
    vfs_path, shown, name = names
    try:
        if volume.peers is not None and not chain.fstat(token, handle).nlink:
            # Another worker has taken the last name away since.
            registry.update(key, close_file, owner)
            return None
        open_ = NtOpen(volume, handle, shown, vfs_path, key, owner)
        open_.granted_access = shape.desired
        open_.share_access = parameters.share_access
        open_.options = parameters.options
        open_.mode = shape.mode
        if lease is not None and lease.parent_key is not None:
            open_.parent_key = lease.parent_key
        open_.unarchived = not dos.attributes & c.FILE_ATTRIBUTE_ARCHIVE
        volume.add_open(open_)
        return open_, c.FILE_OPENED, network_open(stat, dos, volume.settings.hides(name)), maximal
    except BaseException:
        registry.update(key, close_file, owner)
        raise


def _rights(context: "NtContext", volume: "NtVolume", handle: "VfsHandle", stat: FileStat) -> int:
    """All that the user may do to the file, but for what its directory or a privilege gives; 0 where that is told."""
    limits = context.share_access & _SHARE_LIMITS
    if volume.settings.read_only:
        limits &= ~MODIFIES
    token = context.token
    if not volume.has_security:
        return _rights_by_mode(stat.mode, stat.uid, stat.gid, token, limits)
    rights, wanted = rights_to(volume, token, handle, stat)
    return rights & limits if wanted is NOT_AUDITED else 0
