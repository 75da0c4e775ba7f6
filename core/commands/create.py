"""CREATE (MS-SMB2 3.3.5.9): decode the request and its contexts, one call to ntfsa, and the answers to the contexts."""

from typing import Final

from lamina.core.request import Reply, Request
from lamina.core.rpc.pipes import open_pipe
from lamina.core.session import SmbOpen, SmbTree
from lamina.core.wire.create import CreateRequest, decode_create_request, encode_create_response
from lamina.core.wire.create_contexts import (
    decode_allocation_size,
    decode_create_contexts,
    decode_timewarp,
    encode_create_contexts,
    encode_maximal_access_response,
    encode_query_on_disk_id_response,
)
from lamina.ntfsa.create import CreateParameters, CreateResult, create
from lamina.ntfsa.information import NetworkOpenInformation
from lamina.ntfsa.status import NtStatus, NtStatusError

_MXAC: Final = b"MxAc"
_QFID: Final = b"QFid"
_FILE_OPENED: Final = 1
_FILE_OPEN_DISPOSITIONS: Final = (1, 3)
_PIPE_INFORMATION: Final = NetworkOpenInformation(0, 0, 0, 0, 4096, 0, 0x80)


def handle(request: Request) -> bytes | Reply:
    """Open or create a file, or open a named pipe on IPC$."""
    asked = decode_create_request(request.message)
    request.file_id = None
    tree = request.tree
    assert tree is not None
    if asked.impersonation_level > 3:
        raise NtStatusError(NtStatus.BAD_IMPERSONATION_LEVEL)
    server = request.connection.server
    if len(tree.session.opens) >= server.settings.limits.opens_per_session:
        raise NtStatusError(NtStatus.TOO_MANY_OPENED_FILES)
    if tree.share.volume is None:
        return _open_pipe(request, tree, asked)
    contexts = decode_create_contexts(asked.contexts) if len(asked.contexts) else {}
    result = create(tree.context, tree.share.volume, _parameters(asked, contexts))
    open_ = server.add_open(tree, nt=result.open)
    request.file_id = open_.file_id
    return encode_create_response(
        oplock_level=result.oplock_level,
        action=result.action,
        information=result.information,
        persistent=open_.file_id,
        volatile=open_.file_id,
        contexts=encode_create_contexts(_answers(tree, contexts, result)) if contexts else b"",
    )


def _parameters(asked: CreateRequest, contexts: dict[bytes, memoryview]) -> CreateParameters:
    parameters = CreateParameters(
        path=asked.name,
        desired_access=asked.desired_access,
        file_attributes=asked.file_attributes,
        share_access=asked.share_access,
        disposition=asked.disposition,
        options=asked.options,
        oplock_level=asked.oplock_level,
    )
    if not contexts:
        return parameters
    parameters.want_maximal_access = _MXAC in contexts
    if b"AlSi" in contexts:
        parameters.allocation_size = decode_allocation_size(contexts[b"AlSi"])
    if b"TWrp" in contexts:
        parameters.timewarp = decode_timewarp(contexts[b"TWrp"])
    if b"ExtA" in contexts:
        parameters.extended_attributes = bytes(contexts[b"ExtA"])
    if b"SecD" in contexts:
        parameters.security_descriptor = bytes(contexts[b"SecD"])
    return parameters


def _answers(tree: SmbTree, contexts: dict[bytes, memoryview], result: CreateResult) -> list[tuple[bytes, bytes]]:
    answers = []
    if _MXAC in contexts:
        access = result.maximal_access
        status = NtStatus.SUCCESS if access is not None else NtStatus.ACCESS_DENIED
        answers.append((_MXAC, encode_maximal_access_response(status, access or 0)))
    if _QFID in contexts:
        assert tree.share.volume is not None
        answers.append((_QFID, encode_query_on_disk_id_response(result.open.file_id, tree.share.volume.serial)))
    return answers


def _open_pipe(request: Request, tree: SmbTree, asked: CreateRequest) -> bytes:
    if asked.disposition not in _FILE_OPEN_DISPOSITIONS:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "pipes cannot be made by clients")
    server = request.connection.server
    pipe = open_pipe(asked.name, server.view_for(request.connection), tree.session.token)
    open_ = server.add_open(tree, pipe=pipe)
    request.file_id = open_.file_id
    return encode_create_response(
        oplock_level=0,
        action=_FILE_OPENED,
        information=_PIPE_INFORMATION,
        persistent=open_.file_id,
        volatile=open_.file_id,
        contexts=b"",
    )
