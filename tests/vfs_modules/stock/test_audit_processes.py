"""`audit` in several processes: one file, one chain, whoever writes, rotates it or is killed."""

import json
import os
import random
from pathlib import Path

import pytest

from lamina.vfs_modules import processes
from lamina.vfs_modules.services.shared import MemoryStore, SharedValues
from lamina.vfs_modules.stock.audit import AuditModule, AuditOptions
from lamina.vfs_modules.stock.auditing.hash_chain import HashChain, Verdict, verify
from lamina.vfs_modules.stock.auditing.sinks import SharedFileSink
from lamina.vfs_modules.syscalls.log_file import FileState, LogFile
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.hand import Hand


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


@pytest.fixture
def crew(file: Path) -> list[SharedFileSink]:
    """Sinks as several processes have them: locks are of open files, and so hold between them here, too."""
    position = SharedValues(MemoryStore(), "audit")
    crew = [SharedFileSink(str(file), b"key", False, position) for _ in range(3)]
    for sink in crew:
        sink.open()
    return crew


def judged(*files: Path) -> Verdict:
    return verify([line for file in files for line in file.read_bytes().splitlines()], b"key")


def test_all_write_one_chain(crew: list[SharedFileSink], file: Path) -> None:
    chance = random.Random(1)
    for number in range(50):
        chance.choice(crew).write([{"number": number}] * chance.randint(1, 3))
    verdict = judged(file)
    assert (verdict.problems, verdict.first, verdict.last) == ([], 1, verdict.records)


def test_it_goes_on_in_the_file_that_rotation_leaves_whoever_wrote_last(crew: list[SharedFileSink], file: Path) -> None:
    one, other, idle = crew
    idle.write([{"by": "idle"}])
    parts = []
    for round_ in range(3):
        one.write([{"round": round_}])
        parts.append(file.with_suffix(f".{round_}"))
        file.rename(parts[-1])
        other.write([{"round": round_, "in": "the new one"}])
    idle.write([{"by": "who has seen neither of two rotations"}])
    verdict = judged(*parts, file)
    assert (verdict.problems, verdict.records) == ([], 8)
    file.rename(file.with_suffix(".last"))
    idle.write([{"by": "the first in a new file"}])
    verdict = judged(*parts, file.with_suffix(".last"), file)
    assert (verdict.problems, verdict.records) == ([], 9)


class KilledError(Exception):
    """Where a process ends."""


def test_what_a_killed_one_has_written_and_not_said_is_found_in_the_file(
    crew: list[SharedFileSink], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, third = crew
    one.write([{"first": True}])

    def killed(self: SharedFileSink, chain: HashChain, state: FileState) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(SharedFileSink, "_note", killed)
        with pytest.raises(KilledError):
            one.write([{"not": "said"}])
    other.write([{"goes": "on"}])
    with monkeypatch.context() as patch:
        patch.setattr(SharedFileSink, "_note", killed)
        with pytest.raises(KilledError):
            one.write([{"not": "said either"}])
    file.rename(file.with_suffix(".0"))
    third.write([{"in": "the new one"}])
    verdict = judged(file.with_suffix(".0"), file)
    assert (verdict.problems, verdict.records) == ([], 5)


def test_a_line_that_a_killed_one_left_half_written_is_told_of_once(crew: list[SharedFileSink], file: Path) -> None:
    one, other, _ = crew
    one.write([{"first": True}])
    with file.open("ab") as torn:
        torn.write(b'{"seq":2,"half')
    for sink in (other, one):
        sink.write([{"after": True}])
    verdict = judged(file)
    assert (verdict.problems, file.read_bytes().count(b'"resumed"')) == ([], 1)


def test_a_server_of_one_process_and_one_of_several_keep_out_of_each_others_files(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lamina.vfs_modules.syscalls.log_file._PATIENCE", 0.01)
    alone = LogFile(str(file))
    sink = SharedFileSink(str(file), b"", False, SharedValues(MemoryStore(), "audit"))
    with pytest.raises(OSError, match="another process writes to it"):
        sink.open()
    alone.close()
    sink.open()
    sink.write([{"now": True}])
    assert len(file.read_bytes().splitlines()) == 1


def test_numbers_of_handles_say_whose_they_are(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes_folder = tmp_path / "processes"
    processes_folder.mkdir()
    monkeypatch.setattr(processes, "_place", processes.Place(str(processes_folder), 5))
    share = tmp_path / "share"
    share.mkdir()
    chain = local_chain(share, AuditModule(AuditOptions(file=str(file), success=("all",))))
    hand = Hand(chain, make_token(user_name="ada"))
    hand.make("file")
    hand.close()
    chain.disconnect()
    verdict = verify(file.read_bytes().splitlines())
    assert (verdict.problems, verdict.records > 3) == ([], True)
    numbers = [record["handle"] for record in map(json.loads, file.read_bytes().splitlines()) if "handle" in record]
    assert numbers
    assert {number & 0xFF for number in numbers} == {5}
    assert os.listdir(processes_folder)
