"""Connections that get to a chosen point of the conversation and are then dropped without a word."""

import contextlib
import socket
import struct
import uuid
from collections.abc import Callable, Mapping

import spnego
from smbprotocol.connection import Connection
from smbprotocol.exceptions import MoreProcessingRequired
from smbprotocol.open import (
    CreateDisposition,
    CreateOptions,
    DirectoryAccessMask,
    FileAttributes,
    FilePipePrinterAccessMask,
    ImpersonationLevel,
    LockFlags,
    Open,
    ShareAccess,
    SMB2LockElement,
    SMB2LockRequest,
)
from smbprotocol.session import Session, SMB2SessionSetupRequest
from smbprotocol.tree import TreeConnect

from tests.support.processes import ServerProcess


class Caller:
    """One connection on its way to where it is dropped. Each step includes those before it."""

    def __init__(self, server: ServerProcess, folder: str) -> None:
        self.server = server
        self.folder = folder
        self.connection = Connection(uuid.uuid4(), server.host, server.port)

    def drop(self) -> None:
        """Cut the line with a reset: nothing is closed, logged off or answered any more."""
        transport = self.connection.transport
        if transport is not None and transport._sock is not None:
            with contextlib.suppress(OSError):  # smbprotocol's own thread may have closed it just now
                transport._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.close()

    def negotiate(self) -> None:
        self.connection.connect()

    def half_a_session_setup(self) -> None:
        self.negotiate()
        context = spnego.client("nobody", "nothing", protocol="ntlm")
        request = SMB2SessionSetupRequest()
        request["security_mode"] = 1
        request["buffer"] = context.step()
        sent = self.connection.send(request)
        with contextlib.suppress(MoreProcessingRequired):
            self.connection.receive(sent)

    def session(self) -> Session:
        self.negotiate()
        user = self.server.user
        session = Session(self.connection, user.name, user.password, require_encryption=False, auth_protocol="ntlm")
        session.connect()
        return session

    def tree(self) -> TreeConnect:
        tree = TreeConnect(self.session(), rf"\\{self.server.host}\share")
        tree.connect()
        return tree

    def file(self, name: str = "") -> Open:
        opened = Open(self.tree(), rf"{self.folder}\{name or uuid.uuid4().hex}")
        opened.create(
            ImpersonationLevel.Impersonation,
            FilePipePrinterAccessMask.GENERIC_READ | FilePipePrinterAccessMask.GENERIC_WRITE,
            FileAttributes.FILE_ATTRIBUTE_NORMAL,
            ShareAccess.FILE_SHARE_READ | ShareAccess.FILE_SHARE_WRITE,
            CreateDisposition.FILE_OPEN_IF,
            CreateOptions.FILE_NON_DIRECTORY_FILE,
        )
        return opened

    def directory(self) -> None:
        opened = Open(self.tree(), self.folder)
        opened.create(
            ImpersonationLevel.Impersonation,
            DirectoryAccessMask.FILE_LIST_DIRECTORY,
            FileAttributes.FILE_ATTRIBUTE_DIRECTORY,
            ShareAccess.FILE_SHARE_READ,
            CreateDisposition.FILE_OPEN,
            CreateOptions.FILE_DIRECTORY_FILE,
        )

    def half_a_write(self) -> None:
        self.file()
        self.connection.transport._sock.sendall(struct.pack(">I", 65536) + b"\xfeSMB" + bytes(1000))

    def parked_lock(self) -> None:
        """One handle holds a lock that a second one of the same connection waits for."""
        name = uuid.uuid4().hex
        holder = self.file(name)
        self._lock(holder, LockFlags.SMB2_LOCKFLAG_FAIL_IMMEDIATELY, wait=True)
        waiter = Open(holder.tree_connect, holder.file_name)
        waiter.create(
            ImpersonationLevel.Impersonation,
            FilePipePrinterAccessMask.GENERIC_WRITE,
            FileAttributes.FILE_ATTRIBUTE_NORMAL,
            ShareAccess.FILE_SHARE_READ | ShareAccess.FILE_SHARE_WRITE,
            CreateDisposition.FILE_OPEN,
            CreateOptions.FILE_NON_DIRECTORY_FILE,
        )
        self._lock(waiter, 0, wait=False)
        self.connection.echo(sid=holder.tree_connect.session.session_id)

    def _lock(self, opened: Open, flags: int, *, wait: bool) -> None:
        element = SMB2LockElement()
        element["offset"] = 0
        element["length"] = 10
        element["flags"] = LockFlags.SMB2_LOCKFLAG_EXCLUSIVE_LOCK | flags
        request = SMB2LockRequest()
        request["file_id"] = opened.file_id
        request["locks"] = [element]
        tree = opened.tree_connect
        sent = self.connection.send(request, sid=tree.session.session_id, tid=tree.tree_connect_id)
        if wait:
            self.connection.receive(sent)


def only_connect(caller: Caller) -> None:
    """A TCP connection that says nothing; the library's own would negotiate."""
    socket.create_connection((caller.server.host, caller.server.port)).close()


POINTS: Mapping[str, Callable[[Caller], object]] = {
    "connected": only_connect,
    "negotiated": Caller.negotiate,
    "half a session setup": Caller.half_a_session_setup,
    "session": Caller.session,
    "tree": Caller.tree,
    "open file": Caller.file,
    "open directory": Caller.directory,
    "half a write": Caller.half_a_write,
    "parked lock": Caller.parked_lock,
}
"""Where a connection may break off, by name."""
