"""The first phase of an open: the request itself, before any file is looked at.

MS-FSA 2.1.5.1 (parameter validation), MS-SMB2 3.3.5.9 Receiving an SMB2 CREATE Request.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.naming.names import DATA_STREAM, DIRECTORY_STREAM, NtPath
from lamina.ntfsa.naming.snapshots import at_time
from lamina.ntfsa.opening.first_try import NOT_TRIED
from lamina.ntfsa.posix.posix_names import parse_as
from lamina.ntfsa.security.access_check import SE_SECURITY
from lamina.ntfsa.security.audit import NOT_AUDITED
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.operations import Access, Capability

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.opening.create import CreateParameters
    from lamina.ntfsa.volume import NtVolume

_NEVER_GRANTED: Final = 0x0CE0FE00
_MEANT_ATTRIBUTES: Final = 0x00007FB7
_UNSUPPORTED: Final = c.FILE_CREATE_TREE_CONNECTION | c.FILE_OPEN_BY_FILE_ID | c.FILE_RESERVE_OPFILTER
_OVERWRITES: Final = frozenset({c.FILE_SUPERSEDE, c.FILE_OVERWRITE, c.FILE_OVERWRITE_IF})

_CAN_DELETE: Final = c.DELETE | c.GENERIC_ALL | c.MAXIMUM_ALLOWED
_READS: Final = c.FILE_READ_DATA | c.FILE_EXECUTE
_WRITES: Final = c.FILE_WRITE_DATA | c.FILE_APPEND_DATA
_ANY_ACCESS: Final = (Access.READ_WRITE, Access.READ, Access.PATH)
_ONE_ACCESS: Final = ((Access.PATH,), (Access.READ,), (Access.WRITE,), (Access.READ_WRITE,))


class Request:
    """A checked request. `desired` has its generic rights mapped; `implied` are the rights that overwriting needs too.

    `must_be_new`: there must be no file of this name. `try_access`: what to open the file for, in turn, until the file
    system allows it. `lease`: the identity of the
    lease that the open is to share (see `grant_holders.lease_identity`), b"" for none. `audited`: what the file's
    descriptor wants to be told of, once that has been read. `maximal`: all the rights that the user has to a file that
    exists, where that is asked for; its read-only attribute takes none of them away. `moves`: of the volume, when the
    name was looked for. `posix`: the open is to have POSIX semantics. `first`: what came of opening the name already.
    """

    __slots__ = (
        "audited",
        "context",
        "desired",
        "disposition",
        "first",
        "implied",
        "lease",
        "maximal",
        "moves",
        "must_be_new",
        "options",
        "overwrites",
        "parameters",
        "path",
        "posix",
        "token",
        "try_access",
        "volume",
        "wants_directory",
    )

    def __init__(self, context: "NtContext", volume: "NtVolume", parameters: "CreateParameters", path: NtPath) -> None:
        self.context = context
        self.audited = NOT_AUDITED
        self.token = context.token
        self.lease = b""
        self.maximal = 0
        self.moves = 0
        self.first = NOT_TRIED
        self.volume = volume
        self.parameters = parameters
        self.path = path
        self.posix = is_posix(volume, parameters)
        self.options = parameters.options
        self.disposition = parameters.disposition
        self.desired = c.map_generic(parameters.desired_access)
        self.must_be_new = self.disposition == c.FILE_CREATE and not path.stream
        self.overwrites = self.disposition in _OVERWRITES
        self.implied = c.FILE_WRITE_DATA if self.overwrites else 0
        self.wants_directory = bool(
            self.options & c.FILE_DIRECTORY_FILE or path.trailing_separator or path.stream_type == DIRECTORY_STREAM
        )
        self.try_access = _chain_access(self)

    @property
    def posix_mode(self) -> int | None:
        """The permission bits that a client of the POSIX extensions gives a new file; the usual where it says none."""
        if not self.posix:
            return None
        asked, settings = self.parameters.posix_mode, self.volume.settings
        if asked is not None and asked != c.POSIX_NO_MODE:
            return asked & 0o7777
        return settings.directory_mode if self.options & c.FILE_DIRECTORY_FILE else settings.file_mode

    @property
    def backup_intent(self) -> bool:
        """Whether the backup and restore privileges count."""
        return bool(self.options & c.FILE_OPEN_FOR_BACKUP_INTENT)


def data_access(rights: int) -> Access:
    """What a handle of the data is to be opened for, to have these rights."""
    return _ONE_ACCESS[(1 if rights & _READS else 0) | (2 if rights & _WRITES else 0)][0]


def _chain_access(request: Request) -> tuple[Access, ...]:
    desired = request.desired
    if request.path.stream:
        return _ONE_ACCESS[0]
    if request.wants_directory:
        return _ONE_ACCESS[1 if desired & c.FILE_LIST_DIRECTORY else 0]
    if desired & c.MAXIMUM_ALLOWED:
        return _ANY_ACCESS
    bits = (1 if desired & _READS else 0) | (2 if (desired | request.implied) & _WRITES else 0)
    return _ONE_ACCESS[bits]


def is_posix(volume: "NtVolume", parameters: "CreateParameters") -> bool:
    """Whether a client asks for POSIX semantics, and the share has them."""
    return parameters.posix_mode is not None and volume.posix_extensions


def check_request(context: "NtContext", volume: "NtVolume", parameters: "CreateParameters") -> Request:
    """Refuse what cannot be meant, whatever the file; otherwise the request with its path parsed."""
    check_access(context.token.privileges, parameters.desired_access)
    check_numbers(
        parameters.desired_access,
        parameters.file_attributes,
        parameters.share_access,
        parameters.disposition,
        parameters.options,
    )
    text = at_time(parameters.path, parameters.timewarp) if parameters.timewarp else parameters.path
    path = parse_as(is_posix(volume, parameters), text)
    _check_path(volume, parameters, path)
    return Request(context, volume, parameters, path)


def _invalid(why: str) -> NtStatusError:
    return NtStatusError(NtStatus.INVALID_PARAMETER, why)


@lru_cache(maxsize=1024)
def check_numbers(desired: int, attributes: int, share: int, disposition: int, options: int) -> None:
    """Refuse numbers of a request that mean nothing, alone or together."""
    if share & ~c.FILE_SHARE_ALL or disposition > c.FILE_OVERWRITE_IF:
        raise _invalid("share access or disposition that means nothing")
    if attributes & ~_MEANT_ATTRIBUTES:
        raise _invalid("file attributes that mean nothing")
    if options & ~c.VALID_CREATE_OPTIONS:
        raise _invalid("create options that mean nothing")
    if options & _UNSUPPORTED:
        raise NtStatusError(NtStatus.NOT_SUPPORTED)
    if options & c.FILE_DELETE_ON_CLOSE and not desired & _CAN_DELETE:
        raise _invalid("delete on close without DELETE access")
    if options & c.FILE_DIRECTORY_FILE and (options & c.FILE_NON_DIRECTORY_FILE or disposition in _OVERWRITES):
        raise _invalid("a directory that is none, or that is to be overwritten")


@lru_cache(maxsize=1024)
def check_access(privileges: frozenset[str], desired: int) -> None:
    """Refuse rights that there are not, or that only a privilege gives."""
    if desired & _NEVER_GRANTED or not desired:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "no access, or one that does not exist")
    if desired & c.ACCESS_SYSTEM_SECURITY and SE_SECURITY not in privileges:
        raise NtStatusError(NtStatus.PRIVILEGE_NOT_HELD)


def _check_path(volume: "NtVolume", parameters: "CreateParameters", path: NtPath) -> None:
    if (path.stream or path.stream_type) and Capability.STREAMS not in volume.capabilities:
        # Where there are no streams a colon has no meaning, not even in "::$DATA" (smb2.create_no_streams).
        raise NtStatusError(NtStatus.OBJECT_NAME_INVALID, "there are no streams here")
    if (path.stream or path.stream_type == DATA_STREAM) and parameters.options & c.FILE_DIRECTORY_FILE:
        raise NtStatusError(NtStatus.NOT_A_DIRECTORY, "data is no directory")
    if parameters.timewarp and Capability.SNAPSHOTS not in volume.capabilities:
        raise NtStatusError(NtStatus.OBJECT_NAME_NOT_FOUND, "there are no snapshots here")
    if parameters.options & c.FILE_NON_DIRECTORY_FILE:
        if path.trailing_separator:
            raise NtStatusError(NtStatus.OBJECT_NAME_INVALID)
        if path.stream_type == DIRECTORY_STREAM:
            raise NtStatusError(NtStatus.NOT_A_DIRECTORY)
    if not path.components and not path.stream and parameters.options & c.FILE_DELETE_ON_CLOSE:
        raise NtStatusError(NtStatus.CANNOT_DELETE, "the root of a share")
