"""The short way of what clients ask for most: ECHO, and READ and WRITE of files, alone in their messages.

What such a request means and which checks it must pass is said in `dispatch`, `open_lookup` and `commands`. Here the
same is done in one go and without their objects, for requests that pass all the checks: whatever is unusual about one
makes it go the long way, before anything was done for it. A test sends the same requests both ways.

All the messages that arrived together are worked on in one greenlet, one behind the other. When one of them begins to
wait it becomes an ordinary `Exchange`, which ends as all of those do; the messages behind it are left to the next
greenlet. Replies are written into the page of `Outgoing`.
"""

from collections.abc import Callable
from struct import error as struct_error
from typing import TYPE_CHECKING, Final, cast

from lamina.core.commands.write import WRITE_THROUGH
from lamina.core.crypto.sealing import SPARE, NonceExhaustedError
from lamina.core.open_lookup import CREDIT_BYTES, NO_FILE_ID
from lamina.core.outgoing import FRAME, LONGEST_IN_PAGE, pack_length, seal_frame
from lamina.core.request import HEADER, HEADROOM, Exchange, Reply, Request
from lamina.core.session import SessionState
from lamina.core.settings import Dialect
from lamina.core.wire.constants import FLAGS_SIGNED, Command
from lamina.core.wire.errors import WireError
from lamina.core.wire.header import PROTOCOL_NUMBER, decode_header
from lamina.core.wire.read import READ_RESPONSE_HEADER_SIZE, pack_read_response_into
from lamina.core.wire.short import (
    ECHO_REPLY,
    ECHO_REQUEST_SIZE,
    PLAIN_FLAGS,
    READ_REPLY,
    READ_REQUEST_SIZE,
    REPLY,
    SIGNED_REPLY,
    WRITE_DATA_OFFSET,
    WRITE_REPLY,
    WRITE_REQUEST_SIZE,
    Fields,
    pack_echo,
    pack_read,
    pack_write,
    unpack_header,
    unpack_read,
    unpack_write,
)
from lamina.core.wire.write import encode_write_response
from lamina.ntfsa.content import data
from lamina.ntfsa.durability.rules import Kind
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.engine import Task

if TYPE_CHECKING:
    from lamina.core.connection import Connection
    from lamina.core.crypto.signing import Signer
    from lamina.core.session import Channel, SmbOpen, SmbSession
    from lamina.vfs_modules.services.request_view import RequestView

Rest = tuple[memoryview, "SmbSession | None"]
"""A message that goes the long way, decrypted, and the session whose key it came with."""

_CANCEL: Final = int(Command.CANCEL)
_ECHO: Final = int(Command.ECHO)
_READ: Final = int(Command.READ)
_WRITE: Final = int(Command.WRITE)
_UNUSUAL: Final = 0xFFFFFFFF & ~PLAIN_FLAGS
_SEALED: Final = 0xFD
_VALID: Final = SessionState.VALID
_PERSISTENT: Final = Kind.PERSISTENT
_SMB_2_1: Final = int(Dialect.SMB_2_1)
_SMB_3_0: Final = int(Dialect.SMB_3_0)
_SUCCESS: Final = NtStatus.SUCCESS
_SMALL: Final = HEADROOM + READ_REPLY + SPARE

BY_KERNEL: Final = 128 * 1024
"""Bytes from which on the kernel is asked to send them from the file: a system call more, and two copies less."""

_Now = tuple[memoryview, "Channel", "SmbSession | None", "Signer | None", Fields]
"""A request: its message and channel, the session whose key it came with, what its reply is to be signed with, and its
header."""

_NOTHING: Final[_Now] = (memoryview(b""), cast("Channel", None), None, None, ())

Handler = Callable[[memoryview, Fields, "SmbSession"], bool]
"""(a message, its header, its session): answers it; False if it must go the long way, and nothing has been done."""

_FIRST: Final = 4
"""Replies of a batch that are sent before the others are there, so that the client has something to do meanwhile; after
them twice as many each time."""

_WARY: Final = 32
"""How many reads in a row must not have waited until they share a page again: one that waits keeps it, all 128 KiB."""


def lone_request(message: memoryview) -> Fields | None:
    """The header of a message that is one request to be answered; None for compounds and CANCEL, and for what is no
    request at all."""
    if len(message) < HEADER:
        return None
    asked: Fields = unpack_header(message)
    return asked if asked[0] == PROTOCOL_NUMBER and not asked[7] and asked[4] != _CANCEL else None


class ShortWay:
    """The short way of one connection. `handlers`: what takes the requests of a command."""

    __slots__ = ("_batch", "_channels", "_connection", "_drained", "_due", "_now", "_open", "_out", "_rest", "_task",
                 "_together", "_wary", "_window", "handlers")  # fmt: skip

    def __init__(self, connection: "Connection") -> None:
        self.handlers: dict[int, Handler] = {_ECHO: self._echo, _READ: self._read, _WRITE: self._write}
        self._connection = connection
        self._channels = connection.channels
        self._window = connection.window
        self._out = connection.out
        self._task = Task(self.on_park)
        self._rest: Rest | None = None
        self._drained = False
        self._due = self._together = _FIRST
        self._batch = 0
        self._wary = 0
        self._forget()

    def _forget(self) -> None:
        """Nothing is worked on: hold on to no buffer and to no open."""
        self._now = _NOTHING
        self._open = cast("SmbOpen", None)

    def serve(self, message: memoryview, asked: Fields, sealed: "SmbSession | None") -> tuple[bool, Rest | None]:
        """Answer this message, a `lone_request`, and those behind it, the short way or the long one.

        Whether one of them waits and still needs its bytes; and the first that is no lone request. With neither, there
        are no more. To be called outside of requests.
        """
        self._drained = False
        self._due = self._together = _FIRST
        self._connection.server.engine.spawn(self._task, self._run, message, asked, sealed)
        # Who has waited finds that others have gone on.
        self._batch += 1
        self._forget()
        rest, self._rest = self._rest, None
        return not self._drained and rest is None, rest

    def _run(self, message: memoryview, asked: Fields, sealed: "SmbSession | None") -> None:
        """Work on messages until there are no more, one is no lone request, or one has waited (in a greenlet)."""
        batch, task, connection = self._batch, self._task, self._connection
        next_message = connection.transport.next_message
        try:
            while True:
                if not self._answer(message, asked, sealed):
                    self._go_the_long_way(message, sealed)
                if self._batch != batch:
                    return
                if self._task is not task:
                    # It was about to wait, but need not, or must not: it has ended as an exchange.
                    task = self._task
                    connection.server.engine.go_on_as(task)
                following = next_message()
                if following is None:
                    self._drained = True
                    return
                message, sealed = connection.opened(following) if following[0] == _SEALED else (following, None)
                lone = lone_request(message)
                if lone is None:
                    self._rest = message, sealed
                    return
                asked = lone
        except (WireError, NonceExhaustedError) as error:
            connection.give_up(error)

    def _go_the_long_way(self, message: memoryview, sealed: "SmbSession | None") -> None:
        connection, batch = self._connection, self._batch
        exchange = connection.take_apart(message, sealed)
        if exchange is None:
            return
        engine = connection.server.engine
        engine.go_on_as(exchange.task)
        connection.run(exchange)
        if self._batch == batch:
            engine.go_on_as(self._task)

    # -- is it usual? -------------------------------------------------------------------------------------------

    def _answer(self, message: memoryview, asked: Fields, sealed: "SmbSession | None") -> bool:
        """Answer one request; False if it must go the long way, and nothing has been done for it."""
        flags, handle, channel = asked[6], self.handlers.get(asked[4]), self._channels.get(asked[10])
        if handle is None or channel is None or asked[1] != HEADER or flags & _UNUSUAL or channel.binding:
            return False
        session, signer = channel.session, None
        if session.state is not _VALID or session.expires_at is not None:
            return False
        # Whether it is as safe as its session wants it: see `dispatch`, which refuses all others.
        if sealed is not None:
            safe = sealed is session
        elif flags & FLAGS_SIGNED and not session.encrypt_data:
            signer = channel.signer
            safe = signer is not None and signer.verify_request(message, asked[8])
        else:
            safe = not (session.encrypt_data or session.signing_required)
        if not safe:
            return False
        self._now = message, channel, sealed, signer, asked
        return handle(message, asked, session)

    def _begin(self, session: "SmbSession", persistent: int, volatile: int, asked: Fields, size: int) -> bool:
        """Take the open that is meant and the credits for `size` bytes; False if something about them is unusual.

        See `open_lookup.open_of` and `open_lookup.check_charge`, which take care of all others.
        """
        open_ = session.opens.get(volatile)
        if open_ is None or open_.closing or open_.nt is None or persistent not in (open_.file_id, NO_FILE_ID):
            return False
        tree, durable = open_.tree, open_.durable
        if tree.tree_id != asked[9] >> 32 or session.trees.get(tree.tree_id) is not tree:
            return False
        if durable is not None and durable.replayable and durable.kind is not _PERSISTENT:
            return False
        connection = self._connection
        if connection.dialect >= _SMB_3_0 and open_.sequence.current != asked[3] & 0xFFFF:
            return False
        if (tree.share.encrypt and self._now[2] is None) or (
            size > CREDIT_BYTES and not _may_be_large(connection, asked[2], size)
        ):
            return False
        self._open = open_
        return self._pays(asked)

    def _pays(self, asked: Fields) -> bool:
        """Take the credits that the request costs; False if they are not the client's to use."""
        connection = self._connection
        if not self._window.consume(asked[8], (asked[2] or 1) if connection.multi_credit else 1):
            return False
        connection.requests += 1
        return True

    # -- the commands -------------------------------------------------------------------------------------------

    def _echo(self, message: memoryview, asked: Fields, session: "SmbSession") -> bool:
        if (
            len(message) < ECHO_REPLY
            or message[HEADER] != ECHO_REQUEST_SIZE
            or message[HEADER + 1]
            or not self._pays(asked)
        ):
            return False
        at = self._room()
        pack_echo(self._out.page, at, asked, self._window.grant(asked[5]), self._flags())
        self._send(at, at + ECHO_REPLY)
        return True

    def _read(self, message: memoryview, asked: Fields, session: "SmbSession") -> bool:
        try:
            size, _, _, length, offset, persistent, volatile, minimum, rdma, _, _, _ = unpack_read(message, HEADER)
        except struct_error:
            return False
        if size != READ_REQUEST_SIZE or rdma or not self._begin(session, persistent, volatile, asked, length):
            return False
        if self._wary or length > LONGEST_IN_PAGE:
            if length < BY_KERNEL or not self._let_kernel_read(asked, offset, length, minimum):
                self._read_alone(asked, offset, length, minimum)
            return True
        task, out = self._task, self._out
        room = out.room(_SMALL + length)
        page, start = out.page, room + (FRAME if self._now[2] is None else HEADROOM) + READ_REPLY
        target = out.view[start : start + length]
        out.page_is_lent = True
        count = self._fill(target, offset, minimum)
        out.page_is_lent = False
        if count < 0:
            return True
        if self._task is not task or out.used != room or out.page is not page:
            # It has waited, or something else was sent meanwhile.
            self._leave(task, _late_read(target[:count]))
            return True
        at, end = start - READ_REPLY, start + count
        pack_read(page, at, asked, self._window.grant(asked[5]), self._flags(), count)
        self._send(at, end)
        return True

    def _fill(self, target: memoryview, offset: int, minimum: int) -> int:
        """Read into `target`: how many bytes, or -1 where the request has ended otherwise."""
        task, open_ = self._task, self._open
        assert open_.nt is not None
        try:
            count = data.read(open_.tree.context, open_.nt, target, offset)
            if count < minimum:
                raise NtStatusError(NtStatus.END_OF_FILE)
        except BaseException as error:
            self._connection.out.page_is_lent = False
            self._leave(task, error)
            return -1
        return count

    def _let_kernel_read(self, asked: Fields, offset: int, length: int, minimum: int) -> bool:
        """Answer with what the kernel sends from the file itself; False if it must be read."""
        connection, open_, out = self._connection, self._open, self._connection.out
        if self._now[2] is not None or self._now[3] is not None or connection.transport.unsent():
            return False
        assert open_.nt is not None
        count = data.sendable(open_.nt, offset, length)
        if not count or count < minimum:
            return False
        at = self._room()
        pack_read(out.page, at, asked, connection.window.grant(asked[5]), self._flags(), count)
        seal_frame(out.view, at, at + READ_REPLY + count, None)
        out.used = at + READ_REPLY
        out.add_file(open_.nt.data.fd, offset, count)
        return True

    def _read_alone(self, asked: Fields, offset: int, length: int, minimum: int) -> None:
        """Read into a buffer of its own."""
        connection, task = self._connection, self._task
        pool = connection.server.buffers
        buffer = pool.take(HEADROOM + READ_REPLY + length + SPARE)
        view, start = memoryview(buffer), HEADROOM + READ_REPLY
        count = self._fill(view[start : start + length], offset, minimum)
        if count < 0:
            # What was given up half way might still be written into.
            pool.lend(buffer)
        elif self._task is not task:
            pack_read_response_into(buffer, HEADROOM + HEADER, count)
            self._leave(task, Reply(_SUCCESS, buffer=buffer, size=READ_RESPONSE_HEADER_SIZE + count))
        else:
            self._wary -= self._wary > 0
            end = start + count
            pack_read(buffer, HEADROOM, asked, connection.window.grant(asked[5]), self._flags(), count)
            begin = self._protect(view, HEADROOM, end)
            connection.out.add(view[begin:end], buffer)

    def _write(self, message: memoryview, asked: Fields, session: "SmbSession") -> bool:
        try:
            size, at, length, offset, persistent, volatile, rdma, _, _, _, flags = unpack_write(message, HEADER)
        except struct_error:
            return False
        if size != WRITE_REQUEST_SIZE or rdma or not WRITE_DATA_OFFSET <= at <= len(message) - length:
            return False
        if not self._begin(session, persistent, volatile, asked, length):
            return False
        task, connection, open_ = self._task, self._connection, self._open
        through = flags & WRITE_THROUGH != 0 and connection.dialect >= _SMB_2_1
        assert open_.nt is not None
        try:
            count = data.write(open_.tree.context, open_.nt, message[at : at + length], offset, through)
        except BaseException as error:
            self._leave(task, error)
            return True
        if self._task is not task:
            self._leave(task, Reply(_SUCCESS, encode_write_response(count)))
            return True
        at = self._room()
        pack_write(self._out.page, at, asked, self._window.grant(asked[5]), self._flags(), count)
        self._send(at, at + WRITE_REPLY)
        return True

    # -- the replies --------------------------------------------------------------------------------------------

    def _room(self) -> int:
        """Where a small reply begins in the page."""
        return self._out.room(_SMALL) + (FRAME if self._now[2] is None else HEADROOM)

    def _flags(self) -> int:
        return REPLY if self._now[3] is None else SIGNED_REPLY

    def _send(self, at: int, end: int) -> None:
        """The reply from `at` to `end` of the page is complete."""
        out, (_, _, sealed, signer, asked) = self._out, self._now
        view = out.view
        if signer is not None:
            signer.sign_reply(view[at:end], asked[8])
        if sealed is not None:
            seal_frame(view, at, end, sealed)
        else:
            pack_length(view, at - FRAME, end - at)
        out.used = end
        self._due -= 1
        if not self._due:
            self._due = self._together = self._together * 2
            out.flush()

    def _protect(self, view: memoryview, at: int, end: int) -> int:
        """Sign or seal the reply from `at` to `end`, and put its length before it; where the frame begins."""
        _, _, sealed, signer, asked = self._now
        if signer is not None:
            signer.sign_reply(view[at:end], asked[8])
        return seal_frame(view, at, end, sealed)

    # -- back to the long way -----------------------------------------------------------------------------------

    def on_park(self, indefinite: bool) -> None:
        """The current request begins to wait: it becomes an exchange (the engine calls this)."""
        exchange = self._begin_exchange(self._task)
        self._task = Task(self.on_park)
        self._wary = _WARY
        if self._connection.out.page_is_lent:
            self._connection.out.leave_page()
        exchange.on_park(indefinite)

    def view(self) -> "RequestView | None":
        """The current request as modules see it (`services.request_view` finds this by the task)."""
        return self._exchange(Task()).view()

    def _leave(self, task: Task, outcome: Reply | BaseException) -> None:
        """Let the current request end as all do; it has become an exchange if it has waited."""
        exchange = self._begin_exchange(Task()) if self._task is task else _exchange_of(task)
        assert exchange.current is not None
        self._connection.conclude(exchange, exchange.current, outcome)

    def _begin_exchange(self, task: Task) -> Exchange:
        """The current request as an exchange that is being worked on, with its open held."""
        exchange = self._exchange(task)
        request, open_ = exchange.current, self._open
        assert request is not None
        open_.busy += 1
        if self._connection.dialect >= _SMB_3_0:
            request.sequenced = open_.sequence.admit(request.header.channel_sequence, False)
        self._connection.running.add(exchange)
        return exchange

    def _exchange(self, task: Task) -> Exchange:
        message, channel, sealed, signer, _ = self._now
        header = decode_header(message)
        exchange = Exchange(self._connection, [(message, header)], sealed, task)
        exchange.position = 1
        request = exchange.current = Request(exchange, message, header)
        request.channel, request.session, request.signed = channel, channel.session, signer is not None
        self._resolve(request)
        return exchange

    def _resolve(self, request: Request) -> None:
        """Tell the current request what its ids were found to mean."""
        request.open, request.tree, request.file_id = self._open, self._open.tree, self._open.file_id


def _exchange_of(task: Task) -> Exchange:
    exchange = getattr(task.on_park, "__self__", None)
    assert isinstance(exchange, Exchange)
    return exchange


def _may_be_large(connection: "Connection", charge: int, size: int) -> bool:
    paid = connection.multi_credit and (size - 1) // CREDIT_BYTES < charge
    return paid and size <= connection.server.settings.max_io


def _late_read(found: memoryview) -> Reply:
    buffer = bytearray(HEADROOM + READ_REPLY) + found + bytes(SPARE)
    pack_read_response_into(buffer, HEADROOM + HEADER, len(found))
    return Reply(_SUCCESS, buffer=buffer, size=READ_RESPONSE_HEADER_SIZE + len(found))
