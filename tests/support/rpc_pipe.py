"""A server to look at, and hand-made packets to send to its pipes."""

from collections.abc import Sequence
from struct import pack, unpack_from
from uuid import UUID

from lamina.core.rpc.interface import Syntax
from lamina.core.rpc.pipes import RpcPipe, open_pipe
from lamina.core.rpc.srvsvc import SRVSVC
from lamina.core.rpc.view import ConnectionView, OpenFileView, SessionView, ShareView
from lamina.vfs_modules.token import ImpersonationToken

NDR = Syntax(UUID("8a885d04-1ceb-11c9-9fe8-08002b104860"), 2)
NDR64 = Syntax(UUID("71710533-beba-4937-8319-b5dbef9ccc36"), 1)
FEATURES = Syntax(UUID(bytes_le=bytes.fromhex("2c1cb76c12984045 0300000000000000")), 1)

USER = ImpersonationToken("S-1-5-21-1-2-3-1000", frozenset({"S-1-5-11"}), 1000, 1000)
ADMINISTRATOR = ImpersonationToken("S-1-5-21-1-2-3-500", frozenset({"S-1-5-32-544"}), 0, 0)


class FakeServer:
    """A `ServerView` of fixed contents."""

    name = "LAMINA"
    comment = "a server"
    domain = "WORKGROUP"
    version = (6, 1)

    def __init__(self, shares: Sequence[ShareView] = ()) -> None:
        self._shares = shares or [
            ShareView("data", "my data", encrypt=True, current_uses=2),
            ShareView("secret$", hidden=True),
            ShareView("IPC$", "Remote IPC", is_ipc=True),
        ]

    def now(self) -> float:
        return 1_000_000_000.25  # Sunday, 9 September 2001, 01:46:40 UTC

    def uptime(self) -> float:
        return 12.5

    def shares(self) -> Sequence[ShareView]:
        return self._shares

    def sessions(self) -> Sequence[SessionView]:
        return [SessionView("10.0.0.1", "bob", 2, 60, 5), SessionView("10.0.0.2", "DOM\\eve", is_guest=True)]

    def connections(self) -> Sequence[ConnectionView]:
        return [ConnectionView(1, "data", "10.0.0.1", "bob", 2, 60), ConnectionView(2, "IPC$", "10.0.0.2", "eve")]

    def open_files(self) -> Sequence[OpenFileView]:
        return [OpenFileView(7, "C:\\data\\x.txt", "bob", 1, 3), OpenFileView(8, "C:\\data\\y", "eve")]


def pipe(name: str = "srvsvc", token: ImpersonationToken = USER, shares: Sequence[ShareView] = ()) -> RpcPipe:
    return open_pipe(name, FakeServer(shares), token)


def packet(kind: int, body: bytes, flags: int = 3, call_id: int = 1, auth_length: int = 0) -> memoryview:
    head = pack("<BBBB4sHHI", 5, 0, kind, flags, b"\x10\0\0\0", 16 + len(body), auth_length, call_id)
    return memoryview(head + body)


def _syntax(syntax: Syntax) -> bytes:
    return syntax.uuid.bytes_le + pack("<HH", syntax.major, syntax.minor)


def bind(
    *contexts: tuple[int, Syntax, Syntax], kind: int = 11, max_receive: int = 4280, call_id: int = 1
) -> memoryview:
    """A bind (or alter_context) that proposes (context id, abstract syntax, transfer syntax)es."""
    body = pack("<HHIB3x", 4280, max_receive, 0, len(contexts))
    for context_id, abstract, transfer in contexts:
        body += pack("<HBx", context_id, 1) + _syntax(abstract) + _syntax(transfer)
    return packet(kind, body, call_id=call_id)


def request(opnum: int, stub: bytes, context_id: int = 0, flags: int = 3, call_id: int = 1) -> memoryview:
    return packet(0, pack("<IHH", len(stub), context_id, opnum) + stub, flags, call_id)


def bound(max_receive: int = 4280, shares: Sequence[ShareView] = (), token: ImpersonationToken = USER) -> RpcPipe:
    """A srvsvc pipe whose context 0 is srvsvc in NDR."""
    opened = pipe(shares=shares, token=token)
    opened.transceive(bind((0, SRVSVC.syntax, NDR), max_receive=max_receive), 4280)
    return opened


def results(bind_ack: bytes) -> list[tuple[int, int]]:
    """The (result, reason)s of a bind_ack or alter_context_resp."""
    (length,) = unpack_from("<H", bind_ack, 24)
    at = (26 + length + 3) & ~3
    return [unpack_from("<HH", bind_ack, at + 4 + 24 * index) for index in range(bind_ack[at])]


def kind_of(message: bytes) -> int:
    return message[2]


def fault_status(message: bytes) -> int:
    assert kind_of(message) == 3
    status: int = unpack_from("<I", message, 24)[0]
    return status


SHARE_ENUM = 15
REMOTE_TOD = 28
SHARE_ENUM_1 = pack("<IIIIIIII", 0, 1, 1, 0x20000, 0, 0, 0xFFFFFFFF, 0)
"""The stub of a NetrShareEnum at level 1 of everything."""
