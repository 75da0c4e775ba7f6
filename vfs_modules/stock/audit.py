"""A module that tells of what is done: who, from where, what, with what result, in what time; to a file or a log.

Which operations, and whether those that succeed or those that fail, is the administrator's choice. A request never
waits for it (`auditing.writer`), and the records of a file prove that none of them was changed (`auditing.hash_chain`).
"""

import errno
import functools
import itertools
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from lamina.vfs_modules.chosen import GROUPS, choose
from lamina.vfs_modules.described import Trace, describe, error_name, named
from lamina.vfs_modules.engine import offload
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.hooks import listens
from lamina.vfs_modules.module import ModuleOptions, ShareInfo, VfsModule, named_by_samba
from lamina.vfs_modules.operations import OPERATIONS, Operation
from lamina.vfs_modules.processes import place
from lamina.vfs_modules.services.surroundings import surrounded
from lamina.vfs_modules.stock.auditing.hash_chain import encode
from lamina.vfs_modules.stock.auditing.sinks import (
    FileSink,
    Record,
    SharedFileSink,
    Sink,
    SocketSink,
    facility_number,
    journald_form,
    priority_number,
    syslog_form,
    text_form,
)
from lamina.vfs_modules.stock.auditing.writer import AuditWriter, give_back_writer, share_writer
from lamina.vfs_modules.substitution import AT_CONNECT, Substituted, as_component, substitute, values_for
from lamina.vfs_modules.syscalls.log_file import read_secret
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

_DEFAULT: Final = ("open", "names", "attributes", "security")
_OPENING: Final = frozenset({"open", "open_stream"})
_SOCKETS: Final = {"syslog": "/dev/log", "journald": "/run/systemd/journal/socket"}
_USERS: Final = 1_000
_PROCESSES: Final = 8
"""Bits of the number of a handle that say which process it is of."""

_count = itertools.count(1).__next__


def _chosen(words: tuple[str, ...]) -> tuple[str, ...]:
    choose(words)
    return words


def _facility(name: str) -> str:
    facility_number(name.lower())
    return name.lower()


def _priority(name: str) -> str:
    priority_number(name.lower())
    return name.lower()


Words = Annotated[tuple[str, ...], AfterValidator(_chosen)]


class AuditOptions(ModuleOptions):
    """Options of `audit`; those that Samba's full_audit has are called as there."""

    samba_names = named_by_samba("full_audit", "success", "failure", "prefix", "facility", "priority")

    success: Words = Field(
        default=_DEFAULT, description='what is told when it succeeds: groups and operations, "!word" without these'
    )
    failure: Words = Field(default=_DEFAULT, description="what is told when it fails, likewise")
    target: Literal["file", "syslog", "journald", "socket"] = Field(default="file", description="where records go")
    file: Annotated[str, Substituted(AT_CONNECT)] = Field(
        default="/var/log/lamina/audit.log", description="the file; %S is the share's name"
    )
    socket: str = Field(default="", description="the UNIX socket; without, syslog's or journald's own")
    format: Literal["json", "text"] = Field(default="json", description="JSON, or text as full_audit's (not in a file)")
    prefix: Annotated[str, Substituted()] = Field(default="%u|%I", description="what text begins with")
    facility: Annotated[str, AfterValidator(_facility)] = Field(default="user", description="syslog's facility")
    priority: Annotated[str, AfterValidator(_priority)] = Field(default="notice", description="syslog's priority")
    key_file: str = Field(
        default="", description="a file with a key for the hash chain: only who has it can write or verify one"
    )
    limit: int = Field(default=10_000, ge=1, le=1_000_000, description="how many records may wait to be written")
    when_full: Literal["drop", "refuse"] = Field(
        default="drop", description="what happens when more come: records are dropped, or operations are refused"
    )
    sync: bool = Field(default=False, description="whether records are on the disk before more are written")
    server: bool = Field(default=False, description="whether to tell what the server does on its own behalf")
    events: bool = Field(default=True, description="whether to tell accesses that the files' own audit entries ask for")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.target == "file" and self.format == "text":
            raise ValueError("a file has JSON lines: its records prove that none was changed")
        if self.target == "file" and not self.file.startswith("/"):
            raise ValueError(f"file = {self.file!r} must be an absolute path")
        if self.target == "socket" and not self.socket:
            raise ValueError('target = "socket" needs socket, its path')
        return self


class AuditModule(VfsModule):
    """Tells of what is done."""

    Options = AuditOptions
    name: ClassVar[str] = "audit"

    options: AuditOptions

    def __init__(self, options: AuditOptions | None = None) -> None:
        super().__init__(options)
        self._success = choose(self.options.success)
        self._failure = choose(self.options.failure)
        self._refuses = self.options.when_full == "refuse"
        self._writer: AuditWriter | None = None
        self._title = ""
        self._who: dict[int, Mapping[str, Any]] = {}

    # Lifecycle.

    def one_process(self) -> str:
        """Processes take turns at the file, whose chain goes on from each to the next."""
        return ""

    def connect(self, share: ShareInfo) -> None:
        """Open where records go. Raises OSError where that cannot be."""
        options = self.options
        where = options.socket or _SOCKETS.get(options.target, "")
        if options.target == "file":
            where = substitute(options.file, {"S": share.name}, as_component)
        self._title = f"{options.target}:{where}"
        self._writer = share_writer(
            self._title, lambda: AuditWriter(self._sink(where), options.limit, self._title, _now)
        )
        self._writer.add(self._record("started", share=share.name))

    def disconnect(self) -> None:
        """Write what is still to be written, and close."""
        assert self._writer is not None
        share = self.share.name if self.share is not None else ""
        self._writer.add(self._record("stopped", share=share))
        self._writer = None
        offload(SERVER_TOKEN, give_back_writer, self._title)

    def _sink(self, where: str) -> Sink:
        options = self.options
        if options.target == "file":
            key = read_secret(options.key_file) if options.key_file else b""
            if place() is None:
                return FileSink(where, key, options.sync)
            position = surrounded(self, "a file of records").shared(f"audit\0{where}")
            return SharedFileSink(where, key, options.sync, position)
        render: Callable[[Record], bytes] = encode if options.format == "json" else text_form
        numbers = facility_number(options.facility), priority_number(options.priority)
        if options.target == "syslog":
            render = syslog_form(render, *numbers)
        elif options.target == "journald":
            render = journald_form(render, *numbers)
        return SocketSink(where, render, options.target == "journald")

    @staticmethod
    def _record(event: str, **fields: Any) -> dict[str, Any]:
        return {"time": _now(), "event": event, **fields}

    # Operations.

    def _is_chosen(self, operation: Operation, chosen: frozenset[str]) -> bool:
        # What modules add to the protocol has no name in the table: who wants all wants that.
        return operation.name in chosen or (operation.name not in OPERATIONS and chosen >= GROUPS["all"])

    def _needs_paths(self) -> bool:
        return any(OPERATIONS[name].target.name == "HANDLE" for name in self._success | self._failure)

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        """Tell of the chosen operations; for those on handles, remember what was opened by which path."""
        if operation.name in _OPENING and self._needs_paths():
            call = self._tracing(operation.name, call)
        good, bad = self._is_chosen(operation, self._success), self._is_chosen(operation, self._failure)
        return self._telling(operation.name, call, good, bad) if good or bad else call

    def _tracing(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def traced(token: ImpersonationToken, *arguments: Any, **keywords: Any) -> Any:
            handle = call(token, *arguments, **keywords)
            path = describe(name, named(name, arguments, keywords), self.state)["path"]
            self.set_state(handle, Trace(_number(), path))
            return handle

        return traced

    def _telling(self, name: str, call: Callable[..., Any], good: bool, bad: bool) -> Callable[..., Any]:
        # A close is never refused: what is open must be given back. There are no more of them than open handles.
        refuses, beyond = self._refuses and name != "close", self._refuses and name == "close"
        with_server = self.options.server
        clock = time.perf_counter_ns

        def told(token: ImpersonationToken, *arguments: Any, **keywords: Any) -> Any:
            writer = self._writer
            if writer is None or (token is SERVER_TOKEN and not with_server):
                return call(token, *arguments, **keywords)
            # A handle that is closed, or a file that is renamed, is described as it was before.
            details = describe(name, named(name, arguments, keywords), self.state)
            if refuses and not writer.reserve():
                raise OSError(errno.ENOBUFS, "audit: there is no room for a record")
            begin = clock()
            try:
                result = call(token, *arguments, **keywords)
            except BaseException as error:
                if bad:
                    record = self._of_operation(token, name, error, clock() - begin) | details
                    writer.add(record, reserved=refuses, beyond=beyond)
                elif refuses:
                    writer.release()
                raise
            if good:
                record = self._of_operation(token, name, None, clock() - begin) | details | self._about(name, result)
                writer.add(record, reserved=refuses, beyond=beyond)
            elif refuses:
                writer.release()
            return result

        return told

    def _of_operation(
        self, token: ImpersonationToken, name: str, error: BaseException | None, nanoseconds: int
    ) -> dict[str, Any]:
        record: dict[str, Any] = {
            "time": _now(),
            **(self._who.get(token.cache_id) or self._remember(token)),
            "operation": name,
            "result": "ok" if error is None else error_name(error),
            "duration_us": nanoseconds // 1000,
        }
        if error is not None:
            record["reason"] = (isinstance(error, OSError) and error.strerror) or type(error).__name__
        return record

    def _remember(self, token: ImpersonationToken) -> Mapping[str, Any]:
        """What is said of a user in each record; for the users of the moment it is put together once."""
        if len(self._who) >= _USERS:
            self._who.clear()
        values = values_for(token, self.share)
        who = {"share": values.get("S", ""), "user": token.user_name, "sid": token.user_sid, "uid": token.uid}
        who |= {"address": values.get("I", ""), "machine": values.get("m", "")}
        if self.options.format == "text":
            who["prefix"] = substitute(self.options.prefix, values)
        self._who[token.cache_id] = who
        return who

    def _about(self, name: str, result: Any) -> dict[str, Any]:
        if name in {"pread", "pwrite", "copy_range"}:
            return {"count": result}
        if name in _OPENING and isinstance(result, VfsHandle):
            trace = self.state(result)
            return {"handle": trace.number} if trace is not None else {}
        return {}

    # What ntfsa audits because the descriptor of a file asks for it.

    @listens
    def event(self, kind: str, details: Mapping[str, Any]) -> None:
        """Tell of an event of this share."""
        writer = self._writer
        share = self.share
        if writer is not None and share is not None and self.options.events and details.get("share") == share.name:
            writer.add(self._record(kind, **details))


def _number() -> int:
    """That of a handle, which no other has before the server is started again."""
    where = place()
    return _count() if where is None else _count() << _PROCESSES | where.number


def _now() -> str:
    """The time as records have it (ISO 8601, microseconds)."""
    seconds, rest = divmod(time.time_ns(), 1_000_000_000)
    return f"{_second(seconds)}.{rest // 1000:06d}Z"


@functools.lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
