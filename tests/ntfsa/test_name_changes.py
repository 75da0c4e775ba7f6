"""Clients whose operations wait anywhere, at the same names at the same time, and local programs among them.

What is told in the end is what is there: `believed` is what somebody knows who has only listened.
"""

import asyncio
import contextlib
import os

from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc import notify_information as n
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.status import NtStatusError
from lamina.ntfsa.volume import VolumeSettings
from lamina.vfs_modules.engine import Engine, Task, wait
from lamina.vfs_modules.module import VfsModule
from tests.ntfsa.conftest import Share
from tests.ntfsa.test_local_changes import ADDED, DIRECTORY, NAMES, NEW, OLD, REMOVED, Watch, nt

_SLOW = frozenset({"open", "mkdir", "unlink", "rmdir", "rename", "link", "set_dos_attributes", "pwrite"})
_FILES = ("a", "b", "d/a", "d/b")
_WHAT = ("make", "make again", "write", "remove", "rename", "replace", "link", "rename directory")


def _interleaved(*who):
    step = st.tuples(st.sampled_from(who), st.sampled_from(_WHAT), st.sampled_from(_FILES), st.sampled_from(_FILES))
    return st.lists(st.one_of(step, st.integers(0, 5)), max_size=40)


def too_much():
    """Extended attributes that no file has room for."""
    return b"\0\0\0\0\0\x01" + (60000).to_bytes(2, "little") + b"A\0" + b"v" * 60000


class Parking(VfsModule, public=("go_on",)):
    """Operations wait before they are done, and again when they have been; whoever waits goes on when told."""

    def __init__(self):
        super().__init__(None)
        self.parked = []
        self.on = False

    def around(self, operation, call):
        if operation.name not in _SLOW:
            return call

        def slow(*arguments, **keywords):
            self._pause()
            try:
                return call(*arguments, **keywords)
            finally:
                self._pause()

        return slow

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

    def __init__(self, folder, completion_filter, mode):
        self.parking = Parking()
        self.share = Share(folder, self.parking, settings=VolumeSettings(change_notify=mode))
        self.share.make("d", options=DIRECTORY)
        self.watch = Watch(self.share, "", completion_filter)
        self.running = 0
        self.written = set()

    async def run(self, steps):
        engine = Engine(asyncio.get_running_loop(), threads=1)
        self.parking.on = True
        for step in steps:
            if isinstance(step, int):
                self.parking.go_on(step)
                await self._settle()
                if step % 2:
                    self.watch.look()
            else:
                self._do(engine, *step)
        while self.running:
            self.parking.go_on(0)
            await self._settle()
        self.parking.on = False
        engine.close()

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
            self.written.add(opened.file_id)

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
        self.written.add(path.stat().st_ino)

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
        return {nt(str(path.relative_to(root))) for path in root.rglob("*")}


def believed(told):
    """What is there for who believes what was told. Nothing comes that is there, and nothing goes that is not."""
    names = {"d"}
    previous = []
    for action, name in told:
        if action in {ADDED, NEW}:
            assert name not in names, told
            names.add(name)
            if previous:
                # What was beneath the directory has moved with it.
                moved, previous = previous, []
                names |= {name + old for old in moved}
        elif action in {REMOVED, OLD}:
            assert name in names, told
            names.discard(name)
            beneath = {other for other in names if other.startswith(name + "\\")}
            names -= beneath
            previous = [other[len(name) :] for other in beneath]
    return names


def _race(folder, mode, steps, completion_filter=NAMES):
    race = Race(folder, completion_filter, mode)
    try:
        asyncio.run(race.run(steps))
        told = race.watch.news()
        if told is not S.NOTIFY_ENUM_DIR:
            assert believed(told) == race.there()
        return told, race
    finally:
        race.share.end()


@settings(max_examples=150, deadline=None)
@given(_interleaved("client"))
def test_clients_in_each_others_way_are_told_of_in_order(tmp_path_factory, steps):
    told, _ = _race(tmp_path_factory.mktemp("race"), "share", steps)
    assert told is not S.NOTIFY_ENUM_DIR


@settings(max_examples=150, deadline=None)
@given(_interleaved("client"))
def test_clients_in_each_others_way_are_told_of_in_order_where_there_is_a_source(tmp_path_factory, steps):
    told, _ = _race(tmp_path_factory.mktemp("race"), "all", steps)
    assert told is not S.NOTIFY_ENUM_DIR


@settings(max_examples=250, deadline=None)
@given(_interleaved("client", "local"))
def test_who_believes_what_is_told_knows_what_is_there(tmp_path_factory, steps):
    _race(tmp_path_factory.mktemp("race"), "all", steps)
