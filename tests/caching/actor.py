"""One client of a simulation: it sends what it likes, and takes note of what comes back."""

import hashlib
import random
from typing import TYPE_CHECKING, Final, Self

from lamina.core.wire.change_notify import ChangeNotifyRequest, encode_change_notify_request
from lamina.core.wire.close import CloseRequest, encode_close_request
from lamina.core.wire.constants import Command
from lamina.core.wire.create import CreateRequest, decode_create_response, encode_create_request
from lamina.core.wire.create_contexts import REQUEST_LEASE, LeaseContext, decode_lease, encode_lease
from lamina.core.wire.lock import LockRequest, WireLock, encode_lock_request
from lamina.core.wire.oplock_break import (
    LeaseBreak,
    OplockBreak,
    decode_lease_break,
    decode_lease_break_notification,
    decode_oplock_break,
    encode_lease_break,
    encode_oplock_break,
)
from lamina.core.wire.read import ReadRequest, decode_read_response, encode_read_request
from lamina.core.wire.set_info import SetInfoRequest, encode_set_info_request
from lamina.core.wire.write import WriteRequest, encode_write_request
from lamina.ntfsa import caching
from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.fields import UINT32
from lamina.ntfsa.record import LockRange
from lamina.ntfsa.security_descriptor import (
    SE_DACL_PRESENT,
    SE_SELF_RELATIVE,
    Ace,
    Acl,
    SecurityDescriptor,
    pack_security_descriptor,
)
from lamina.ntfsa.sid import EVERYONE
from lamina.ntfsa.status import NtStatus as S
from tests.caching.beliefs import Asked, Holding, OpenFile
from tests.caching.memory_server import MemoryClient
from tests.support.wire_client import Response, status_name

if TYPE_CHECKING:
    from tests.caching.simulation import Simulation

NO_MESSAGE: Final = 0xFFFFFFFFFFFFFFFF
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
_OPENED, _CREATED = 1, 2
FOLDER_KEY: Final = b"the share's root"
_EVERYBODY: Final = pack_security_descriptor(
    SecurityDescriptor(
        None, None, Acl((Ace(0, 0, c.FILE_ALL_ACCESS, EVERYONE),)), None, SE_SELF_RELATIVE | SE_DACL_PRESENT
    )
)


class Actor:
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

    # -- what comes ----------------------------------------------------------------------------------------------

    def take_mail(self) -> None:
        """Take note of the next message that has come."""
        for response in self.client.recv_chain():
            self._take(response)

    def _take(self, response: Response) -> None:
        header = response.header
        if header.message_id == NO_MESSAGE:
            self._broken(response)
        elif response.status == S.PENDING:
            self.asked[header.message_id].async_id = header.async_id
        else:
            asked = self.asked.pop(header.message_id)
            self.say("    ", asked.kind, "->", status_name(response.status))
            getattr(self, "_" + asked.kind.replace(" ", "_"))(asked, response)

    def _broken(self, response: Response) -> None:
        now = self.client.mail_time
        if response.message[64] == 44:
            told = decode_lease_break_notification(response.message)
            self.say("     is told: lease", told.current_state, "to", told.new_state)
            holding = self.leases[told.lease_key]
            self.world.expect("the lease that breaks", told.current_state, holding.rights)
            awaited, to = bool(told.flags), told.new_state
        else:
            oplock = decode_oplock_break(response.message)
            self.say("     is told: oplock", oplock.volatile, "to", oplock.oplock_level)
            file = next(file for file in self.files if file.file_id[1] == oplock.volatile)
            assert file.oplock is not None
            holding, to = file.oplock, caching.STATE_OF_LEVEL[oplock.oplock_level]
            awaited = bool(holding.rights & caching.ANSWERED)
        if awaited:
            holding.asked(to, now + caching.BREAK_SECONDS, now + self.patience)
        else:
            holding.lost(to)

    def _open(self, asked: Asked, response: Response) -> None:
        if response.status == S.SUCCESS:
            self._opened(asked, response)
        else:
            self.world.expect_one_of(
                "the open",
                response.status,
                S.OBJECT_NAME_NOT_FOUND,
                S.OBJECT_NAME_COLLISION,
                S.SHARING_VIOLATION,
                S.DELETE_PENDING,
                S.INVALID_PARAMETER,
                *([S.CANCELLED] if asked.cancelled else []),
            )

    def _opened(self, asked: Asked, response: Response) -> OpenFile:
        answer = decode_create_response(response.message)
        access = asked.details[1] if len(asked.details) > 1 else 0
        assert isinstance(access, int)
        key = self.world.key_of(answer.volatile)
        file = OpenFile((answer.persistent, answer.volatile), key, access)
        self.files.append(file)
        if answer.create_action != _OPENED:
            self.world.contents[key] = b""
        if answer.create_action == _CREATED:
            self.world.check_nobody_lists_from_memory()
        if answer.oplock_level == caching.OPLOCK_LEVEL_LEASE:
            context = decode_lease(answer.contexts[REQUEST_LEASE])
            file.lease = context.key
            holding = self.leases.setdefault(context.key, Holding(0, opens=0))
            holding.opens += 1
            holding.rights = context.state
        elif answer.oplock_level:
            file.oplock = Holding(caching.STATE_OF_LEVEL[answer.oplock_level])
        return file

    def _open_folder(self, asked: Asked, response: Response) -> None:
        response.check()
        folder = self._opened(asked, response)
        body = encode_change_notify_request(ChangeNotifyRequest(*folder.file_id, 0x17, 1000, 0))
        self.ask("watch", Command.CHANGE_NOTIFY, body, folder)

    def _lease_folder(self, asked: Asked, response: Response) -> None:
        response.check()
        self._opened(asked, response)

    def _watch(self, asked: Asked, response: Response) -> None:
        expected = [S.SUCCESS, S.NOTIFY_ENUM_DIR, S.NOTIFY_CLEANUP]
        self.world.expect_one_of("the watch", response.status, *expected, *([S.CANCELLED] if asked.cancelled else []))
        assert asked.file is not None
        if not asked.file.closing:
            self.close_file(asked.file)

    def _close(self, asked: Asked, response: Response) -> None:
        self.world.expect("the close", response.status, S.SUCCESS)
        assert asked.file is not None
        self.forget(asked.file)

    def forget(self, file: OpenFile) -> None:
        """The file is closed, or its connection gone."""
        self.files.remove(file)
        if file.lease:
            holding = self.leases[file.lease]
            holding.opens -= 1
            if not holding.opens:
                del self.leases[file.lease]

    def _read(self, asked: Asked, response: Response) -> None:
        file, offset = asked.file, asked.details[0]
        assert file is not None
        assert isinstance(offset, int)
        content = self.world.contents[file.key][offset : offset + 8]
        if self.world.is_locked_for(file, LockRange(offset, 8, False), writing=False):
            self.world.expect("the read across a lock", response.status, S.FILE_LOCK_CONFLICT)
        elif not content:
            self.world.expect("the read beyond the end", response.status, S.END_OF_FILE)
        else:
            self.world.expect("what was read", bytes(decode_read_response(response.check().message).data), content)

    def _write(self, asked: Asked, response: Response) -> None:
        file, (offset, data) = asked.file, asked.details
        assert file is not None
        assert isinstance(offset, int)
        assert isinstance(data, bytes)
        if self.world.is_locked_for(file, LockRange(offset, len(data), True), writing=True):
            self.world.expect("the write across a lock", response.status, S.FILE_LOCK_CONFLICT)
            return
        self.world.expect("the write", response.status, S.SUCCESS)
        before = self.world.contents[file.key].ljust(offset, b"\0")
        self.world.contents[file.key] = before[:offset] + data + before[offset + len(data) :]
        self.world.check_nobody_reads_from_memory(self, file)

    def _resize(self, asked: Asked, response: Response) -> None:
        assert asked.file is not None
        size = asked.details[0]
        assert isinstance(size, int)
        self.world.expect_one_of("the new size", response.status, S.SUCCESS, S.FILE_LOCK_CONFLICT)
        if response.status == S.SUCCESS:
            self.world.contents[asked.file.key] = self.world.contents[asked.file.key][:size].ljust(size, b"\0")
            self.world.check_nobody_reads_from_memory(self, asked.file)

    def _rename(self, asked: Asked, response: Response) -> None:
        self.world.expect_one_of(
            "the rename",
            response.status,
            S.SUCCESS,
            S.ACCESS_DENIED,
            S.OBJECT_NAME_COLLISION,
            S.OBJECT_NAME_NOT_FOUND,
            S.SHARING_VIOLATION,
            S.DELETE_PENDING,
            *([S.CANCELLED] if asked.cancelled or (asked.file and asked.file.closing) else []),
        )

    def _delete(self, asked: Asked, response: Response) -> None:
        stopped = asked.cancelled or (asked.file and asked.file.closing)
        self.world.expect_one_of(
            "the deletion", response.status, S.SUCCESS, S.ACCESS_DENIED, *([S.CANCELLED] if stopped else [])
        )

    def _secure(self, asked: Asked, response: Response) -> None:
        stopped = asked.cancelled or (asked.file and asked.file.closing)
        self.world.expect_one_of("the descriptor", response.status, S.SUCCESS, *([S.CANCELLED] if stopped else []))

    def _lock_(self, asked: Asked) -> LockRange:
        wanted = asked.details[0]
        assert isinstance(wanted, LockRange)
        return wanted

    def _wait_for_lock(self, asked: Asked, response: Response) -> None:
        stopped = [S.CANCELLED] if asked.cancelled else []
        closing = [S.RANGE_NOT_LOCKED] if asked.file and asked.file.closing else []
        self.world.expect_one_of("the lock", response.status, S.SUCCESS, *stopped, *closing)
        self._locked(asked, response)

    def _locked(self, asked: Asked, response: Response) -> None:
        if response.status == S.SUCCESS:
            assert asked.file is not None
            asked.file.locks.append(self._lock_(asked))

    def _lock_at_once(self, asked: Asked, response: Response) -> None:
        self.world.expect_one_of("the lock", response.status, S.SUCCESS, S.LOCK_NOT_GRANTED)
        self._locked(asked, response)

    def _unlock(self, asked: Asked, response: Response) -> None:
        assert asked.file is not None
        self.world.expect("the unlock", response.status, S.SUCCESS)
        ours = [lock for lock in asked.file.locks if lock[:2] == self._lock_(asked)[:2]]
        asked.file.locks.remove(max(ours, key=lambda lock: lock.exclusive))

    def _answer(self, asked: Asked, response: Response) -> None:
        assert asked.file is not None
        if response.status == S.SUCCESS:
            holding = asked.file.oplock
            assert holding is not None
            holding.lost(caching.STATE_OF_LEVEL[decode_oplock_break(response.message).oplock_level])
        else:
            # Too late, or the file was closed before.
            self.world.expect_one_of(
                "the answer", response.status, S.INVALID_OPLOCK_PROTOCOL, S.INVALID_DEVICE_STATE, S.FILE_CLOSED
            )

    def _answer_lease(self, asked: Asked, response: Response) -> None:
        key = asked.details[0]
        assert isinstance(key, bytes)
        if response.status == S.SUCCESS:
            kept = decode_lease_break(response.message).lease_state
            holding = self.leases.get(key)
            if holding is not None:
                holding.rights = kept
                if holding.owed == kept:
                    holding.owed = None
        else:
            self.world.expect_one_of(
                "the lease's answer", response.status, S.UNSUCCESSFUL, S.OBJECT_NAME_NOT_FOUND, S.REQUEST_NOT_ACCEPTED
            )
