"""One client of a simulation: it sends what it likes, and takes note of what comes back."""

from typing import TYPE_CHECKING, Final

from lamina.core.wire.change_notify import ChangeNotifyRequest, encode_change_notify_request
from lamina.core.wire.constants import Command
from lamina.core.wire.create import decode_create_response
from lamina.core.wire.create_contexts import REQUEST_LEASE, decode_lease
from lamina.core.wire.oplock_break import (
    decode_lease_break,
    decode_lease_break_notification,
    decode_oplock_break,
)
from lamina.core.wire.read import decode_read_response
from lamina.ntfsa.grants import caching
from lamina.ntfsa.record import LockRange
from lamina.ntfsa.status import NtStatus as S
from tests.caching.beliefs import Asked, Holding, OpenFile
from tests.caching.requester import Requester
from tests.support.wire_client import Response, status_name

if TYPE_CHECKING:
    pass

NO_MESSAGE: Final = 0xFFFFFFFFFFFFFFFF
_OPENED, _CREATED = 1, 2


class Actor(Requester):
    """A client that remembers what it was told."""

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
            if told.lease_key not in self.leases:
                self.world.expect(
                    "who is told of a lease he has not", (self.guid, told.lease_key) in self.world.given_up, True
                )
                return
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
        if self.world.is_refused(response.status, file, LockRange(offset, 8, False), writing=False):
            return
        if not content:
            self.world.expect("the read beyond the end", response.status, S.END_OF_FILE)
        else:
            self.world.expect("the read", response.status, S.SUCCESS)
            self.world.expect("what was read", bytes(decode_read_response(response.message).data), content)

    def _write(self, asked: Asked, response: Response) -> None:
        file, (offset, data) = asked.file, asked.details
        assert file is not None
        assert isinstance(offset, int)
        assert isinstance(data, bytes)
        if self.world.is_refused(response.status, file, LockRange(offset, len(data), True), writing=True):
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
