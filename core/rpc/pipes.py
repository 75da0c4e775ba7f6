"""Named pipes as the SMB engine sees them: opened by name, written, read, and transacted in one step.

A pipe is in message mode (MS-CIFS 2.2.4 and MS-SMB2 3.3.5.15.3): each packet of the server is a message, a read returns
one message or a part of it, and BUFFER_OVERFLOW says that more of the same message is to be read.
"""

import asyncio
from collections import deque
from struct import Struct
from typing import Final

from lamina.core.rpc.association import Association
from lamina.core.rpc.interface import Caller
from lamina.core.rpc.srvsvc import SRVSVC
from lamina.core.rpc.view import ServerView
from lamina.core.rpc.wkssvc import WKSSVC
from lamina.ntfsa.information import Information
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules import engine
from lamina.vfs_modules.token import ImpersonationToken

MAX_UNREAD: Final = 4 * 1024 * 1024
"""Answers that a client may leave unread before it cannot write more, in bytes."""

_ENDPOINTS: Final = frozenset({"srvsvc", "wkssvc"})
_INTERFACES: Final = (SRVSVC, WKSSVC)

_SMB2_0_INFO_FILE: Final = 1
# FSCC 2.4.47: AllocationSize, EndOfFile, NumberOfLinks, DeletePending, Directory
_STANDARD: Final = Struct("<QQIBB2x")
# FSCC 2.4.37: ReadMode (message), CompletionMode (queue)
_PIPE: Final = Struct("<II")
# FSCC 2.4.38: type, configuration, maximum and current instances, inbound quota, read available, outbound quota,
# write quota, state, end
_PIPE_LOCAL: Final = Struct("<10I")
_PIPE_QUOTA: Final = 4096
_MESSAGE_MODE: Final = 1
_FULL_DUPLEX: Final = 2
_CONNECTED: Final = 3
_UNLIMITED_INSTANCES: Final = 0xFFFFFFFF


def open_pipe(name: str, view: ServerView, token: ImpersonationToken) -> "RpcPipe":
    """Open the pipe `name`, without case, with or without a leading backslash.

    Raises OBJECT_NAME_NOT_FOUND for a pipe that there is none of.
    """
    endpoint = name.removeprefix("\\").casefold()
    if endpoint not in _ENDPOINTS:
        raise NtStatusError(NtStatus.OBJECT_NAME_NOT_FOUND, f"no pipe {name!r}")
    return RpcPipe(endpoint, Caller(view, token))


class RpcPipe:
    """The client's end of a pipe with an RPC server at the other."""

    __slots__ = ("_association", "_closed", "_messages", "_unread", "_waiting", "_writing", "name")

    def __init__(self, endpoint: str, caller: Caller) -> None:
        self.name = endpoint
        # Both services live in one process and are reached by either pipe, as on Windows.
        self._association = Association(f"\\PIPE\\{endpoint}", _INTERFACES, caller)
        self._messages: deque[memoryview] = deque()
        self._unread = 0
        self._closed = False
        self._writing = False
        self._waiting: list[asyncio.Future[None]] = []

    def write(self, data: memoryview) -> int:
        """Write a packet, or any cut of one; returns how many bytes, which are all.

        Raises PIPE_DISCONNECTED after the association has ended, PIPE_BUSY when too many answers are unread.
        """
        self._wait_for_answer()
        self._check_connected()
        if self._unread > MAX_UNREAD:
            raise NtStatusError(NtStatus.PIPE_BUSY, "too many answers are unread")
        self._writing = True
        try:
            for message in self._association.receive(data):
                self._messages.append(memoryview(message))
                self._unread += len(message)
        finally:
            self._writing = False
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)
        return len(data)

    def _wait_for_answer(self) -> None:
        # A procedure may have to ask other workers; packets are answered one after the other.
        while self._writing:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            engine.wait(future)

    def read(self, max_length: int) -> Information:
        """Read the next message, or as much of it as fits, which is then BUFFER_OVERFLOW.

        Raises PIPE_EMPTY when there is none, PIPE_DISCONNECTED when there will be none.
        """
        self._wait_for_answer()
        if not self._messages:
            self._check_connected()
            raise NtStatusError(NtStatus.PIPE_EMPTY)
        message = self._messages.popleft()
        if len(message) > max_length:
            self._messages.appendleft(message[max_length:])
        data = bytes(message[:max_length])
        self._unread -= len(data)
        return Information(NtStatus.SUCCESS if len(message) <= max_length else NtStatus.BUFFER_OVERFLOW, data)

    def transceive(self, data: memoryview, max_length: int) -> Information:
        """Write and read in one step (MS-SMB2 3.3.5.15.3). Raises PIPE_BUSY while an earlier answer is unread."""
        self._wait_for_answer()
        self._check_connected()
        if self._messages:
            raise NtStatusError(NtStatus.PIPE_BUSY, "an earlier answer is unread")
        self.write(data)
        return self.read(max_length)

    def query_info(self, info_type: int, info_class: int, max_length: int) -> Information:
        """What QUERY_INFO can ask of a pipe (MS-FSCC 2.4).

        Raises INVALID_INFO_CLASS for all but standard and pipe information, INFO_LENGTH_MISMATCH.
        """
        packed = self._information(info_class) if info_type == _SMB2_0_INFO_FILE else None
        if packed is None:
            raise NtStatusError(NtStatus.INVALID_INFO_CLASS, f"class {info_class} of type {info_type} on a pipe")
        if len(packed) > max_length:
            raise NtStatusError(NtStatus.INFO_LENGTH_MISMATCH)
        return Information(NtStatus.SUCCESS, packed)

    def _information(self, info_class: int) -> bytes | None:
        match info_class:
            case 5:  # FileStandardInformation
                return _STANDARD.pack(_PIPE_QUOTA, 0, 1, 1, 0)
            case 23:  # FilePipeInformation
                return _PIPE.pack(_MESSAGE_MODE, 0)
            case 24:  # FilePipeLocalInformation
                available = len(self._messages[0]) if self._messages else 0
                instances = _UNLIMITED_INSTANCES, 1
                quotas = _PIPE_QUOTA, available, _PIPE_QUOTA, _PIPE_QUOTA
                return _PIPE_LOCAL.pack(_MESSAGE_MODE, _FULL_DUPLEX, *instances, *quotas, _CONNECTED, 0)
        return None

    def close(self) -> None:
        """Forget everything; the pipe is disconnected from now on."""
        self._closed = True
        self._messages.clear()
        self._unread = 0

    def _check_connected(self) -> None:
        if self._closed or self._association.broken:
            raise NtStatusError(NtStatus.PIPE_DISCONNECTED)
