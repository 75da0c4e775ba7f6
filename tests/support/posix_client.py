"""What a client of the POSIX extensions of SMB 3.1.1 sends, and how it reads what it is told."""

import stat as st
import struct
from typing import Any, NamedTuple

from lamina.core.crypto.signing import AES_CMAC
from lamina.core.wire.constants import ENCRYPTION_AES128_GCM, HASH_SHA_512
from lamina.core.wire.create_contexts import POSIX, encode_posix_mode
from lamina.core.wire.negotiate import (
    EncryptionCapabilities,
    NegotiateContext,
    PosixExtensions,
    PreauthIntegrityCapabilities,
    SigningCapabilities,
)
from lamina.ntfsa.security.sid import parse_sid, sid_size
from lamina.ntfsa.status import NtStatus
from tests.support.served import PASSWORD, USER, Served
from tests.support.wire_client import Open, StatusError, WireClient

CLASS = 100
FILE_CREATE, FILE_OPEN, FILE_OPEN_IF = 2, 1, 3
FILE_DIRECTORY_FILE, FILE_DELETE_ON_CLOSE, FILE_OPEN_REPARSE_POINT = 0x1, 0x1000, 0x200000
_DIRECTORY = 0x10
_TYPES = (st.S_IFREG, st.S_IFDIR, st.S_IFLNK, st.S_IFCHR, st.S_IFBLK, st.S_IFIFO, st.S_IFSOCK)


class Details(NamedTuple):
    """The answer to the create context; `mode` as in stat."""

    links: int
    tag: int
    mode: int
    owner: str
    group: str


class Information(NamedTuple):
    """What class 100 tells."""

    times: tuple[int, ...]
    size: int
    allocated: int
    attributes: int
    inode: int
    device: int
    details: Details


def asking(*versions: bytes) -> list[NegotiateContext]:
    """The contexts of a client that asks for these versions of the extensions."""
    return [
        PreauthIntegrityCapabilities((HASH_SHA_512,), bytes(32)),
        EncryptionCapabilities((ENCRYPTION_AES128_GCM,)),
        SigningCapabilities((AES_CMAC,)),
        PosixExtensions(versions),
    ]


def posix_client(served: Served, share: str = "data", user: str = USER, password: str = PASSWORD) -> WireClient:
    """A client that has agreed on the extensions, connected to a share."""
    client = served.client()
    client.negotiate(contexts=asking(POSIX))
    client.session_setup(user, password)
    client.tree_connect(share)
    return client


def posix_open(client: WireClient, path: str, mode: int = 0o644, **asked: Any) -> Open:
    """Open or create a file with the create context."""
    return client.create(path, contexts={POSIX: encode_posix_mode(mode)}, **asked)


def answer(file: Open) -> Details:
    """What the create context was answered with."""
    directory = bool(file.response.file_attributes & _DIRECTORY)
    return parse_details(memoryview(file.response.contexts[POSIX]), directory)[0]


def parse_details(data: memoryview, directory: bool) -> tuple[Details, int]:
    links, tag, mode = struct.unpack_from("<III", data)
    at = 12 + sid_size(data, 12)
    end = at + sid_size(data, at)
    kind = st.S_IFDIR if directory and not mode >> 12 else _TYPES[mode >> 12]
    return Details(links, tag, kind | mode & 0o7777, parse_sid(data, 12), parse_sid(data, at)), end


def parse_information(data: memoryview) -> tuple[Information, int]:
    *times, size, allocated, attributes, inode, device, _ = struct.unpack_from("<6QIQII", data)
    details, length = parse_details(data[68:], bool(attributes & _DIRECTORY))
    return Information(tuple(times), size, allocated, attributes, inode, device, details), 68 + length


def information(client: WireClient, file: Open) -> Information:
    """What class 100 tells of an open file."""
    return parse_information(memoryview(client.query_info(file, 1, CLASS)))[0]


def listing(client: WireClient, path: str = "", room: int = 65536) -> dict[str, Information]:
    """All entries of a directory, in listings of class 100."""
    directory = posix_open(client, path, options=FILE_DIRECTORY_FILE)
    found: dict[str, Information] = {}
    while data := memoryview(_more_of(client, directory, room)):
        while data:
            (following,) = struct.unpack_from("<I", data)
            entry, end = parse_information(data[8:])
            (length,) = struct.unpack_from("<I", data, 8 + end)
            name = bytes(data[12 + end : 12 + end + length]).decode("utf-16-le", "surrogatepass")
            assert name not in found, f"{name!r} twice"
            found[name] = entry
            data = data[following:] if following else data[:0]
    client.close(directory)
    return found


def _more_of(client: WireClient, directory: Open, room: int) -> bytes:
    try:
        return client.query_directory(directory, info_class=CLASS, max_length=room)
    except StatusError as error:
        if error.status != NtStatus.NO_MORE_FILES:
            raise
        return b""
