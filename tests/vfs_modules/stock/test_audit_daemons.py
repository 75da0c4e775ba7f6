"""`audit` with the log daemons themselves: what they make of what they are sent, also of what is long."""

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.vfs_modules.stock.audit import AuditModule, AuditOptions
from lamina.vfs_modules.stock.auditing import sinks
from lamina.vfs_modules.stock.auditing.hash_chain import encode
from lamina.vfs_modules.stock.auditing.sinks import SocketSink
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.hand import Hand
from tests.support.log_daemons import NO_JOURNALD, NO_RSYSLOGD, RSYSLOGD, can_run_journald, journald, rsyslogd

TOKEN = make_token(user_name="ada")
LONG = "x" * 1_000_000


def tell(work: Callable[[Hand], object], **options: object) -> None:
    chain = local_chain("/nowhere", AuditModule(AuditOptions(success=("mkdir",), **options)), MemoryBackend())
    work(Hand(chain, TOKEN))
    chain.disconnect()


@pytest.mark.skipif(not can_run_journald(), reason=NO_JOURNALD)
def test_journald_keeps_fields() -> None:
    with journald() as journal:
        tell(lambda hand: hand.mkdir("a\nb=c"), target="journald", socket=journal.socket, priority="warning")
        record = next(each for each in journal.records(3) if each.get("LAMINA_OPERATION") == "mkdir")
        assert (record["PRIORITY"], record["SYSLOG_FACILITY"]) == ("4", "1")
        assert (record["LAMINA_USER"], record["LAMINA_PATH"], record["LAMINA_RESULT"]) == ("ada", "a\nb=c", "ok")
        assert json.loads(record["MESSAGE"])["path"] == "a\nb=c"


@pytest.mark.skipif(not can_run_journald(), reason=NO_JOURNALD)
def test_journald_takes_what_is_too_long_for_a_message() -> None:
    with journald() as journal:
        sink = SocketSink(journal.socket, sinks.journald_form(encode, 1, 6), in_memory=True)
        assert sink.write([{"operation": "mkdir", "path": LONG}, {"operation": "rmdir", "path": "after"}]) == 2
        sink.close()
        first, second = journal.records(2)
        assert first["LAMINA_PATH"] == LONG
        assert second["LAMINA_PATH"] == "after"


@pytest.mark.skipif(RSYSLOGD is None, reason=NO_RSYSLOGD)
def test_rsyslogd_sorts_and_writes(tmp_path: Path) -> None:
    with rsyslogd(tmp_path) as (path, log):
        tell(lambda hand: hand.mkdir("folder"), target="syslog", socket=path, facility="local5", priority="error")
        line = wait_for(log, '"operation":"mkdir"')
    head, _, message = line.partition(":")
    assert head == "local5.err lamina_audit"
    assert json.loads(message)["path"] == "folder"


@pytest.mark.skipif(RSYSLOGD is None, reason=NO_RSYSLOGD)
def test_a_name_forges_no_line_in_a_log(tmp_path: Path) -> None:
    with rsyslogd(tmp_path) as (path, log):
        name = "a\n<0>Jan  1 00:00:00 root: forged"
        tell(lambda hand: hand.mkdir(name), target="syslog", socket=path, format="text")
        tell(lambda hand: hand.mkdir("after"), target="syslog", socket=path)
        wait_for(log, "after")
        assert all(line.startswith("user.notice lamina_audit:") for line in log.read_text().splitlines())


def wait_for(log: Path, text: str) -> str:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        lines = log.read_text().splitlines() if log.exists() else []
        found = [line for line in lines if text in line]
        if found:
            return found[0]
        time.sleep(0.02)
    raise AssertionError(f"{text!r} is not in {log}")


def test_what_is_too_long_for_a_listener_is_cut_and_holds_up_nothing(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "socket"))
        sink = SocketSink(str(tmp_path / "socket"), encode)
        assert sink.write([{"operation": "mkdir", "path": LONG}, {"operation": "rmdir"}]) == 2
        cut, after = json.loads(listener.recv(1 << 20)), json.loads(listener.recv(1 << 20))
        sink.close()
    assert cut == {"operation": "mkdir", "path": "x" * 1000, "cut": True}
    assert after == {"operation": "rmdir"}
