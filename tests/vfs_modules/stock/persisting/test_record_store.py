"""The store of persistent opens: what it has confirmed is there again, and what is not whole is not used."""

import contextlib
import errno
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lamina.vfs_modules.stock.persisting import record_store
from lamina.vfs_modules.stock.persisting.record_store import MAX_VALUE, Change, RecordStore, StoreError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "opens.db"


def fill(path: Path, count: int = 50) -> dict[bytes, bytes]:
    store = RecordStore(str(path))
    records = {b"%d" % number: bytes([number]) * 700 for number in range(count)}
    store.apply([Change(key, value) for key, value in records.items()])
    store.close()
    return records


def test_what_was_kept_is_there_when_it_is_opened_again(path: Path) -> None:
    records = fill(path)
    store = RecordStore(str(path))
    assert store.load() == records
    store.apply([Change(b"3", None), Change(b"4", b"new"), Change(b"none", None)])
    store.close()
    del records[b"3"]
    assert RecordStore(str(path)).load() == {**records, b"4": b"new"}


def test_changes_of_one_call_are_made_all_or_none(path: Path) -> None:
    fill(path, 1)
    store = RecordStore(str(path))
    with pytest.raises(OSError, match="too large") as caught:
        store.apply([Change(b"0", None), Change(b"1", bytes(MAX_VALUE + 1))])
    assert caught.value.errno == errno.EFBIG
    assert list(store.load()) == [b"0"]


def test_the_last_change_of_a_key_counts(path: Path) -> None:
    store = RecordStore(str(path))
    store.apply([Change(b"k", b"1"), Change(b"k", None), Change(b"k", b"2")])
    assert store.load() == {b"k": b"2"}


def test_one_server_at_a_time_has_the_store(path: Path) -> None:
    store = RecordStore(str(path))
    with pytest.raises(StoreError, match="another process"):
        RecordStore(str(path))
    store.close()
    RecordStore(str(path)).close()


def test_the_processes_of_one_server_share_it(path: Path) -> None:
    one, other = RecordStore(str(path), "ours"), RecordStore(str(path), "ours")
    one.apply([Change(b"1", b"one")])
    other.apply([Change(b"2", b"two")])
    assert one.load() == other.load() == {b"1": b"one", b"2": b"two"}
    one.close()
    other.apply([Change(b"1", None)])
    other.close()
    store = RecordStore(str(path))
    assert store.load() == {b"2": b"two"}
    store.close()


@pytest.mark.parametrize("crew", ["theirs", ""])
def test_no_other_server_has_it_before_the_last_of_them_has_ended(
    path: Path, crew: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = RecordStore(str(path), "ours"), RecordStore(str(path), "ours")
    one.close()
    with monkeypatch.context() as impatient:
        impatient.setattr(record_store, "_SECONDS_TO_GO", 0.0)
        with pytest.raises(StoreError, match="another process"):
            RecordStore(str(path), crew)
    ending = threading.Thread(target=other.close)
    ending.start()
    RecordStore(str(path), crew).close()
    ending.join()


def test_only_the_server_reads_it(path: Path) -> None:
    fill(path)
    store = RecordStore(str(path))
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    store.close()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="folder must exist"):
        RecordStore(str(tmp_path / "none" / "opens.db"))


def test_the_database_of_another_program_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE theirs (a)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        RecordStore(str(path))
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_bytes(b"something else" * 1000)
    with pytest.raises(StoreError, match="no store of persistent opens"):
        RecordStore(str(path))
    assert path.read_bytes() == b"something else" * 1000


def test_a_store_of_a_newer_layout_is_refused(path: Path) -> None:
    fill(path)
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match="layout 99"):
        RecordStore(str(path))


@pytest.mark.parametrize("seed", range(40))
def test_a_store_with_any_byte_changed_is_refused_or_whole(path: Path, seed: int) -> None:
    records = fill(path)
    content = bytearray(path.read_bytes())
    content[random.Random(seed).randrange(100, len(content))] ^= 0x41
    path.write_bytes(content)
    with contextlib.suppress(StoreError):
        assert RecordStore(str(path)).load() == records


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_store_that_was_cut_off_is_refused(path: Path, share: float) -> None:
    fill(path)
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(StoreError):
        RecordStore(str(path)).load()


CHILD = """
import sys
from lamina.vfs_modules.stock.persisting import record_store
from lamina.vfs_modules.stock.persisting.record_store import Change, RecordStore
store = RecordStore(sys.argv[1])
for number in range(100000):
    store.apply([Change(b"%d" % (number % 50), b"%d" % number * 50)])
    print(number, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 7, 60, 150])
def test_what_was_confirmed_before_a_kill_is_there_after_it(path: Path, lines: int) -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        confirmed = [int(child.stdout.readline()) for _ in range(lines)][-1]
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split()
    last = int(rest[-1]) if rest else confirmed
    loaded = RecordStore(str(path)).load()
    # One more may have been made than the child lived to tell of.
    assert loaded in (expected(last), expected(last + 1))


def expected(last: int) -> dict[bytes, bytes]:
    return {b"%d" % (number % 50): b"%d" % number * 50 for number in range(last + 1)}
