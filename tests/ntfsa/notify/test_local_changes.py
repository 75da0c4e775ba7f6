"""Changes of local programs beside those of clients: each is told once, whoever made it and whatever waits."""

import asyncio
import errno
import os
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc import notify_information as n
from lamina.ntfsa.notify.change_notify import change_notify
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.status import NtStatusError
from lamina.ntfsa.volume import VolumeSettings
from lamina.vfs_modules.changes import LOST, Change, ChangeKind
from lamina.vfs_modules.engine import Engine, RequestCancelled, Task
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.stock.delay import DelayModule, DelayOptions
from lamina.vfs_modules.stock.streams_depot import StreamsDepotModule
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from tests.ntfsa.conftest import Share
from tests.ntfsa.notify.test_change_notify import unpack

ALL = 0xFFF
NAMES = n.FILE_NOTIFY_CHANGE_FILE_NAME | n.FILE_NOTIFY_CHANGE_DIR_NAME
DIRECTORY = c.FILE_DIRECTORY_FILE
ADDED, REMOVED, MODIFIED, OLD, NEW = range(1, 6)


class Watch:
    """A watched directory of a share; `news()` are the records since the last call, or a status."""

    def __init__(self, share, path="", completion_filter=ALL, tree=True, length=65536):
        self.share = share
        self.open = share.directory(path)
        # Outside a request nothing can wait; the watch has begun all the same.
        with pytest.raises(RuntimeError):
            asyncio.run(self._first(completion_filter, tree, length))

    async def _first(self, completion_filter, tree, length):
        change_notify(self.share.context, self.open, completion_filter, tree, length)

    def look(self):
        """What the event loop does as soon as something happens."""
        local = self.share.volume.watchers.local
        if local is not None and self.open.watcher in local._source_of:
            local._collect(local._source_of[self.open.watcher])

    def news(self):
        self.look()
        told = self.open.watcher.take(1 << 20)
        if told is None:
            return []
        return unpack(told.data) if told.status is S.SUCCESS else told.status


@pytest.fixture
def watch(share):
    return Watch(share)


def watched(share):
    return share.chain.modules[-1]._notifier.watched()


# --- what is told ----------------------------------------------------------------------------------------------------


def test_local_changes_are_told(share, watch):
    (share.path / "file").write_text("content")
    assert watch.news() == [(ADDED, "file"), (MODIFIED, "file")]
    (share.path / "sub").mkdir()
    assert watch.news() == [(ADDED, "sub")]
    os.rename(share.path / "file", share.path / "other")
    assert watch.news() == [(OLD, "file"), (NEW, "other")]
    os.rename(share.path / "other", share.path / "sub" / "other")
    assert watch.news() == [(REMOVED, "other"), (ADDED, "sub\\other")]
    (share.path / "sub" / "other").unlink()
    assert watch.news() == [(REMOVED, "sub\\other")]


LOCAL = {
    "names of files": (lambda path: (path / "new").touch(), n.FILE_NOTIFY_CHANGE_FILE_NAME),
    "names of directories": (lambda path: (path / "new").mkdir(), n.FILE_NOTIFY_CHANGE_DIR_NAME),
    "content": (lambda path: os.truncate(path / "file", 1), n.WRITTEN),
    "mode": (
        lambda path: (path / "file").chmod(0o600),
        n.FILE_NOTIFY_CHANGE_ATTRIBUTES
        | n.FILE_NOTIFY_CHANGE_LAST_WRITE
        | n.FILE_NOTIFY_CHANGE_LAST_ACCESS
        | n.FILE_NOTIFY_CHANGE_CREATION
        | n.FILE_NOTIFY_CHANGE_EA
        | n.FILE_NOTIFY_CHANGE_SECURITY,
    ),
}


@pytest.mark.parametrize("what", LOCAL)
def test_local_changes_reach_who_watches_for_them(share, what):
    do, flags = LOCAL[what]
    share.make("file", b"content")
    wanted = [Watch(share, "", flag) for flag in (1 << bit for bit in range(12)) if flag & flags]
    others = Watch(share, "", ALL & ~flags)
    do(share.path)
    assert [len(watch.news()) for watch in wanted] == [1] * len(wanted)
    assert others.news() == []


def test_a_directory_that_is_not_a_tree_tells_of_itself_alone(share):
    share.make("sub", options=DIRECTORY)
    watch = Watch(share, "", tree=False)
    (share.path / "sub" / "file").touch()
    (share.path / "file").touch()
    os.rename(share.path / "file", share.path / "sub" / "gone")
    assert watch.news() == [(ADDED, "file"), (REMOVED, "file")]


def test_a_watched_directory_beneath_the_root_has_its_own_paths(share):
    share.make("a", options=DIRECTORY)
    share.make("a\\b", options=DIRECTORY)
    watch = Watch(share, "a")
    (share.path / "a" / "b" / "local").touch()
    share.make("a\\b\\client")
    share.rename(share.open("a\\b\\client"), "a\\b\\renamed")
    assert watch.news() == [(ADDED, "b\\local"), (ADDED, "b\\client"), (OLD, "b\\client"), (NEW, "b\\renamed")]


# --- what clients do is told once ------------------------------------------------------------------------------------


def test_what_clients_do_is_told_as_without_local_changes(make_share):
    def story(share):
        watch = Watch(share)
        share.make("file", b"content")
        opened = share.open("file")
        share.write(opened, b"more")
        share.write(opened, b"even more")
        share.rename(opened, "other")
        share.set(opened, c.FILE_END_OF_FILE_INFORMATION, (3).to_bytes(8, "little"))
        share.close(opened)
        share.make("dir", options=DIRECTORY)
        linked = share.open("other")
        share.link(linked, "dir\\link")
        share.close(linked)
        share.rename(share.open("dir", options=DIRECTORY | c.FILE_DELETE_ON_CLOSE), "dir2")
        share.close(share.open("other", c.FILE_OVERWRITE))
        share.close(share.open("dir2\\link", options=c.FILE_DELETE_ON_CLOSE))
        return watch.news()

    told = story(make_share(settings=VolumeSettings(change_notify="all")))
    assert told == story(make_share(settings=VolumeSettings(change_notify="share")))
    assert {action for action, _ in told} == {ADDED, REMOVED, MODIFIED, OLD, NEW}


@pytest.mark.parametrize("keeper", [StreamsXattrModule, StreamsDepotModule])
def test_named_streams_are_told_as_without_local_changes(make_share, keeper):
    def story(share):
        share.make("file", b"content")
        watch = Watch(share)
        stream = share.open("file:stream", c.FILE_CREATE)
        share.write(stream, b"data")
        share.close(stream)
        share.close(share.open("file:stream", c.FILE_OVERWRITE))
        share.close(share.open("file:stream", options=c.FILE_DELETE_ON_CLOSE))
        return watch.news()

    told = story(make_share(keeper(), settings=VolumeSettings(change_notify="all")))
    assert told == story(make_share(keeper(), settings=VolumeSettings(change_notify="share")))
    assert {action for action, _ in told} >= {6, 7}


def test_a_replacing_rename_and_another_case_are_told_once(share, watch):
    share.make("one")
    share.make("two")
    assert watch.news() == [(ADDED, "one"), (ADDED, "two")]
    share.rename(share.open("one"), "TWO", replace=True)
    told = [item for item in watch.news() if item[0] != MODIFIED]
    assert told == [(REMOVED, "two"), (OLD, "one"), (NEW, "two"), (OLD, "two"), (NEW, "TWO")]


def test_a_creation_that_fails_is_no_change(share, watch):
    with pytest.raises(NtStatusError):
        share.open("file", c.FILE_CREATE, extended_attributes=_ea(b"v" * 60000))
    assert watch.news() == []
    assert list(share.path.iterdir()) == []


def _ea(value):
    return b"\0\0\0\0\0\x01" + len(value).to_bytes(2, "little") + b"A\0" + value


def test_handles_that_were_open_before_the_watch_are_known(share):
    share.make("a", options=DIRECTORY)
    opened = share.open("a\\file", c.FILE_CREATE)
    directory = share.open("a", options=DIRECTORY)
    watch = Watch(share)
    share.write(opened, b"data")
    assert watch.news() == [(MODIFIED, "a\\file")]
    share.close(opened)
    assert watch.news() == [(MODIFIED, "a\\file")]
    again = share.open("a\\file")
    share.close(again)
    share.rename(directory, "b")
    assert watch.news() == [(OLD, "a"), (NEW, "b")]
    share.close(directory)
    opened = share.open("b\\file")
    share.rename(opened, "b\\other")
    watch.news()
    share.write(opened, b"data")
    assert watch.news() == [(MODIFIED, "b\\other")]


def test_a_local_change_of_the_file_that_a_client_writes_is_told(share, watch):
    opened = share.open("file", c.FILE_CREATE)
    share.write(opened, b"data")
    watch.news()
    share.write(opened, b"more")
    assert watch.news() == []
    (share.path / "file").write_text("local")
    assert watch.news() == [(MODIFIED, "file")]


def test_a_local_change_after_the_file_was_told_of_is_told(share, watch):
    opened = share.open("file", c.FILE_CREATE)
    share.write(opened, b"data")
    share.close(opened)
    watch.news()
    opened = share.open("file")
    share.write(opened, b"data")
    share.close(opened)
    # Nobody has looked since the write but the close itself.
    assert unpack(watch.open.watcher.take(4096).data) == [(MODIFIED, "file")]
    (share.path / "file").write_text("local")
    assert watch.news() == [(MODIFIED, "file")]


@pytest.mark.parametrize("rename", [("file", "other"), ("d", "e")])
def test_what_a_client_has_written_is_told_under_the_name_that_a_local_program_gives_it(share, rename):
    share.make("d", options=DIRECTORY)
    paths = {"file": "file", "d": "d\\file"}
    opened = share.open(paths[rename[0]], c.FILE_CREATE)
    share.write(opened, b"data")
    watch = Watch(share)
    share.write(opened, b"more")
    os.rename(share.path / rename[0], share.path / rename[1])
    after = opened.vfs_path.replace(*rename).replace("/", "\\")
    assert watch.news() == [(OLD, rename[0]), (NEW, rename[1]), (MODIFIED, after)]


def test_what_was_done_before_a_client_does_something_is_told_before(share, watch):
    (share.path / "x").touch()
    (share.path / "x").unlink()
    share.make("x")
    (share.path / "x").unlink()
    (share.path / "x").touch()
    assert watch.news() == [(ADDED, "x"), (REMOVED, "x"), (ADDED, "x"), (REMOVED, "x"), (ADDED, "x")]


def test_two_watchers_are_told_once_each(share, watch):
    names = Watch(share, "", NAMES, tree=False)
    share.make("client")
    (share.path / "local").touch()
    for each in (watch, names):
        assert each.news() == [(ADDED, "client"), (ADDED, "local")]


def test_a_directory_known_by_two_names_tells_each_of_its_watchers(share):
    share.make("real", options=DIRECTORY)
    (share.path / "link").symlink_to("real")
    real, link = Watch(share, "real", NAMES), Watch(share, "link", NAMES)
    share.make("link\\one")
    (share.path / "real" / "two").touch()
    assert real.news() == [(ADDED, "one"), (ADDED, "two")]
    assert link.news() == [(ADDED, "one"), (ADDED, "two")]


def test_a_watched_directory_that_a_client_renames_goes_on(share):
    share.make("a", options=DIRECTORY)
    watch = Watch(share, "a")
    share.rename(share.open("a", options=DIRECTORY), "b")
    share.make("b\\client")
    (share.path / "b" / "local").touch()
    assert watch.news() == [(ADDED, "client"), (ADDED, "local")]


# --- loss, limits, refusals ------------------------------------------------------------------------------------------


def test_what_is_lost_answers_that_the_directory_is_to_be_read(share, watch):
    share.volume.watchers.tell(watch.open.watcher, LOST)
    assert watch.news() is S.NOTIFY_ENUM_DIR
    (share.path / "file").touch()
    assert watch.news() == [(ADDED, "file")]


class Source:
    """A watch of changes that the test makes up."""

    def __init__(self):
        self.changes = []
        self.closed = 0
        self.wake = lambda: None

    def poll(self):
        changes, self.changes = self.changes, []
        return changes

    def close(self):
        self.closed += 1


class Vendor(VfsModule):
    """A module that brings its own source, or has none just now."""

    def __init__(self, error=0):
        super().__init__(None)
        self._error = error
        self._source = Source()

    def watch_changes(self, token, handle, query):
        if self._error:
            raise OSError(self._error, os.strerror(self._error))
        self._source.wake = query.wake
        return self._source


def test_a_module_may_bring_its_own_source(make_share):
    vendor = Vendor()
    source = vendor._source
    share = make_share(vendor)
    watch = Watch(share)
    source.changes.append(Change(ChangeKind.ADDED, "far away"))
    source.wake()
    share.make("here")
    assert watch.news() == [(ADDED, "far away"), (ADDED, "here")]
    share.close(watch.open)
    assert source.closed == 1


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EMFILE, errno.EACCES, errno.EIO])
def test_a_directory_that_cannot_be_watched_says_so_once(make_share, error):
    share = make_share(Vendor(error))
    watch = Watch.__new__(Watch)
    watch.share, watch.open = share, share.directory()
    told = change_notify(share.context, watch.open, ALL, True, 4096)
    assert told.status is S.NOTIFY_ENUM_DIR
    assert watch.news() == []
    share.make("file")
    assert watch.news() == [(ADDED, "file")]


def test_a_backend_without_a_source_tells_what_clients_do(make_share):
    class Plain(VfsModule):
        def capabilities(self, below):
            return below & ~Capability.WATCH_CHANGES

    share = make_share(Plain())
    watch = Watch(share)
    assert share.volume.watchers.local is None
    share.make("file")
    (share.path / "local").touch()
    assert watch.news() == [(ADDED, "file")]


def test_without_local_changes_nothing_is_watched(make_share):
    share = make_share(settings=VolumeSettings(change_notify="share"))
    watch = Watch(share)
    (share.path / "local").touch()
    share.make("client")
    assert watch.news() == [(ADDED, "client")]
    assert share.volume.watchers.local is None


def test_switched_off_is_not_implemented(make_share, refused):
    share = make_share(settings=VolumeSettings(change_notify="off"))
    refused(S.NOT_IMPLEMENTED, change_notify, share.context, share.directory(), ALL, True, 4096)
    assert share.volume.watchers is None


def test_those_who_watch_for_the_same_share_what_it_costs(make_share):
    vendor = Vendor()
    share = make_share(vendor)
    watches = [Watch(share, "", NAMES, tree=False) for _ in range(50)]
    assert len(share.volume.watchers.local._by_key) == 1
    vendor._source.changes.append(Change(ChangeKind.ADDED, "x"))
    late = Watch(share, "", NAMES, tree=False)
    assert [watch.news() for watch in watches] == [[(ADDED, "x")]] * 50
    assert late.news() == []
    for watch in [*watches, late]:
        assert vendor._source.closed == 0
        share.close(watch.open)
    assert vendor._source.closed == 1


def test_nothing_is_left_when_nobody_watches(share):
    functions = [getattr(share.chain, name) for name in ("pwrite", "open", "close", "rename")]
    (share.path / "a" / "b").mkdir(parents=True)
    watches = [Watch(share), Watch(share, "a", tree=False)]
    assert watched(share) == 3
    assert share.chain.pwrite is not functions[0]
    for watch in watches:
        share.close(watch.open)
    assert watched(share) == 0
    assert [getattr(share.chain, name) for name in ("pwrite", "open", "close", "rename")] == functions
    assert share.chain.pwrite == share.chain.modules[-1].pwrite


# --- operations that wait --------------------------------------------------------------------------------------------


class Parked:
    """A share whose operations wait until they are let go, and requests in it."""

    def __init__(self, make_share, *operations):
        self.delay = DelayModule(DelayOptions(operations=frozenset(operations)))
        self.share: Share = make_share(self.delay)
        self.outcomes = []

    async def run(self, do, meanwhile):
        """Begin `do`, and do something locally while it waits to be done."""
        engine = Engine(asyncio.get_running_loop(), threads=1)
        self.delay.hold()

        def body():
            try:
                do()
                self.outcomes.append(S.SUCCESS)
            except NtStatusError as error:
                self.outcomes.append(error.status)

        engine.spawn(Task(), body)
        assert self.delay.parked == 1
        meanwhile()
        await asyncio.sleep(0)
        self.delay.release()
        while not self.outcomes:
            await asyncio.sleep(0)
        engine.close()


def waits(make_share, operation, prepare, do, meanwhile):
    """What is told of `do`, whose `operation` waits while `meanwhile` happens; and how it ended."""
    parked = Parked(make_share, operation)
    share = parked.share
    prepare(share)
    watch = Watch(share, "", NAMES)
    asyncio.run(parked.run(lambda: do(share), lambda: meanwhile(share)))
    return watch.news(), parked.outcomes


def test_a_file_that_somebody_else_makes_first_is_told_once(make_share):
    told, outcomes = waits(
        make_share,
        "open",
        lambda share: None,
        lambda share: share.open("x", c.FILE_CREATE),
        lambda share: (share.path / "x").touch(),
    )
    assert outcomes == [S.OBJECT_NAME_COLLISION]
    assert told == [(ADDED, "x")]


def test_a_file_that_somebody_else_makes_and_removes_meanwhile(make_share):
    def meanwhile(share):
        (share.path / "x").touch()
        (share.path / "x").unlink()

    told, outcomes = waits(
        make_share, "open", lambda share: None, lambda share: share.open("x", c.FILE_CREATE), meanwhile
    )
    assert outcomes == [S.SUCCESS]
    assert told == [(ADDED, "x"), (REMOVED, "x"), (ADDED, "x")]


def test_two_clients_who_make_the_same_name_one_after_the_other_are_told_of_once_each(make_share):
    parked = Parked(make_share, "open", "unlink")
    share = parked.share
    watch = Watch(share, "", NAMES)

    def again():
        engine = Engine(asyncio.get_running_loop(), threads=1)
        engine.spawn(Task(), lambda: share.status("x", c.FILE_OPEN_IF))

    asyncio.run(parked.run(lambda: share.make("x"), again))
    share.close(share.open("x", options=c.FILE_DELETE_ON_CLOSE))
    assert watch.news() == [(ADDED, "x"), (REMOVED, "x")]


def test_a_new_file_that_somebody_else_removes_before_it_was_told_of(make_share):
    told, outcomes = waits(
        make_share,
        "set_dos_attributes",
        lambda share: None,
        lambda share: share.open("x", c.FILE_CREATE),
        lambda share: (share.path / "x").unlink(),
    )
    assert outcomes == [S.SUCCESS]
    assert told == [(ADDED, "x"), (REMOVED, "x")]


def test_a_new_file_that_others_have_replaced_is_theirs_where_it_is_taken_back(make_share):
    parked = Parked(make_share, "setxattr")
    share = parked.share
    watch = Watch(share, "", NAMES)

    def meanwhile():
        (share.path / "x").unlink()
        (share.path / "x").touch()

    asyncio.run(
        parked.run(
            lambda: share.open("x", c.FILE_CREATE, extended_attributes=_ea(b"v" * 60000)),
            meanwhile,
        )
    )
    assert parked.outcomes != [S.SUCCESS]
    assert watch.news() == [(ADDED, "x"), (REMOVED, "x"), (ADDED, "x")]
    assert (share.path / "x").exists()


def test_a_file_that_somebody_else_removes_first_is_told_once(make_share):
    told, outcomes = waits(
        make_share,
        "unlink",
        lambda share: share.make("x"),
        lambda share: share.close(share.open("x", options=c.FILE_DELETE_ON_CLOSE)),
        lambda share: (share.path / "x").unlink(),
    )
    assert outcomes == [S.SUCCESS]
    assert told == [(REMOVED, "x")]


def test_a_file_that_somebody_else_renames_first_is_told_once(make_share):
    told, outcomes = waits(
        make_share,
        "rename",
        lambda share: share.make("x"),
        lambda share: share.rename(share.open("x"), "y"),
        lambda share: os.rename(share.path / "x", share.path / "z"),
    )
    assert outcomes != [S.SUCCESS]
    assert told == [(OLD, "x"), (NEW, "z")]


def test_other_names_are_told_while_an_operation_waits(make_share):
    parked = Parked(make_share, "mkdir")
    share = parked.share
    watch = Watch(share, "", NAMES)
    seen = []

    def meanwhile():
        (share.path / "other").touch()
        seen.extend(watch.news())

    asyncio.run(parked.run(lambda: share.make("x", options=DIRECTORY), meanwhile))
    assert seen == [(ADDED, "other")]
    assert watch.news() == [(ADDED, "x")]


def test_a_cancelled_first_request_leaves_no_half_watch(make_share):
    class Slow(VfsModule):
        def watch_changes(self, token, handle, query):
            raise RequestCancelled

    share = make_share(Slow())
    directory = share.directory()
    with pytest.raises(RequestCancelled):
        change_notify(share.context, directory, ALL, True, 4096)
    assert directory.watcher is None
    assert share.volume.watchers is None
    assert share.chain.pwrite == share.chain.modules[-1].pwrite


# --- everything together ---------------------------------------------------------------------------------------------

_PATHS = ("a", "b", "d/a", "d/b", "d/e/a")
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(("client", "local")),
        st.sampled_from(("make", "write", "remove", "rename", "mkdir", "rename directory", "look")),
        st.sampled_from(_PATHS),
        st.sampled_from(_PATHS),
    ),
    max_size=25,
)


class Story:
    """Clients and local programs doing things in one tree; `expected` is what its watcher must be told of names."""

    def __init__(self, share):
        self.share = share
        for directory in ("d", "d\\e"):
            share.make(directory, options=DIRECTORY)
        self.watch = Watch(share)
        self.expected = []
        self.written: Counter[str] = Counter()
        self.told = []
        self.made = 0

    def step(self, who, what, path, target):
        getattr(self, f"{who}_{what.replace(' ', '_')}")(path, target)
        if what in {"mkdir", "rename directory"}:
            self.client_look(path, target)

    def client_look(self, _path, _target):
        news = self.watch.news()
        assert isinstance(news, list)
        self.told += news

    local_look = client_look

    def on_disk(self, path):
        return self.share.path / path

    def client_make(self, path, _):
        if not self.on_disk(path).exists() and self.on_disk(path).parent.exists():
            self.share.make(nt(path))
            self.expected.append((ADDED, nt(path)))

    def local_make(self, path, _):
        if not self.on_disk(path).exists() and self.on_disk(path).parent.exists():
            self.on_disk(path).touch()
            self.expected.append((ADDED, nt(path)))

    def client_write(self, path, _):
        if self.on_disk(path).is_file():
            opened = self.share.open(nt(path))
            self.share.write(opened, b"client")
            self.share.close(opened)
            self.written[nt(path)] += 1

    def local_write(self, path, _):
        if self.on_disk(path).is_file():
            self.on_disk(path).write_text("local")
            self.written[nt(path)] += 1

    def client_remove(self, path, _):
        if self.on_disk(path).is_file():
            self.share.close(self.share.open(nt(path), options=c.FILE_DELETE_ON_CLOSE))
            self.expected.append((REMOVED, nt(path)))

    def local_remove(self, path, _):
        if self.on_disk(path).is_file():
            self.on_disk(path).unlink()
            self.expected.append((REMOVED, nt(path)))

    def client_rename(self, path, target):
        if self._can_rename(path, target):
            opened = self.share.open(nt(path))
            self.share.rename(opened, nt(target))
            self.share.close(opened)
            self._renamed(path, target)

    def local_rename(self, path, target):
        if self._can_rename(path, target):
            os.rename(self.on_disk(path), self.on_disk(target))
            self._renamed(path, target)

    def _can_rename(self, path, target):
        there = self.on_disk(target)
        return self.on_disk(path).is_file() and there.parent.exists() and not there.exists()

    def _renamed(self, path, target):
        same = path.rpartition("/")[0] == target.rpartition("/")[0]
        self.expected += [(OLD if same else REMOVED, nt(path)), (NEW if same else ADDED, nt(target))]

    def client_mkdir(self, _path, _target):
        self.made += 1
        self.share.make(f"new{self.made}", options=DIRECTORY)
        self.expected.append((ADDED, f"new{self.made}"))

    def local_mkdir(self, _path, _target):
        self.made += 1
        self.on_disk(f"new{self.made}").mkdir()
        self.on_disk(f"new{self.made}/at once").touch()
        self.expected += [(ADDED, f"new{self.made}"), (ADDED, f"new{self.made}\\at once")]

    def client_rename_directory(self, _path, _target):
        source, target = self._directories()
        opened = self.share.open(source, options=DIRECTORY)
        self.share.rename(opened, target)
        self.share.close(opened)
        self.expected += [(OLD, source), (NEW, target)]

    def local_rename_directory(self, _path, _target):
        source, target = self._directories()
        os.rename(self.on_disk(source), self.on_disk(target))
        self.expected += [(OLD, source), (NEW, target)]

    def _directories(self):
        return ("d", "D2") if self.on_disk("d").exists() else ("D2", "d")


def nt(path):
    return path.replace("/", "\\")


@settings(max_examples=150, deadline=None)
@given(_STEPS)
def test_every_change_is_told_exactly_once_and_in_order(tmp_path_factory, steps):
    share = Share(tmp_path_factory.mktemp("story"))
    try:
        story = Story(share)
        for step in steps:
            story.step(*step)
        story.client_look("", "")
        assert [record for record in story.told if record[0] != MODIFIED] == story.expected
        told = Counter(name for action, name in story.told if action == MODIFIED)
        assert set(story.written) <= set(told)
    finally:
        share.end()
