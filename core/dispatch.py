"""Dispatch: one table from command to handler, and the checks that stand before every handler (MS-SMB2 3.3.5.2).

A handler finds its session, tree and (through `open_of`) open resolved and verified. It returns the body of a
success, or a `Reply`, or raises `NtStatusError`.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from greenlet import GreenletExit

from lamina.core.blame import log_unexpected
from lamina.core.commands import (
    change_notify,
    close,
    create,
    echo,
    flush,
    ioctl,
    lock,
    logoff,
    negotiate,
    oplock_break,
    query_directory,
    query_info,
    read,
    session_setup,
    set_info,
    tree_connect,
    tree_disconnect,
    write,
)
from lamina.core.crypto import preauth
from lamina.core.request import ERROR_BODY, CancelledByClient, Reply, Request
from lamina.core.session import SessionState, SmbOpen, SmbSession
from lamina.core.settings import Dialect
from lamina.core.wire.constants import FLAGS_RELATED_OPERATIONS, FLAGS_SIGNED, Command
from lamina.core.wire.error import encode_error_for
from lamina.core.wire.errors import WireError
from lamina.ntfsa.errors import status_of
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.engine import RequestCancelled

# An enumeration's member costs 0.2 µs to look up in its class, before Python 3.12: those that every request needs.
_SUCCESS: Final = NtStatus.SUCCESS
_IN_PROGRESS: Final = SessionState.IN_PROGRESS
_EXPIRED: Final = SessionState.EXPIRED
_DELETED: Final = SessionState.DELETED


class Entry(NamedTuple):
    """What a command needs before its handler runs. `expired`: also served when the session has expired."""

    handle: Callable[[Request], bytes | Reply]
    session: bool = True
    tree: bool = True
    expired: bool = False


TABLE: Final[dict[int, Entry]] = {
    Command.NEGOTIATE: Entry(negotiate.handle, session=False, tree=False),
    Command.SESSION_SETUP: Entry(session_setup.handle, session=False, tree=False, expired=True),
    Command.LOGOFF: Entry(logoff.handle, tree=False, expired=True),
    Command.TREE_CONNECT: Entry(tree_connect.handle, tree=False),
    Command.TREE_DISCONNECT: Entry(tree_disconnect.handle),
    Command.CREATE: Entry(create.handle),
    Command.CLOSE: Entry(close.handle, expired=True),
    Command.FLUSH: Entry(flush.handle),
    Command.READ: Entry(read.handle),
    Command.WRITE: Entry(write.handle),
    Command.LOCK: Entry(lock.handle, expired=True),
    Command.IOCTL: Entry(ioctl.handle),
    Command.ECHO: Entry(echo.handle, session=False, tree=False),
    Command.QUERY_DIRECTORY: Entry(query_directory.handle),
    Command.CHANGE_NOTIFY: Entry(change_notify.handle),
    Command.QUERY_INFO: Entry(query_info.handle),
    Command.SET_INFO: Entry(set_info.handle),
    Command.OPLOCK_BREAK: Entry(oplock_break.handle),
}


def execute(request: Request) -> Reply:
    """Check and run one request. Whatever goes wrong becomes its status; only the engine's cancellation passes."""
    try:
        entry = TABLE.get(request.header.command)
        if entry is None:
            raise NtStatusError(NtStatus.INVALID_PARAMETER, f"unknown command {request.header.command}")
        _resolve(request, entry)
        result = entry.handle(request)
        return Reply(_SUCCESS, result) if type(result) is bytes else result  # type: ignore[return-value]
    except BaseException as error:  # a module's sys.exit() is no reason to leave a client without an answer
        return _refused(request, error)
    finally:
        if request.open is not None:
            _let_go(request, request.open)


def concluded(request: Request, outcome: Reply | BaseException) -> Reply:
    """The reply to a request that was begun elsewhere, with its open held; as `execute` in all else."""
    try:
        return outcome if isinstance(outcome, Reply) else _refused(request, outcome)
    finally:
        if request.open is not None:
            _let_go(request, request.open)


def _let_go(request: Request, open_: SmbOpen) -> None:
    if request.sequenced:
        open_.sequence.finished(request.header.status & 0xFFFF)
    open_.release()


def _refused(request: Request, error: BaseException) -> Reply:
    """What the client is told of an error; raises it again where the request was ended and nobody is told."""
    if isinstance(error, NtStatusError):
        return _failed(request, error.status, error.data)
    if isinstance(error, WireError):
        return _failed(request, NtStatus.INVALID_PARAMETER)
    if isinstance(error, CancelledByClient):
        return _failed(request, error.status)
    if isinstance(error, OSError):
        return _failed(request, status_of(error))
    if isinstance(error, RequestCancelled | GreenletExit):
        raise error
    log_unexpected(error, f"command {request.header.command}")
    return _failed(request, NtStatus.INTERNAL_ERROR)


def _failed(request: Request, status: NtStatus, data: bytes = b"") -> Reply:
    if request.header.command == Command.CREATE:
        request.exchange.chain_failed = status
    return Reply(status, _error_body(request, data) if data else ERROR_BODY)


def _error_body(request: Request, data: bytes) -> bytes:
    return encode_error_for(request.connection.dialect == Dialect.SMB_3_1_1, data)


def _resolve(request: Request, entry: Entry) -> None:
    """Find the session and the tree of a request, and verify that it may speak for them."""
    header = request.header
    exchange = request.exchange
    if header.flags & FLAGS_RELATED_OPERATIONS:
        _inherit(request)
    else:
        exchange.chain_failed = None
    # Until they are found, what follows has no session and tree to inherit.
    exchange.chain_broken = True
    connection = request.connection
    if not connection.negotiated and header.command != Command.NEGOTIATE:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a request before NEGOTIATE")
    channel = connection.channels.get(header.session_id) if header.session_id else None
    if channel is not None:
        request.channel = channel
        request.session = channel.session
        _check_protection(request, channel.session)
    elif header.flags & FLAGS_SIGNED:
        _look_elsewhere(request)
    if entry.session:
        _check_session(request, entry)
    if entry.tree:
        _find_tree(request)
    exchange.chain_broken = False


def _inherit(request: Request) -> None:
    """A related request goes on with the ids of the one before it (3.3.5.2.7.2)."""
    previous = request.exchange.previous
    if previous is None or request.exchange.chain_broken:
        request.exchange.chain_broken = True
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "related to a request without a session or tree, or to none")
    request.header.session_id = previous.header.session_id
    request.header.tree_id = previous.header.tree_id
    request.file_id = previous.file_id


def _check_protection(request: Request, session: SmbSession) -> None:
    """Signature (3.3.5.2.4) and encryption (3.3.5.2.5) of a request whose session is known."""
    header = request.header
    sealed = request.exchange.sealed
    if sealed is not None:
        if sealed is not session:
            raise NtStatusError(NtStatus.ACCESS_DENIED, "encrypted with the key of another session")
        return
    signer = request.channel.signer if request.channel is not None else None
    if header.flags & FLAGS_SIGNED:
        if signer is not None:
            if not signer.verify(request.message):
                raise NtStatusError(NtStatus.ACCESS_DENIED, "wrong signature")
            request.signed = True
    elif session.signing_required and header.command != Command.SESSION_SETUP:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "a request without a signature")
    if session.encrypt_data and header.command not in (Command.SESSION_SETUP, Command.NEGOTIATE):
        raise NtStatusError(NtStatus.ACCESS_DENIED, "a request without encryption")


def _look_elsewhere(request: Request) -> None:
    """A signed request for a session of other connections is refused, but in a reply that the session's key signs."""
    server, session_id = request.connection.server, request.header.session_id
    session = server.sessions.get(session_id)
    if session is None and server.elsewhere is not None:
        session = server.elsewhere.session(session_id)
    if session is None or session.signer is None:
        return
    if not session.signer.verify(request.message):
        raise NtStatusError(NtStatus.ACCESS_DENIED, "wrong signature")
    request.foreign = session


def _check_session(request: Request, entry: Entry) -> None:
    session = request.session
    if session is None:
        raise NtStatusError(NtStatus.USER_SESSION_DELETED)
    binding = request.channel is not None and request.channel.binding
    if binding or session.state is _IN_PROGRESS or session.state is _DELETED:
        raise NtStatusError(NtStatus.USER_SESSION_DELETED, "the session is not authenticated on this connection")
    if session.expires_at is not None:
        session.check_expiry()
    if session.state is _EXPIRED and not entry.expired:
        raise NtStatusError(NtStatus.NETWORK_SESSION_EXPIRED)


def _find_tree(request: Request) -> None:
    assert request.session is not None
    tree = request.session.trees.get(request.header.tree_id)
    if tree is None:
        raise NtStatusError(NtStatus.NETWORK_NAME_DELETED)
    if tree.share.encrypt and request.exchange.sealed is None:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "the share wants encryption")
    request.tree = tree


def after_setup(request: Request, reply: Reply, message: memoryview) -> None:
    """Go on with the preauthentication hash once a NEGOTIATE's or SESSION_SETUP's reply is made (3.3.5.4, 3.3.5.5)."""
    connection = request.connection
    if connection.dialect != Dialect.SMB_3_1_1:
        return
    if request.header.command == Command.NEGOTIATE:
        connection.preauth_hash = preauth.update(connection.preauth_hash, message)
    elif reply.status == NtStatus.MORE_PROCESSING_REQUIRED and request.channel is not None:
        request.channel.preauth_hash = preauth.update(request.channel.preauth_hash, message)
