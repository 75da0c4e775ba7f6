"""`virus_scan`: infected files are not read, and what is known of a file is asked once."""

import asyncio
import errno
import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.vfs_modules.engine import Engine, RequestCancelled, Task
from lamina.vfs_modules.extensions import StatusError
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, Capability, FileStat, OpenHow
from lamina.vfs_modules.services import HealthState
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.stock.scanning import clamd_protocol as protocol
from lamina.vfs_modules.stock.scanning.clamd_protocol import CLEAN, Outcome, Verdict
from lamina.vfs_modules.stock.scanning.quarantine import ATTRIBUTE
from lamina.vfs_modules.stock.scanning.verdicts import Verdicts
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.stock.virus_scan import STATUS_VIRUS_INFECTED, VirusScanModule, VirusScanOptions
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.conformance import Case, Profile, cases
from lamina.vfs_modules.testing.hand import CREATE, LIST, PATH, READ, READ_WRITE, Hand, fails_with
from lamina.vfs_modules.testing.subject import default_users
from lamina.vfs_modules.token import SERVER_TOKEN
from tests.support.clamd import CLAMD, EICAR, PATTERN, STREAM_LIMIT, WHY_NOT, FakeClamd, clamd

TOKEN = make_token(user_name="ada")
WRITE = OpenHow(Access.WRITE)
HOUR = 3_600_000_000_000


@pytest.fixture
def scanner(tmp_path: Path) -> Iterator[FakeClamd]:
    with FakeClamd(tmp_path) as fake:
        yield fake


def share(scanner: FakeClamd | str, **options: Any) -> tuple[Hand, MemoryBackend]:
    """A share in memory whose files are an hour old when they are looked at."""
    past, now = MemoryBackend(clock=iter(range(1, 1 << 40)).__next__), iter(range(HOUR, HOUR << 10)).__next__
    path = scanner if isinstance(scanner, str) else scanner.path
    module = VirusScanModule(VirusScanOptions(socket_path=path, **options), now)
    return Hand(local_chain("/nowhere", module, past), TOKEN), past


def put(backend: MemoryBackend, path: str, data: bytes) -> None:
    """A file that came past the module."""
    root = backend.open_root(SERVER_TOKEN)
    handle = backend.open(SERVER_TOKEN, root, path, OpenHow(Access.READ_WRITE, create=True))
    backend.ftruncate(SERVER_TOKEN, handle, 0)
    backend.pwrite(SERVER_TOKEN, handle, memoryview(data), 0)


def module_of(hand: Hand) -> VirusScanModule:
    module = hand.chain.modules[0]
    assert isinstance(module, VirusScanModule)
    return module


def names(backend: MemoryBackend, path: str) -> set[str]:
    root = backend.open_root(SERVER_TOKEN)
    return {entry.name for entry in backend.readdir(SERVER_TOKEN, backend.open(SERVER_TOKEN, root, path, LIST))}


def infected(hand: Hand, path: str, how: OpenHow = READ) -> None:
    with pytest.raises(StatusError, match="infected") as caught:
        hand.open(path, how)
    assert caught.value.status == STATUS_VIRUS_INFECTED


# The protocol.


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"stream: OK", CLEAN),
        (b"stream: Win.Test-1 FOUND", Verdict(Outcome.INFECTED, "Win.Test-1")),
        (b"stream: a\nb\x1b FOUND", Verdict(Outcome.INFECTED, "a?b?")),
        (b"INSTREAM size limit exceeded. ERROR", Verdict(Outcome.FAILED, "INSTREAM size limit exceeded.")),
        (b"", Verdict(Outcome.FAILED, "the scanner has hung up")),
        (b"OK", Verdict(Outcome.FAILED, "OK")),
    ],
)
def test_answers_are_understood(answer: bytes, verdict: Verdict) -> None:
    assert protocol.parse_verdict(answer) == verdict


@given(st.binary(max_size=200))
def test_any_answer_is_a_verdict_and_only_one_means_clean(answer: bytes) -> None:
    verdict = protocol.parse_verdict(answer)
    assert (verdict.outcome is Outcome.CLEAN) == (answer == b"stream: OK")
    assert verdict.detail.isprintable()


def stat_of(ino: int, changed: int = 0, size: int = 9) -> FileStat:
    return FileStat(1, ino, 0o100644, 1, 0, 0, size, 0, 0, changed, changed, None)


def test_verdicts_are_of_a_file_as_it_was() -> None:
    kept = Verdicts(2, 10.0)
    kept.keep(stat_of(1), CLEAN, HOUR)
    assert kept.find(stat_of(1), HOUR) == CLEAN
    assert kept.find(stat_of(1, 7), HOUR) is None
    kept.keep(stat_of(1, HOUR), CLEAN, HOUR)
    assert kept.find(stat_of(1, HOUR), HOUR) is None, "it may change again within the same tick of its clock"
    kept.keep(stat_of(1), CLEAN, HOUR)
    assert kept.find(stat_of(1), HOUR + 11_000_000_000) is None, "it is too old"
    kept.keep(stat_of(1), Verdict(Outcome.FAILED), HOUR)
    assert len(kept) == 0
    for number in range(5):
        kept.keep(stat_of(number), CLEAN, HOUR)
    assert len(kept) == 2


def test_other_signatures_end_all_verdicts() -> None:
    kept = Verdicts(9, 10.0)
    kept.is_of("1")
    kept.keep(stat_of(1), CLEAN, HOUR)
    kept.is_of("1")
    kept.is_of("")
    assert len(kept) == 1
    kept.is_of("2")
    assert len(kept) == 0


# Opening.


def test_infected_files_are_not_opened_to_be_read(scanner: FakeClamd) -> None:
    hand, backend = share(scanner)
    put(backend, "bad", b"xx" + PATTERN)
    put(backend, "good", b"harmless")
    infected(hand, "bad")
    infected(hand, "bad", READ_WRITE)
    assert hand.read(hand.open("good", READ), 99) == b"harmless"
    assert not hand.open("bad", PATH).is_directory
    assert not hand.open("bad", WRITE).is_directory
    hand.chain.unlink(TOKEN, hand.root, "bad")


def test_scans_are_counted(scanner: FakeClamd) -> None:
    hand, past = share(scanner)
    put(past, "good", b"good")
    put(past, "bad", PATTERN)
    hand.open("good", READ)
    infected(hand, "bad")
    counted = {sample.name: sample for sample in module_of(hand).metrics.samples()}
    assert (counted["scans"].value, counted["infected"].value, counted["scan_seconds"].observed) == (2, 1, 2)


def test_a_file_is_scanned_once_until_it_changes(scanner: FakeClamd) -> None:
    hand, backend = share(scanner)
    put(backend, "file", b"harmless")
    for _ in range(5):
        hand.open("file", READ)
    assert scanner.scans == [b"harmless"]
    put(backend, "file", b"harmless again")
    hand.open("file", READ)
    assert scanner.scans == [b"harmless", b"harmless again"]
    put(backend, "file", PATTERN)
    for _ in range(3):
        infected(hand, "file")
    assert len(scanner.scans) == 3


def test_new_signatures_have_all_scanned_anew(scanner: FakeClamd) -> None:
    hand, backend = share(scanner)
    put(backend, "file", b"harmless")
    hand.open("file", READ)
    module = module_of(hand)
    scanner.version = b"ClamAV 1.0/2"
    module._asked_ns = 0
    hand.open("file", READ)
    assert len(scanner.scans) == 2


def test_large_files_are_sent_whole(scanner: FakeClamd) -> None:
    hand, backend = share(scanner)
    data = bytes(range(256)) * 5000
    put(backend, "file", data)
    hand.open("file", READ)
    assert scanner.scans == [data]


def test_tcp_will_do() -> None:
    with FakeClamd(None) as scanner:
        hand, backend = share(scanner)
        put(backend, "bad", PATTERN)
        infected(hand, "bad")


@pytest.mark.parametrize(
    ("options", "scanned"),
    [
        ({}, {"small", "large", "page.TMP"}),
        ({"min_file_size": 10}, {"large", "page.TMP"}),
        ({"max_file_size": 10}, {"small"}),
        ({"exclude_files": ["*.tmp"]}, {"small", "large"}),
        ({"scan_on_open": False}, set()),
    ],
)
def test_what_is_not_to_be_scanned_is_not(scanner: FakeClamd, options: dict[str, Any], scanned: set[str]) -> None:
    hand, backend = share(scanner, **options)
    for name, size in (("empty", 0), ("small", 5), ("large", 50), ("page.TMP", 50)):
        put(backend, name, name.encode().ljust(size) if size else b"")
        hand.open(name, READ)
    assert {data.decode().strip() for data in scanner.scans} == scanned


def test_an_error_of_ones_own_choice_is_told(scanner: FakeClamd) -> None:
    hand, backend = share(scanner, infected_file_errno_on_open="ENOENT")
    put(backend, "bad", PATTERN)
    with fails_with(errno.ENOENT):
        hand.open("bad", READ)


def test_a_stream_is_scanned_too(scanner: FakeClamd) -> None:
    hand, _ = share(scanner)
    file = hand.make("file", b"harmless")
    stream = hand.chain.open_stream(TOKEN, file, "s", CREATE)
    hand.chain.pwrite(TOKEN, stream, memoryview(PATTERN), 0)
    with pytest.raises(StatusError):
        hand.chain.open_stream(TOKEN, file, "s", READ)


# What goes wrong.


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("answer", [None, b"", b"nonsense\0", b"x" * 9000, b"INSTREAM size limit exceeded. ERROR\0"])
def test_a_scanner_that_fails_lets_files_be_opened_or_not(
    scanner: FakeClamd, answer: bytes | None, blocks: bool, caplog: pytest.LogCaptureFixture
) -> None:
    hand, backend = share(scanner, block_access_on_error=blocks)
    put(backend, "file", b"harmless")
    scanner.answer = lambda data: answer
    for _ in range(2):
        if blocks:
            with fails_with(errno.EACCES):
                hand.open("file", READ)
        else:
            hand.open("file", READ)
    assert caplog.text.count("the virus scanner fails") == 1, "once, not for each file"
    assert len(scanner.scans) == 2, "what failed is tried again"
    scanner.answer = scanner._by_pattern
    hand.open("file", READ)
    assert module_of(hand).health.current.state is HealthState.OK


@pytest.mark.parametrize("path", ["/nowhere/at/all", "127.0.0.1:1"])
def test_a_scanner_that_is_not_there_is_told_of_at_once(path: str, caplog: pytest.LogCaptureFixture) -> None:
    hand, backend = share(path, block_access_on_error=True)
    assert "the virus scanner fails" in caplog.text
    put(backend, "file", b"harmless")
    with fails_with(errno.EACCES):
        hand.open("file", READ)


def test_a_silent_scanner_is_given_up(scanner: FakeClamd) -> None:
    hand, backend = share(scanner, io_timeout=0.05, block_access_on_error=True)
    put(backend, "file", b"harmless")
    scanner.gate.clear()
    with fails_with(errno.EACCES):
        hand.open("file", READ)


def test_nothing_is_left_open_where_opening_fails(scanner: FakeClamd) -> None:
    hand, backend = share(scanner, scan_on_close=True)
    put(backend, "bad", PATTERN)
    closed: list[VfsHandle] = []
    module = hand.chain.modules[0]
    close = module.next.close
    module.next.close = lambda token, handle: (closed.append(handle), close(token, handle))[1]
    infected(hand, "bad")
    assert len(closed) == 1


# Closing.


@pytest.mark.parametrize("how", [CREATE, OpenHow(Access.WRITE, create=True)])
def test_what_was_written_is_scanned_when_it_is_closed(scanner: FakeClamd, how: OpenHow) -> None:
    hand, backend = share(scanner, scan_on_close=True, infected_file_action="delete")
    for name, data in (("good", b"harmless"), ("bad", PATTERN)):
        handle = hand.chain.open(TOKEN, hand.root, name, how)
        hand.chain.pwrite(TOKEN, handle, memoryview(data), 0)
        hand.chain.close(TOKEN, handle)
    assert scanner.scans == [b"harmless", PATTERN]
    assert names(backend, "") == {"good"}


def test_a_file_that_was_renamed_while_it_was_written_is_found(scanner: FakeClamd) -> None:
    hand, backend = share(scanner, scan_on_close=True, infected_file_action="delete")
    hand.mkdir("folder")
    handle = hand.chain.open(TOKEN, hand.root, "folder/bad", CREATE)
    hand.chain.pwrite(TOKEN, handle, memoryview(PATTERN), 0)
    hand.rename("folder/bad", "folder/other")
    hand.rename("folder", "moved")
    hand.chain.close(TOKEN, handle)
    assert names(backend, "moved") == set()


def test_another_file_under_its_name_is_left_alone(scanner: FakeClamd, caplog: pytest.LogCaptureFixture) -> None:
    hand, backend = share(scanner, scan_on_close=True, infected_file_action="delete")
    handle = hand.chain.open(TOKEN, hand.root, "bad", CREATE)
    hand.chain.pwrite(TOKEN, handle, memoryview(PATTERN), 0)
    root = backend.open_root(SERVER_TOKEN)
    backend.rename(SERVER_TOKEN, root, "bad", root, "elsewhere", False)
    put(backend, "bad", b"harmless")
    hand.chain.close(TOKEN, handle)
    assert names(backend, "") == {"bad", "elsewhere"}
    assert "an infected file stays" in caplog.text


def test_what_has_no_name_any_more_is_not_scanned(scanner: FakeClamd) -> None:
    hand, _ = share(scanner, scan_on_close=True)
    handle = hand.chain.open(TOKEN, hand.root, "file", CREATE)
    hand.chain.pwrite(TOKEN, handle, memoryview(b"x"), 0)
    hand.chain.unlink(TOKEN, hand.root, "file")
    hand.chain.close(TOKEN, handle)
    assert scanner.scans == []


# Quarantine.


def test_infected_files_go_to_quarantine_with_a_note(scanner: FakeClamd) -> None:
    hand, backend = share(scanner, infected_file_action="quarantine")
    hand.mkdir("folder")
    for _ in range(2):
        put(backend, "folder/bad", PATTERN)
        infected(hand, "folder/bad")
    assert hand.names("folder") == set()
    assert names(backend, ".quarantine") == {"virusfilter.bad.infected", "virusfilter.bad.1.infected"}
    root = backend.open_root(SERVER_TOKEN)
    handle = backend.open(SERVER_TOKEN, root, ".quarantine/virusfilter.bad.infected", PATH)
    note = json.loads(backend.getxattr(SERVER_TOKEN, handle, ATTRIBUTE))
    assert (note["path"], note["user"], note["virus"]) == ("folder/bad", "ada", "Fake.Test")
    assert backend.stat(SERVER_TOKEN, root, ".quarantine").mode & 0o777 == 0o700


def test_nobody_reaches_the_quarantine(scanner: FakeClamd) -> None:
    hand, backend = share(scanner, infected_file_action="quarantine")
    put(backend, "bad", PATTERN)
    infected(hand, "bad")
    assert names(backend, "") == {".quarantine"}
    assert hand.names() == set()
    hand.make("file")
    attempts = {
        "open": lambda: hand.open(".quarantine/virusfilter.bad.infected", READ),
        "from the root": lambda: hand.open("virusfilter.bad.infected", READ, hand.open(".quarantine")),
        "otherwise written": lambda: hand.open(".Quarantine"),
        "stat": lambda: hand.chain.stat(TOKEN, hand.root, ".quarantine"),
        "rename from": lambda: hand.rename(".quarantine", "other"),
        "rename to": lambda: hand.rename("file", ".quarantine/file"),
        "mkdir": lambda: hand.mkdir(".quarantine/more"),
        "unlink": lambda: hand.chain.unlink(TOKEN, hand.root, ".quarantine/virusfilter.bad.infected"),
        "rmdir": lambda: hand.chain.rmdir(TOKEN, hand.root, ".quarantine"),
        "link": lambda: hand.chain.link(TOKEN, hand.open("file"), hand.root, ".quarantine/second"),
        "symlink": lambda: hand.chain.symlink(TOKEN, "file", hand.root, ".quarantine/link"),
    }
    for name, attempt in attempts.items():
        with fails_with(errno.ENOENT):
            attempt()
            pytest.fail(name)


def test_a_folder_of_somebody_else_is_no_quarantine(scanner: FakeClamd, caplog: pytest.LogCaptureFixture) -> None:
    hand, backend = share(scanner, infected_file_action="quarantine")
    root = backend.open_root(SERVER_TOKEN)
    backend.mkdir(make_token(4711), root, ".quarantine", 0o777)
    put(backend, "bad", PATTERN)
    infected(hand, "bad")
    assert "belongs to somebody else" in caplog.text
    infected(hand, "bad")


def test_a_name_as_long_as_can_be_has_room_there(scanner: FakeClamd) -> None:
    hand, backend = share(scanner, infected_file_action="quarantine")
    put(backend, "ä" * 127, PATTERN)
    infected(hand, "ä" * 127)
    assert len(names(backend, ".quarantine")) == 1


# Waiting.


def test_who_waits_stops_nobody_else_and_may_be_cancelled(scanner: FakeClamd) -> None:
    hand, backend = share(scanner, parallel=2)
    for number in range(6):
        put(backend, f"file{number}", f"harmless{number}".encode())
    module = hand.chain.modules[0]
    assert isinstance(module, VirusScanModule)
    scanner.gate.clear()
    outcomes: list[str] = []

    def opening(number: int) -> None:
        try:
            hand.chain.close(TOKEN, hand.chain.open(TOKEN, hand.root, f"file{number}", READ))
            outcomes.append("opened")
        except RequestCancelled:
            outcomes.append("cancelled")

    async def serve() -> None:
        engine = Engine(asyncio.get_running_loop())
        tasks = [Task() for _ in range(6)]
        for number, task in enumerate(tasks):
            engine.spawn(task, opening, number)
        async with asyncio.timeout(20):
            while len(scanner.scans) < 2 or module._places.waiting < 4:
                await asyncio.sleep(0.002)
            assert (await engine.run(hand.chain.stat, TOKEN, hand.root, "file0")).size == 9
            tasks[0].cancel()  # one whose file is with the scanner
            tasks[5].cancel()  # one that waits for its turn
            while len(outcomes) < 2:
                await asyncio.sleep(0.002)
            assert outcomes == ["cancelled", "cancelled"]
            scanner.gate.set()
            while len(outcomes) < 6:
                await asyncio.sleep(0.002)
        engine.close()

    with ExitStack() as stack:
        stack.callback(scanner.gate.set)
        asyncio.run(serve())
    assert sorted(outcomes) == ["cancelled"] * 2 + ["opened"] * 4
    assert module._places.free == 2
    assert scanner.most <= 3, "one was given up in the middle, and the scanner does not know"


# The suite.

PROFILE = Profile(
    "virus_scan",
    lambda folder: [
        VirusScanModule(
            VirusScanOptions(socket_path="/nowhere", scan_on_close=True, infected_file_action="quarantine")
        ),
        StreamsXattrModule(),
        DosAttributesModule(),
        PosixBackend(),
    ],
    users=default_users(),
)
"""Without a scanner files are opened unseen: what is tried is all the rest."""


@pytest.mark.parametrize("case", cases(PROFILE), ids=str)
def test_conforms(case: Case, tmp_path: Path) -> None:
    case(tmp_path)


# Configuration.


def test_options_of_samba_are_understood() -> None:
    given = {
        "virusfilter:scanner": "clamav",
        "virusfilter:socket path": "/run/x",
        "virusfilter:scan on close": True,
        "virusfilter:infected file action": "quarantine",
        "max file size": 5,
    }
    options = VirusScanOptions(**given)
    assert (options.socket_path, options.scan_on_close, options.quarantines) == ("/run/x", True, True)
    assert options.max_file_size == 5


@pytest.mark.parametrize(
    "options",
    [
        {"socket_path": "host:port"},
        {"socket_path": "host:99999"},
        {"infected_file_errno_on_open": "EWHAT"},
        {"quarantine_directory": "/var/quarantine"},
        {"quarantine_directory": "../x"},
        {"min_file_size": 10, "max_file_size": 5},
        {"infected_file_action": "eat"},
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        VirusScanOptions(**options)


@pytest.mark.parametrize(
    ("text", "address"),
    [("/run/s", "/run/s"), ("host", ("host", 3310)), ("host:1", ("host", 1)), ("[::1]:7", ("::1", 7))],
)
def test_addresses(text: str, address: object) -> None:
    assert VirusScanOptions(socket_path=text, infected_file_action="none").address == address


def test_reading_goes_past_it(scanner: FakeClamd) -> None:
    hand, backend = share(scanner)
    for name in ("pread", "pwrite", "fstat", "readdir", "stat", "copy_range"):
        assert getattr(hand.chain, name) == getattr(backend, name)
    assert hand.chain.capabilities & Capability.STREAMS


# A real one.


@pytest.mark.skipif(CLAMD is None, reason=WHY_NOT)
def test_a_real_clamd_finds_what_it_knows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with clamd(tmp_path / "clamd") as path:
        hand, backend = share(path, block_access_on_error=True)
        put(backend, "eicar", EICAR)
        put(backend, "pattern", bytes(1 << 20) + PATTERN + bytes(1000))
        put(backend, "good", bytes(range(256)) * 4000)
        put(backend, "large", bytes(STREAM_LIMIT + 1))
        infected(hand, "eicar")
        infected(hand, "pattern")
        assert "Eicar-Test-Signature" in caplog.text
        assert len(hand.read(hand.open("good", READ), 2 << 20)) == 256 * 4000
        with caplog.at_level(logging.ERROR), fails_with(errno.EACCES):
            hand.open("large", READ)
        assert "size limit exceeded" in caplog.text
        module = hand.chain.modules[0]
        assert isinstance(module, VirusScanModule)
        assert module._scanner.is_there()
        assert module._scanner.version().startswith("ClamAV")
