"""SESSION_SETUP (MS-SMB2 3.3.5.5): a new session, one more leg, another authentication, or a binding to a channel."""

from typing import TYPE_CHECKING, Final

from lamina.core.auth.authenticator import Authenticated, AuthStep
from lamina.core.crypto import preauth, signing
from lamina.core.crypto.kdf import SessionKeys, session_keys
from lamina.core.crypto.sealing import make_cipher
from lamina.core.crypto.signing import make_signer
from lamina.core.request import Reply, Request
from lamina.core.session import Channel, SessionState, SmbSession
from lamina.core.settings import Dialect, EncryptionPolicy
from lamina.core.wire.session_setup import (
    SessionSetupRequest,
    decode_session_setup_request,
    encode_session_setup_response,
)
from lamina.ntfsa.status import NtStatus, NtStatusError

if TYPE_CHECKING:
    from lamina.core.connection import Connection

FLAG_BINDING: Final = 0x01
SECURITY_MODE_SIGNING_REQUIRED: Final = 0x02
SESSION_FLAG_IS_GUEST: Final = 0x0001
SESSION_FLAG_IS_NULL: Final = 0x0002
SESSION_FLAG_ENCRYPT_DATA: Final = 0x0004


def handle(request: Request) -> bytes | Reply:
    """Take one leg of an authentication; the last one makes the session valid."""
    asked = decode_session_setup_request(request.message)
    channel = _channel(request, asked)
    request.channel = channel
    request.session = channel.session
    request.header.session_id = channel.session.session_id
    if channel.exchange is None:
        _begin(request, channel)
    if request.connection.dialect == Dialect.SMB_3_1_1:
        channel.preauth_hash = preauth.update(channel.preauth_hash, request.message)
    step = _take_step(request, channel, bytes(asked.security_buffer))
    if step.authenticated is None:
        return Reply(NtStatus.MORE_PROCESSING_REQUIRED, encode_session_setup_response(0, step.output))
    channel.exchange = None
    _succeed(request, channel, asked, step.authenticated)
    return encode_session_setup_response(_session_flags(channel.session), step.output)


def _take_step(request: Request, channel: Channel, token: bytes) -> AuthStep:
    """Hand a token to the authentication. It may wait meanwhile, in which the session may end."""
    assert channel.exchange is not None
    if channel.authenticating:
        raise NtStatusError(NtStatus.REQUEST_NOT_ACCEPTED, "the last leg of this authentication is not answered yet")
    channel.authenticating = True
    try:
        step = channel.exchange.step(token)
    except NtStatusError:
        _give_up(request, channel)
        raise
    finally:
        channel.authenticating = False
    if channel.session.session_id not in request.connection.server.sessions:
        raise NtStatusError(NtStatus.USER_SESSION_DELETED)
    return step


def _begin(request: Request, channel: Channel) -> None:
    channel.exchange = request.connection.server.authenticator.begin(request.connection.peer_address)
    channel.preauth_hash = request.connection.preauth_hash


def _channel(request: Request, asked: SessionSetupRequest) -> Channel:
    """The channel this leg belongs to: new, known on this connection, or being bound to it."""
    connection = request.connection
    _check_encryption_policy(connection)
    if not request.header.session_id:
        return _new_session(connection)
    if asked.flags & FLAG_BINDING:
        return _binding_channel(request)
    channel = request.channel
    if channel is None or channel.session.state is SessionState.DELETED:
        raise NtStatusError(NtStatus.USER_SESSION_DELETED)
    if channel.session.state is not SessionState.IN_PROGRESS and channel.exchange is None:
        _check_reauthentication(request, channel)
    return channel


def _check_encryption_policy(connection: "Connection") -> None:
    if connection.server.settings.encryption is EncryptionPolicy.REQUIRED and not connection.cipher_id:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "the server wants encryption, which this client cannot do")


def _check_reauthentication(request: Request, channel: Channel) -> None:
    """An authentication anew proves itself and need not be signed, but on a channel that signs unlike its session."""
    alike = channel.connection.signing_algorithm == channel.session.signing_algorithm
    if not alike and not request.signed and request.exchange.sealed is None:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "a reauthentication without a signature")


def _new_session(connection: "Connection") -> Channel:
    beginning = sum(1 for other in connection.channels.values() if other.session.state is SessionState.IN_PROGRESS)
    limits = connection.server.settings.limits
    if beginning >= limits.logons_in_progress or len(connection.channels) >= limits.sessions_per_connection:
        raise NtStatusError(NtStatus.INSUFFICIENT_RESOURCES, "too many sessions on one connection")
    session = connection.server.new_session(connection)
    channel = Channel(session, connection)
    session.channels[connection] = channel
    connection.channels[session.session_id] = channel
    return channel


def _binding_channel(request: Request) -> Channel:
    """Bind an existing session to this connection (3.3.5.5, step 4)."""
    connection = request.connection
    session = _session_to_bind(request)
    channel = connection.channels.get(request.header.session_id)
    if session is None:
        if channel is not None and channel.binding:
            del connection.channels[request.header.session_id]
        raise NtStatusError(NtStatus.USER_SESSION_DELETED)
    if channel is not None and channel.binding:
        return channel
    _check_binding_parameters(connection, session)
    _check_binding_state(request, session)
    if session.session_id not in connection.server.sessions:
        raise NtStatusError(NtStatus.USER_SESSION_DELETED, "the session is in another worker")
    if channel is not None:
        raise NtStatusError(NtStatus.REQUEST_NOT_ACCEPTED, "the session is on this connection already")
    _check_room(connection, session)
    channel = Channel(session, connection)
    channel.binding = True
    channel.signer = session.signer
    request.signed = True
    connection.channels[session.session_id] = channel
    return channel


def _session_to_bind(request: Request) -> SmbSession | None:
    """The session that is meant; what is known of it where another worker has it, which is enough for a refusal."""
    server, session_id = request.connection.server, request.header.session_id
    session = server.sessions.get(session_id) or request.foreign
    if session is None and server.elsewhere is not None:
        session = server.elsewhere.session(session_id)
    return session


def _check_room(connection: "Connection", session: SmbSession) -> None:
    limits = connection.server.settings.limits
    if len(session.channels) >= limits.channels_per_session:
        raise NtStatusError(NtStatus.INSUFFICIENT_RESOURCES, "too many channels of one session")
    if len(connection.channels) >= limits.sessions_per_connection:
        raise NtStatusError(NtStatus.INSUFFICIENT_RESOURCES, "too many sessions on one connection")


def _check_binding_parameters(connection: "Connection", session: SmbSession) -> None:
    """What was negotiated on both connections must go together; in the order that Windows clients know."""
    theirs, ours = session.signing_algorithm, connection.signing_algorithm
    if theirs != ours and signing.AES_GMAC in (theirs, ours):
        out_of_sequence = theirs == signing.AES_GMAC
        raise NtStatusError(NtStatus.REQUEST_OUT_OF_SEQUENCE if out_of_sequence else NtStatus.NOT_SUPPORTED)
    if connection.dialect < Dialect.SMB_3_0 or not connection.server.settings.multichannel:
        raise NtStatusError(NtStatus.REQUEST_NOT_ACCEPTED, "no multichannel on this connection")
    if session.dialect != connection.dialect or session.cipher_id != connection.cipher_id:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "another dialect or cipher than the session's")
    if session.is_anonymous or session.is_guest:
        raise NtStatusError(NtStatus.NOT_SUPPORTED, "anonymous and guest sessions have one channel")
    if session.client_guid != connection.client_guid:
        raise NtStatusError(NtStatus.USER_SESSION_DELETED, "another client")


def _check_binding_state(request: Request, session: SmbSession) -> None:
    """A binding is signed with the session's key (that was verified at dispatch), and the session is usable."""
    if session.state is SessionState.IN_PROGRESS:
        raise NtStatusError(NtStatus.REQUEST_NOT_ACCEPTED)
    if request.channel is None and request.foreign is None:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a binding must be signed")
    session.check_expiry()
    if session.state is SessionState.EXPIRED:
        raise NtStatusError(NtStatus.NETWORK_SESSION_EXPIRED)


def _is_stranger(request: Request, session: SmbSession) -> bool:
    """Whether a leg of a reauthentication may come from somebody else on the way: unsigned, where all is signed.

    Clients leave these legs unsigned, so they are served; but they may neither end the session nor change its user.
    """
    if session.state is SessionState.IN_PROGRESS or request.exchange.sealed is not None:
        return False
    return session.signing_required and not request.signed


def _give_up(request: Request, channel: Channel) -> None:
    """An authentication failed (3.3.5.5.3): what it was for is gone; a binding leaves the session alone."""
    channel.exchange = None
    if channel.binding:
        request.connection.channels.pop(channel.session.session_id, None)
        return
    if _is_stranger(request, channel.session):
        return
    request.connection.server.fail_session(channel.session, request.exchange)


def _succeed(request: Request, channel: Channel, asked: SessionSetupRequest, who: Authenticated) -> None:
    session = channel.session
    if channel.binding:
        _finish_binding(request, channel, who)
    elif session.state is SessionState.IN_PROGRESS:
        _establish(request, channel, asked, who)
    elif _is_stranger(request, session) and who.token.user_sid != session.token.user_sid:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "an unsigned reauthentication as another user")
    else:
        session.authenticated_as(who)
    request.signed = channel.signer is not None and request.exchange.sealed is None
    connection = request.connection
    connection.message_limit = connection.server.settings.max_io + 65536
    if asked.previous_session_id and asked.previous_session_id != session.session_id:
        connection.server.end_previous_session(asked.previous_session_id, session)


def _derive(channel: Channel, who: Authenticated) -> SessionKeys:
    connection = channel.connection
    return session_keys(
        connection.dialect, who.session_key[:16], who.session_key, channel.preauth_hash, connection.cipher_id
    )


def _establish(request: Request, channel: Channel, asked: SessionSetupRequest, who: Authenticated) -> None:
    """The first authentication of a session: its identity, keys and protection."""
    session = channel.session
    connection = request.connection
    settings = connection.server.settings
    if who.session_key and not who.is_anonymous and not who.is_guest:
        keys = _derive(channel, who)
        channel.signer = session.signer = make_signer(connection.signing_algorithm, keys.signing)
        session.signing_key = keys.signing
        session.signing_required = settings.require_signing or bool(
            asked.security_mode & SECURITY_MODE_SIGNING_REQUIRED
        )
        if connection.cipher_id:
            session.set_keys(
                keys,
                make_cipher(connection.cipher_id, keys.encryption),
                make_cipher(connection.cipher_id, keys.decryption),
            )
        session.application_key = keys.application
        session.encrypt_data = bool(connection.cipher_id) and settings.encryption in (
            EncryptionPolicy.DESIRED,
            EncryptionPolicy.REQUIRED,
        )
    elif settings.encryption is EncryptionPolicy.REQUIRED:
        request.connection.server.end_session(session, keep=request.exchange)
        raise NtStatusError(NtStatus.ACCESS_DENIED, "the server wants encryption, for which a guest has no key")
    session.authenticated_as(who)
    connection.server.events.session_started(connection, session)


def _finish_binding(request: Request, channel: Channel, who: Authenticated) -> None:
    """The binding is authenticated: the same user, and a signing key of the channel's own."""
    session = channel.session
    if channel.connection.closed:
        raise NtStatusError(NtStatus.USER_SESSION_DELETED, "the connection went away meanwhile")
    if who.token.user_sid != session.token.user_sid:
        _give_up(request, channel)
        raise NtStatusError(NtStatus.ACCESS_DENIED, "a binding by another user")
    if len(session.channels) >= channel.connection.server.settings.limits.channels_per_session:
        # Several were begun at a time.
        _give_up(request, channel)
        raise NtStatusError(NtStatus.INSUFFICIENT_RESOURCES, "too many channels of one session")
    channel.signer = make_signer(channel.connection.signing_algorithm, _derive(channel, who).signing)
    channel.binding = False
    session.channels[channel.connection] = channel


def _session_flags(session: SmbSession) -> int:
    if session.is_anonymous:
        return SESSION_FLAG_IS_NULL
    if session.is_guest:
        return SESSION_FLAG_IS_GUEST
    return SESSION_FLAG_ENCRYPT_DATA if session.encrypt_data else 0
