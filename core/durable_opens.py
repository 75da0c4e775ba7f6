"""Opens that outlive their connection: that part of the GlobalOpenTable (MS-SMB2 3.3.1.5, 3.3.1.10).

An open is entered when it is promised durability, or can be asked for again by its create guid. When its connection,
session or tree ends it is taken out of the session and waits here, with all that it holds at the NT level, until its
client comes back, its time is over (3.3.6.2, 3.3.6.3), or somebody breaks what it rests on. Which open is kept and who
gets it back are rules of `lamina.ntfsa.durability`.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from lamina.core.durable_state import DurableState
from lamina.core.persistent_opens import forget_record, is_persistent, promote, save, save_soon
from lamina.ntfsa.durability.keeping import let_go
from lamina.ntfsa.durability.lasting import is_kept, lose_client
from lamina.ntfsa.durability.reconnect_rules import NO_GUID
from lamina.ntfsa.durability.rules import Kind, ended_by_break
from lamina.ntfsa.grants.grant_holders import BreakNotice
from lamina.ntfsa.naming.names import name_of_file as _name_of
from lamina.ntfsa.opening.close import close as nt_close
from lamina.ntfsa.status import NtStatusError
from lamina.vfs_modules.engine import Engine, Task, wait

if TYPE_CHECKING:
    from lamina.core.request import Exchange, Request
    from lamina.core.session import SmbOpen, SmbTree
    from lamina.core.workers.kept import KeptForNext
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.volume import NtVolume

log = logging.getLogger(__name__)

_PERSISTENT: Final = Kind.PERSISTENT


class DurableOpens:
    """The opens of a server that are known beyond their session. Belongs to the thread of the engine's loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._opens: dict[int, SmbOpen] = {}
        self._guids: dict[tuple[bytes, bytes], SmbOpen] = {}
        self._instances: dict[bytes, dict[int, SmbOpen]] = {}
        self._waiting: dict[int, SmbOpen] = {}
        self._awaited: Counter[tuple[NtVolume, str]] = Counter()
        self._persistent: dict[int, SmbOpen] = {}
        self._making: dict[tuple[bytes, bytes], Exchange] = {}
        self._ending: set[asyncio.Future[None]] = set()
        self._closed = False
        # Where this process is one of several: what the next in its place must know.
        self.kept: KeptForNext | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    # -- the table ----------------------------------------------------------------------------------------------

    def enter(self, open_: "SmbOpen", state: DurableState) -> None:
        """Know an open from now on."""
        open_.durable = state
        state.kept = self.kept
        self._opens[open_.file_id] = open_
        if state.kind is _PERSISTENT:
            assert open_.nt is not None
            self._persistent[open_.nt.owner] = open_
        if state.create_guid != NO_GUID:
            guid = state.client_guid, state.create_guid
            self._guids[guid] = open_
            self._making.pop(guid, None)
        if state.app_instance:
            self._instances.setdefault(state.app_instance, {})[open_.file_id] = open_
        if self.kept is not None:
            self.kept.enter(open_)

    def promote(self, open_: "SmbOpen", seconds: float) -> bool:
        """Make an open that is known here persistent, and what it was before if that cannot be done."""
        state, nt = open_.durable, open_.nt
        assert state is not None
        assert nt is not None
        before = state.kind, state.seconds
        # Whoever closes it meanwhile waits; and its client may be gone before the record is there.
        open_.busy += 1
        self._persistent[nt.owner] = open_
        try:
            if promote(open_, seconds):
                return True
        finally:
            open_.release()
        self._persistent.pop(nt.owner, None)
        if self.kept is not None:
            self.kept.forget(open_)
        state.kind, state.seconds = before
        if self.kept is not None:
            self.kept.enter(open_)
        return False

    def forget(self, open_: "SmbOpen") -> None:
        """An open is being closed: nobody finds it any more."""
        # A persistent one is known to whoever comes next until its record is gone.
        if self.kept is not None and not is_persistent(open_):
            self.kept.forget(open_)
        self._leave(open_)

    def _leave(self, open_: "SmbOpen") -> None:
        state = open_.durable
        assert state is not None
        self._opens.pop(open_.file_id, None)
        if self._persistent and open_.nt is not None:
            self._persistent.pop(open_.nt.owner, None)
        key = state.client_guid, state.create_guid
        if self._guids.get(key) is open_:
            del self._guids[key]
        if state.app_instance:
            self._forget_instance(state.app_instance, open_.file_id)

    def _forget_instance(self, app_instance: bytes, file_id: int) -> None:
        opens = self._instances.get(app_instance, {})
        opens.pop(file_id, None)
        if not opens:
            self._instances.pop(app_instance, None)

    def find(self, file_id: int) -> "SmbOpen | None":
        """The open with a persistent file id."""
        return self._opens.get(file_id)

    # -- persistent opens ---------------------------------------------------------------------------------------

    @property
    def persistent(self) -> int:
        """How many opens are persistent."""
        return len(self._persistent)

    @property
    def names_are_kept(self) -> bool:
        """Whether something must be written down where a file gets another name."""
        return bool(self._persistent) or self.kept is not None

    def save_sharing(self, nt: "NtOpen") -> None:
        """The rights of an open have changed: keep that, and for all that share its lease. Raises NtStatusError."""
        for open_ in self._sharing(nt):
            save(open_)

    def save_sharing_soon(self, nt: "NtOpen") -> None:
        """`save_sharing` by requests of its own, for who must not wait."""
        for open_ in self._sharing(nt):
            self._engine.spawn(Task(), save_soon, open_)

    def _sharing(self, nt: "NtOpen") -> "list[SmbOpen]":
        if not self._persistent:
            return []
        owners = nt.lease.opens if nt.lease is not None else (nt.owner,)
        return [self._persistent[owner] for owner in owners if owner in self._persistent]

    def save_renamed(self, volume: "NtVolume", path: str) -> None:
        """What is `path` now has another name, and so has what is beneath it: keep that. Raises NtStatusError."""
        if self.kept is not None:
            self.kept.renamed(self._opens.values(), volume, path)
        named = [
            open_
            for open_ in self._persistent.values()
            if open_.nt is not None and open_.nt.volume is volume and open_.nt.path.startswith(path)
        ]
        for open_ in named:
            if open_.durable is not None and open_.durable.awaited is not None:
                self._await_by_name(open_)
        for open_ in named:
            save(open_)

    def is_awaited(self, volume: "NtVolume", path: str) -> bool:
        """Whether a persistent open of the file of this NT path waits for its client (3.3.5.9)."""
        if self._awaited and (volume, _name_of(path)) in self._awaited:
            return True
        return volume.awaited is not None and volume.awaited.has(path)

    def waiting(self) -> "Iterator[SmbOpen]":
        """The opens whose clients are gone, as they are now."""
        return iter(list(self._waiting.values()))

    def of_instance(self, app_instance: bytes) -> "list[SmbOpen]":
        """The opens of an instance of an application (3.3.5.9.13)."""
        return list(self._instances.get(app_instance, {}).values())

    # -- create guids (3.3.5.9.10) ------------------------------------------------------------------------------

    def knows_guid(self, guid: tuple[bytes, bytes] | None) -> bool:
        """Whether a client has made an open with this client's and create guid, or is about to."""
        return guid in self._guids or guid in self._making

    def by_guid(self, guid: tuple[bytes, bytes]) -> "SmbOpen | None":
        """The open that a client has made with this create guid. Raises KeyError; None while it is being made."""
        return None if guid in self._making else self._guids[guid]

    def begin(self, guid: tuple[bytes, bytes], exchange: "Exchange") -> None:
        """A client has asked, in a message, for an open that is to be known by this guid.

        It is made when it is entered here; otherwise `end_making` follows.
        """
        self._making[guid] = exchange

    def going_on(self) -> "Collection[Exchange]":
        """The messages that are worked on though their connection is lost: the client may ask for the open again.

        So it may where its session has another channel; the open waits there for the replay.
        """
        making = (exchange for exchange in self._making.values() if exchange.current is not None)
        return {exchange for exchange in making if exchange.current and _has_other_channel(exchange.current)}

    def end_making(self, guid: tuple[bytes, bytes]) -> None:
        """Nothing has come of what began."""
        self._making.pop(guid, None)

    # -- without a client ---------------------------------------------------------------------------------------

    def keep(self, open_: "SmbOpen", limit: int) -> bool:
        """The open's session or tree ends; whether it is kept for its client, out of the session (3.3.7.1).

        `limit`: how many may wait.
        """
        state, nt = open_.durable, open_.nt
        if state is None or state.kind is None or nt is None or open_.closing:
            return False
        if state.kind is not _PERSISTENT and (self._closed or len(self._waiting) >= limit):
            return False
        if not self._can_wait(open_, nt, state.kind):
            return False
        session = open_.tree.session
        session.opens.pop(open_.file_id, None)
        session.lock_count -= open_.lock_count
        if self._closed:
            let_go(nt)
        else:
            self.begin_waiting(open_)
        return True

    def begin_waiting(self, open_: "SmbOpen") -> None:
        """An open that is known here, and belongs to no session, waits for its client from now on."""
        state, nt = open_.durable, open_.nt
        assert state is not None
        assert nt is not None
        self._waiting[nt.owner] = open_
        if state.kind is _PERSISTENT:
            self._await_by_name(open_)
        if nt.oplock is not None:
            nt.oplock.listener = partial(self._broken, open_)
        if nt.lease is not None:
            nt.lease.listeners[nt.owner] = partial(self._broken, open_)
        state.since = time.monotonic()
        state.timer = self._engine.loop.call_later(state.seconds, self.end, open_)

    @staticmethod
    def _can_wait(open_: "SmbOpen", nt: "NtOpen", kind: Kind) -> bool:
        if not is_kept(nt, kind):
            return False
        try:
            lose_client(open_.tree.context, nt)
        except NtStatusError as error:
            log.debug("an open cannot be kept for its client: %s", error)
            return False
        # Whoever wanted the file while the chain was told has found nobody to ask; or has closed it.
        return is_kept(nt, kind) and not open_.closing

    def take_back(self, open_: "SmbOpen", tree: "SmbTree") -> None:
        """The client of a waiting open has come back: it is an open of `tree` from now on."""
        self._stop_waiting(open_)
        state = open_.durable
        assert state is not None
        session = tree.session
        guid = state.client_guid, state.create_guid
        if self._guids.get(guid) is open_:
            del self._guids[guid]
            self._guids[session.client_guid, state.create_guid] = open_
        state.client_guid = session.client_guid
        open_.tree = tree
        session.opens[open_.file_id] = open_
        session.lock_count += open_.lock_count

    def _stop_waiting(self, open_: "SmbOpen") -> None:
        state = open_.durable
        assert open_.nt is not None
        assert state is not None
        self._waiting.pop(open_.nt.owner, None)
        state.since = None
        self._await_no_more(open_)
        if state.timer is not None:
            state.timer.cancel()
            state.timer = None

    def _await_no_more(self, open_: "SmbOpen") -> None:
        state = open_.durable
        assert state is not None
        if state.awaited is None:
            return
        volume, name = state.awaited
        self._awaited[state.awaited] -= 1
        if not self._awaited[state.awaited]:
            del self._awaited[state.awaited]
        state.awaited = None
        if volume.awaited is not None:
            volume.awaited.end(name, open_.file_id)

    def _await_by_name(self, open_: "SmbOpen") -> None:
        """Have others meet a waiting open under the name that its file has now, and no other."""
        state, nt = open_.durable, open_.nt
        assert state is not None
        assert nt is not None
        self._await_no_more(open_)
        state.awaited = nt.volume, _name_of(nt.path)
        self._awaited[state.awaited] += 1
        if nt.volume.awaited is not None:
            nt.volume.awaited.begin(nt.path, open_.file_id)

    def _broken(self, open_: "SmbOpen", notice: BreakNotice) -> bool:
        """What a waiting open rests on breaks; False where it can be given up and the open stays."""
        nt = open_.nt
        assert nt is not None
        self.save_sharing_soon(nt)
        if not notice.answer_awaited:
            return True
        owners = list(nt.lease.opens) if nt.lease is not None else [nt.owner]
        sharing = [self._waiting[owner] for owner in owners if owner in self._waiting]
        if len(sharing) < len(owners):
            # A lease of other opens, too, whose client is there to answer.
            return False
        ended = [each for each in sharing if ended_by_break(_kind(each), notice.held, notice.to)]
        for each in ended:
            self.end(each)
        return len(ended) == len(sharing)

    def end(self, open_: "SmbOpen") -> None:
        """Close a waiting open, in a request of its own; nothing happens if its client is back."""
        if self.take_out(open_):
            self._engine.spawn(Task(), self._close, open_, self._end_of_close())

    def end_now(self, open_: "SmbOpen") -> bool:
        """Close a waiting open in the request that asks for it; False if its client is there."""
        if not self.take_out(open_):
            return False
        ended = self._end_of_close()
        # Not in this request: nobody else closes the open if this one is cancelled.
        self._engine.spawn(Task(), self._close, open_, ended)
        wait(asyncio.shield(ended))
        return True

    def take_out(self, open_: "SmbOpen") -> bool:
        """Know nothing more of a waiting open, whose end is the caller's business; False if it does not wait here."""
        return self._take_out(open_, self.forget)

    def hand_out(self, open_: "SmbOpen") -> bool:
        """The same where the open is to be another worker's: what is kept of it stays."""
        return self._take_out(open_, self._leave)

    def _take_out(self, open_: "SmbOpen", leave: "Callable[[SmbOpen], None]") -> bool:
        if open_.nt is None or self._waiting.get(open_.nt.owner) is not open_:
            return False
        self._stop_waiting(open_)
        leave(open_)
        open_.closing = True
        return True

    def _end_of_close(self) -> "asyncio.Future[None]":
        ended = self._engine.loop.create_future()
        self._ending.add(ended)
        return ended

    def _close(self, open_: "SmbOpen", ended: "asyncio.Future[None]") -> None:
        assert open_.nt is not None
        try:
            open_.wait_until_idle(0)
            try:
                nt_close(open_.tree.context, open_.nt)
            finally:
                forget_record(open_)
        except NtStatusError as error:
            log.debug("closing an open whose client did not come back: %s", error)
        finally:
            self._ending.discard(ended)
            ended.set_result(None)

    async def close(self) -> None:
        """Close all that waits, and keep nothing from now on; persistent opens are left for the next start."""
        self._closed = True
        for exchange in list(self._making.values()):
            exchange.task.cancel()
        for open_ in self.waiting():
            if is_persistent(open_) and open_.nt is not None:
                self._stop_waiting(open_)
                let_go(open_.nt)
            else:
                self.end(open_)
        while self._ending:
            await asyncio.wait(self._ending)


def _has_other_channel(request: "Request") -> bool:
    session = request.session
    return session is not None and any(not connection.closed for connection in session.channels)


def _kind(open_: "SmbOpen") -> Kind:
    assert open_.durable is not None
    assert open_.durable.kind is not None
    return open_.durable.kind
