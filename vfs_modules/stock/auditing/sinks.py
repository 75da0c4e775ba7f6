"""Where audit records go: a file with its hash chain, syslog, journald, or a socket. Used by the writer's thread only.

A sink takes records until one does not go through: `write` says how many it took, and raises OSError for none.
"""

import contextlib
import errno
import json
import logging
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from lamina.vfs_modules.services.shared import SharedValues
from lamina.vfs_modules.stock.auditing.hash_chain import HashChain, resume
from lamina.vfs_modules.syscalls.log_file import FileState, LogFile
from lamina.vfs_modules.syscalls.scratch import sealed_memory

log = logging.getLogger(__name__)

Record = Mapping[str, Any]

FACILITIES: Final = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
)  # fmt: skip
"""The facilities of syslog by number; local0 to local7 are 16 to 23."""

PRIORITIES: Final = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
"""The severities of syslog by number."""

IDENTIFIER: Final = "lamina_audit"

_TAIL: Final = 1 << 20
_ANCHOR_EVERY: Final = 1_000
_CONNECT_SECONDS: Final = 5.0
_CUT: Final = 1_000
_POSITION: Final = b"position"


def facility_number(name: str) -> int:
    """The number of a facility, in lower case. Raises ValueError."""
    if name.startswith("local") and name[5:] in {str(number) for number in range(8)}:
        return 16 + int(name[5:])
    if name not in FACILITIES:
        raise ValueError(f"{name!r} is no facility ({', '.join(FACILITIES)}, local0 to local7)")
    return FACILITIES.index(name)


def priority_number(name: str) -> int:
    """The number of a priority, in lower case. Raises ValueError."""
    name = {"error": "err", "warn": "warning", "panic": "emerg"}.get(name, name)
    if name not in PRIORITIES:
        raise ValueError(f"{name!r} is no priority ({', '.join(PRIORITIES)})")
    return PRIORITIES.index(name)


class Sink(Protocol):
    """Where records go."""

    def open(self) -> None:
        """Get ready; raises OSError for what will never work."""

    def write(self, records: Sequence[Record]) -> int:
        """Take records, from the first; how many were taken."""
        ...

    def close(self) -> None:
        """Give back what is open."""


class FileSink:
    """A file of JSON lines with a hash chain, which goes on over restarts and over the rotation of the file."""

    def __init__(self, path: str, key: bytes, sync: bool) -> None:
        self._path = path
        self._key = key
        self._sync = sync
        self._file: LogFile | None = None
        self._chain = HashChain(key)

    def open(self) -> None:
        """Open the file and find where its chain has come to."""
        self._file = LogFile(self._path)
        self._chain, torn = resume(self._file.tail(_TAIL), self._key)
        if torn:
            log.warning("audit: the last line of %s is not whole; the chain goes on after it", self._path)
            self._file.append(b"\n")
            self._put([{"event": "resumed", "torn": True}])

    def write(self, records: Sequence[Record]) -> int:
        """Append records."""
        if self._file is None or self._file.was_moved():
            self._reopen()
        self._put(records)
        return len(records)

    def _put(self, records: Sequence[Record]) -> None:
        assert self._file is not None
        ahead = HashChain(self._key, self._chain.number, self._chain.last)
        self._file.append(b"".join(ahead.seal(record) + b"\n" for record in records))
        anchored = self._chain.number // _ANCHOR_EVERY
        self._chain = ahead
        if self._sync:
            self._file.sync()
        if ahead.number // _ANCHOR_EVERY != anchored:
            self._say_anchor()

    def _reopen(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._file = LogFile(self._path)

    def _say_anchor(self) -> None:
        log.info("audit: record %d of %s has the hash %s", self._chain.number, self._path, self._chain.last)

    def close(self) -> None:
        """Say where the chain has come to, and close."""
        if self._file is not None:
            self._say_anchor()
            self._file.close()
            self._file = None


class SharedFileSink:
    """The same for one of several processes that write to the file: each batch goes on where the last one ended.

    Where that was, `position` says, beside the file itself: the number and the hash of the last record, and which file
    it is in. So a chain goes on in a new file that somebody else has begun, whoever wrote last to the one before it.
    """

    def __init__(self, path: str, key: bytes, sync: bool, position: SharedValues) -> None:
        self._path = path
        self._key = key
        self._sync = sync
        self._position = position
        self._file: LogFile | None = None

    def open(self) -> None:
        """Open the file, and go on with its chain."""
        with self._locked() as file:
            self._resumed(file)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[LogFile]:
        """The file that is called so now, while nobody else writes to it."""
        while True:
            if self._file is None:
                self._file = LogFile(self._path, several=True)
            self._file.lock()
            if not self._file.was_moved():
                break
            self._note_moved(self._file)
            self.close()
        try:
            yield self._file
        finally:
            self._file.unlock()

    def _known(self) -> tuple[HashChain, FileState] | None:
        value = self._position.get(_POSITION)
        if value is None:
            return None
        number, last, *state = json.loads(value)
        return HashChain(self._key, number, last), FileState(*state)

    def _note(self, chain: HashChain, state: FileState) -> None:
        with self._position.step() as values:
            values.put(_POSITION, json.dumps([chain.number, chain.last, *state]).encode())

    def _note_moved(self, file: LogFile) -> None:
        """See that what is known is what a file ends with that is rotated: its last writer may have been killed."""
        known, state = self._known(), file.state()
        if known is not None and known[1] != state and known[1][:2] == state[:2] and state.size:
            self._note(resume(file.tail(_TAIL), self._key)[0], state)

    def _resumed(self, file: LogFile) -> HashChain:
        known, state = self._known(), file.state()
        if known is not None and (known[1] == state or not state.size):
            return known[0]
        chain, torn = resume(file.tail(_TAIL), self._key)
        if torn:
            log.warning("audit: the last line of %s is not whole; the chain goes on after it", self._path)
            file.append(b"\n" + chain.seal({"event": "resumed", "torn": True}) + b"\n")
            self._note(chain, file.state())
        return chain

    def write(self, records: Sequence[Record]) -> int:
        """Append records behind those of all others."""
        with self._locked() as file:
            chain = self._resumed(file)
            anchored = chain.number // _ANCHOR_EVERY
            file.append(b"".join(chain.seal(record) + b"\n" for record in records))
            if self._sync:
                file.sync()
            self._note(chain, file.state())
        if chain.number // _ANCHOR_EVERY != anchored:
            log.info("audit: record %d of %s has the hash %s", chain.number, self._path, chain.last)
        return len(records)

    def close(self) -> None:
        """Close the file: who closes last cannot be known, and so no hash is said."""
        if self._file is not None:
            self._file.close()
            self._file = None


class SocketSink:
    """A UNIX socket that gets what `render` makes of each record: messages, or a stream of lines.

    What is too long for a message goes in a file in memory where whoever listens takes that (`in_memory`, journald);
    else its long values are cut, and the record says so.
    """

    def __init__(self, path: str, render: Callable[[Record], bytes], in_memory: bool = False) -> None:
        self._path = path
        self._render = render
        self._in_memory = in_memory
        self._socket: socket.socket | None = None
        self._ends = b""

    def open(self) -> None:
        """Nothing yet: whoever listens may come later."""

    def _connect(self) -> socket.socket:
        for kind, ends in ((socket.SOCK_DGRAM, b""), (socket.SOCK_STREAM, b"\n")):
            client = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
            client.settimeout(_CONNECT_SECONDS)
            try:
                client.connect(self._path)
            except OSError as error:
                client.close()
                if error.errno != errno.EPROTOTYPE or kind == socket.SOCK_STREAM:
                    raise
            else:
                self._ends = ends
                return client
        raise OSError(errno.EPROTOTYPE, os.strerror(errno.EPROTOTYPE), self._path)

    def write(self, records: Sequence[Record]) -> int:
        """Send records, one after the other."""
        for taken, record in enumerate(records):
            try:
                if self._socket is None:
                    self._socket = self._connect()
                self._send(self._socket, record)
            except OSError:
                self.close()
                if taken:
                    return taken
                raise
        return len(records)

    def _send(self, connection: socket.socket, record: Record) -> None:
        message = self._render(record) + self._ends
        try:
            connection.sendall(message)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            if self._in_memory:
                _send_in_memory(connection, message)
            else:
                connection.sendall(self._render(_cut(record)) + self._ends)

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None


def _send_in_memory(connection: socket.socket, message: bytes) -> None:
    fd = sealed_memory(message)
    try:
        socket.send_fds(connection, [b""], [fd])
    finally:
        os.close(fd)


def _cut(record: Record) -> Record:
    short = {name: value[:_CUT] if isinstance(value, str) else value for name, value in record.items()}
    return short | {"cut": True}


def syslog_form(render: Callable[[Record], bytes], facility: int, priority: int) -> Callable[[Record], bytes]:
    """What the system's log daemon reads from /dev/log (RFC 3164)."""
    head = f"<{facility * 8 + priority}>"

    def form(record: Record) -> bytes:
        now = time.strftime("%b %e %H:%M:%S")
        return f"{head}{now} {IDENTIFIER}[{os.getpid()}]: ".encode() + render(record)

    return form


_JOURNAL_FIELDS: Final = ("share", "user", "address", "operation", "result", "path", "target")


def journald_form(render: Callable[[Record], bytes], facility: int, priority: int) -> Callable[[Record], bytes]:
    """What journald reads from its socket: fields, each a line or a length and bytes."""

    def form(record: Record) -> bytes:
        fields = {
            "MESSAGE": render(record),
            "PRIORITY": b"%d" % priority,
            "SYSLOG_FACILITY": b"%d" % facility,
            "SYSLOG_IDENTIFIER": IDENTIFIER.encode(),
        }
        for name in _JOURNAL_FIELDS:
            if name in record:
                fields[f"LAMINA_{name.upper()}"] = str(record[name]).encode("utf-8", "replace")
        return b"".join(_journal_field(name, value) for name, value in fields.items())

    return form


def _journal_field(name: str, value: bytes) -> bytes:
    if b"\n" in value:
        return name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


def text_form(record: Record) -> bytes:
    """A record as Samba's full_audit has it: prefix|operation|ok|path."""
    result = record.get("result", "")
    outcome = "ok" if result == "ok" else f"fail ({record.get('reason', result)})"
    parts = [record.get("prefix", ""), record.get("operation", record.get("event", "")), outcome]
    parts += [record[name] for name in ("path", "target") if name in record]
    return "|".join(_one_line(str(part)) for part in parts).encode("utf-8", "replace")


def _one_line(text: str) -> str:
    """Nothing in a name may look like the next field or the next line."""
    return "".join("_" if character < " " or character == "|" else character for character in text)
