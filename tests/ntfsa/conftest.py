"""A volume over a folder, and short forms of the operations, for the tests of what ntfsa does."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.content import data
from lamina.ntfsa.context import NtContext
from lamina.ntfsa.fscc.file_information import NetworkOpenInformation
from lamina.ntfsa.information import query_file, set_file
from lamina.ntfsa.listing.directory import query_directory
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.opening.close import close
from lamina.ntfsa.opening.create import CreateParameters, CreateResult, create
from lamina.ntfsa.registry import MemoryRegistry
from lamina.ntfsa.security.identities import UnixIdentities
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.volume import NtVolume, VolumeSettings
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.testing import local_chain, make_token

ALL = c.FILE_ALL_ACCESS


class Share:
    """A volume over `path` and one client of it."""

    def __init__(self, path: Path, *modules: VfsModule, settings: VolumeSettings | None = None) -> None:
        self.path = path
        follows = settings is None or settings.follow_symlinks
        self.chain = local_chain(path, *modules, follow_symlinks=follows)
        self.registry = MemoryRegistry()
        self.volume = NtVolume("test", self.chain, self.registry, UnixIdentities(), settings or VolumeSettings())
        # Root to NT, whoever runs the tests: what modes refuse is the matter of tests that say so.
        self.context = NtContext(make_token(0, 0))
        self.opens: list[NtOpen] = []

    def create(self, path: str, disposition: int = c.FILE_OPEN, **asked: object) -> CreateResult:
        wanted = {
            "desired_access": ALL,
            "file_attributes": 0,
            "share_access": c.FILE_SHARE_ALL,
            "options": 0,
            **asked,
        }
        result = create(self.context, self.volume, CreateParameters(path=path, disposition=disposition, **wanted))
        self.opens.append(result.open)
        return result

    def open(self, path: str, disposition: int = c.FILE_OPEN, **asked: object) -> NtOpen:
        return self.create(path, disposition, **asked).open

    def make(self, path: str, content: bytes = b"", **asked: object) -> None:
        """Make a file and close it."""
        made = self.open(path, c.FILE_CREATE, **asked)
        if content:
            self.write(made, content)
        self.close(made)

    def status(self, path: str, disposition: int = c.FILE_OPEN, **asked: object) -> NtStatus:
        """What an open ends with; a successful one is closed again."""
        try:
            opened = self.open(path, disposition, **asked)
        except NtStatusError as error:
            return error.status
        self.close(opened)
        return NtStatus.SUCCESS

    def close(self, open_: NtOpen, post_query: bool = False) -> NetworkOpenInformation | None:
        return close(self.context, open_, post_query)

    def read(self, open_: NtOpen, length: int, offset: int = 0) -> bytes:
        buffer = bytearray(length)
        return bytes(buffer[: data.read(self.context, open_, memoryview(buffer), offset)])

    def write(self, open_: NtOpen, content: bytes, offset: int = 0) -> int:
        return data.write(self.context, open_, memoryview(content), offset)

    def query(self, open_: NtOpen, info_class: int, max_length: int = 65536, input_: bytes = b"") -> bytes:
        return query_file(self.context, open_, info_class, max_length, input_).data

    def set(self, open_: NtOpen, info_class: int, value: bytes) -> None:
        set_file(self.context, open_, info_class, memoryview(value))

    def rename(self, open_: NtOpen, name: str, replace: bool = False) -> None:
        self.set(open_, c.FILE_RENAME_INFORMATION, new_name(name, int(replace)))

    def link(self, open_: NtOpen, name: str, replace: bool = False) -> None:
        self.set(open_, c.FILE_LINK_INFORMATION, new_name(name, int(replace)))

    def dispose(self, open_: NtOpen, delete: bool = True) -> None:
        self.set(open_, c.FILE_DISPOSITION_INFORMATION, bytes([delete]))

    def directory(self, path: str = "", **asked: object) -> NtOpen:
        return self.open(path, **{"desired_access": c.FILE_LIST_DIRECTORY, "options": c.FILE_DIRECTORY_FILE, **asked})

    def names(self, open_: NtOpen, pattern: str = "*", flags: int = 0, room: int = 65536) -> list[str]:
        """The names of one answer, without "." and ".."."""
        return [name for name in self.list_raw(open_, pattern, flags, room) if name not in {".", ".."}]

    def list_raw(self, open_: NtOpen, pattern: str = "*", flags: int = 0, room: int = 65536) -> list[str]:
        packed = query_directory(self.context, open_, c.FILE_NAMES_INFORMATION, pattern, flags, 0, room)
        names, offset = [], 0
        while True:
            following, _, length = struct.unpack_from("<III", packed, offset)
            names.append(packed[offset + 12 : offset + 12 + length].decode("utf-16-le"))
            if not following:
                return names
            offset += following

    def list_all(self, open_: NtOpen, pattern: str = "*", room: int = 65536) -> list[str]:
        names: list[str] = []
        while True:
            try:
                names += self.names(open_, pattern, 0, room)
            except NtStatusError as error:
                if error.status not in {NtStatus.NO_MORE_FILES, NtStatus.NO_SUCH_FILE}:
                    raise
                return names

    def end(self) -> None:
        for open_ in self.opens:
            self.close(open_)
        assert len(self.registry) == 0
        assert self.volume.open_count() == 0
        self.volume.close()
        self.chain.disconnect()


def new_name(name: str, flags: int) -> bytes:
    """FileRenameInformation, -Ex and FileLinkInformation as SMB2 has them."""
    encoded = name.encode("utf-16-le")
    return struct.pack("<IIQI", flags, 0, 0, len(encoded)) + encoded


def basic(creation: int = 0, access: int = 0, write: int = 0, change: int = 0, attributes: int = 0) -> bytes:
    """FileBasicInformation."""
    return struct.pack("<4qI4x", creation, access, write, change, attributes)


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Share]:
    folder = tmp_path / "share"
    folder.mkdir()
    made = Share(folder)
    yield made
    made.end()


@pytest.fixture
def make_share(tmp_path: Path) -> Iterator[object]:
    """A function that makes a share with modules or settings of the test's own."""
    made: list[Share] = []

    def make(*modules: VfsModule, settings: VolumeSettings | None = None) -> Share:
        folder = tmp_path / f"share{len(made)}"
        folder.mkdir()
        made.append(Share(folder, *modules, settings=settings))
        return made[-1]

    yield make
    for item in made:
        item.end()


@pytest.fixture
def refused() -> object:
    """`refused(STATUS, function, *arguments)`: the call fails with this status."""

    def check(status: NtStatus, function: object, *args: object, **kwargs: object) -> None:
        with pytest.raises(NtStatusError) as caught:
            function(*args, **kwargs)  # type: ignore[operator]
        assert caught.value.status is status

    return check


@pytest.fixture
def packed() -> type:
    """The structures a test sends."""

    class Packed:
        basic = staticmethod(basic)
        new_name = staticmethod(new_name)

    return Packed
