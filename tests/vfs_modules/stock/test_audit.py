"""`audit`: what it tells of, to whom, and what happens when nobody takes it."""

import errno
import json
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from lamina.core.cli import main
from lamina.vfs_modules.chosen import GROUPS, choose
from lamina.vfs_modules.operations import OPERATIONS, Access, OpenHow
from lamina.vfs_modules.stock.audit import AuditModule, AuditOptions
from lamina.vfs_modules.stock.auditing import sinks
from lamina.vfs_modules.stock.auditing.hash_chain import verify
from lamina.vfs_modules.stock.auditing.sinks import Record
from lamina.vfs_modules.stock.auditing.writer import AuditWriter
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.syscalls.log_file import LogFile
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.hand import Hand
from lamina.vfs_modules.token import SERVER_TOKEN

TOKEN = make_token(user_name="ada")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


def records(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def operations(file: Path) -> list[dict]:
    return [record for record in records(file) if "operation" in record]


def told(file: Path, do, **options) -> list[dict]:
    """What is told of what `do` does with a hand."""
    chain = local_chain("/nowhere", AuditModule(AuditOptions(file=str(file), **options)), MemoryBackend())
    hand = Hand(chain, TOKEN)
    do(hand)
    hand.close()
    chain.disconnect()
    assert verify(file.read_bytes().splitlines()).problems == []
    return operations(file)


# What is chosen.


def test_words_are_groups_operations_and_sambas_names() -> None:
    assert choose(["names", "!rmdir"]) == GROUPS["names"] - {"rmdir"}
    assert choose(["unlinkat", "pread_send"]) == {"unlink", "rmdir", "pread"}
    assert choose(["all", "!all"]) == choose(["none"]) == frozenset()
    assert choose(["all"]) == frozenset(OPERATIONS)
    with pytest.raises(ValidationError, match="'frobnicate' is no operation"):
        AuditOptions(success=("frobnicate",))


def test_what_is_not_chosen_costs_nothing(file: Path) -> None:
    backend = MemoryBackend()
    chain = local_chain("/nowhere", AuditModule(AuditOptions(file=str(file))), backend)
    assert chain.pread == backend.pread
    assert chain.fstat == backend.fstat
    chain.disconnect()


# What is told.


def test_who_did_what_is_told(file: Path) -> None:
    token = make_token(user_name="ada", user_sid="S-1-5-21-9")
    object.__setattr__(token, "substitutions", {"I": "192.0.2.7", "m": "laptop", "u": "ada"})

    def do(hand: Hand) -> None:
        hand.chain.mkdir(token, hand.root, "folder", 0o755)

    (record,) = told(file, do, success=("names",), failure=("none",))
    expected = {
        "share": "test",
        "user": "ada",
        "sid": "S-1-5-21-9",
        "address": "192.0.2.7",
        "machine": "laptop",
        "operation": "mkdir",
        "path": "folder",
        "result": "ok",
    }
    assert record.items() >= expected.items()
    assert record["duration_us"] >= 0
    assert record["time"].endswith("Z")


def test_success_and_failure_are_chosen_apart(file: Path) -> None:
    def do(hand: Hand) -> None:
        hand.mkdir("folder")
        for name in ("folder", "missing"):
            with pytest.raises(OSError):
                hand.chain.unlink(TOKEN, hand.root, name)

    found = told(file, do, success=("mkdir",), failure=("unlink",))
    assert [(record["operation"], record["path"], record["result"]) for record in found] == [
        ("mkdir", "folder", "ok"),
        ("unlink", "folder", "EISDIR"),
        ("unlink", "missing", "ENOENT"),
    ]
    assert found[2]["reason"] == os.strerror(errno.ENOENT)


def test_what_is_done_with_a_handle_is_told_with_its_path(file: Path) -> None:
    def do(hand: Hand) -> None:
        hand.mkdir("folder")
        handle = hand.open("file", OpenHow(Access.READ_WRITE, create=True), hand.open("folder"))
        hand.chain.pwrite(TOKEN, handle, memoryview(b"data"), 3)
        hand.read(handle, 100)
        stream = hand.keep(hand.chain.open_stream(TOKEN, handle, "tail", OpenHow(Access.READ, create=True)))
        hand.read(stream, 1)
        hand.rename("folder/file", "moved")
        hand.chain.link(TOKEN, handle, hand.root, "second")

    found = told(file, do, success=("all",), failure=("none",))
    by_operation = {record["operation"]: record for record in found if record["operation"] != "pread"}
    write = by_operation["pwrite"]
    assert (write["path"], write["offset"], write["length"], write["count"]) == ("folder/file", 3, 4, 4)
    reads = [record for record in found if record["operation"] == "pread"]
    assert [(read["path"], read["count"]) for read in reads] == [("folder/file", 7), ("folder/file:tail", 0)]
    assert (by_operation["rename"]["path"], by_operation["rename"]["target"]) == ("folder/file", "moved")
    assert (by_operation["link"]["path"], by_operation["link"]["target"]) == ("folder/file", "second")
    opened = next(record for record in found if record["operation"] == "open" and record["path"] == "folder/file")
    assert (opened["access"], opened["create"], opened["handle"]) == ("read_write", True, write["handle"])


def test_every_operation_can_be_described(file: Path) -> None:
    from lamina.vfs_modules.testing.suite import applicable

    for check in applicable(local_chain("/nowhere", MemoryBackend())):
        told(file, lambda hand, check=check: check(hand.chain, TOKEN), success=("all",), failure=("all",))
    assert len({record["operation"] for record in operations(file)}) > 30


def test_the_servers_own_doings_are_told_where_asked_for(file: Path) -> None:
    def do(hand: Hand) -> None:
        hand.chain.mkdir(SERVER_TOKEN, hand.root, "folder", 0o755)
        hand.chain.rmdir(SERVER_TOKEN, hand.root, "folder")

    assert told(file, do) == []
    assert len(told(file, do, server=True)) == 2


def test_names_that_are_no_utf8_and_no_lines_are_told(file: Path) -> None:
    (record,) = told(file, lambda hand: hand.mkdir("a\nb\udcffc|"), success=("mkdir",))
    assert record["path"] == "a\nb\udcffc|"


def test_events_of_this_share_are_told(file: Path) -> None:
    module = AuditModule(AuditOptions(file=str(file)))
    chain = local_chain("/nowhere", module, MemoryBackend())
    module.event("access.audited", {"share": "test", "path": "secret", "result": "failure"})
    module.event("access.audited", {"share": "other", "path": "elsewhere"})
    chain.disconnect()
    assert [record["path"] for record in records(file) if record["event"] == "access.audited"] == ["secret"]


# The file.


def test_the_chain_goes_on_over_restarts_and_rotation(file: Path) -> None:
    for name in "ab":
        told(file, lambda hand, name=name: hand.mkdir(name))
    chain = local_chain("/nowhere", AuditModule(AuditOptions(file=str(file))), MemoryBackend())
    old = file.rename(file.with_suffix(".1"))
    hand = Hand(chain, TOKEN)
    hand.mkdir("c")
    chain.disconnect()
    lines = old.read_bytes().splitlines() + file.read_bytes().splitlines()
    assert verify(lines).problems == []
    assert [json.loads(line).get("path") for line in lines if b"mkdir" in line] == ["a", "b", "c"]


def test_two_shares_write_to_one_file(file: Path) -> None:
    chains = [
        local_chain("/nowhere", AuditModule(AuditOptions(file=str(file))), MemoryBackend(), name=name)
        for name in ("first", "second")
    ]
    for chain in chains:
        Hand(chain, TOKEN).mkdir("folder")
    for chain in chains:
        chain.disconnect()
    assert [record["share"] for record in operations(file)] == ["first", "second"]
    assert verify(file.read_bytes().splitlines()).problems == []


def test_a_file_that_another_process_writes_to_is_refused(file: Path) -> None:
    import fcntl

    with file.open("w") as taken:
        fcntl.flock(taken, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="another process") as caught:
            local_chain("/nowhere", AuditModule(AuditOptions(file=str(file))), MemoryBackend())
        assert caught.value.errno == errno.EBUSY


def test_a_torn_last_line_is_noted(file: Path) -> None:
    told(file, lambda hand: hand.mkdir("a"))
    file.write_bytes(file.read_bytes()[:-30])
    chain = local_chain("/nowhere", AuditModule(AuditOptions(file=str(file))), MemoryBackend())
    chain.disconnect()
    lines = file.read_bytes().splitlines()
    assert verify(lines).problems == []
    assert b'"torn":true' in lines[3]


def test_only_the_server_reads_the_file(file: Path) -> None:
    told(file, lambda hand: hand.mkdir("a"))
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_command_verifies(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "key"
    key.write_text("a secret\n")
    chain = local_chain("/nowhere", AuditModule(AuditOptions(file=str(file), key_file=str(key))), MemoryBackend())
    Hand(chain, TOKEN).mkdir("folder")
    chain.disconnect()
    command = ["audit", "verify", str(file), "--key-file", str(key)]
    with pytest.raises(SystemExit) as done:
        main(command)
    assert not done.value.code
    assert "3 records, 1 to 3, are as they were written" in capsys.readouterr().out
    file.write_bytes(file.read_bytes().replace(b"folder", b"forged"))
    with pytest.raises(SystemExit) as done:
        main(command)
    assert done.value.code == 1
    assert "line 3 does not follow the line before it" in capsys.readouterr().err


# When nobody takes it.


class Stuck:
    """A sink that takes nothing until it is let."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.begun = threading.Event()
        self.taken: list[Record] = []

    def open(self) -> None:
        pass

    def write(self, records: Sequence[Record]) -> int:
        self.begun.set()
        self.free.wait(20)
        self.taken += records
        return len(records)

    def close(self) -> None:
        pass


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    sink = Stuck()
    yield sink
    sink.free.set()


def stuck_chain(stuck: Stuck, limit: int, when_full: str) -> tuple[Hand, AuditWriter]:
    module = AuditModule(AuditOptions(target="socket", socket="/nowhere", success=("all",), when_full=when_full))
    chain = local_chain("/nowhere", module, MemoryBackend())
    assert module._writer is not None
    module._writer.close(0)
    module._writer = writer = AuditWriter(stuck, limit, "stuck", lambda: "now")
    writer.start()
    writer.add({"event": "first"})
    assert stuck.begun.wait(10)
    return Hand(chain, TOKEN), writer


def test_what_has_no_room_is_dropped_and_counted(stuck: Stuck, caplog: pytest.LogCaptureFixture) -> None:
    hand, writer = stuck_chain(stuck, 5, "drop")
    for number in range(10):
        hand.mkdir(f"folder {number}")
    assert writer.dropped == 7, "of open_root and ten, four had room beside the first"
    stuck.free.set()
    writer.close()
    assert [record for record in stuck.taken if record.get("event") == "dropped"] == [
        {"time": "now", "event": "dropped", "count": 7}
    ]
    assert "7 records were dropped" in caplog.text


def test_what_cannot_be_told_is_refused_where_that_is_wanted(stuck: Stuck) -> None:
    hand, writer = stuck_chain(stuck, 5, "refuse")
    for number in range(3):
        hand.mkdir(f"folder {number}")
    with pytest.raises(OSError) as caught:
        hand.mkdir("one more")
    assert caught.value.errno == errno.ENOBUFS
    hand.chain.close(TOKEN, hand.root)
    stuck.free.set()
    writer.close()
    backend = hand.chain.modules[-1]
    with pytest.raises(FileNotFoundError):
        backend.stat(TOKEN, backend.open_root(TOKEN), "one more")
    assert [record["operation"] for record in stuck.taken[1:]] == ["open_root", "mkdir", "mkdir", "mkdir", "close"]
    assert writer.dropped == 0


def test_a_full_disk_loses_nothing(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    failures = iter([True, True])
    append = LogFile.append

    def sometimes(self: LogFile, data: bytes) -> None:
        if next(failures, False):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(self, data)

    monkeypatch.setattr(LogFile, "append", sometimes)
    assert [record["path"] for record in told(file, lambda hand: hand.mkdir("a"))] == ["a"]


# Logs.


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        opened.bind(str(tmp_path / "socket"))
        opened.settimeout(10)
        yield opened


def through_socket(listener: socket.socket, **options) -> bytes:
    module = AuditModule(AuditOptions(socket=listener.getsockname(), success=("mkdir",), **options))
    chain = local_chain("/nowhere", module, MemoryBackend())
    Hand(chain, TOKEN).mkdir("folder")
    chain.disconnect()
    assert b"started" in listener.recv(65536)
    return listener.recv(65536)


def test_syslog_gets_facility_and_priority(listener: socket.socket) -> None:
    message = through_socket(listener, target="syslog", facility="LOCAL5", priority="ERROR")
    head, _, body = message.partition(b": ")
    assert head.startswith(b"<%d>" % (21 * 8 + 3))
    assert f"lamina_audit[{os.getpid()}]".encode() in head
    assert json.loads(body)["path"] == "folder"


def test_text_is_as_sambas(listener: socket.socket) -> None:
    message = through_socket(listener, target="syslog", format="text", prefix="%u@%S")
    assert message.endswith(b": ada@test|mkdir|ok|folder")


def test_a_name_forges_no_line_of_text() -> None:
    record = {"prefix": "ada", "operation": "mkdir", "result": "EACCES", "reason": "no", "path": "a\nbob|mkdir|ok|b"}
    assert sinks.text_form(record) == b"ada|mkdir|fail (no)|a_bob_mkdir_ok_b"


def test_journald_gets_fields(listener: socket.socket) -> None:
    message = through_socket(listener, target="journald", priority="info")
    fields = dict(line.split(b"=", 1) for line in message.splitlines())
    assert fields[b"PRIORITY"] == b"6"
    assert fields[b"SYSLOG_IDENTIFIER"] == b"lamina_audit"
    assert (fields[b"LAMINA_OPERATION"], fields[b"LAMINA_PATH"]) == (b"mkdir", b"folder")
    assert json.loads(fields[b"MESSAGE"])["user"] == "ada"
    form = sinks.journald_form(lambda record: b"", 1, 6)
    assert b"LAMINA_PATH\n\x03\0\0\0\0\0\0\0a\nb\n" in form({"path": "a\nb"})


def test_a_stream_socket_gets_lines_also_when_it_comes_late(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    module = AuditModule(AuditOptions(target="socket", socket=path, success=("mkdir",)))
    chain = local_chain("/nowhere", module, MemoryBackend())
    Hand(chain, TOKEN).mkdir("folder")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        server.settimeout(10)
        accepted, _ = server.accept()
        chain.disconnect()
        with accepted, accepted.makefile() as lines:
            found = [json.loads(line) for line in lines]
    assert [record.get("operation", record.get("event")) for record in found] == ["started", "mkdir", "stopped"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "text"}, "a file has JSON lines"),
        ({"file": "audit.log"}, "must be an absolute path"),
        ({"file": "/%x"}, "no substitution %x"),
        ({"target": "socket"}, "needs socket"),
        ({"facility": "local9"}, "is no facility"),
        ({"priority": "loud"}, "is no priority"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AuditOptions(**options)
