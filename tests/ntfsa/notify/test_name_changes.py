"""Clients whose operations wait anywhere, at the same names at the same time, and local programs among them.

What is told in the end is what is there: `believed` is what somebody knows who has only listened.
"""

import asyncio
import contextlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.ntfsa import constants as c
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.status import NtStatusError
from lamina.ntfsa.volume import VolumeSettings
from lamina.vfs_modules.engine import Engine, Task, wait
from lamina.vfs_modules.module import VfsModule
from tests.ntfsa.conftest import Share
from tests.ntfsa.notify.test_local_changes import ADDED, ALL, DIRECTORY, MODIFIED, NAMES, NEW, OLD, REMOVED, Watch, nt

_SLOW = st.frozensets(st.sampled_from(("open", "mkdir", "unlink", "rename", "link", "set_dos_attributes", "pwrite")))
_FILES = ("a", "b", "d/a", "d/b")
_WHAT = ("make", "make again", "write", "remove", "rename", "replace", "link", "rename directory")


def _interleaved(*who, what=_WHAT):
    step = st.tuples(st.sampled_from(who), st.sampled_from(what), st.sampled_from(_FILES), st.sampled_from(_FILES))
    return st.lists(st.one_of(step, st.integers(0, 5), st.integers(0, 5)), max_size=60)


def too_much():
    """Extended attributes that no file has room for."""
    return b"\0\0\0\0\0\x01" + (60000).to_bytes(2, "little") + b"A\0" + b"v" * 60000


class Parking(VfsModule, public=("go_on", "written")):
    """Operations wait before they are done, and again when they have been; whoever waits goes on when told."""

    def __init__(self, slow):
        super().__init__(None)
        self._slow = slow
        self.written = None
        self.parked = []
        self.on = False

    def around(self, operation, call):
        if operation.name == "pwrite":
            call = self._noted(call)
        if operation.name not in self._slow:
            return call

        def slow(*arguments, **keywords):
            self._pause()
            try:
                return call(*arguments, **keywords)
            finally:
                self._pause()

        return slow

    def _noted(self, call):
        def pwrite(token, handle, data, offset):
            count = call(token, handle, data, offset)
            self.written(os.fstat(handle.fd).st_ino)
            return count

        return pwrite

    def _pause(self):
        if self.on:
            future = asyncio.get_running_loop().create_future()
            self.parked.append(future)
            wait(future)

    def go_on(self, number):
        if self.parked:
            self.parked.pop(number % len(self.parked)).set_result(None)


class Race:
    """Clients whose operations wait anywhere, and local programs meanwhile, all at the same few names."""

    def __init__(self, folder, mode, slow, completion_filter):
        self.parking = Parking(slow)
        self.share = Share(folder, self.parking, settings=VolumeSettings(change_notify=mode))
        self.share.make("d", options=DIRECTORY)
        self.share.make("a")
        self.share.make("d\\b")
        self.watch = Watch(self.share, "", completion_filter)
        self.running = 0
        self.told = []
        # By file: how much had been told when it was last written to.
        self.written = {}
        self.parking.written = self._note_written

    async def run(self, steps):
        engine = Engine(asyncio.get_running_loop(), threads=1)
        self.parking.on = True
        for step in steps:
            if isinstance(step, int):
                self.parking.go_on(step)
                await self._settle()
                if step % 2:
                    self.listen()
            else:
                self._do(engine, *step)
        while self.running:
            self.parking.go_on(0)
            await self._settle()
        self.parking.on = False
        engine.close()

    def listen(self):
        news = self.watch.news()
        self.told += [(LOOK, "")] if news is S.NOTIFY_ENUM_DIR else news

    def _note_written(self, number):
        # The last record may stand for this write, too: see `Watcher`.
        self.written[number] = len(self.told) + max(len(self.watch.open.watcher._records) - 1, 0)

    async def _settle(self):
        for _ in range(3):
            await asyncio.sleep(0)

    def _do(self, engine, who, what, path, target):
        what = what.replace(" ", "_")
        if who == "client":
            self.running += 1
            engine.spawn(Task(), self._client, getattr(self, f"client_{what}"), path, target)
        else:
            with contextlib.suppress(OSError):
                getattr(self, f"local_{what}")(self.share.path / path, self.share.path / target)

    def _client(self, do, path, target):
        try:
            do(nt(path), nt(target))
        except NtStatusError:
            pass
        finally:
            self.running -= 1

    def client_make(self, path, _):
        self.share.close(self.share.open(path, c.FILE_CREATE))

    def client_make_again(self, path, _):
        # What cannot be completed is taken back.
        self.share.close(self.share.open(path, c.FILE_CREATE, extended_attributes=too_much()))

    def client_write(self, path, _):
        with self._opened(path) as opened:
            self.share.write(opened, b"client")

    def client_remove(self, path, _):
        self.share.close(self.share.open(path, options=c.FILE_DELETE_ON_CLOSE))

    def client_rename(self, path, target):
        with self._opened(path) as opened:
            self.share.rename(opened, target)

    def client_replace(self, path, target):
        with self._opened(path) as opened:
            self.share.rename(opened, target.upper(), True)

    def client_link(self, path, target):
        with self._opened(path) as opened:
            self.share.link(opened, target, True)

    def client_rename_directory(self, path, _):
        source, target = ("d", "e") if "a" in path else ("e", "d")
        with self._opened(source, options=DIRECTORY) as opened:
            self.share.rename(opened, target)

    @contextlib.contextmanager
    def _opened(self, path, **asked):
        opened = self.share.open(path, **asked)
        try:
            yield opened
        finally:
            self.share.close(opened)

    def local_make(self, path, _):
        path.touch(exist_ok=False)

    def local_make_again(self, path, _):
        path.unlink()
        path.touch(exist_ok=False)

    def local_write(self, path, _):
        os.truncate(path, 1)
        self._note_written(path.stat().st_ino)

    def local_remove(self, path, _):
        path.unlink()

    def local_rename(self, path, target):
        if not target.exists():
            os.rename(path, target)

    def local_replace(self, path, target):
        target.unlink()
        os.rename(path, target)

    def local_link(self, path, target):
        os.link(path, target)

    def local_rename_directory(self, path, _):
        source, target = ("d", "e") if "a" in path.name else ("e", "d")
        root = self.share.path
        if not (root / target).exists():
            os.rename(root / source, root / target)

    def there(self):
        root = self.share.path
        return {nt(str(path.relative_to(root))): path.stat().st_ino for path in root.rglob("*")}


LOOK = 0
"""Whoever watches was told to look for themselves."""


def believed(told):
    """What is there for who believes what was told. Nothing comes that is there, and nothing goes that is not."""
    names, left = {"d", "a", "d\\b"}, None
    for action, name in told:
        if action in {ADDED, NEW}:
            assert name not in names, told
            # What was beneath a directory has moved with it.
            names |= {name, *(name + old for old in left or ())}
            left = None
        elif action in {REMOVED, OLD}:
            assert name in names, told
            left = [other[len(name) :] for other in names if other.startswith(name + "\\")]
            names -= {name, *(name + old for old in left)}
        elif action == LOOK:
            return None
    return names


def heard_of(told, since):
    """The files that who has heard so much knows to have changed since, by the names they have in the end."""
    files = set()
    old = ""
    for action, name in told[since:]:
        if action in {ADDED, MODIFIED}:
            files.add(name)
        elif action == REMOVED:
            files.discard(name)
        elif action == OLD:
            old = name
        elif action == NEW:
            files = {name + file[len(old) :] if (file + "\\").startswith(old + "\\") else file for file in files}
    return files


def _race(folder, mode, slow, steps, completion_filter=NAMES):
    race = Race(folder, mode, slow, completion_filter)
    try:
        asyncio.run(race.run(steps))
        race.listen()
        names = believed(race.told)
        assert names is None or names == set(race.there()), (race.told, race.there())
        return race
    finally:
        race.share.end()


@settings(max_examples=150, deadline=None)
@given(_SLOW, _interleaved("client"))
def test_clients_in_each_others_way_are_told_of_in_order(tmp_path_factory, slow, steps):
    assert (LOOK, "") not in _race(tmp_path_factory.mktemp("race"), "share", slow, steps).told


@settings(max_examples=150, deadline=None)
@given(_SLOW, _interleaved("client"))
def test_clients_in_each_others_way_are_told_of_in_order_where_there_is_a_source(tmp_path_factory, slow, steps):
    assert (LOOK, "") not in _race(tmp_path_factory.mktemp("race"), "all", slow, steps).told


@settings(max_examples=250, deadline=None)
@given(_SLOW, _interleaved("client", "local"))
def test_who_believes_what_is_told_knows_what_is_there(tmp_path_factory, slow, steps):
    _race(tmp_path_factory.mktemp("race"), "all", slow, steps)


@settings(max_examples=250, deadline=None)
@given(_SLOW, _interleaved("client", "local", what=[what for what in _WHAT if what != "link"]))
def test_who_believes_what_is_told_knows_what_was_written(tmp_path_factory, slow, steps):
    race = _race(tmp_path_factory.mktemp("race"), "all", slow, steps, ALL)
    if (LOOK, "") not in race.told:
        for name, number in race.there().items():
            if number in race.written:
                assert name in heard_of(race.told, race.written[number]), race.told


@pytest.mark.parametrize("mode", ["share", "all"])
def test_who_wants_a_name_waits_until_it_was_told_what_became_of_it(tmp_path, mode):
    race = Race(tmp_path, mode, frozenset({"rename"}), NAMES)
    # The file is called "b" already, but nobody has been told when another is made as "a".
    steps = [("client", "rename", "a", "b"), 0, ("client", "make", "a", "")]
    asyncio.run(race.run(steps))
    race.listen()
    assert race.told == [(OLD, "a"), (NEW, "b"), (ADDED, "a")]
    race.share.end()


def test_who_wants_a_name_that_a_name_being_changed_has_become_waits_too(tmp_path):
    """A local program moves what a client is about to replace to where another client removes something."""
    race = _race(
        tmp_path,
        "all",
        frozenset({"rename"}),
        [
            ("client", "make", "b", ""),
            ("client", "write", "d/b", ""),
            ("client", "replace", "d/b", "b"),
            ("local", "replace", "b", "a"),
            ("client", "remove", "a", ""),
        ],
        ALL,
    )
    assert "a" not in race.there()
    assert [action for action, name in race.told if name == "a"] == [REMOVED, NEW, REMOVED]


@pytest.mark.parametrize("goes_on", [1, 2])
def test_what_a_client_replaced_has_gone_also_where_others_did_the_same_afterwards(tmp_path, goes_on):
    """Of two renames that are alike, either may be taken for the client's: who believes it is right all the same."""
    steps = [
        ("client", "replace", "a", "d/b"),
        *([0] * goes_on),
        ("local", "remove", "d/b", ""),
        ("local", "make", "a", ""),
        ("local", "rename", "a", "d/b"),
    ]
    _race(tmp_path, "all", frozenset({"rename"}), steps)


@pytest.mark.parametrize("listens", [0, 1])
def test_what_was_written_before_a_local_program_moved_the_file_is_told(tmp_path, listens):
    """The writer, who tells of it when he closes the file, does not know what it is called by then."""
    race = _race(
        tmp_path,
        "all",
        frozenset({"pwrite"}),
        [("client", "write", "d/b", ""), 0, listens, ("local", "rename directory", "a", ""), 1],
        ALL,
    )
    assert "e\\b" in heard_of(race.told, 0)


def test_what_an_interrupted_operation_has_done_is_to_be_looked_for(tmp_path):
    race = Race(tmp_path, "share", frozenset({"mkdir"}), NAMES)

    async def main():
        engine = Engine(asyncio.get_running_loop(), threads=1)
        race.parking.on = True
        task = Task()
        engine.spawn(task, lambda: race.share.make("dir", options=DIRECTORY))
        race.parking.go_on(0)
        await race._settle()
        task.cancel()
        await race._settle()
        assert not engine.running
        engine.close()

    asyncio.run(main())
    race.listen()
    assert (tmp_path / "dir").is_dir()
    assert race.told[-1] == (LOOK, "")
    race.share.end()
