"""What another worker's clients change is told once, though the kernel tells of it, too."""

import pytest

from lamina.ntfsa.fscc import notify_information as n
from lamina.ntfsa.notify.foreign_changes import (
    BEGUN,
    CLOSED,
    ENDED,
    OPENED,
    REPORT,
    SETTLED,
    STREAM,
    WRITES,
    ForeignChanges,
)
from lamina.ntfsa.status import NtStatus as S
from tests.ntfsa.notify.test_change_notify import unpack
from tests.ntfsa.notify.test_local_changes import ADDED, MODIFIED, NEW, OLD, REMOVED, Watch

CAME, WENT, RENAMED = 1, 2, 3
OTHER = 2


class Worker:
    """The worker whose client watches, as it hears of what is done on another."""

    def __init__(self, share):
        self.path = share.path
        self.watch = Watch(share)
        self.foreign = ForeignChanges(share.volume)

    def hears(self, *letters):
        """Read letters that were in the box together; what is told then."""
        for kind, *what in letters:
            self.foreign.announce(kind, OTHER, *what)
        self.foreign.gather()
        self.foreign.offer_gathered()
        for kind, *what in letters:
            self.foreign.settle(kind, OTHER, *what)
        return self.told()

    def told(self):
        told = self.watch.open.watcher.take(1 << 20)
        if told is None:
            return []
        return unpack(told.data) if told.status is S.SUCCESS else told.status


@pytest.fixture
def worker(share):
    return Worker(share)


def begun(number, *paths, tree=False):
    return BEGUN, number, paths, tree


def ended(number, *changes, certain=True):
    paths = tuple(path for change in changes for path in change[1::2] if path)
    return ENDED, number, paths, changes, tuple((change, b"") for change in changes), certain


def came(path):
    return CAME, path, False, ""


def went(path):
    return WENT, path, False, ""


def modified(path, settles=False):
    return REPORT, n.FILE_NOTIFY_CHANGE_SECURITY, b"", ((MODIFIED, path),), settles


def test_a_new_file_is_told_once(worker):
    (worker.path / "file").touch()
    assert worker.hears(begun(1, "file"), ended(1, came("file"))) == [(ADDED, "file")]
    assert worker.watch.news() == []


def test_what_has_not_ended_is_told_at_its_end(worker):
    (worker.path / "file").touch()
    assert worker.hears(begun(1, "file")) == []
    assert worker.hears(ended(1, came("file"))) == [(ADDED, "file")]


def test_a_local_program_comes_first_where_it_was_the_first(worker):
    (worker.path / "file").touch()
    (worker.path / "file").unlink()
    assert worker.hears(begun(1, "file"), ended(1, went("file"))) == [(ADDED, "file"), (REMOVED, "file")]


def test_several_changes_of_one_name_that_are_heard_of_at_once(worker):
    file = worker.path / "file"
    file.touch()
    file.unlink()
    file.touch()
    letters = [begun(1, "file"), ended(1, came("file")), begun(2, "file"), ended(2, went("file"))]
    letters += [begun(3, "file"), ended(3, came("file")), modified("file")]
    told = [(ADDED, "file"), (REMOVED, "file"), (ADDED, "file"), (MODIFIED, "file")]
    assert worker.hears(*letters) == told


def test_a_local_program_among_several_costs_who_watches_a_look(worker):
    file = worker.path / "file"
    file.touch()
    file.unlink()
    file.touch()
    assert worker.hears(begun(1, "file"), ended(1, came("file")), begun(2, "file"), ended(2)) is S.NOTIFY_ENUM_DIR


def test_a_rename(worker, share):
    (worker.path / "old").touch()
    assert worker.watch.news() == [(ADDED, "old")]
    (worker.path / "old").rename(worker.path / "new")
    letters = begun(1, "old", "new"), ended(1, (RENAMED, "old", False, "new"))
    assert worker.hears(*letters) == [(OLD, "old"), (NEW, "new")]


def test_what_a_file_holds_is_told_by_the_report_alone(worker):
    (worker.path / "file").touch()
    assert worker.watch.news() == [(ADDED, "file")]
    (worker.path / "file").chmod(0o600)
    assert worker.hears((OPENED, 1, ("file",)), (CLOSED, 1, True), modified("file")) == [(MODIFIED, "file")]


def test_a_window_that_came_to_nothing_keeps_nothing_from_who_watches(worker):
    (worker.path / "file").touch()
    assert worker.watch.news() == [(ADDED, "file")]
    (worker.path / "file").chmod(0o600)
    assert worker.hears((OPENED, 1, ("file",)), (CLOSED, 1, False)) == [(MODIFIED, "file")]


@pytest.mark.parametrize("end", [modified("file", settles=True), (SETTLED, "file")], ids=["report", "close"])
def test_writes_are_told_by_their_writer_until_he_has_done_so(worker, end):
    (worker.path / "file").touch()
    assert worker.watch.news() == [(ADDED, "file")]
    (worker.path / "file").write_bytes(b"first")
    assert worker.hears((WRITES, "file")) == []
    (worker.path / "file").write_bytes(b"second")
    assert worker.hears(end) == ([(MODIFIED, "file")] if end[0] == REPORT else [])
    (worker.path / "file").write_bytes(b"of a local program")
    assert worker.watch.news() == [(MODIFIED, "file")]


def test_streams_are_told(worker):
    letter = STREAM, "file", "stream", n.FILE_ACTION_ADDED_STREAM, n.FILE_NOTIFY_CHANGE_STREAM_NAME, b""
    assert worker.hears(letter) == [(n.FILE_ACTION_ADDED_STREAM, "file:stream")]


def test_of_a_worker_that_dies_nobody_knows_what_it_has_done(worker, share):
    assert worker.hears(begun(1, "file"), (OPENED, 2, ("file",)), (WRITES, "file")) == []
    worker.foreign.lost(OTHER)
    assert worker.told() is S.NOTIFY_ENUM_DIR
    assert not share.volume.name_changes
    (worker.path / "file").touch()
    assert worker.watch.news() == [(ADDED, "file")]
