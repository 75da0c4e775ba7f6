"""QUERY_INFO (MS-SMB2 3.3.5.20)."""

from lamina.core.open_lookup import check_charge, open_of
from lamina.core.request import Reply, Request
from lamina.core.settings import Dialect
from lamina.core.wire.query_info import (
    QueryInfoRequest,
    decode_query_info_request,
    decode_quota_query,
    encode_query_info_response,
)
from lamina.ntfsa.constants import FILE_NORMALIZED_NAME_INFORMATION
from lamina.ntfsa.context import NtContext
from lamina.ntfsa.information import (
    Information,
    QuotaQuery,
    query_file,
    query_filesystem,
    query_quota,
    query_security,
)
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.status import NtStatus, NtStatusError


def handle(request: Request) -> bytes | Reply:
    """Tell about a file, its file system, or its security."""
    asked = decode_query_info_request(request.message)
    check_charge(request, max(asked.output_buffer_length, len(asked.input)))
    open_ = open_of(request, asked.persistent, asked.volatile)
    assert request.tree is not None
    if open_.nt is None:
        assert open_.pipe is not None
        answer = open_.pipe.query_info(asked.info_type, asked.info_class, asked.output_buffer_length)
    else:
        if asked.info_type == 1 and asked.info_class == FILE_NORMALIZED_NAME_INFORMATION:
            _require_normalized_names(request)
        answer = _query(request.tree.context, open_.nt, asked)
    return Reply(answer.status, encode_query_info_response(answer.data))


def _require_normalized_names(request: Request) -> None:
    """Older dialects do not have this class (3.3.5.20.1)."""
    if request.connection.dialect < Dialect.SMB_3_1_1:
        raise NtStatusError(NtStatus.NOT_SUPPORTED, "normalized names came with SMB 3.1.1")


def _query(context: NtContext, open_: NtOpen, asked: QueryInfoRequest) -> Information:
    length = asked.output_buffer_length
    match asked.info_type:
        case 1:
            flags, index = asked.flags, asked.additional_information
            return query_file(context, open_, asked.info_class, length, bytes(asked.input), flags, index)
        case 2:
            return query_filesystem(context, open_, asked.info_class, length)
        case 3:
            return query_security(context, open_, asked.additional_information, length)
        case 4:
            return query_quota(context, open_, QuotaQuery(*decode_quota_query(asked.input)), length)
        case other:
            raise NtStatusError(NtStatus.INVALID_PARAMETER, f"unknown information type {other}")
