"""smbprotocol's low-level interface with durable handles: a program that loses its connection goes on with its file."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from smbprotocol.connection import Connection
from smbprotocol.create_contexts import (
    CreateContextName,
    LeaseState,
    SMB2CreateContextRequest,
    SMB2CreateDurableHandleReconnectV2,
    SMB2CreateDurableHandleRequestV2,
    SMB2CreateRequestLeaseV2,
)
from smbprotocol.exceptions import ObjectNameNotFound
from smbprotocol.open import (
    CreateDisposition,
    CreateOptions,
    FileAttributes,
    FilePipePrinterAccessMask,
    ImpersonationLevel,
    Open,
    RequestedOplockLevel,
    ShareAccess,
)
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

from tests.support.processes import ServerProcess

ACCESS = FilePipePrinterAccessMask.GENERIC_READ | FilePipePrinterAccessMask.GENERIC_WRITE
LEASE_KEY = uuid.uuid4().bytes_le


class Client:
    """A program, which keeps its name when it connects again."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._guid = uuid.uuid4()
        self.create_guid = uuid.uuid4()
        self.connect()

    def connect(self) -> None:
        user = self._server.user
        self.connection = Connection(self._guid, self._server.host, self._server.port)
        self.connection.connect()
        session = Session(self.connection, user.name, user.password, require_encryption=False, auth_protocol="ntlm")
        session.connect()
        self.tree = TreeConnect(session, rf"\\{self._server.host}\share")
        self.tree.connect()

    def lose_connection(self) -> None:
        self.connection.transport.close()

    def open(self, path: str, contexts: list[SMB2CreateContextRequest]) -> Open:
        file = Open(self.tree, path)
        file.create(
            ImpersonationLevel.Impersonation,
            ACCESS,
            FileAttributes.FILE_ATTRIBUTE_NORMAL,
            ShareAccess.FILE_SHARE_READ,
            CreateDisposition.FILE_OPEN_IF,
            CreateOptions.FILE_NON_DIRECTORY_FILE,
            create_contexts=contexts,
            oplock_level=RequestedOplockLevel.SMB2_OPLOCK_LEVEL_LEASE,
        )
        return file

    def open_durable(self, path: str) -> Open:
        asked = SMB2CreateDurableHandleRequestV2()
        asked["create_guid"] = self.create_guid
        return self.open(path, [_context("SMB2_CREATE_DURABLE_HANDLE_REQUEST_V2", asked), _lease()])

    def open_again(self, lost: Open) -> Open:
        asked = SMB2CreateDurableHandleReconnectV2()
        asked["file_id"] = lost.file_id
        asked["create_guid"] = self.create_guid
        return self.open(lost.file_name, [_context("SMB2_CREATE_DURABLE_HANDLE_RECONNECT_V2", asked), _lease()])


def _lease() -> SMB2CreateContextRequest:
    lease = SMB2CreateRequestLeaseV2()
    lease["lease_key"] = LEASE_KEY
    lease["parent_lease_key"] = bytes(16)
    lease["epoch"] = bytes(2)
    for right in (LeaseState.SMB2_LEASE_READ_CACHING, LeaseState.SMB2_LEASE_HANDLE_CACHING):
        lease["lease_state"].set_flag(right)
    return _context("SMB2_CREATE_REQUEST_LEASE_V2", lease)


def _context(name: str, data: object) -> SMB2CreateContextRequest:
    context = SMB2CreateContextRequest()
    context["buffer_name"] = getattr(CreateContextName, name)
    context["buffer_data"] = data
    return context


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    connected = Client(server)
    yield connected
    connected.connection.disconnect()


def test_a_program_that_loses_its_connection_goes_on(client: Client, place: Path) -> None:
    file = client.open_durable(rf"{place.name}\file")
    file.write(b"written before, ", 0)
    client.lose_connection()
    client.connect()
    again = client.open_again(file)
    again.write(b"and after", 16)
    assert again.read(0, 100) == b"written before, and after"
    again.close()
    assert (place / "file").read_bytes() == b"written before, and after"


def test_another_program_gets_nothing(client: Client, server: ServerProcess, place: Path) -> None:
    file = client.open_durable(rf"{place.name}\file")
    client.lose_connection()
    other = Client(server)
    other.create_guid = client.create_guid
    with pytest.raises(ObjectNameNotFound):
        other.open_again(file)
    other.connection.disconnect()
    client.connect()
    client.open_again(file).close()
