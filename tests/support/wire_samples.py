"""One valid message, or more, for every decoder of `lamina.core.wire`: what its tests and its fuzzer start from."""

from collections.abc import Callable
from typing import Any, NamedTuple

from lamina.core.wire import cancel, echo, header, logoff, server_copy, smb1
from lamina.core.wire import change_notify as notify
from lamina.core.wire import close as close_
from lamina.core.wire import constants as smb
from lamina.core.wire import create as create_
from lamina.core.wire import create_contexts as contexts
from lamina.core.wire import durable_contexts as durable
from lamina.core.wire import error as error_
from lamina.core.wire import flush as flush_
from lamina.core.wire import ioctl as ioctl_
from lamina.core.wire import lock as lock_
from lamina.core.wire import negotiate as negotiate_
from lamina.core.wire import negotiate_contexts as negotiated
from lamina.core.wire import network_interface as network
from lamina.core.wire import oplock_break as oplock
from lamina.core.wire import query_directory as directory
from lamina.core.wire import query_info as query_
from lamina.core.wire import read as read_
from lamina.core.wire import session_setup as setup
from lamina.core.wire import set_info as set_
from lamina.core.wire import transform as transform_
from lamina.core.wire import tree_connect as tree
from lamina.core.wire import validate_negotiate as validate
from lamina.core.wire import write as write_

FILE = (0x1122334455667788, 0x99AABBCCDDEEFF00)
KEY = bytes(range(16))


class Sample(NamedTuple):
    """`data` decodes to `value`. Shorter data must be refused, but for `spare` bytes at its end that nobody reads, and
    for data of fewer than `shortest` bytes, which mean something of their own."""

    name: str
    decode: Callable[[memoryview], object]
    data: bytes
    value: object
    spare: int = 0
    shortest: int = 0


def message(body: bytes, command: int = smb.Command.ECHO, **fields: Any) -> bytes:
    """A message with that body."""
    packed = bytearray(smb.HEADER_SIZE)
    header.pack_header_into(packed, 0, command=command, message_id=fields.pop("message_id", 7), **fields)
    return bytes(packed) + body


def _message(
    name: str, decode: Callable[[memoryview], object], body: bytes, value: object = None, spare: int = 0
) -> Sample:
    return Sample(name, decode, message(body), value, spare)


_HEADER = (
    "async_id",
    "command",
    "credit_charge",
    "credits",
    "flags",
    "message_id",
    "next_command",
    "session_id",
    "status",
    "tree_id",
)


def header_fields(data: memoryview) -> tuple[int, ...]:
    """All fields of a header, in the order of their names."""
    decoded = header.decode_header(data)
    return tuple(getattr(decoded, name) for name in _HEADER)


def chain(data: memoryview) -> list[bytes]:
    """The parts of a chain of at most 8 messages, as bytes."""
    return [bytes(part) for part in header.split_compound(data, 8)]


def error_contexts(data: memoryview) -> list[error_.ErrorContext]:
    """Two error contexts."""
    return error_.decode_error_contexts(data, 2)


def two_negotiate_contexts(data: memoryview) -> negotiated.NegotiateContexts:
    """Two negotiate contexts."""
    return negotiated.decode_negotiate_contexts(data, 2)


_PREAUTH = negotiated.PreauthIntegrityCapabilities((1,), bytes(32))
_ALL_CONTEXTS = negotiated.NegotiateContexts(
    _PREAUTH,
    negotiated.EncryptionCapabilities((2, 1, 4, 3)),
    negotiated.CompressionCapabilities((1, 2, 3), 1),
    negotiated.NetnameContext("server"),
    negotiated.TransportCapabilities(1),
    negotiated.SigningCapabilities((2, 1, 0)),
)
_INFORMATION = close_.CloseResponse(1, 11, 12, 13, 14, 4096, 5, 0x20)
_LEASE_V1 = contexts.LeaseContext(bytes(range(16)), 7, 2)
_CREATE_CONTEXTS = {b"MxAc": b"", b"QFid": b"12345678", contexts.APP_INSTANCE_ID: bytes(20), b"AlSi": bytes(8)}
_IOCTL = ioctl_.IoctlRequest(0x0011C017, *FILE, b"input", 1024, 16, 1, b"out")
_SYMLINK = error_.SymbolicLinkError(6, "..\\target", "shown", True)
_INTERFACES = [
    network.NetworkInterfaceInfo(1, "192.0.2.1", 10_000_000_000, True),
    network.NetworkInterfaceInfo(2, "2001:db8::1", 1_000_000_000),
]
_DUPLICATE = server_copy.DuplicateExtents(*FILE, 4096, -1, 8192)
_CHUNKS = [server_copy.CopyChunk(1, 2, 3), server_copy.CopyChunk(-1, 1 << 40, 0xFFFFFFFF)]


def _negotiate_response() -> Sample:
    body = negotiate_.encode_negotiate_response(
        security_mode=1,
        dialect=0x311,
        server_guid=KEY,
        capabilities=0x2F,
        max_transact_size=1,
        max_read_size=2,
        max_write_size=3,
        system_time=4,
        server_start_time=5,
        security_buffer=b"token",
        contexts=_ALL_CONTEXTS.listed(),
    )
    value = negotiate_.NegotiateResponse(1, 0x311, KEY, 0x2F, 1, 2, 3, 4, 5, b"token", _ALL_CONTEXTS)
    return _message("NEGOTIATE response", negotiate_.decode_negotiate_response, body, value)


def _create_response() -> Sample:
    body = create_.encode_create_response(
        oplock_level=9,
        flags=1,
        create_action=2,
        information=_INFORMATION,
        persistent=FILE[0],
        volatile=FILE[1],
        contexts=contexts.encode_create_contexts(_CREATE_CONTEXTS),
    )
    value = create_.CreateResponse(9, 1, 2, *_INFORMATION[1:], *FILE, _CREATE_CONTEXTS)
    return _message("CREATE response", create_.decode_create_response, body, value)


def _ioctl_response() -> Sample:
    value = ioctl_.IoctlResponse(_IOCTL.control_code, *FILE, b"output")
    return _message(
        "IOCTL response", ioctl_.decode_ioctl_response, ioctl_.encode_ioctl_response(_IOCTL, b"output"), value
    )


# Each request with its decoder and encoder, and the bytes at the end that stand for an empty Buffer.
_REQUESTS: list[tuple[Any, Callable[[memoryview], object], Callable[[Any], bytes], int]] = [
    (negotiate_.NegotiateRequest((0x202, 0x210, 0x302), 1, 0x7F, KEY),
     negotiate_.decode_negotiate_request, negotiate_.encode_negotiate_request, 0),
    (negotiate_.NegotiateRequest((0x302, 0x311), 3, 0x7F, KEY, _ALL_CONTEXTS),
     negotiate_.decode_negotiate_request, negotiate_.encode_negotiate_request, 0),
    (setup.SessionSetupRequest(b"token", 1, 2, 1, 77),
     setup.decode_session_setup_request, setup.encode_session_setup_request, 0),
    (tree.TreeConnectRequest("\\\\server\\share", 4),
     tree.decode_tree_connect_request, tree.encode_tree_connect_request, 0),
    (create_.CreateRequest("a\\b\ud800", 1, 2, 3, 4, 5, 0xFF, 2, _CREATE_CONTEXTS),
     create_.decode_create_request, create_.encode_create_request, 0),
    (create_.CreateRequest(""), create_.decode_create_request, create_.encode_create_request, 1),
    (close_.CloseRequest(*FILE, 1), close_.decode_close_request, close_.encode_close_request, 0),
    (flush_.FlushRequest(*FILE), flush_.decode_flush_request, flush_.encode_flush_request, 0),
    (read_.ReadRequest(*FILE, 1 << 40, 65536, 5, 1), read_.decode_read_request, read_.encode_read_request, 1),
    (read_.ReadRequest(*FILE, 1, 2, 3, 0, 1, 9, b"info"), read_.decode_read_request, read_.encode_read_request, 0),
    (write_.WriteRequest(*FILE, 1 << 40, b"data", 1), write_.decode_write_request, write_.encode_write_request, 0),
    (write_.WriteRequest(*FILE, 1, b"data", 0, 1, 9, b"info"),
     write_.decode_write_request, write_.encode_write_request, 0),
    (write_.WriteRequest(*FILE, 0, b""), write_.decode_write_request, write_.encode_write_request, 1),
    (lock_.LockRequest(*FILE, (lock_.WireLock(0, 10, 1), lock_.WireLock(1 << 63, 1, 4)), 0x123),
     lock_.decode_lock_request, lock_.encode_lock_request, 0),
    (_IOCTL, ioctl_.decode_ioctl_request, ioctl_.encode_ioctl_request, 0),
    (ioctl_.IoctlRequest(1), ioctl_.decode_ioctl_request, ioctl_.encode_ioctl_request, 1),
    (directory.QueryDirectoryRequest(*FILE, 37, "*.txt", 65536, 1, 3),
     directory.decode_query_directory_request, directory.encode_query_directory_request, 0),
    (notify.ChangeNotifyRequest(*FILE, 0xFFF, 4096, 1),
     notify.decode_change_notify_request, notify.encode_change_notify_request, 0),
    (query_.QueryInfoRequest(*FILE, 1, 15, 4096, 7, 1, b"input"),
     query_.decode_query_info_request, query_.encode_query_info_request, 0),
    (set_.SetInfoRequest(*FILE, 1, 20, memoryview(bytes(8)), 3),
     set_.decode_set_info_request, set_.encode_set_info_request, 0),
    (oplock.OplockBreak(*FILE, 1), oplock.decode_oplock_break_request, oplock.encode_oplock_break, 0),
    (oplock.LeaseBreak(KEY, 1), oplock.decode_oplock_break_request, oplock.encode_lease_break, 0),
]  # fmt: skip

_EMPTY: list[tuple[Callable[[memoryview], None], Callable[[], bytes]]] = [
    (logoff.decode_logoff_request, logoff.encode_logoff_request),
    (logoff.decode_logoff_response, logoff.encode_logoff_response),
    (tree.decode_tree_disconnect_request, tree.encode_tree_disconnect_request),
    (tree.decode_tree_disconnect_response, tree.encode_tree_disconnect_response),
    (echo.decode_echo_request, echo.encode_echo_request),
    (echo.decode_echo_response, echo.encode_echo_response),
    (cancel.decode_cancel_request, cancel.encode_cancel_request),
    (flush_.decode_flush_response, flush_.encode_flush_response),
    (lock_.decode_lock_response, lock_.encode_lock_response),
    (set_.decode_set_info_response, set_.encode_set_info_response),
]

_RESPONSES = [
    _negotiate_response(),
    _create_response(),
    _ioctl_response(),
    _message("SESSION_SETUP response", setup.decode_session_setup_response,
             setup.encode_session_setup_response(4, b"token"), setup.SessionSetupResponse(4, b"token")),
    _message("TREE_CONNECT response", tree.decode_tree_connect_response,
             tree.encode_tree_connect_response(1, 0x30, 0x10, 0x1FF), tree.TreeConnectResponse(1, 0x30, 0x10, 0x1FF)),
    _message("CLOSE response", close_.decode_close_response,
             close_.encode_close_response(1, _INFORMATION), _INFORMATION),
    _message("READ response", read_.decode_read_response,
             read_.encode_read_response(b"data"), read_.ReadResponse(memoryview(b"data"))),
    _message("WRITE response", write_.decode_write_response,
             write_.encode_write_response(4), write_.WriteResponse(4)),
    _message("QUERY_DIRECTORY response", directory.decode_query_directory_response,
             directory.encode_query_directory_response(b"entries"), b"entries"),
    _message("CHANGE_NOTIFY response", notify.decode_change_notify_response,
             notify.encode_change_notify_response(b"entries"), b"entries"),
    _message("QUERY_INFO response", query_.decode_query_info_response,
             query_.encode_query_info_response(b"data"), b"data"),
    _message("lease break notification", oplock.decode_lease_break_notification,
             oplock.encode_lease_break_notification(oplock.LeaseBreakNotification(KEY, 7, 1, 5, 1)),
             oplock.LeaseBreakNotification(KEY, 7, 1, 5, 1)),
    _message("ERROR response", error_.decode_error_response,
             error_.encode_error_response(b"data"), error_.ErrorResponse(0, b"data")),
    _message("ERROR response without data", error_.decode_error_response,
             error_.encode_error_response(), error_.ErrorResponse(0, b""), 1),
]  # fmt: skip

_PARTS = [
    Sample("header", header_fields, message(b"", tree_id=5, credits=3), (0, 13, 0, 3, 0, 7, 0, 0, 0, 5)),
    Sample("asynchronous header", header_fields, message(b"", flags=2, async_id=1 << 63, session_id=9, status=0x103),
           (1 << 63, 13, 0, 0, 2, 7, 0, 9, 0x103, 0)),
    Sample("chain", chain, message(b"", next_command=64) + message(b"body"),
           [message(b"", next_command=64), message(b"body")], 4),
    Sample("transform header", transform_.decode_transform_header,
           transform_.encode_transform_header(transform_.TransformHeader(KEY, KEY, 3, 9)) + b"abc",
           transform_.TransformHeader(KEY, KEY, 3, 9)),
    Sample("SMB1 NEGOTIATE", smb1.decode_smb1_negotiate_request,
           smb1.encode_smb1_negotiate_request(["NT LM 0.12", "SMB 2.???"]), ["NT LM 0.12", "SMB 2.???"]),
    Sample("negotiate contexts", two_negotiate_contexts,
           negotiated.encode_negotiate_contexts([negotiated.RawContext(0x77, b"odd"), _PREAUTH]),
           negotiated.NegotiateContexts(preauth=_PREAUTH)),
    Sample("create contexts", contexts.decode_create_contexts,
           contexts.encode_create_contexts(_CREATE_CONTEXTS), _CREATE_CONTEXTS, shortest=1),
    Sample("MxAc request", contexts.decode_maximal_access_request,
           contexts.encode_maximal_access_request(5), 5, shortest=1),
    Sample("quota query of SIDs", query_.decode_quota_query,
           query_.encode_quota_query(query_.QuotaQuery(True, False, b"list")),
           query_.QuotaQuery(True, False, b"list")),
    Sample("quota query from a SID", query_.decode_quota_query,
           query_.encode_quota_query(query_.QuotaQuery(False, True, b"", b"sid")),
           query_.QuotaQuery(False, True, b"", b"sid")),
    Sample("POSIX request", contexts.decode_posix_mode, contexts.encode_posix_mode(0o1755), 0o1755),
    Sample("AlSi request", contexts.decode_allocation_size, contexts.encode_allocation_size(5), 5),
    Sample("TWrp request", contexts.decode_timewarp_token, contexts.encode_timewarp_token(5), 5),
    Sample("ExtA request", contexts.decode_ea_buffer, b"list", b"list", shortest=4),
    Sample("SecD request", contexts.decode_sd_buffer, b"s", b"s"),
    Sample("MxAc response", contexts.decode_maximal_access_response,
           contexts.encode_maximal_access_response(0, 0x1FF), contexts.MaximalAccess(0, 0x1FF)),
    Sample("QFid response", contexts.decode_on_disk_id_response,
           contexts.encode_on_disk_id_response(5, 6), contexts.OnDiskId(5, 6)),
    Sample("DHnC request", durable.decode_durable_reconnect,
           durable.encode_durable_reconnect(durable.DurableReconnect(5, 6)),
           durable.DurableReconnect(5, 6)),
    Sample("DH2Q request", durable.decode_durable_request_v2,
           durable.encode_durable_request_v2(durable.DurableRequestV2(KEY, 5, 2)), durable.DurableRequestV2(KEY, 5, 2)),
    Sample("DH2C request", durable.decode_durable_reconnect_v2,
           durable.encode_durable_reconnect_v2(durable.DurableReconnect(5, 6, KEY, 2)),
           durable.DurableReconnect(5, 6, KEY, 2)),
    Sample("DH2Q response", durable.decode_durable_response_v2,
           durable.encode_durable_response_v2(durable.DurableResponseV2(5, 2)), durable.DurableResponseV2(5, 2)),
    Sample("AppInstanceId", durable.decode_app_instance_id, durable.encode_app_instance_id(KEY), KEY),
    Sample("AppInstanceVersion", durable.decode_app_instance_version,
           durable.encode_app_instance_version(durable.AppInstanceVersion(5, 6)), durable.AppInstanceVersion(5, 6)),
    Sample("resiliency", durable.decode_resiliency_request, durable.encode_resiliency_request(5), 5),
    Sample("RqLs version 1", contexts.decode_lease, contexts.encode_lease(_LEASE_V1), _LEASE_V1),
    Sample("error contexts", error_contexts,
           error_.encode_error_contexts([error_.ErrorContext(0, b"abc"), error_.ErrorContext(5, b"data")]),
           [error_.ErrorContext(0, b"abc"), error_.ErrorContext(5, b"data")]),
    Sample("symbolic link error", error_.decode_symbolic_link_error,
           error_.encode_symbolic_link_error(_SYMLINK), _SYMLINK),
    Sample("VALIDATE_NEGOTIATE_INFO request", validate.decode_validate_negotiate_request,
           validate.encode_validate_negotiate_request(validate.ValidateNegotiateRequest(1, KEY, 2, (0x202, 0x311))),
           validate.ValidateNegotiateRequest(1, KEY, 2, (0x202, 0x311))),
    Sample("VALIDATE_NEGOTIATE_INFO response", validate.decode_validate_negotiate_response,
           validate.encode_validate_negotiate_response(1, KEY, 2, 0x300),
           validate.ValidateNegotiateResponse(1, KEY, 2, 0x300)),
    Sample("NETWORK_INTERFACE_INFO", network.decode_network_interfaces,
           network.encode_network_interfaces(_INTERFACES), _INTERFACES, shortest=1),
    Sample("SRV_COPYCHUNK_COPY", server_copy.decode_copy_request,
           server_copy.encode_copy_request(KEY + bytes(8), _CHUNKS),
           server_copy.CopyRequest(KEY + bytes(8), 2, _CHUNKS), shortest=80),
    Sample("SRV_COPYCHUNK_RESPONSE", server_copy.decode_copy_response,
           server_copy.encode_copy_response(server_copy.CopyResponse(1, 2, 3)), server_copy.CopyResponse(1, 2, 3)),
    Sample("SMB2_DUPLICATE_EXTENTS_DATA", server_copy.decode_duplicate_extents,
           server_copy.encode_duplicate_extents(_DUPLICATE), _DUPLICATE),
    Sample("SMB2_DUPLICATE_EXTENTS_DATA_EX", server_copy.decode_duplicate_extents_ex,
           server_copy.encode_duplicate_extents_ex(_DUPLICATE, 1), _DUPLICATE),
    Sample("SRV_REQUEST_RESUME_KEY", server_copy.decode_resume_key,
           server_copy.encode_resume_key(KEY + bytes(8)), KEY + bytes(8)),
]  # fmt: skip

SAMPLES: list[Sample] = [
    *(_message(f"{type(value).__name__} {number}", decode, encode(value), value, spare)
      for number, (value, decode, encode, spare) in enumerate(_REQUESTS)),
    *(_message(decode.__name__, decode, encode()) for decode, encode in _EMPTY),
    *_RESPONSES,
    *_PARTS,
]  # fmt: skip
