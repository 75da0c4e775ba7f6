"""A blocking SMB2 client that sends what it is told to, well or badly formed. For tests only.

Each level can be used by itself: bytes (`send_raw`, `recv_raw`), messages (`send`, `recv`, `wait`), commands (`create`,
`read` …). Commands raise StatusError for any other status than success; `transact` returns the response whatever its
status. Several clients make several connections; `session_setup(bind=…)` makes a second channel.

    with WireClient("127.0.0.1", port) as client:
        client.negotiate()
        client.session_setup("user", "password")
        client.tree_connect("share")
        file = client.create("a.txt", access=GENERIC_ALL, disposition=FILE_OVERWRITE_IF)
        client.write(file, b"data")
        client.close(file)
"""

import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, NamedTuple, Self

import spnego

from lamina.core.crypto import preauth
from lamina.core.crypto.kdf import session_keys
from lamina.core.crypto.sealing import SPARE, TRANSFORM_HEADER_LENGTH, Cipher, make_cipher
from lamina.core.crypto.signing import AES_CMAC, AES_GMAC, HMAC_SHA256, Signer, make_signer
from lamina.core.wire import constants as smb
from lamina.core.wire.change_notify import ChangeNotifyRequest, encode_change_notify_request
from lamina.core.wire.close import CloseRequest, CloseResponse, decode_close_response, encode_close_request
from lamina.core.wire.constants import Command
from lamina.core.wire.create import CreateRequest, CreateResponse, decode_create_response, encode_create_request
from lamina.core.wire.empty import encode_empty
from lamina.core.wire.error import ErrorResponse, decode_error_response
from lamina.core.wire.flush import FlushRequest, encode_flush_request
from lamina.core.wire.header import Header, decode_header, pack_header_into, split_compound
from lamina.core.wire.ioctl import NO_FILE, IoctlRequest, IoctlResponse, decode_ioctl_response, encode_ioctl_request
from lamina.core.wire.lock import LockRequest, WireLock, encode_lock_request
from lamina.core.wire.negotiate import (
    EncryptionCapabilities,
    NegotiateContext,
    NegotiateRequest,
    NegotiateResponse,
    PreauthIntegrityCapabilities,
    SigningCapabilities,
    decode_negotiate_response,
    encode_negotiate_request,
)
from lamina.core.wire.query_directory import (
    QueryDirectoryRequest,
    decode_query_directory_response,
    encode_query_directory_request,
)
from lamina.core.wire.query_info import QueryInfoRequest, decode_query_info_response, encode_query_info_request
from lamina.core.wire.read import ReadRequest, decode_read_response, encode_read_request
from lamina.core.wire.session_setup import (
    SessionSetupRequest,
    SessionSetupResponse,
    decode_session_setup_response,
    encode_session_setup_request,
)
from lamina.core.wire.set_info import SetInfoRequest, encode_set_info_request
from lamina.core.wire.smb1 import encode_smb1_negotiate_request
from lamina.core.wire.tree_connect import (
    TreeConnectRequest,
    TreeConnectResponse,
    decode_tree_connect_response,
    encode_tree_connect_request,
)
from lamina.core.wire.write import WriteRequest, decode_write_response, encode_write_request
from lamina.ntfsa.status import NtStatus

ALL_DIALECTS = (smb.DIALECT_202, smb.DIALECT_210, smb.DIALECT_300, smb.DIALECT_302, smb.DIALECT_311)
ALL_CIPHERS = (
    smb.ENCRYPTION_AES128_GCM,
    smb.ENCRYPTION_AES128_CCM,
    smb.ENCRYPTION_AES256_GCM,
    smb.ENCRYPTION_AES256_CCM,
)
ALL_SIGNING = (AES_GMAC, AES_CMAC, HMAC_SHA256)
RELATED_FILE = (NO_FILE, NO_FILE)
"""The file id of the request before in a related compound."""

_FRAME = struct.Struct(">I")
_CREDITS_WANTED = 64
_MAXIMUM_ALLOWED = 0x02000000
_FILE_SHARE_ALL = 7
_FILE_OPEN = 1


class StatusError(Exception):
    """A command was answered with another status than success."""

    def __init__(self, response: "Response") -> None:
        super().__init__(f"{_command_name(response.header.command)}: {status_name(response.status)}")
        self.status = response.status
        self.response = response


class ConnectionClosedError(Exception):
    """The server closed the connection."""


class Response(NamedTuple):
    """One response: its header and, from the header on, its bytes. `encrypted`: it came in a transform header."""

    header: Header
    message: memoryview
    encrypted: bool = False

    @property
    def status(self) -> int:
        return self.header.status

    @property
    def signed(self) -> bool:
        return bool(self.header.flags & smb.FLAGS_SIGNED)

    def error(self) -> ErrorResponse:
        """The body of an ERROR response."""
        return decode_error_response(self.message)

    def check(self, *allowed: int) -> Self:
        """Raise StatusError unless the status is SUCCESS or one of `allowed`."""
        if self.status and self.status not in allowed:
            raise StatusError(self)
        return self


class Open(NamedTuple):
    """An open file, to be given to the commands; `response` tells what CREATE said of it."""

    persistent: int
    volatile: int
    response: CreateResponse

    @property
    def file_id(self) -> tuple[int, int]:
        return self.persistent, self.volatile


FileId = Open | tuple[int, int]


@dataclass
class Session:
    """A session as one connection sees it: the channels of a session share everything but the signer."""

    session_id: int
    preauth_hash: bytes
    signer: Signer | None = None
    sealer: Cipher | None = None
    opener: Cipher | None = None
    sign: bool = True
    encrypt: bool = False
    flags: int = 0
    key: bytes = b""


def _command_name(command: int) -> str:
    return Command(command).name if command in set(Command) else hex(command)


def status_name(status: int) -> str:
    """The name of an NTSTATUS, or its number in hexadecimal."""
    try:
        return NtStatus(status).name
    except ValueError:
        return f"{status:#010x}"


def _file_id(file: FileId) -> tuple[int, int]:
    return file.file_id if isinstance(file, Open) else file


class WireClient:
    """One connection."""

    def __init__(self, host: str, port: int, timeout: float = 10.0, client_guid: bytes = b"wire-client-guid") -> None:
        self.host = host
        self.socket = self._connect(port, timeout)
        self.client_guid = client_guid
        self.dialect = 0
        self.cipher = 0
        self.signing_algorithm = HMAC_SHA256
        self.preauth_hash = preauth.INITIAL_HASH
        self.negotiated: NegotiateResponse | None = None
        self.negotiate_request: NegotiateRequest | None = None
        self.message_id = 0
        self.credits = 1
        self.sessions: dict[int, Session] = {}
        self.session: Session | None = None
        self.tree_id = 0
        self.verify_signatures = True
        self.unclaimed: list[Response] = []

    def _connect(self, port: int, timeout: float) -> socket.socket:
        return socket.create_connection((self.host, port), timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        """Close the connection without a word to the server."""
        self.socket.close()

    # -- bytes -------------------------------------------------------------------------------------------------------

    def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes as they are, without the transport's length."""
        self.socket.sendall(data)

    def send_raw(self, message: bytes | bytearray | memoryview) -> None:
        """Send one frame: the transport's length (MS-SMB2 2.1) and `message`."""
        self.socket.sendall(b"".join((_FRAME.pack(len(message)), message)))

    def recv_raw(self) -> bytearray:
        """Receive one frame, without its length. Raises ConnectionClosedError at its end, TimeoutError too late."""
        (length,) = _FRAME.unpack(self._recv_exactly(4))
        return self._recv_exactly(length)

    def _recv_exactly(self, length: int) -> bytearray:
        data = bytearray(length)
        view = memoryview(data)
        while view:
            try:
                count = self.socket.recv_into(view)
            except ConnectionResetError:
                count = 0
            if not count:
                raise ConnectionClosedError
            view = view[count:]
        return data

    def is_closed_by_server(self) -> bool:
        """Wait until the server closes the connection; True if it does, False if it sends something first."""
        try:
            return not self.socket.recv(1)
        except ConnectionResetError:
            return True

    # -- messages out ------------------------------------------------------------------------------------------------

    def build(
        self,
        command: int,
        body: bytes,
        *,
        message_id: int | None = None,
        payload: int = 0,
        charge: int | None = None,
        sign: bool | None = None,
        **header: Any,
    ) -> bytearray:
        """A message ready to be sent; what is not given is as it should be.

        `payload` is what the credit charge is reckoned from, in bytes; `header` are fields of pack_header_into.
        """
        if charge is None:
            charge = 1 + max(payload - 1, 0) // 65536 if self.dialect > smb.DIALECT_202 else 0
        if message_id is None:
            message_id = self.message_id
            self.message_id += charge or 1
        session = self.session
        header.setdefault("session_id", session.session_id if session else 0)
        header.setdefault("tree_id", self.tree_id)
        header.setdefault("credits", _CREDITS_WANTED)
        header.setdefault("flags", 0)
        message = bytearray(smb.HEADER_SIZE) + body
        pack_header_into(message, 0, command=command, message_id=message_id, credit_charge=charge, **header)
        if self._should_sign(sign):
            self.sign(message)
        return message

    def _should_sign(self, sign: bool | None) -> bool:
        session = self.session
        if sign is not None:
            return sign
        return session is not None and session.signer is not None and session.sign and not session.encrypt

    def sign(self, message: bytearray | memoryview, signer: Signer | None = None) -> None:
        """Set FLAGS_SIGNED in a message and sign it with the session's key, or with `signer`."""
        signer = signer or (self.session.signer if self.session else None)
        assert signer is not None, "there is no key to sign with"
        message[16] |= smb.FLAGS_SIGNED
        signer.sign(message)

    def send_message(self, message: bytes | bytearray, encrypt: bool | None = None) -> None:
        """Send a built message or chain, encrypted where the session is or `encrypt` says so."""
        session = self.session
        if encrypt is None:
            encrypt = session is not None and session.encrypt and session.sealer is not None
        self.send_raw(self.seal(message) if encrypt else message)

    def seal(self, message: bytes | bytearray) -> memoryview:
        """`message` encrypted with the session's key, transform header in front."""
        assert self.session is not None
        assert self.session.sealer is not None, "the session has no encryption key"
        buffer = bytearray(TRANSFORM_HEADER_LENGTH) + message + bytes(SPARE)
        self.session.sealer.seal_in_place(buffer, self.session.session_id, spare=True)
        return memoryview(buffer)[:-SPARE]

    def send(self, command: int, body: bytes, *, encrypt: bool | None = None, **options: Any) -> int:
        """Send one request and return its message id; `options` as for `build`."""
        if encrypt:
            options.setdefault("sign", False)
        message = self.build(command, body, **options)
        self.send_message(message, encrypt)
        return decode_header(memoryview(message)).message_id

    # -- messages in -------------------------------------------------------------------------------------------------

    def recv(self) -> Response:
        """The next response; those of a compound come one by one. Signatures are checked where there is a key."""
        if not self.unclaimed:
            self.unclaimed = self.recv_chain()
        return self.unclaimed.pop(0)

    def recv_chain(self) -> list[Response]:
        """The responses of the next frame, past those that are waiting."""
        message = memoryview(self.recv_raw())
        encrypted = bytes(message[:4]) == smb.TRANSFORM_PROTOCOL_ID
        if encrypted:
            message = self._open(message)
        responses = []
        for part in split_compound(message, 1000):
            response = Response(decode_header(part), part, encrypted)
            self.credits += response.header.credits
            self._verify(response)
            responses.append(response)
        return responses

    def _open(self, message: memoryview) -> memoryview:
        (session_id,) = struct.unpack_from("<Q", message, 44)
        opener = self.sessions[session_id].opener
        assert opener is not None
        plain = opener.open_in_place(message)
        assert plain is not None, "a response that cannot be decrypted"
        return plain

    def _verify(self, response: Response) -> None:
        session = self.sessions.get(response.header.session_id)
        if not self.verify_signatures or not response.signed or session is None or session.signer is None:
            return
        assert session.signer.verify(response.message), "a response with a wrong signature"

    def wait(self, message_id: int) -> Response:
        """The final response to a request; what comes before it is kept for others, interim responses are not."""
        kept: list[Response] = []
        try:
            while True:
                response = self.recv()
                if response.header.message_id != message_id:
                    kept.append(response)
                elif response.status != NtStatus.PENDING:
                    return response
        finally:
            self.unclaimed = kept + self.unclaimed

    def wait_interim(self, message_id: int) -> Response:
        """The interim response to a request; its header has the `async_id`."""
        response = self.recv()
        assert response.header.message_id == message_id, (
            f"a response to message {response.header.message_id} came first"
        )
        assert response.status == NtStatus.PENDING, f"not an interim response: {status_name(response.status)}"
        return response

    def transact(self, command: int, body: bytes, **options: Any) -> Response:
        """Send one request and wait for its final response, whatever its status."""
        return self.wait(self.send(command, body, **options))

    def compound(
        self, requests: Sequence[tuple[int, bytes]], related: bool = True, encrypt: bool | None = None, **options: Any
    ) -> list[Response]:
        """Send (command, body) pairs as one chain; their final responses in the order of the requests."""
        chain, message_ids = self.build_chain(requests, related, **options)
        self.send_message(chain, encrypt)
        return [self.wait(message_id) for message_id in message_ids]

    def build_chain(
        self, requests: Sequence[tuple[int, bytes]], related: bool = True, **options: Any
    ) -> tuple[bytearray, list[int]]:
        """The bytes of a chain and its message ids; each part but the last one padded to 8 bytes, each one signed."""
        chain, message_ids = bytearray(), []
        for index, (command, body) in enumerate(requests):
            last = index == len(requests) - 1
            padded = body if last else body.ljust((len(body) + 7) & ~7, b"\0")
            flags = smb.FLAGS_RELATED_OPERATIONS if related and index else 0
            following = 0 if last else smb.HEADER_SIZE + len(padded)
            message = self.build(command, padded, flags=flags, next_command=following, **options)
            message_ids.append(decode_header(memoryview(message)).message_id)
            chain += message
        return chain, message_ids

    def cancel(self, message_id: int, async_id: int = 0, **options: Any) -> None:
        """Send CANCEL for a request, by its async id if it has one; there is no answer."""
        if async_id:
            options |= {"async_id": async_id, "flags": options.get("flags", 0) | smb.FLAGS_ASYNC_COMMAND}
        self.send(Command.CANCEL, encode_empty(), message_id=message_id, charge=0, credits=0, **options)

    # -- connection and session --------------------------------------------------------------------------------------

    def negotiate(
        self,
        dialects: Sequence[int] = ALL_DIALECTS,
        *,
        ciphers: Sequence[int] = ALL_CIPHERS,
        signing: Sequence[int] = ALL_SIGNING,
        contexts: Sequence[NegotiateContext] | None = None,
        capabilities: int = 0x7F,
        security_mode: int = smb.NEGOTIATE_SIGNING_ENABLED,
    ) -> NegotiateResponse:
        """Negotiate. `contexts` replaces those made of `ciphers` and `signing`; none are sent without 3.1.1."""
        if contexts is None:
            contexts = self._default_contexts(ciphers, signing) if smb.DIALECT_311 in dialects else ()
        request = NegotiateRequest(tuple(dialects), security_mode, capabilities, self.client_guid)
        self.negotiate_request = request
        message = self.build(Command.NEGOTIATE, encode_negotiate_request(request, contexts))
        self.send_message(message)
        return self._negotiated(message, self.recv().check())

    @staticmethod
    def _default_contexts(ciphers: Sequence[int], signing: Sequence[int]) -> list[NegotiateContext]:
        contexts: list[NegotiateContext] = [PreauthIntegrityCapabilities((smb.HASH_SHA_512,), bytes(range(32)))]
        if ciphers:
            contexts.append(EncryptionCapabilities(tuple(ciphers)))
        if signing:
            contexts.append(SigningCapabilities(tuple(signing)))
        return contexts

    def _negotiated(self, request: bytearray, response: Response) -> NegotiateResponse:
        answer = decode_negotiate_response(response.message)
        self.negotiated = answer
        self.dialect = answer.dialect
        if answer.dialect == smb.DIALECT_311:
            for message in (request, response.message):
                self.preauth_hash = preauth.update(self.preauth_hash, message)
            self.cipher = answer.contexts.encryption.ciphers[0] if answer.contexts.encryption else 0
            self.signing_algorithm = answer.contexts.signing.algorithms[0] if answer.contexts.signing else AES_CMAC
        elif answer.dialect in (smb.DIALECT_300, smb.DIALECT_302):
            self.cipher = smb.ENCRYPTION_AES128_CCM if answer.capabilities & smb.GLOBAL_CAP_ENCRYPTION else 0
            self.signing_algorithm = AES_CMAC
        return answer

    def negotiate_smb1(self, dialects: Sequence[str] = ("NT LM 0.12", "SMB 2.002", "SMB 2.???")) -> NegotiateResponse:
        """Begin with an SMB1 NEGOTIATE; after the answer DIALECT_WILDCARD an ordinary `negotiate` follows."""
        self.send_raw(encode_smb1_negotiate_request(list(dialects)))
        self.message_id = 1
        return self._negotiated(bytearray(), self.recv().check())

    def session_setup(
        self,
        user: str,
        password: str,
        *,
        protocol: str = "ntlm",
        bind: Session | None = None,
        encrypt: bool | None = None,
        reauthenticate: bool = False,
        previous_session_id: int = 0,
        security_mode: int = smb.NEGOTIATE_SIGNING_ENABLED,
    ) -> SessionSetupResponse:
        """Authenticate and make the new session the current one.

        `bind`: a session of another connection, to be extended to this one. `reauthenticate`: the current session
        again. `encrypt`: whether to encrypt from now on; by default where the server wants it.
        """
        context = spnego.client(user, password, hostname=self.host, service="cifs", protocol=protocol)
        previous = self.session
        session = self._begin_session(bind, reauthenticate)
        request = SessionSetupRequest(
            b"", smb.SESSION_FLAG_BINDING if bind else 0, security_mode, 1, previous_session_id
        )
        hint = self.negotiated.security_buffer if self.negotiated and protocol == "negotiate" else b""
        token = context.step(bytes(hint) or None)
        try:
            while True:
                answer, response = self._setup_leg(session, request._replace(security_buffer=token or b""))
                token = context.step(bytes(answer.security_buffer)) if answer.security_buffer else None
                if response.status == NtStatus.SUCCESS:
                    break
        except BaseException:
            self.session = previous
            raise
        session.flags = answer.session_flags
        if not reauthenticate:
            self._establish(session, context.session_key, bind, response)
        if encrypt is not None or answer.session_flags & smb.SESSION_FLAG_ENCRYPT_DATA:
            session.encrypt = encrypt is not False
        return answer

    def _begin_session(self, bind: Session | None, reauthenticate: bool) -> Session:
        if reauthenticate:
            assert self.session is not None
            self.session.preauth_hash = self.preauth_hash
        elif bind is not None:
            self.session = replace(bind, preauth_hash=self.preauth_hash, encrypt=False)
        else:
            self.session = None
            return Session(0, self.preauth_hash)
        return self.session

    def _setup_leg(self, session: Session, request: SessionSetupRequest) -> tuple[SessionSetupResponse, Response]:
        """One request and its response; a failure raises. The hash goes on until the last response."""
        message = self.build(
            Command.SESSION_SETUP, encode_session_setup_request(request), session_id=session.session_id, tree_id=0
        )
        session.preauth_hash = preauth.update(session.preauth_hash, message)
        self.send_message(message)
        # A final response to a binding is signed with the key that is about to be made: checked in _establish.
        wanted, self.verify_signatures = self.verify_signatures, False
        try:
            response = self.recv().check(NtStatus.MORE_PROCESSING_REQUIRED)
        finally:
            self.verify_signatures = wanted
        session.session_id = response.header.session_id
        if response.status == NtStatus.MORE_PROCESSING_REQUIRED:
            session.preauth_hash = preauth.update(session.preauth_hash, response.message)
        return decode_session_setup_response(response.message), response

    def _establish(self, session: Session, key: bytes, bind: Session | None, response: Response) -> None:
        keys = session_keys(self.dialect, key, key, session.preauth_hash, self.cipher)
        self.session = self.sessions[session.session_id] = session
        anonymous = session.flags & (smb.SESSION_FLAG_IS_GUEST | smb.SESSION_FLAG_IS_NULL)
        session.key = key
        session.signer = None if anonymous else make_signer(self.signing_algorithm, keys.signing)
        if self.cipher and bind is None and not anonymous:
            session.sealer = make_cipher(self.cipher, keys.decryption)
            session.opener = make_cipher(self.cipher, keys.encryption)
        session.encrypt = bind.encrypt if bind else False
        self._verify(response)

    def logoff(self) -> Response:
        """End the current session."""
        return self.transact(Command.LOGOFF, encode_empty(), tree_id=0).check()

    def tree_connect(self, share: str, **options: Any) -> TreeConnectResponse:
        r"""Connect to a share, by its name or "\\server\share", and make it the current tree."""
        path = share if share.startswith("\\\\") else f"\\\\{self.host}\\{share}"
        body = encode_tree_connect_request(TreeConnectRequest(path))
        response = self.transact(Command.TREE_CONNECT, body, tree_id=0, **options).check()
        self.tree_id = response.header.tree_id
        answer = decode_tree_connect_response(response.message)
        if answer.share_flags & smb.SHAREFLAG_ENCRYPT_DATA and self.session is not None:
            self.session.encrypt = True
        return answer

    def tree_disconnect(self) -> Response:
        """Leave the current tree."""
        return self.transact(Command.TREE_DISCONNECT, encode_empty()).check()

    def echo(self, **options: Any) -> Response:
        """Ask whether the connection lives."""
        return self.transact(Command.ECHO, encode_empty(), **options).check()

    # -- files -------------------------------------------------------------------------------------------------------

    def create(
        self,
        path: str,
        *,
        access: int = _MAXIMUM_ALLOWED,
        disposition: int = _FILE_OPEN,
        share: int = _FILE_SHARE_ALL,
        attributes: int = 0,
        options: int = 0,
        oplock_level: int = 0,
        contexts: Mapping[bytes, bytes] | None = None,
        **header: Any,
    ) -> Open:
        """Open or create a file."""
        request = CreateRequest(path, access, attributes, share, disposition, options, oplock_level)
        body = encode_create_request(request._replace(contexts=contexts or {}))
        answer = decode_create_response(self.transact(Command.CREATE, body, **header).check().message)
        return Open(answer.persistent, answer.volatile, answer)

    def close(self, file: FileId, flags: int = 0, **options: Any) -> CloseResponse:
        """Close a file."""
        body = encode_close_request(CloseRequest(*_file_id(file), flags))
        return decode_close_response(self.transact(Command.CLOSE, body, **options).check().message)

    def flush(self, file: FileId, **options: Any) -> Response:
        """Make what was written durable."""
        return self.transact(Command.FLUSH, encode_flush_request(FlushRequest(*_file_id(file))), **options).check()

    def read(self, file: FileId, length: int, offset: int = 0, minimum_count: int = 0, **options: Any) -> bytes:
        """Read up to `length` bytes; of a longer message of a pipe the beginning."""
        body = encode_read_request(ReadRequest(*_file_id(file), offset, length, minimum_count))
        response = self.transact(Command.READ, body, payload=length, **options).check(NtStatus.BUFFER_OVERFLOW)
        return bytes(decode_read_response(response.message).data)

    def write(self, file: FileId, data: bytes, offset: int = 0, flags: int = 0, **options: Any) -> int:
        """Write; returns how many bytes were."""
        body = encode_write_request(WriteRequest(*_file_id(file), offset, data, flags))
        response = self.transact(Command.WRITE, body, payload=len(data), **options).check()
        return decode_write_response(response.message).written

    def lock(self, file: FileId, locks: Sequence[tuple[int, int, int]], sequence: int = 0, **options: Any) -> Response:
        """Lock or unlock (offset, length, LOCKFLAG_*) ranges."""
        elements = tuple(WireLock(*element) for element in locks)
        body = encode_lock_request(LockRequest(*_file_id(file), elements, sequence))
        return self.transact(Command.LOCK, body, **options).check()

    def send_lock(self, file: FileId, locks: Sequence[tuple[int, int, int]], sequence: int = 0, **options: Any) -> int:
        """The same without waiting for the response; returns the message id to wait for."""
        elements = tuple(WireLock(*element) for element in locks)
        return self.send(Command.LOCK, encode_lock_request(LockRequest(*_file_id(file), elements, sequence)), **options)

    def ioctl(
        self, code: int, data: bytes = b"", file: FileId = RELATED_FILE, max_output: int = 65536, **options: Any
    ) -> IoctlResponse:
        """Run a file system control code; without `file` with the file id that means none."""
        body = encode_ioctl_request(IoctlRequest(code, *_file_id(file), data, max_output))
        payload = max(len(data), max_output)
        response = self.transact(Command.IOCTL, body, payload=payload, **options).check(NtStatus.BUFFER_OVERFLOW)
        return decode_ioctl_response(response.message)

    def query_directory(
        self,
        file: FileId,
        pattern: str = "*",
        info_class: int = 37,
        *,
        flags: int = 0,
        file_index: int = 0,
        max_length: int = 65536,
        **options: Any,
    ) -> bytes:
        """One answer's worth of entries, in the structure of `info_class` (MS-FSCC 2.4; 37: FileIdBothDirectory)."""
        request = QueryDirectoryRequest(*_file_id(file), info_class, pattern, max_length, flags, file_index)
        body = encode_query_directory_request(request)
        response = self.transact(Command.QUERY_DIRECTORY, body, payload=max_length, **options).check()
        return bytes(decode_query_directory_response(response.message))

    def query_info(
        self,
        file: FileId,
        info_type: int,
        info_class: int,
        *,
        max_length: int = 65536,
        additional: int = 0,
        data: bytes = b"",
        **options: Any,
    ) -> bytes:
        """File, file-system or security information; as much as fits."""
        request = QueryInfoRequest(*_file_id(file), info_type, info_class, max_length, additional, 0, data)
        body = encode_query_info_request(request)
        response = self.transact(Command.QUERY_INFO, body, payload=max_length, **options)
        return bytes(decode_query_info_response(response.check(NtStatus.BUFFER_OVERFLOW).message))

    def set_info(
        self, file: FileId, info_type: int, info_class: int, data: bytes, additional: int = 0, **options: Any
    ) -> Response:
        """Set file, file-system or security information."""
        request = SetInfoRequest(*_file_id(file), info_type, info_class, memoryview(data), additional)
        return self.transact(Command.SET_INFO, encode_set_info_request(request), payload=len(data), **options).check()

    def send_change_notify(self, file: FileId, completion_filter: int, flags: int = 0, max_length: int = 65536) -> int:
        """Ask to be told of changes; returns the message id to wait for."""
        request = ChangeNotifyRequest(*_file_id(file), completion_filter, max_length, flags)
        return self.send(Command.CHANGE_NOTIFY, encode_change_notify_request(request), payload=max_length)
