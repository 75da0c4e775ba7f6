"""CREATE (MS-SMB2 3.3.5.9): decode the request and its contexts, one call to ntfsa, and the answers to the contexts."""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from lamina.core.commands import create_durable
from lamina.core.commands.create_durable import Lasting
from lamina.core.commands.oplock_break import listen
from lamina.core.request import Reply, Request
from lamina.core.rpc.pipes import open_pipe
from lamina.core.session import SmbOpen, SmbTree
from lamina.core.settings import Dialect
from lamina.core.wire.create import CreateRequest, decode_create_request, encode_create_response
from lamina.core.wire.create_contexts import (
    ALLOCATION_SIZE,
    DURABLE_HANDLE_REQUEST_V2,
    EA_BUFFER,
    LEASE_FLAG_BREAK_IN_PROGRESS,
    LEASE_FLAG_PARENT_LEASE_KEY_SET,
    POSIX,
    QUERY_MAXIMAL_ACCESS,
    QUERY_ON_DISK_ID,
    REQUEST_LEASE,
    SD_BUFFER,
    TIMEWARP_TOKEN,
    LeaseContext,
    decode_allocation_size,
    decode_ea_buffer,
    decode_lease,
    decode_maximal_access_request,
    decode_posix_mode,
    decode_sd_buffer,
    decode_timewarp_token,
    encode_create_contexts,
    encode_lease,
    encode_maximal_access_response,
    encode_on_disk_id_response,
)
from lamina.core.wire.error import SymbolicLinkError, encode_symbolic_link_error
from lamina.ntfsa.durability.lasting import tell_again
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_LEASE
from lamina.ntfsa.grants.grant_holders import LeaseGranted, LeaseRequest
from lamina.ntfsa.information import NetworkOpenInformation
from lamina.ntfsa.metadata.reparse import StoppedOnLinkError
from lamina.ntfsa.opening.create import CreateParameters, CreateResult, create
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.volume import NtVolume

if TYPE_CHECKING:
    from lamina.core.connection import Connection

_FILE_OPENED: Final = 1
_SMB_3_0: Final = int(Dialect.SMB_3_0)
_FILE_OPEN_DISPOSITIONS: Final = (1, 3)
_PIPE_INFORMATION: Final = NetworkOpenInformation(0, 0, 0, 0, 4096, 0, 0x80)


def handle(request: Request) -> bytes | Reply:
    """Open or create a file, or open a named pipe on IPC$."""
    asked = decode_create_request(request.message)
    request.file_id = None
    tree = request.tree
    assert tree is not None
    if not tree.maximal_access:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "since the user has logged on anew the share admits him no longer")
    server = request.connection.server
    if len(tree.session.opens) >= server.settings.limits.opens_per_session:
        raise NtStatusError(NtStatus.TOO_MANY_OPENED_FILES)
    if asked.contexts and not create_durable.TAGS.isdisjoint(asked.contexts) and tree.share.volume is not None:
        return _open_lasting(request, tree, asked)
    if asked.impersonation_level > 3:
        raise NtStatusError(NtStatus.BAD_IMPERSONATION_LEVEL)
    if tree.share.volume is None:
        return _open_pipe(request, tree, asked)
    return _open_file(request, tree, asked, None)


def _open_file(request: Request, tree: SmbTree, asked: CreateRequest, lasting: Lasting | None) -> bytes:
    open_, answer = open_file(request.connection, tree, asked, request.header.channel_sequence, lasting)
    request.file_id = open_.file_id
    return answer


def _open_lasting(request: Request, tree: SmbTree, asked: CreateRequest) -> bytes:
    """An open that outlives its connection: new, asked back, or asked for again."""
    lasting = create_durable.read(request.connection.dialect, tree.session.client_guid, asked.contexts)
    durables = request.connection.server.durables
    if lasting is not None and (lasting.reconnect is not None or durables.knows_guid(lasting.guid)):
        open_ = create_durable.existing(request, tree, asked, lasting)
        if open_ is not None:
            return _tell_again(request, tree, asked, open_)
    if asked.impersonation_level > 3:
        raise NtStatusError(NtStatus.BAD_IMPERSONATION_LEVEL)
    if lasting is not None and lasting.app_instance:
        create_durable.close_older_instances(request, tree, asked, lasting)
    if lasting is None or lasting.guid is None:
        return _open_file(request, tree, asked, lasting)
    durables.begin(lasting.guid, request.exchange)
    try:
        return _open_file(request, tree, asked, lasting)
    except BaseException:
        durables.end_making(lasting.guid)
        raise


def _tell_again(request: Request, tree: SmbTree, asked: CreateRequest, open_: SmbOpen) -> bytes:
    """The answer to a client that has an open already, or has it back."""
    nt, state = open_.nt, open_.durable
    assert nt is not None
    assert state is not None
    request.file_id = open_.file_id
    listen(request.connection.server, open_)
    told = tell_again(tree.context, nt)
    answers: dict[bytes, bytes] = {}
    if told.lease is not None:
        answers[REQUEST_LEASE] = encode_lease(_lease_answer(decode_lease(asked.contexts[REQUEST_LEASE]), told.lease))
    replay = DURABLE_HANDLE_REQUEST_V2 in asked.contexts
    level = OPLOCK_LEVEL_LEASE if told.lease is not None else told.oplock_level
    if replay:
        level = create_durable.replayed_level(level, asked.oplock_level)
        again = create_durable.answer(state, level)
        if again is not None:
            answers |= dict((again,))
    return encode_create_response(
        oplock_level=level,
        create_action=state.action if replay else _FILE_OPENED,
        information=told.information,
        persistent=open_.file_id,
        volatile=open_.file_id,
        contexts=encode_create_contexts(answers),
    )


def open_file(
    connection: "Connection", tree: SmbTree, asked: CreateRequest, sequence: int, lasting: Lasting | None = None
) -> tuple[SmbOpen, bytes]:
    """Open or create a file of a share with a volume; the open and the body of the response.

    `sequence`: the request's ChannelSequence. `lasting`: what is to outlive the connection. Raises NtStatusError, and
    WireError for contexts that cannot be read.
    """
    server, volume = connection.server, tree.share.volume
    assert volume is not None
    if server.durables.is_awaited(volume, asked.name) and connection.dialect >= _SMB_3_0:
        raise NtStatusError(NtStatus.FILE_NOT_AVAILABLE, "a persistent open of the file waits for its client (3.3.5.9)")
    try:
        parameters = _parameters(connection.dialect, asked)
        if asked.contexts:
            _read_more(connection, volume, parameters, asked.contexts)
        result = create(tree.context, volume, parameters)
    except StoppedOnLinkError as stopped:
        link = SymbolicLinkError(stopped.unparsed, *stopped.link)
        raise NtStatusError(stopped.status, data=encode_symbolic_link_error(link)) from stopped
    open_ = server.add_open(tree, nt=result.open)
    open_.sequence.current = sequence
    if result.oplock_level or result.lease is not None:
        listen(server, open_)
    contexts = b""
    if asked.contexts:
        answers = _answers(tree, asked, result)
        promised = create_durable.mark(server.durables, tree, open_, lasting, result) if lasting is not None else None
        if promised is None:
            contexts = encode_create_contexts(answers) if answers else b""
        elif answers:
            contexts = encode_create_contexts(answers | dict((promised,)))
        else:
            contexts = _only(*promised)
    return open_, encode_create_response(
        oplock_level=OPLOCK_LEVEL_LEASE if result.lease is not None else result.oplock_level,
        create_action=result.action,
        information=result.information,
        persistent=open_.file_id,
        volatile=open_.file_id,
        contexts=contexts,
    )


@lru_cache(maxsize=64)
def _only(tag: bytes, data: bytes) -> bytes:
    """The list of contexts with a promise alone: clients ask for few different times."""
    return encode_create_contexts({tag: data})


def _parameters(dialect: int, asked: CreateRequest) -> CreateParameters:
    name, access, attributes, share, disposition, options, level, _, contexts = asked
    parameters = CreateParameters(name, access, attributes, share, disposition, options)
    parameters.oplock_level = level
    if contexts:
        _read_contexts(parameters, contexts)
        if level == OPLOCK_LEVEL_LEASE and REQUEST_LEASE in contexts:
            parameters.lease = _lease(dialect, decode_lease(contexts[REQUEST_LEASE]))
    return parameters


def _lease(dialect: int, asked: LeaseContext) -> LeaseRequest | None:
    """The lease that is asked for, where the dialect has it (3.3.5.9.8, 3.3.5.9.11)."""
    if dialect == Dialect.SMB_2_0_2 or (asked.version > 1 and dialect < Dialect.SMB_3_0):
        return None
    parent_key = asked.parent_key if asked.flags & LEASE_FLAG_PARENT_LEASE_KEY_SET and asked.version > 1 else None
    return LeaseRequest(asked.key, asked.state, asked.version, asked.epoch, parent_key)


def _read_contexts(parameters: CreateParameters, contexts: Mapping[bytes, memoryview | bytes]) -> None:
    """Enter what the contexts ask for; those that are not known are passed over (3.3.5.9)."""
    if QUERY_MAXIMAL_ACCESS in contexts:
        decode_maximal_access_request(contexts[QUERY_MAXIMAL_ACCESS])
        parameters.want_maximal_access = True
    if ALLOCATION_SIZE in contexts:
        parameters.allocation_size = decode_allocation_size(contexts[ALLOCATION_SIZE])
    if TIMEWARP_TOKEN in contexts:
        parameters.timewarp = decode_timewarp_token(contexts[TIMEWARP_TOKEN])
    if EA_BUFFER in contexts:
        parameters.extended_attributes = decode_ea_buffer(contexts[EA_BUFFER])
    if SD_BUFFER in contexts:
        parameters.security_descriptor = decode_sd_buffer(contexts[SD_BUFFER])


def _read_more(
    connection: "Connection",
    volume: NtVolume,
    parameters: CreateParameters,
    contexts: Mapping[bytes, memoryview | bytes],
) -> None:
    """Enter what only some connections, or the modules of some shares, know what to do with."""
    if POSIX in contexts and connection.posix_extensions:
        parameters.posix_mode = decode_posix_mode(contexts[POSIX])
    served = volume.extensions.contexts
    if served:
        parameters.module_contexts = {tag: bytes(data) for tag, data in contexts.items() if tag in served}


def _maximal_access(asked: memoryview | bytes, result: CreateResult) -> bytes:
    """The user's rights, but for who knows them: as of the time when the file was written last (3.3.5.9.5)."""
    known = decode_maximal_access_request(asked)
    if known and known == result.information.last_write_time:
        return encode_maximal_access_response(NtStatus.NONE_MAPPED, 0)
    access = result.maximal_access
    return encode_maximal_access_response(
        NtStatus.SUCCESS if access is not None else NtStatus.ACCESS_DENIED, access or 0
    )


def _answers(tree: SmbTree, asked: CreateRequest, result: CreateResult) -> dict[bytes, bytes]:
    answers: dict[bytes, bytes] = {}
    if QUERY_MAXIMAL_ACCESS in asked.contexts:
        answers[QUERY_MAXIMAL_ACCESS] = _maximal_access(asked.contexts[QUERY_MAXIMAL_ACCESS], result)
    if QUERY_ON_DISK_ID in asked.contexts:
        assert tree.share.volume is not None
        answers[QUERY_ON_DISK_ID] = encode_on_disk_id_response(result.open.file_id, tree.share.volume.serial)
    answers.update(result.module_answers)
    if result.lease is not None:
        answers[REQUEST_LEASE] = encode_lease(_lease_answer(decode_lease(asked.contexts[REQUEST_LEASE]), result.lease))
    return answers


def _lease_answer(asked: LeaseContext, granted: LeaseGranted) -> LeaseContext:
    flags = asked.flags & LEASE_FLAG_PARENT_LEASE_KEY_SET if min(granted.version, asked.version) > 1 else 0
    if granted.breaking:
        flags |= LEASE_FLAG_BREAK_IN_PROGRESS
    parent_key = asked.parent_key if flags & LEASE_FLAG_PARENT_LEASE_KEY_SET else bytes(16)
    return LeaseContext(asked.key, granted.state, flags, granted.version, parent_key, granted.epoch)


def _open_pipe(request: Request, tree: SmbTree, asked: CreateRequest) -> bytes:
    if asked.create_disposition not in _FILE_OPEN_DISPOSITIONS:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "pipes cannot be made by clients")
    server = request.connection.server
    pipe = open_pipe(asked.name, server.view(), tree.session.token)
    open_ = server.add_open(tree, pipe=pipe)
    open_.sequence.current = request.header.channel_sequence
    request.file_id = open_.file_id
    return encode_create_response(
        oplock_level=0,
        create_action=_FILE_OPENED,
        information=_PIPE_INFORMATION,
        persistent=open_.file_id,
        volatile=open_.file_id,
    )
