"""Opening and creating (MS-FSA 2.1.5.1 Server Requests an Open of a File, MS-SMB2 3.3.5.9).

`create` tries the name as it was given, in one call to the chain; only a name that is not there is looked for in other
cases, and then made. Nothing is changed before every check has passed, and what was made is unmade if a later step
fails.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from lamina.ntfsa import constants as c
from lamina.ntfsa.errors import nt_error
from lamina.ntfsa.extensions import NO_ANSWERS, answer_contexts, opened_file
from lamina.ntfsa.fscc.file_information import NetworkOpenInformation
from lamina.ntfsa.grants.grant_holders import LeaseGranted, LeaseRequest, lease_identity, request_oplock
from lamina.ntfsa.metadata.quota import as_root, is_quota_file
from lamina.ntfsa.metadata.reparse import find_stop, is_reparse_directory, open_link, require_no_posix_link
from lamina.ntfsa.naming.lookup import exact_path, nt_path, stat_or_none
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.opening.close import close
from lamina.ntfsa.opening.create_check import Request, check_request, is_posix
from lamina.ntfsa.opening.create_existing import admit_existing
from lamina.ntfsa.opening.create_new import create_new
from lamina.ntfsa.opening.create_stream import admit_stream
from lamina.ntfsa.opening.first_try import NOT_TRIED, FirstTry
from lamina.ntfsa.opening.quick_open import quick_open
from lamina.ntfsa.posix.posix_extensions import POSIX_CONTEXT, answer_posix_context
from lamina.ntfsa.posix.posix_names import parse_as, resolve_as
from lamina.ntfsa.security.access import opens_by_privilege
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.extensions import NO_TRAITS, ClientTrait
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.token import SERVER_TOKEN

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.handle import VfsHandle


@dataclass(slots=True)
class CreateParameters:
    """What a CREATE asks for (MS-SMB2 2.2.13).

    `path`: NT path relative to the share, "\\\\" separators, "" for the root; may carry ":stream:type".
    `module_contexts`: data of the create contexts that modules serve.
    `posix_mode`: that of the create context of the POSIX extensions, the mode of a new file or POSIX_NO_MODE.
    `extended_attributes`: FILE_FULL_EA_INFORMATION list. `timewarp`: FILETIME. `allocation_size`: bytes. With a `lease`
    the `oplock_level` is not looked at.
    """

    path: str
    desired_access: int
    file_attributes: int
    share_access: int
    disposition: int
    options: int
    allocation_size: int = 0
    extended_attributes: bytes | None = None
    security_descriptor: bytes | None = None
    timewarp: int | None = None
    want_maximal_access: bool = False
    oplock_level: int = 0
    lease: LeaseRequest | None = None
    module_contexts: Mapping[bytes, bytes] | None = None
    posix_mode: int | None = None

    @property
    def is_simple(self) -> bool:
        """Whether it asks for nothing that a plain open does not come to."""
        return (
            self.posix_mode is None
            and self.timewarp is None
            and self.extended_attributes is None
            and self.security_descriptor is None
            and not self.allocation_size
        )


class CreateResult(NamedTuple):
    """What became of a CREATE. `action` is FILE_SUPERSEDED … FILE_OVERWRITTEN; `oplock_level`, `lease`: what it got.

    `module_answers`: those of modules to their create contexts, and that to the one of the POSIX extensions.
    """

    open: NtOpen
    action: int
    information: NetworkOpenInformation
    maximal_access: int | None
    oplock_level: int
    lease: LeaseGranted | None = None
    module_answers: Mapping[bytes, bytes] = NO_ANSWERS


_HOW: Final = {
    (access, directory): OpenHow(access, directory=directory) for access in Access for directory in (False, True)
}
# Every open passes here: this costs half of calling the class.
_new = tuple.__new__
_ATTEMPTS: Final = 8
_LED_NOWHERE: Final = frozenset({NtStatus.OBJECT_NAME_NOT_FOUND, NtStatus.OBJECT_PATH_NOT_FOUND})


def create(context: "NtContext", volume: "NtVolume", parameters: CreateParameters) -> CreateResult:
    """Open or create a file or directory. Raises NtStatusError with the status MS-FSA 2.1.5.1 gives."""
    try:
        quick = quick_open(context, volume, parameters)
        if isinstance(quick, tuple):
            open_, action, information, maximal = quick
        else:
            open_, action, information, maximal = _open_carefully(context, volume, parameters, quick or NOT_TRIED)
    except OSError as error:
        raise nt_error(error) from error
    except NtStatusError as error:
        if error.status not in _LED_NOWHERE:
            raise
        raise _where_it_stopped(context, volume, parameters, error) from error
    shown = maximal & ~c.ACCESS_SYSTEM_SECURITY if parameters.want_maximal_access else None
    if context.client.traits is not NO_TRAITS and ClientTrait.ZERO_FILE_IDS in context.client.traits:
        open_.file_id = 0
    answers = NO_ANSWERS
    if open_.posix or parameters.module_contexts or volume.extensions.opened is not None:
        answers = _ask_modules(context, open_, parameters)
    lease, level = None, 0
    if parameters.lease is not None or parameters.oplock_level:
        lease, level = _request_grant(context, open_, parameters)
    return _new(CreateResult, (open_, action, information, shown, level, lease, answers))


def _open_carefully(
    context: "NtContext", volume: "NtVolume", parameters: CreateParameters, first: FirstTry
) -> tuple[NtOpen, int, NetworkOpenInformation, int]:
    """Open or create with every check; `first`: what came of opening the name, as it was given, already."""
    try:
        return _open_checked(context, volume, parameters, first)
    finally:
        first.close(volume, context.token)


def _open_checked(
    context: "NtContext", volume: "NtVolume", parameters: CreateParameters, first: FirstTry
) -> tuple[NtOpen, int, NetworkOpenInformation, int]:
    if parameters.path.startswith("$") and is_quota_file(volume, parameters.path):
        parameters = as_root(parameters)
    request = check_request(context, volume, parameters)
    if parameters.lease is not None:
        request.lease = lease_identity(context, parameters.lease.key)
    request.first = first
    open_, action, information, maximal = _open_or_create(request)
    return open_, action, information, request.maximal or maximal


def _ask_modules(context: "NtContext", open_: NtOpen, parameters: CreateParameters) -> Mapping[bytes, bytes]:
    opened, asked = open_.volume.extensions.opened, parameters.module_contexts
    try:
        if opened is not None:
            opened(context.token, opened_file(open_), parameters.share_access)
        answers = answer_contexts(context, open_, asked) if asked else {}
        if open_.posix:
            answers[POSIX_CONTEXT] = answer_posix_context(context.token, open_)
        return answers
    except BaseException as error:
        _close_untold(context, open_, error)
        raise


def _where_it_stopped(
    context: "NtContext", volume: "NtVolume", parameters: CreateParameters, error: NtStatusError
) -> NtStatusError:
    """A path that leads nowhere may have met a reparse point on its way: then that is what the client is told."""
    missed = error.status is NtStatus.OBJECT_NAME_NOT_FOUND and volume.settings.follow_symlinks
    if missed and not volume.indexes.missed_in_empty:
        return error
    components = parse_as(is_posix(volume, parameters), parameters.path).components
    return find_stop(volume, context.token, components) or error


def _request_grant(
    context: "NtContext", open_: NtOpen, parameters: CreateParameters
) -> tuple[LeaseGranted | None, int]:
    """The lease, or the level of the oplock, that a new open has got."""
    try:
        if parameters.lease is not None:
            identity = lease_identity(context, parameters.lease.key)
            return open_.volume.leases.request(context.token, open_, identity, parameters.lease), 0
        return None, request_oplock(open_, parameters.oplock_level)
    except BaseException as error:
        _close_untold(context, open_, error)
        raise


def _close_untold(context: "NtContext", open_: NtOpen, error: BaseException) -> None:
    # Nobody will ever close what nobody has been told of.
    close(context, open_)
    if isinstance(error, OSError):
        raise nt_error(error) from error


def _open_or_create(request: Request) -> tuple[NtOpen, int, NetworkOpenInformation, int]:
    # What is found can be gone, and what is missing can come, before the next step: then from the beginning.
    components = request.path.components
    for _ in range(_ATTEMPTS):
        path = exact_path(components)
        request.moves = request.volume.moves
        handle = None if request.must_be_new else _try_open(request, path)
        if handle is None:
            where = resolve_as(request.posix, request.volume, request.token, components)
            if where.found and where.vfs_path != path:
                path = where.vfs_path
                handle = _found(request, path)
            elif where.found and _is_there(request, path):
                handle = _found(request, path)
            elif request.disposition in {c.FILE_OPEN, c.FILE_OVERWRITE}:
                raise NtStatusError(NtStatus.OBJECT_NAME_NOT_FOUND)
            else:
                if request.volume.indexes.missed_in_empty and is_reparse_directory(
                    request.volume, request.token, where.parent, where.parent_stat
                ):
                    raise NtStatusError(NtStatus.OBJECT_PATH_NOT_FOUND, "nothing is made in a reparse point")
                made = create_new(request, where)
                if made is not None:
                    return made
                continue
        if handle is not None:
            shown = path if path == request.parameters.path and "/" not in path else nt_path(path)
            admit = admit_stream if request.path.stream else admit_existing
            admitted = admit(request, handle, path, shown)
            if admitted is not None:
                return admitted
    raise NtStatusError(NtStatus.SHARING_VIOLATION, "the name keeps changing")


def _is_there(request: Request, path: str) -> bool:
    return stat_or_none(request.volume, request.token, path) is not None


def _found(request: Request, path: str) -> "VfsHandle | None":
    if request.must_be_new:
        raise NtStatusError(NtStatus.OBJECT_NAME_COLLISION)
    return _try_open(request, path)


def _try_open(request: Request, path: str) -> "VfsHandle | None":
    """A handle with the access the request needs, or None where the name is not there."""
    if request.posix and not request.options & c.FILE_OPEN_REPARSE_POINT:
        require_no_posix_link(request.volume, request.token, path)
    if request.options & c.FILE_OPEN_REPARSE_POINT and not request.overwrites:
        link = open_link(request.volume, request.token, path)
        if link is not None:
            return link
    return _try_following(request, path)


def _try_following(request: Request, path: str) -> "VfsHandle | None":
    volume, token = request.volume, request.token
    for access in request.try_access:
        how = _HOW[access, request.wants_directory]
        try:
            return request.first.open(volume, token, path, how)
        except OSError as error:
            number = error.errno
            if number == errno.ENOENT:
                return None
            if number == errno.ENOTDIR:
                _refuse_file(request, path)
                return None
            if number in {errno.ELOOP, errno.EXDEV}:
                raise NtStatusError(NtStatus.OBJECT_NAME_NOT_FOUND, "a link that leads nowhere") from error
            if number == errno.EISDIR:
                return _open_directory(request, path)
            if number == errno.EACCES and opens_by_privilege(token, access, request.backup_intent):
                return volume.chain.open(SERVER_TOKEN, volume.root, path, how)
            if number not in {errno.EACCES, errno.EROFS, errno.ETXTBSY} or access is request.try_access[-1]:
                raise
    return None


def _refuse_file(request: Request, path: str) -> None:
    # Either the last component is a file though a directory is wanted, or one before it is.
    if _is_there(request, path):
        if request.path.trailing_separator:
            raise NtStatusError(NtStatus.OBJECT_NAME_INVALID)
        raise NtStatusError(NtStatus.NOT_A_DIRECTORY)


def _open_directory(request: Request, path: str) -> "VfsHandle":
    if request.options & c.FILE_NON_DIRECTORY_FILE:
        raise NtStatusError(NtStatus.FILE_IS_A_DIRECTORY)
    volume = request.volume
    access = Access.READ if request.desired & c.FILE_LIST_DIRECTORY else Access.PATH
    return volume.chain.open(request.token, volume.root, path, _HOW[access, True])
