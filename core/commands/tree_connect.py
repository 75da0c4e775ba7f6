"""TREE_CONNECT (MS-SMB2 3.3.5.7)."""

from typing import Final

from lamina.core.request import Reply, Request
from lamina.core.session import SessionState, SmbSession
from lamina.core.settings import Dialect
from lamina.core.share import Share
from lamina.core.wire.tree_connect import decode_tree_connect_request, encode_tree_connect_response
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.operations import Capability

SHARE_TYPE_DISK: Final = 0x01
SHARE_TYPE_PIPE: Final = 0x02
SHAREFLAG_NO_CACHING: Final = 0x00000030
SHAREFLAG_ACCESS_BASED_DIRECTORY_ENUM: Final = 0x00000800
SHAREFLAG_ENCRYPT_DATA: Final = 0x00008000
SHARE_CAP_CONTINUOUS_AVAILABILITY: Final = 0x00000010


def handle(request: Request) -> bytes | Reply:
    """Connect the session to a share."""
    asked = decode_tree_connect_request(request.message)
    session = request.session
    assert session is not None
    server = request.connection.server
    share = server.find_share(_share_name(asked.path))
    if share is None:
        raise NtStatusError(NtStatus.BAD_NETWORK_NAME, f"no share {asked.path!r}")
    _check_admission(request, session, share)
    if len(session.trees) >= server.settings.limits.trees_per_session:
        raise NtStatusError(NtStatus.INSUFFICIENT_RESOURCES, "too many tree connects in one session")
    if share.place is not None:
        share = share.place(share, session.token)
    tree = server.connect_tree(session, share)
    _check_session(session)
    request.tree = tree
    request.header.tree_id = tree.tree_id
    server.events.tree_connected(request.connection, tree)
    return encode_tree_connect_response(
        share_type=SHARE_TYPE_PIPE if share.volume is None else SHARE_TYPE_DISK,
        share_flags=_flags(request, share),
        capabilities=_capabilities(request, share),
        maximal_access=tree.maximal_access,
    )


def _share_name(path: str) -> str:
    r"""The share of "\\server\share"; whatever the client calls the server is accepted."""
    parts = path.split("\\")
    if len(parts) != 4 or parts[0] or parts[1] or not parts[3]:
        raise NtStatusError(NtStatus.BAD_NETWORK_NAME, f"not a share path: {path!r}")
    return parts[3]


def _check_admission(request: Request, session: SmbSession, share: Share) -> None:
    if not share.admits(session.is_guest, session.is_anonymous):
        raise NtStatusError(NtStatus.ACCESS_DENIED, "guests and anonymous users are not admitted to this share")
    if not share.maximal_access(session.token):
        raise NtStatusError(NtStatus.ACCESS_DENIED, "the access list of the share")
    if share.encrypt and (request.connection.dialect < Dialect.SMB_3_0 or session.sealer is None):
        raise NtStatusError(NtStatus.ACCESS_DENIED, "the share wants encryption, which this client cannot do")


def _check_session(session: SmbSession) -> None:
    """While a folder was opened, or a name service asked, the session may have ended."""
    if session.state is SessionState.DELETED:
        raise NtStatusError(NtStatus.USER_SESSION_DELETED)


def _flags(request: Request, share: Share) -> int:
    flags = SHAREFLAG_NO_CACHING
    if share.encrypt and request.connection.dialect >= Dialect.SMB_3_0:
        flags |= SHAREFLAG_ENCRYPT_DATA
    if share.volume is not None and share.volume.settings.access_based_enumeration:
        flags |= SHAREFLAG_ACCESS_BASED_DIRECTORY_ENUM
    return flags


def _capabilities(request: Request, share: Share) -> int:
    if share.volume is None or request.connection.dialect < Dialect.SMB_3_0:
        return 0
    if Capability.CONTINUOUS_AVAILABILITY in share.volume.capabilities:
        return SHARE_CAP_CONTINUOUS_AVAILABILITY
    return 0
