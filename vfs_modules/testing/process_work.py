"""What the processes do with which several of one server are tried (`process_checks`): deeds, asked for one by one.

Each process has a chain of its own over the folder, and keeps handles by name from one deed to the next. What a deed
returns, or the error that it ends with, goes back to whoever asked.
"""

import os
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple

from lamina.vfs_modules.engine import Engine, breathe, offload
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, DosAttributes, OpenHow, Times
from lamina.vfs_modules.processes import join
from lamina.vfs_modules.quotas import QuotaKind
from lamina.vfs_modules.testing import make_token
from lamina.vfs_modules.testing.conformance import in_request
from lamina.vfs_modules.testing.hand import CREATE, LIST, PATH, READ_WRITE, Hand, hand_of
from lamina.vfs_modules.testing.profile import connected
from lamina.vfs_modules.testing.subject import subject_at
from lamina.vfs_modules.token import SERVER_TOKEN

_FOR_EVER: Final = 3600.0
_ANY: Final = OpenHow(Access.READ_WRITE, create=True)
PIECE: Final = 20


class Seat(NamedTuple):
    """What a process is told: which it is, where its subject is, and the folder that it serves."""

    crew: str
    number: int
    place: str
    folder: str


class Errand(NamedTuple):
    """One deed that is asked for."""

    deed: str
    arguments: tuple[Any, ...]


class Worker:
    """One process: a hand, and the handles that it keeps."""

    def __init__(self, hand: Hand) -> None:
        self.hand = hand
        self.chain, self.token = hand.chain, hand.token
        self.kept: dict[str, VfsHandle] = {}

    # Files.

    def make(self, path: str, data: bytes = b"") -> None:
        """Make a file, and keep it open."""
        self.kept[path] = self.hand.make(path, data)

    def open(self, path: str, name: str = "") -> None:
        """Open a file, and keep it open as `name`."""
        self.kept[name or path] = self.hand.open(path, READ_WRITE)

    def close(self, name: str) -> None:
        """Close a handle that is kept."""
        self.hand.give_back(self.kept.pop(name))

    def mkdir(self, path: str) -> None:
        """Make a directory."""
        self.hand.mkdir(path)

    def read(self, name: str, length: int = 1000) -> bytes:
        """Read through a handle that is kept."""
        return self.hand.read(self.kept[name], length)

    def size(self, name: str) -> int:
        """The size that a kept handle has."""
        return self.chain.fstat(self.token, self.kept[name]).size

    def write(self, name: str, data: bytes, offset: int = 0) -> None:
        """Write through a handle that is kept."""
        assert self.chain.pwrite(self.token, self.kept[name], memoryview(data), offset) == len(data)

    def cut(self, name: str, length: int) -> None:
        """Set the end through a handle that is kept."""
        self.chain.ftruncate(self.token, self.kept[name], length)

    def names(self, path: str = "") -> set[str]:
        """The names in a directory."""
        handle = self.chain.open(self.token, self.hand.root, path, LIST)
        try:
            return {entry.name for entry in self.chain.readdir(self.token, handle)}
        finally:
            self.chain.close(self.token, handle)

    def rename(self, source: str, target: str, replace: bool = False) -> None:
        """Rename."""
        self.hand.rename(source, target, replace)

    def unlink(self, path: str) -> None:
        """Remove a file."""
        self.chain.unlink(self.token, self.hand.root, path)

    # Many at once.

    def make_all(self, names: Iterable[str]) -> list[str]:
        """Those of the names that this process has made a file of."""
        return _won(names, self._make_one)

    def mkdir_all(self, names: Iterable[str]) -> list[str]:
        """Those of the names that this process has made a directory of."""
        return _won(names, self.hand.mkdir)

    def move_all(self, source: str, names: Iterable[str]) -> list[str]:
        """Those of the names that a file of this process has got, which is called `source` and the name before."""
        return _won(names, lambda name: self.hand.rename(f"{source}{name}", name))

    def _make_one(self, name: str) -> None:
        handle = self.chain.open(self.token, self.hand.root, name, CREATE)
        try:
            self.chain.pwrite(self.token, handle, memoryview(name.encode()), 0)
        finally:
            self.chain.close(self.token, handle)

    def write_pieces(self, name: str, pieces: Iterable[int], mark: int) -> None:
        """Fill pieces of what a kept handle is of."""
        for piece in pieces:
            self.write(name, bytes([mark]) * PIECE, piece * PIECE)
            breathe()

    # Streams.

    def open_stream(self, file: str, name: str, as_name: str = "") -> None:
        """Open a stream of a kept file, or make it, and keep it."""
        stream = self.chain.open_stream(self.token, self.kept[file], name, _ANY)
        self.kept[as_name or f"{file}:{name}"] = self.hand.keep(stream)

    def make_streams(self, file: str, names: Iterable[str]) -> list[str]:
        """Those of the names that this process has made a stream of."""

        def make(name: str) -> None:
            self.chain.close(self.token, self.chain.open_stream(self.token, self.kept[file], name, CREATE))

        return _won(names, make)

    def streams(self, file: str) -> dict[str, int]:
        """The streams of a kept file, with their sizes."""
        return {entry.name: entry.size for entry in self.chain.list_streams(self.token, self.kept[file])}

    def read_stream(self, path: str, name: str, length: int = 1000) -> bytes:
        """What is in a stream of what a path names now."""
        file = self.chain.open(self.token, self.hand.root, path, PATH)
        try:
            stream = self.chain.open_stream(self.token, file, name, OpenHow(Access.READ))
            try:
                return self.hand.read(stream, length)
            finally:
                self.chain.close(self.token, stream)
        finally:
            self.chain.close(self.token, file)

    # Attributes.

    def set_own(self, name: str, attributes: Iterable[str]) -> None:
        """Set extended attributes of a kept file."""
        for attribute in attributes:
            self.chain.setxattr(self.token, self.kept[name], attribute, attribute.encode())

    def own(self, name: str) -> set[str]:
        """The extended attributes of a kept file."""
        return set(self.chain.listxattr(self.token, self.kept[name]))

    def set_dos(self, name: str, values: Iterable[int]) -> None:
        """Set NT attributes, one after the other."""
        for value in values:
            self.chain.set_dos_attributes(self.token, self.kept[name], DosAttributes(value, None))

    def set_created(self, name: str, times: Iterable[int]) -> None:
        """Set the creation time to one after the other (ns)."""
        for moment in times:
            self.chain.set_times(self.token, self.kept[name], Times(creation_ns=moment))

    def dos(self, name: str) -> tuple[int, int | None]:
        """NT attributes and creation time."""
        handle = self.kept[name]
        dos = self.chain.get_dos_attributes(self.token, handle, self.chain.fstat(self.token, handle))
        return dos.attributes, dos.creation_ns

    def set_security(self, name: str, descriptor: bytes) -> None:
        """Set a descriptor."""
        self.chain.set_security(self.token, self.kept[name], descriptor)

    def security(self, name: str) -> bytes | None:
        """The descriptor."""
        handle = self.kept[name]
        return self.chain.get_security(self.token, handle, self.chain.fstat(self.token, handle))

    # Quotas.

    def used(self) -> int:
        """What this user has."""
        return self.chain.get_quota(self.token, self.hand.root, QuotaKind.USER, self.token.uid).used

    # For one that is to be killed.

    def go_on_for_ever(self, file: str, connection: Connection) -> None:
        """Write to a file, its streams and names, without an end."""
        number = 0
        while True:
            number += 1
            self.write(file, b"%d" % number)
            if f"{file}:stream" in self.kept:
                self.write(f"{file}:stream", b"%d" % number)
            self._make_one(f"temporary{number}")
            self.rename(f"temporary{number}", "renamed", True)
            self.unlink("renamed")
            if number == 3:
                connection.send(("done", None))
            breathe()


def _won(names: Iterable[str], attempt: Callable[[str], None]) -> list[str]:
    won = []
    for name in names:
        try:
            attempt(name)
        except FileExistsError:
            continue
        won.append(name)
    return won


def serve(seat: Seat, connection: Connection) -> None:
    """Be one of the processes, and do what is asked until the connection ends. The chain is not disconnected if not."""
    os.umask(0o022)
    join(seat.crew, seat.number)

    def body(engine: Engine) -> None:
        with (
            connected(subject_at(seat.place).make, Path(seat.folder)) as chain,
            hand_of(chain, make_token(user_name="ada")) as hand,
        ):
            _answer(Worker(hand), connection)

    try:
        in_request(body, _FOR_EVER)
    except Exception as error:
        try:
            connection.send(("failed", f"{type(error).__name__}: {error}"))
        except OSError:
            raise error from None  # nobody waits for an answer any more, but all look how a process ends


def _answer(worker: Worker, connection: Connection) -> None:
    connection.send(("done", None))
    while True:
        try:
            errand: Errand = offload(SERVER_TOKEN, connection.recv)
        except EOFError:
            return
        try:
            more = (connection,) if errand.deed == "go_on_for_ever" else ()
            answer = ("done", getattr(worker, errand.deed)(*errand.arguments, *more))
        except OSError as error:
            answer = ("error", (error.errno, str(error)))
        connection.send(answer)
