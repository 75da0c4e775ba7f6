"""The short way of CREATE, CLOSE, QUERY_INFO and SET_INFO, alone in their messages, for files (see `short_way`).

What such a request does is said in `commands`: here it is only spared the objects between, where nothing about it is
unusual. Whatever is - a pipe, a handle that is to outlive its connection, a payload, an open that is in use - makes it
go the long way, before anything was done for it. A test sends the same requests both ways.
"""

from struct import error as struct_error
from typing import TYPE_CHECKING, Final, cast

from lamina.core.commands.close import POSTQUERY_ATTRIB
from lamina.core.commands.create import open_file
from lamina.core.commands.create_durable import TAGS
from lamina.core.commands.set_info import RESPONSE, set_on
from lamina.core.crypto.sealing import SPARE
from lamina.core.outgoing import FRAME, LONGEST_IN_PAGE
from lamina.core.request import ERROR_BODY, HEADER, HEADROOM, Exchange, Reply, Request
from lamina.core.session import SmbOpen
from lamina.core.settings import Dialect
from lamina.core.short_way import ShortWay
from lamina.core.wire.buffer_response import encode_buffer_response
from lamina.core.wire.close import encode_close_response
from lamina.core.wire.constants import Command
from lamina.core.wire.create import decode_create_request
from lamina.core.wire.errors import WireError
from lamina.core.wire.set_info import decode_set_info_request
from lamina.core.wire.short_files import (
    CLOSE_REQUEST_SIZE,
    QUERY_INFO_REQUEST_SIZE,
    pack_reply,
    unpack_close,
    unpack_query_info,
)
from lamina.ntfsa.constants import FILE_NORMALIZED_NAME_INFORMATION
from lamina.ntfsa.information import query_file, query_filesystem, query_security
from lamina.ntfsa.status import NtStatus, NtStatusError

if TYPE_CHECKING:
    from lamina.core.connection import Connection
    from lamina.core.session import SmbSession, SmbTree
    from lamina.core.wire.short import Fields
    from lamina.vfs_modules.engine import Task

_SUCCESS: Final = NtStatus.SUCCESS
_SMB_3_1_1: Final = int(Dialect.SMB_3_1_1)
_IMPERSONATION_DELEGATE: Final = 3
_INFO_FILE: Final = 1
_INFO_FILESYSTEM: Final = 2
_INFO_SECURITY: Final = 3
_CLOSED: Final = encode_close_response(0, None)
_NO_OPEN: Final = cast("SmbOpen", None)


class ShortFiles(ShortWay):
    """The short way of one connection, of these commands, too."""

    __slots__ = ("_tree",)

    def __init__(self, connection: "Connection") -> None:
        super().__init__(connection)
        self.handlers[int(Command.CREATE)] = self._create
        self.handlers[int(Command.CLOSE)] = self._close
        self.handlers[int(Command.QUERY_INFO)] = self._query_info
        self.handlers[int(Command.SET_INFO)] = self._set_info
        self._tree = cast("SmbTree", None)

    def _create(self, message: memoryview, asked: "Fields", session: "SmbSession") -> bool:
        tree = session.trees.get(asked[9] >> 32)
        if tree is None or not self._may_open_in(tree, session):
            return False
        try:
            wanted = decode_create_request(message)
        except WireError:
            return False
        if wanted.impersonation_level > _IMPERSONATION_DELEGATE or not TAGS.isdisjoint(wanted.contexts):
            return False
        if not self._pays(asked):
            return False
        task, self._open, self._tree = self._task, _NO_OPEN, tree
        try:
            _, body = open_file(self._connection, tree, wanted, asked[3] & 0xFFFF)
        except BaseException as error:
            return self._refuse(task, asked, error)
        return self._tell(task, asked, body)

    def _may_open_in(self, tree: "SmbTree", session: "SmbSession") -> bool:
        """Whether an open in this tree is a file's, and is safe and admitted."""
        share, limits = tree.share, self._connection.server.settings.limits
        return (
            share.volume is not None
            and tree.maximal_access != 0
            and not (share.encrypt and self._now[2] is None)
            and len(session.opens) < limits.opens_per_session
        )

    def _close(self, message: memoryview, asked: "Fields", session: "SmbSession") -> bool:
        try:
            size, flags, _, persistent, volatile = unpack_close(message, HEADER)
        except struct_error:
            return False
        open_ = session.opens.get(volatile)
        if size != CLOSE_REQUEST_SIZE or open_ is None or open_.busy:
            return False
        if not self._begin(session, persistent, volatile, asked, 0):
            return False
        task = self._task
        try:
            information = self._connection.server.close_open(open_, flags & POSTQUERY_ATTRIB != 0)
        except BaseException as error:
            return self._refuse(task, asked, error)
        body = _CLOSED if information is None else encode_close_response(POSTQUERY_ATTRIB, information)
        return self._tell(task, asked, body)

    def _query_info(self, message: memoryview, asked: "Fields", session: "SmbSession") -> bool:
        try:
            size, kind, number, length, _, _, given, additional, flags, persistent, volatile = unpack_query_info(
                message, HEADER
            )
        except struct_error:
            return False
        if size != QUERY_INFO_REQUEST_SIZE or given or not _INFO_FILE <= kind <= _INFO_SECURITY:
            return False
        if number == FILE_NORMALIZED_NAME_INFORMATION and self._connection.dialect < _SMB_3_1_1:
            return False
        if not self._begin(session, persistent, volatile, asked, length):
            return False
        task, open_ = self._task, self._open
        assert open_.nt is not None
        try:
            if kind == _INFO_FILE:
                status, data = query_file(open_.tree.context, open_.nt, number, length, b"", flags, additional)
            elif kind == _INFO_FILESYSTEM:
                status, data = query_filesystem(open_.tree.context, open_.nt, number, length)
            else:
                status, data = query_security(open_.tree.context, open_.nt, additional, length)
        except BaseException as error:
            return self._refuse(task, asked, error)
        return self._tell(task, asked, encode_buffer_response(data), status)

    def _set_info(self, message: memoryview, asked: "Fields", session: "SmbSession") -> bool:
        try:
            wanted = decode_set_info_request(message)
        except WireError:
            return False
        if not self._begin(session, wanted.persistent, wanted.volatile, asked, len(wanted.buffer)):
            return False
        task, open_ = self._task, self._open
        assert open_.nt is not None
        try:
            set_on(self._connection.server, open_, open_.nt, wanted)
        except BaseException as error:
            return self._refuse(task, asked, error)
        return self._tell(task, asked, RESPONSE)

    def _refuse(self, task: "Task", asked: "Fields", error: BaseException) -> bool:
        """Answer the current request with an error. That a name is not there is told as often as that it is."""
        if type(error) is NtStatusError and not error.data:
            return self._tell(task, asked, ERROR_BODY, error.status)
        self._leave(task, error)
        return True

    def _tell(self, task: "Task", asked: "Fields", body: bytes, status: int = _SUCCESS) -> bool:
        """Answer the current request, which began as `task`."""
        size, out = len(body), self._connection.out
        if self._task is not task or size > LONGEST_IN_PAGE:
            self._leave(task, Reply(status, body))
            return True
        at = out.room(HEADROOM + HEADER + size + SPARE) + (FRAME if self._now[2] is None else HEADROOM)
        end = at + HEADER + size
        pack_reply(out.page, at, asked, self._connection.window.grant(asked[5]), self._flags(), status)
        out.view[at + HEADER : end] = body
        self._send(at, end)
        return True

    def _begin_exchange(self, task: "Task") -> Exchange:
        """See `ShortWay`; a file that is being opened has no open yet that could be held."""
        if self._open is not _NO_OPEN:
            return super()._begin_exchange(task)
        exchange = self._exchange(task)
        self._connection.running.add(exchange)
        return exchange

    def _resolve(self, request: Request) -> None:
        """See `ShortWay`."""
        if self._open is not _NO_OPEN:
            super()._resolve(request)
        else:
            request.tree = self._tree
