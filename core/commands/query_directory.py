"""QUERY_DIRECTORY (MS-SMB2 3.3.5.18)."""

from lamina.core.open_lookup import check_charge, open_of
from lamina.core.request import Reply, Request
from lamina.core.wire.query_directory import decode_query_directory_request, encode_query_directory_response
from lamina.ntfsa.listing.directory import query_directory
from lamina.ntfsa.status import NtStatus, NtStatusError


def handle(request: Request) -> bytes | Reply:
    """List a directory from where the last request stopped."""
    asked = decode_query_directory_request(request.message)
    check_charge(request, asked.output_buffer_length)
    open_ = open_of(request, asked.persistent, asked.volatile)
    if open_.nt is None:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a pipe is not a directory")
    assert request.tree is not None
    entries = query_directory(
        request.tree.context,
        open_.nt,
        asked.info_class,
        asked.pattern,
        asked.flags,
        asked.file_index,
        asked.output_buffer_length,
    )
    return encode_query_directory_response(entries)
