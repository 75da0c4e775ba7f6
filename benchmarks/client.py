"""Sets up authenticated SMB 3.1.1 sessions, for the load generator or to be idle; connects a share and logs off.

Written apart from the server's own codec on purpose, so that the two can not be wrong together. MS-SMB2 2.2.3, 2.2.5,
2.2.7, 2.2.9, 3.1.4.1, 3.1.4.2.
"""

import functools
import hashlib
import hmac
import os
import socket
from struct import pack, unpack_from
from typing import NamedTuple

import spnego
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from spnego._ntlm_raw.md4 import md4

_NEGOTIATE, _SESSION_SETUP, _LOGOFF, _TREE_CONNECT = 0, 1, 2, 3
_SIGNED, _BY_SERVER = 0x8, 1
_MORE_PROCESSING_REQUIRED = 0xC0000016
_SMB_3_1_1 = 0x0311
_LARGE_MTU, _ENCRYPTION = 0x04, 0x40
_PREAUTH, _CIPHERS, _SIGNING = 1, 2, 8
_SHA_512, _AES_128_GCM, _AES_GMAC = 1, 2, 2
_MIB = 1 << 20


class Account(NamedTuple):
    """Whom to log on as."""

    user: str
    password: str


class ClientError(Exception):
    """The server did not do what the benchmark needs."""


class Session(NamedTuple):
    """A logged-on connection, and what is needed to go on with it. `message_id` is the next to be used."""

    connection: socket.socket
    session_id: int
    message_id: int
    signing_key: bytes
    sending_key: bytes
    receiving_key: bytes
    tree_id: int = 0


class _Exchange:
    """The first messages of a connection, and the hash over them (3.1.4.2, PreauthIntegrityHashValue)."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.message_id = 0
        self.session_id = 0
        self.hash = bytes(64)

    def call(self, command: int, body: bytes, accepted: tuple[int, ...]) -> tuple[int, bytes]:
        """Send a request and give the status and the whole reply. The reply that ends a logon is not hashed."""
        header = pack(
            "<4sHHIHHIIQIIQ16x", b"\xfeSMB", 64, 1, 0, command, 64, 0, 0, self.message_id, 0, 0, self.session_id
        )
        self._hash(header + body)
        reply = _converse(self._connection, header + body)
        (status,) = unpack_from("<I", reply, 8)
        if status not in accepted:
            raise ClientError(f"command {command} was answered {status:#010x}")
        self.message_id += 1
        (self.session_id,) = unpack_from("<Q", reply, 40)
        if command == _NEGOTIATE or status:
            self._hash(reply)
        return status, reply

    def _hash(self, message: bytes) -> None:
        self.hash = hashlib.sha512(self.hash + message).digest()


def _converse(connection: socket.socket, message: bytes) -> bytes:
    """Send a message and give the next one that comes."""
    connection.sendall(pack(">I", len(message)) + message)
    (size,) = unpack_from(">I", _exactly(connection, 4))
    return _exactly(connection, size & 0xFFFFFF)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ClientError("the server hung up")
        data += more
    return data


def connect(port: int, account: Account) -> Session:
    """Connect to `port` of this machine and log on with NTLMv2. Raises `ClientError`, OSError, spnego's errors."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    exchange = _Exchange(connection)
    token = _negotiate(exchange)
    key = _log_on(exchange, account, token)
    connection.settimeout(None)
    return Session(
        connection,
        exchange.session_id,
        exchange.message_id,
        _derive(key, b"SMBSigningKey\0", exchange.hash),
        _derive(key, b"SMBC2SCipherKey\0", exchange.hash),
        _derive(key, b"SMBS2CCipherKey\0", exchange.hash),
    )


def _negotiate(exchange: _Exchange) -> bytes:
    """Negotiate 3.1.1 with AES-128-GCM and AES-GMAC; returns the server's security token."""
    head = pack("<HHHHI16sIHHH2x", 36, 1, 1, 0, _LARGE_MTU | _ENCRYPTION, os.urandom(16), 104, 3, 0, _SMB_3_1_1)
    contexts = _contexts(
        (_PREAUTH, pack("<HHH", 1, 32, _SHA_512) + os.urandom(32)),
        (_CIPHERS, pack("<HH", 1, _AES_128_GCM)),
        (_SIGNING, pack("<HH", 1, _AES_GMAC)),
    )
    _, reply = exchange.call(_NEGOTIATE, head + contexts, (0,))
    (dialect,) = unpack_from("<H", reply, 68)
    max_read, max_write = unpack_from("<II", reply, 96)
    if dialect != _SMB_3_1_1 or min(max_read, max_write) < _MIB:
        raise ClientError(f"dialect {dialect:#x}, reads of {max_read} and writes of {max_write} bytes: too little")
    offset, length = unpack_from("<HH", reply, 120)
    return reply[offset : offset + length]


def _contexts(*contexts: tuple[int, bytes]) -> bytes:
    packed = b""
    for kind, data in contexts:
        packed += bytes(-len(packed) % 8) + pack("<HHI", kind, len(data), 0) + data
    return packed


@functools.cache
def _nt_hash(password: str) -> str:
    """NTOWFv1 (MS-NLMP 3.3.1), once for each password: with it the client needs a third of the time to log on."""
    return md4(password.encode("utf-16-le")).hex()


def _log_on(exchange: _Exchange, account: Account, token: bytes) -> bytes:
    """Authenticate; returns the session key."""
    who = spnego.NTLMHash(account.user, nt_hash=_nt_hash(account.password))
    context = spnego.client(who, hostname="127.0.0.1", service="cifs", protocol="ntlm")
    status, offered = _MORE_PROCESSING_REQUIRED, None
    while status == _MORE_PROCESSING_REQUIRED:
        answer = context.step(offered) or b""
        body = pack("<HBBIIHHQ", 25, 0, 1, 0, 0, 88, len(answer), 0) + answer
        status, reply = exchange.call(_SESSION_SETUP, body, (0, _MORE_PROCESSING_REQUIRED))
        offset, length = unpack_from("<HH", reply, 68)
        offered = reply[offset : offset + length]
    return context.session_key[:16]


def _derive(key: bytes, label: bytes, context: bytes) -> bytes:
    """The key derivation of NIST SP 800-108 in counter mode (MS-SMB2 3.1.4.2), for 128 bits."""
    data = pack(">I", 1) + label + b"\0" + context + pack(">I", 128)
    return hmac.new(key, data, hashlib.sha256).digest()[:16]


def tree_connect(session: Session, unc: str) -> Session:
    """Connect a share; the session with what it is called from then on. Raises `ClientError`, OSError."""
    path = unc.encode("utf-16-le")
    reply = _call_signed(session, _TREE_CONNECT, pack("<HHHH", 9, 0, 72, len(path)) + path)
    (tree_id,) = unpack_from("<I", reply, 36)
    return session._replace(message_id=session.message_id + 1, tree_id=tree_id)


def log_off(session: Session) -> None:
    """End the session; the connection is the caller's to close. Raises `ClientError`, OSError."""
    _call_signed(session, _LOGOFF, pack("<HH", 4, 0))


def _call_signed(session: Session, command: int, body: bytes) -> bytes:
    """Send a signed request and give its reply, which must be a success with the right signature."""
    numbers = (command, 1, _SIGNED, 0, session.message_id, 0, session.tree_id, session.session_id)
    message = pack("<4sHHIHHIIQIIQ16x", b"\xfeSMB", 64, 1, 0, *numbers) + body
    reply = _converse(session.connection, _with_signature(session, message, 0))
    (status,) = unpack_from("<I", reply, 8)
    if status:
        raise ClientError(f"command {command} was answered {status:#010x}")
    if reply != _with_signature(session, reply, _BY_SERVER):
        raise ClientError(f"the signature of the reply to command {command} is wrong")
    return reply


def _with_signature(session: Session, message: bytes, by_server: int) -> bytes:
    """AES-128-GMAC of the message, in its place (3.1.4.1)."""
    unsigned = message[:48] + bytes(16) + message[64:]
    nonce = message[24:32] + pack("<I", by_server)
    return unsigned[:48] + AESGCM(session.signing_key).encrypt(nonce, b"", unsigned) + unsigned[64:]
