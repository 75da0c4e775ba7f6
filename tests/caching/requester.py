"""What a client of a simulation asks: one request after the other, without waiting for what comes of it."""

import hashlib
import random
from typing import TYPE_CHECKING, Final, Self

from lamina.core.wire.close import CloseRequest, encode_close_request
from lamina.core.wire.constants import Command
from lamina.core.wire.create import CreateRequest, encode_create_request
from lamina.core.wire.create_contexts import REQUEST_LEASE, LeaseContext, encode_lease
from lamina.core.wire.lock import LockRequest, WireLock, encode_lock_request
from lamina.core.wire.oplock_break import (
    LeaseBreak,
    OplockBreak,
    encode_lease_break,
    encode_oplock_break,
)
from lamina.core.wire.read import ReadRequest, encode_read_request
from lamina.core.wire.set_info import SetInfoRequest, encode_set_info_request
from lamina.core.wire.write import WriteRequest, encode_write_request
from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.fields import UINT32
from lamina.ntfsa.grants import caching
from lamina.ntfsa.record import LockRange
from lamina.ntfsa.security.security_descriptor import (
    SE_DACL_PRESENT,
    SE_SELF_RELATIVE,
    Ace,
    Acl,
    SecurityDescriptor,
    pack_security_descriptor,
)
from lamina.ntfsa.security.sid import EVERYONE
from tests.caching.beliefs import Asked, Holding, OpenFile
from tests.caching.memory_server import MemoryClient

if TYPE_CHECKING:
    from tests.caching.simulation import Simulation

NAMES: Final = tuple(f"file{number}" for number in range(6))
MAX_FILES: Final = 2
SIZE: Final = 16
ALL_ACCESS: Final = (
    c.FILE_READ_DATA | c.FILE_WRITE_DATA | c.DELETE | c.FILE_READ_ATTRIBUTES | c.WRITE_DAC | c.READ_CONTROL
)
ACCESSES: Final = (
    ALL_ACCESS,
    ALL_ACCESS,
    ALL_ACCESS,
    c.FILE_READ_DATA | c.FILE_WRITE_DATA,
    c.FILE_READ_DATA,
    c.FILE_READ_ATTRIBUTES,
    c.READ_CONTROL,
)
_LOCK, _SHARED, _UNLOCK, _AT_ONCE = 0x2, 0x1, 0x4, 0x10
_SECURITY: Final = 3
FOLDER_KEY: Final = b"the share's root"
_EVERYBODY: Final = pack_security_descriptor(
    SecurityDescriptor(
        None, None, Acl((Ace(0, 0, c.FILE_ALL_ACCESS, EVERYONE),)), None, SE_SELF_RELATIVE | SE_DACL_PRESENT
    )
)


class Requester:
    """A connection with a session. Clients with the same guid are one client, and share its leases."""

    def __init__(self, world: "Simulation", name: str, guid: bytes) -> None:
        self.world = world
        self.name = name
        self.guid = guid
        self.random = random.Random(world.random.random())
        self.client = MemoryClient(world.server, guid)
        self.files: list[OpenFile] = []
        self.asked: dict[int, Asked] = {}
        self.patience = self.random.choice([0.0, 0.0, 0.0, 1.0, 20.0, 34.0, float("inf")])
        """Seconds that it takes to answer a break."""

    @classmethod
    async def arrive(cls, world: "Simulation", name: str, guid: bytes) -> Self:
        """A client that has logged on."""
        actor = cls(world, name, guid)
        await actor.client.log_on()
        return actor

    @property
    def leases(self) -> dict[bytes, Holding]:
        """What the client holds, on whichever connection."""
        return self.world.leases[self.guid]

    def say(self, *words: object) -> None:
        """For whoever must find out what went wrong."""
        self.world.note(self.name, *words)

    # -- asking --------------------------------------------------------------------------------------------------

    def ask(self, kind: str, command: Command, body: bytes, file: OpenFile | None, *details: object) -> int:
        """Send a request whose answer is awaited."""
        message_id = self.client.send(command, body)
        self.asked[message_id] = Asked(kind, file, details)
        self.say(kind, file.file_id[1] if file else "", *details)
        return message_id

    def open_file(self) -> None:
        """Open a file with a lease, an oplock, or nothing."""
        if len(self.files) >= MAX_FILES:
            self.close_file()
            return
        pick = self.random
        name = pick.choice(NAMES)
        level, contexts = caching.OPLOCK_LEVEL_NONE, {}
        chance = pick.random()
        if chance < 0.55:
            key = hashlib.md5(self.guid + name.encode() + bytes([pick.random() < 0.1])).digest()
            wish = LeaseContext(key, pick.choice([1, 3, 5, 7, 7, 7]), version=pick.choice([1, 2, 2]))
            level, contexts = caching.OPLOCK_LEVEL_LEASE, {REQUEST_LEASE: encode_lease(wish)}
        elif chance < 0.85:
            level = pick.choice([1, 8, 9, 9])
        disposition = pick.choices([c.FILE_OPEN_IF, c.FILE_OPEN, c.FILE_OVERWRITE_IF, c.FILE_CREATE], [12, 4, 2, 1])[0]
        share = 7 if pick.random() < 0.8 else pick.randrange(7)
        access = pick.choice(ACCESSES)
        options = c.FILE_DELETE_ON_CLOSE if access & c.DELETE and pick.random() < 0.05 else 0
        request = CreateRequest(name, access, 0, share, disposition, options, level, contexts=contexts)
        self.ask("open", Command.CREATE, encode_create_request(request), None, name, access, share, disposition, level)

    def _some_file(self, access: int = 0) -> OpenFile | None:
        fitting = [file for file in self.files if file.access & access == access and not file.closing]
        return self.random.choice(fitting) if fitting else None

    def close_file(self, file: OpenFile | None = None) -> None:
        """Close a file."""
        file = file or self._some_file()
        if file is not None:
            file.closing = True
            self.ask("close", Command.CLOSE, encode_close_request(CloseRequest(*file.file_id)), file)

    def read(self) -> None:
        """Read something."""
        file = self._some_file(c.FILE_READ_DATA)
        if file is not None:
            offset = self.random.randrange(SIZE)
            body = encode_read_request(ReadRequest(*file.file_id, offset, 8))
            self.ask("read", Command.READ, body, file, offset)

    def write(self) -> None:
        """Write something."""
        file = self._some_file(c.FILE_WRITE_DATA)
        if file is not None:
            offset, data = self.random.randrange(SIZE), self.random.randbytes(self.random.randrange(1, 8))
            body = encode_write_request(WriteRequest(*file.file_id, offset, data))
            self.ask("write", Command.WRITE, body, file, offset, data)

    def resize(self) -> None:
        """Set the end of the file."""
        file = self._some_file(c.FILE_WRITE_DATA)
        if file is not None:
            size = self.random.randrange(SIZE)
            self._set(file, "resize", c.FILE_END_OF_FILE_INFORMATION, size.to_bytes(8, "little"), size)

    def rename(self) -> None:
        """Give the file another name."""
        file = self._some_file(c.DELETE)
        if file is not None:
            name = self.random.choice(NAMES).encode("utf-16-le")
            value = bytes([self.random.random() < 0.5]) + bytes(15) + UINT32.pack(len(name)) + name
            self._set(file, "rename", c.FILE_RENAME_INFORMATION, value.ljust(24, b"\0"), name.decode("utf-16-le"))

    def delete(self) -> None:
        """Mark the file for deletion, or take that back."""
        file = self._some_file(c.DELETE)
        if file is not None:
            delete = self.random.random() < 0.7
            self._set(file, "delete", c.FILE_DISPOSITION_INFORMATION, bytes([delete]), delete)

    def _set(self, file: OpenFile, kind: str, info_class: int, value: bytes, *details: object) -> None:
        body = encode_set_info_request(SetInfoRequest(*file.file_id, 1, info_class, memoryview(value), 0))
        self.ask(kind, Command.SET_INFO, body, file, *details)

    def secure(self) -> None:
        """Set the security descriptor, to what everybody may do."""
        file = self._some_file(c.WRITE_DAC)
        if file is not None:
            value = memoryview(_EVERYBODY)
            request = SetInfoRequest(*file.file_id, _SECURITY, 0, value, c.DACL_SECURITY_INFORMATION)
            self.ask("secure", Command.SET_INFO, encode_set_info_request(request), file)

    def lock(self) -> None:
        """Lock a range, waiting for it or not."""
        file = self._some_file(c.FILE_READ_DATA)
        if file is not None:
            wanted = LockRange(self.random.randrange(8), self.random.randrange(1, 5), self.random.random() < 0.6)
            waits = self.random.random() < 0.5
            flags = (_LOCK if wanted.exclusive else _SHARED) | (0 if waits else _AT_ONCE)
            self._lock("wait for lock" if waits else "lock at once", file, wanted, flags)

    def unlock(self) -> None:
        """Let go of a lock."""
        file = self.random.choice([file for file in self.files if file.locks and not file.closing] or [None])
        if file is not None:
            self._lock("unlock", file, self.random.choice(file.locks), _UNLOCK)

    def _lock(self, kind: str, file: OpenFile, wanted: LockRange, flags: int) -> None:
        element = WireLock(wanted.offset, wanted.length, flags)
        body = encode_lock_request(LockRequest(*file.file_id, (element,)))
        self.ask(kind, Command.LOCK, body, file, wanted)

    def watch(self) -> None:
        """Open the share's folder and wait for changes in it."""
        if not any(asked.kind == "watch" for asked in self.asked.values()):
            request = CreateRequest("", c.FILE_READ_DATA, 0, 7, c.FILE_OPEN, c.FILE_DIRECTORY_FILE, 0)
            self.ask("open folder", Command.CREATE, encode_create_request(request), None)

    def lease_folder(self) -> None:
        """Open the share's folder with a lease, to keep what one lists."""
        wish = encode_lease(LeaseContext(FOLDER_KEY, caching.READ_CACHING | caching.HANDLE_CACHING, version=2))
        request = CreateRequest("", c.FILE_READ_DATA, 0, 7, c.FILE_OPEN, c.FILE_DIRECTORY_FILE, 0xFF)
        body = encode_create_request(request._replace(contexts={REQUEST_LEASE: wish}))
        self.ask("lease folder", Command.CREATE, body, None)

    def cancel(self) -> None:
        """Give up waiting."""
        waiting = [(message_id, asked) for message_id, asked in self.asked.items() if asked.async_id]
        if waiting:
            message_id, asked = self.random.choice(waiting)
            self.say("cancels", asked.kind)
            asked.cancelled = True
            self.client.cancel(message_id, asked.async_id)

    # -- answering -----------------------------------------------------------------------------------------------

    def do_duties(self, at_once: bool = False) -> None:
        """Answer the breaks whose time has come."""
        now = self.world.loop.time()
        for file in self.files:
            holding = file.oplock
            if holding is not None and holding.owed is not None and (at_once or holding.answer_at <= now):
                holding.answer_at = float("inf")
                level = caching.LEVEL_OF_STATE[holding.owed]
                body = encode_oplock_break(OplockBreak(*file.file_id, level))
                self.ask("answer", Command.OPLOCK_BREAK, body, file, holding.owed)
        for key, holding in self.leases.items():
            if holding.owed is not None and (at_once or holding.answer_at <= now):
                holding.answer_at = float("inf")
                body = encode_lease_break(LeaseBreak(key, holding.owed))
                self.ask("answer lease", Command.OPLOCK_BREAK, body, None, key, holding.owed)
