"""Watching directories: who learns what of which change, and when a request that waits for one ends."""

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc import notify_information as n
from lamina.ntfsa.fscc.notify_information import NotifyRecord, pack_notify_information, packed_size
from lamina.ntfsa.notify.change_notify import change_notify
from lamina.ntfsa.notify.watchers import MAX_KEPT, WaitingNotify, Watcher, Watchers
from lamina.ntfsa.result import Information
from lamina.ntfsa.security.file_security import query_security, set_security
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.status import NtStatusError
from lamina.vfs_modules.engine import Engine, RequestCancelled, Task

ALL = 0xFFF
NAMES = n.FILE_NOTIFY_CHANGE_FILE_NAME | n.FILE_NOTIFY_CHANGE_DIR_NAME
ADDED, REMOVED, MODIFIED, OLD, NEW = range(1, 6)


def unpack(packed):
    """The (action, name) pairs of FILE_NOTIFY_INFORMATION."""
    records, offset = [], 0
    while packed:
        following, action, length = struct.unpack_from("<III", packed, offset)
        records.append((action, packed[offset + 12 : offset + 12 + length].decode("utf-16-le", "surrogatepass")))
        offset += following
        if not following:
            break
    return records


class Directory:
    """A watched directory; each `news()` is what a request would be answered at once."""

    def __init__(self, watchers, path, completion_filter=ALL, tree=False, length=4096):
        self.watcher = Watcher(path, completion_filter, tree, length)
        watchers.add(self.watcher)

    def news(self, length=65536):
        told = self.watcher.take(length)
        if told is None:
            return []
        return unpack(told.data) if told.status is S.SUCCESS else told.status


# --- what a record looks like ----------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 5), st.text(max_size=40)), max_size=8))
def test_records_survive_packing_and_take_what_was_reckoned(records):
    packed = pack_notify_information(NotifyRecord(*record) for record in records)
    assert unpack(packed) == records
    assert len(packed) == sum(packed_size(name) for _, name in records)


def test_one_record_byte_by_byte():
    assert pack_notify_information([NotifyRecord(ADDED, "abc")]) == struct.pack("<III", 0, 1, 6) + b"a\0b\0c\0\0\0"


# --- who learns what -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("watched", "tree", "news"),
    [
        ("", False, []),
        ("", True, [(ADDED, "a\\b\\file")]),
        ("a", False, []),
        ("a", True, [(ADDED, "b\\file")]),
        ("a/b", False, [(ADDED, "file")]),
        ("a/b", True, [(ADDED, "file")]),
        ("a/b/file", True, []),
        ("a/bc", True, []),
        ("b", True, []),
    ],
)
def test_a_change_reaches_its_directory_and_the_trees_above(watched, tree, news):
    watchers = Watchers()
    directory = Directory(watchers, watched, tree=tree)
    watchers.added("a/b/file", False)
    assert directory.news() == news


@pytest.mark.parametrize(("is_directory", "flag"), [(False, 1), (True, 2)])
def test_names_of_files_and_of_directories_are_told_apart(is_directory, flag):
    watchers = Watchers()
    right, wrong = Directory(watchers, "", flag), Directory(watchers, "", ALL & ~flag)
    watchers.added("x", is_directory)
    watchers.renamed("x", "y", is_directory)
    watchers.removed("y", is_directory)
    assert right.news() == [(ADDED, "x"), (OLD, "x"), (NEW, "y"), (REMOVED, "y")]
    assert wrong.news() == []


def test_a_name_that_changes_its_directory_goes_here_and_comes_there():
    watchers = Watchers()
    here, there, above = Directory(watchers, "a"), Directory(watchers, "b"), Directory(watchers, "", tree=True)
    watchers.renamed("a/x", "b/y", False)
    assert here.news() == [(REMOVED, "x")]
    assert there.news() == [(ADDED, "y")]
    assert above.news() == [(REMOVED, "a\\x"), (ADDED, "b\\y")]


def test_a_change_of_the_directory_itself_is_none_in_it():
    watchers = Watchers()
    itself, root = Directory(watchers, "a", tree=True), Directory(watchers, "")
    watchers.modified("a", n.FILE_NOTIFY_CHANGE_ATTRIBUTES)
    watchers.modified("", n.FILE_NOTIFY_CHANGE_ATTRIBUTES)
    assert itself.news() == []
    assert root.news() == [(MODIFIED, "a")]


def test_a_watcher_goes_with_its_directory():
    watchers = Watchers()
    directory = Directory(watchers, "a")
    watchers.moved(directory.watcher, "z/b")
    watchers.added("a/one", False)
    watchers.added("z/b/two", False)
    assert directory.news() == [(ADDED, "two")]


# --- what is kept between two requests -------------------------------------------------------------------------------


def test_changes_are_kept_in_order_and_told_once():
    watchers = Watchers()
    directory = Directory(watchers, "")
    watchers.added("x", False)
    watchers.removed("x", False)
    assert directory.news() == [(ADDED, "x"), (REMOVED, "x")]
    assert directory.news() == []


def test_more_than_the_first_request_had_room_for_is_told_as_a_whole():
    watchers = Watchers()
    directory = Directory(watchers, "", length=packed_size("x"))
    watchers.added("x", False)
    assert directory.news() == [(ADDED, "x")]
    watchers.added("x", False)
    watchers.added("y", False)
    watchers.added("z", False)
    assert directory.news() is S.NOTIFY_ENUM_DIR
    assert directory.news() == []
    watchers.added("x", False)
    assert directory.news() == [(ADDED, "x")]


def test_what_has_no_room_in_this_request_is_told_as_a_whole_and_forgotten():
    watchers = Watchers()
    directory = Directory(watchers, "")
    watchers.added("x", False)
    assert directory.news(15) is S.NOTIFY_ENUM_DIR
    assert directory.news() == []


def test_what_is_kept_is_bounded_however_long_the_first_request_was():
    watchers = Watchers()
    directory = Directory(watchers, "", length=8 << 20)
    for number in range(MAX_KEPT // packed_size("0000") + 1):
        watchers.added(f"{number:04}", False)
    assert directory.news(8 << 20) is S.NOTIFY_ENUM_DIR


def test_the_same_file_changing_again_is_kept_once():
    watchers = Watchers()
    directory = Directory(watchers, "", length=2 * packed_size("x"))
    for _ in range(100):
        watchers.modified("x", n.FILE_NOTIFY_CHANGE_SIZE)
    watchers.modified("y", n.FILE_NOTIFY_CHANGE_SIZE)
    assert directory.news() == [(MODIFIED, "x"), (MODIFIED, "y")]


# --- requests that wait ----------------------------------------------------------------------------------------------


@pytest.fixture
def waits():
    """Add a request to a watcher; its future is the answer."""
    loop = asyncio.new_event_loop()

    def add(directory, length=4096):
        future = loop.create_future()
        directory.watcher.waiting.append(WaitingNotify(future, length))
        return future

    yield add
    loop.close()


def test_requests_are_answered_in_their_order_a_change_each(waits):
    watchers = Watchers()
    directory = Directory(watchers, "")
    one, two, three = waits(directory), waits(directory), waits(directory)
    watchers.renamed("x", "y", False)
    assert unpack(one.result().data) == [(OLD, "x"), (NEW, "y")]
    assert not two.done()
    two.cancel()
    watchers.added("z", False)
    assert unpack(three.result().data) == [(ADDED, "z")]


def test_a_change_with_too_little_room_for_it_is_told_without_its_name(waits):
    watchers = Watchers()
    directory = Directory(watchers, "")
    answer = waits(directory, 0)
    watchers.added("x", False)
    assert answer.result() == Information(S.NOTIFY_ENUM_DIR, b"")


def test_no_one_watching_means_nothing_to_be_told():
    watchers = Watchers()
    watcher = Directory(watchers, "a").watcher
    assert watchers
    watchers.remove(watcher)
    assert not watchers


# --- over a volume ---------------------------------------------------------------------------------------------------


@pytest.fixture
def watch(share):
    """Watch a directory of the share; what is returned tells the news since the last call."""

    def begin(path="", completion_filter=ALL, tree=False):
        directory = share.directory(path)
        # Outside a request nothing can wait; the watch has begun all the same.
        with pytest.raises(RuntimeError):
            asyncio.run(_first(directory, completion_filter, tree))
        return lambda: _news(share, directory)

    async def _first(directory, completion_filter, tree):
        change_notify(share.context, directory, completion_filter, tree, 4096)

    return begin


def _news(share, directory):
    told = directory.watcher.take(65536)
    return [] if told is None else unpack(told.data)


def test_nothing_is_watched_before_the_first_request_and_after_the_last_close(share, watch):
    assert share.volume.watchers is None
    watch()
    assert share.volume.watchers is not None
    share.close(share.opens[-1])
    assert share.volume.watchers is None


def test_files_come_change_and_go(share, watch):
    news = watch()
    made = share.open("file", c.FILE_CREATE)
    assert news() == [(ADDED, "file")]
    share.write(made, b"data")
    share.write(made, b"more", 4)
    assert news() == [(MODIFIED, "file")]
    share.close(made)
    assert news() == [(MODIFIED, "file")]
    share.close(share.open("file", c.FILE_OVERWRITE))
    assert news() == [(MODIFIED, "file")]
    share.close(share.open("file"))
    assert news() == []
    doomed = share.open("file")
    share.dispose(doomed)
    assert news() == []
    share.close(doomed)
    assert news() == [(REMOVED, "file")]


def test_a_file_that_is_deleted_at_its_close_is_not_told_to_have_changed(share, watch):
    share.make("file")
    news = watch("", n.FILE_NOTIFY_CHANGE_LAST_WRITE | NAMES)
    doomed = share.open("file", options=c.FILE_DELETE_ON_CLOSE)
    share.write(doomed, b"data")
    assert news() == [(MODIFIED, "file")]
    share.close(doomed)
    assert news() == [(REMOVED, "file")]


def test_a_refused_creation_is_no_change(share, watch, refused):
    share.make("file")
    news = watch()
    refused(S.OBJECT_NAME_COLLISION, share.open, "file", c.FILE_CREATE)
    assert news() == []


def test_names_in_another_case_are_told_as_they_are_on_disk(share, watch):
    share.make("Dir", options=c.FILE_DIRECTORY_FILE)
    news = watch("", tree=True)
    share.make("dIR\\file")
    assert news() == [(ADDED, "Dir\\file")]


def test_renamed_files_are_told_as_pairs_and_as_changed_when_closed(share, watch):
    share.make("file")
    news = watch()
    opened = share.open("file")
    share.rename(opened, "other")
    assert news() == [(OLD, "file"), (NEW, "other")]
    share.close(opened)
    assert news() == [(MODIFIED, "other")]


def test_a_replaced_file_goes_before_the_new_one_comes(share, watch):
    share.make("file")
    share.make("other")
    news = watch("", NAMES)
    share.rename(share.open("file"), "other", replace=True)
    assert news() == [(REMOVED, "other"), (OLD, "file"), (NEW, "other")]


def test_the_watch_of_a_renamed_directory_goes_on(share, watch):
    share.make("a", options=c.FILE_DIRECTORY_FILE)
    news = watch("a")
    share.rename(share.open("a", options=c.FILE_DIRECTORY_FILE), "b")
    share.make("b\\file")
    assert news() == [(ADDED, "file")]


def test_links_are_new_names(share, watch):
    share.make("file")
    news = watch()
    share.link(share.open("file"), "second")
    assert news() == [(ADDED, "second")]


@pytest.mark.parametrize(
    ("field", "flag"),
    [
        ({"creation": 10**17}, n.FILE_NOTIFY_CHANGE_CREATION),
        ({"access": 10**17}, n.FILE_NOTIFY_CHANGE_LAST_ACCESS),
        ({"write": 10**17}, n.FILE_NOTIFY_CHANGE_LAST_WRITE),
        ({"attributes": c.FILE_ATTRIBUTE_HIDDEN}, n.FILE_NOTIFY_CHANGE_ATTRIBUTES),
    ],
)
def test_what_basic_information_changes_reaches_who_watches_for_it(share, watch, packed, field, flag):
    share.make("file")
    opened = share.open("file")
    news, others = watch("", flag), watch("", ALL & ~flag)
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(**field))
    assert news() == [(MODIFIED, "file")]
    assert others() == []


def test_sizes_descriptors_and_extended_attributes_are_told(share, watch):
    share.make("file", b"content")
    opened = share.open("file")
    size, security = watch("", n.FILE_NOTIFY_CHANGE_SIZE), watch("", n.FILE_NOTIFY_CHANGE_SECURITY)
    attributes = watch("", n.FILE_NOTIFY_CHANGE_EA)
    share.set(opened, c.FILE_END_OF_FILE_INFORMATION, struct.pack("<q", 1))
    assert (size(), security(), attributes()) == ([(MODIFIED, "file")], [], [])
    descriptor = query_security(share.context, opened, c.DACL_SECURITY_INFORMATION, 65536).data
    set_security(share.context, opened, c.DACL_SECURITY_INFORMATION, memoryview(descriptor))
    assert (size(), security(), attributes()) == ([], [(MODIFIED, "file")], [])
    share.set(opened, c.FILE_FULL_EA_INFORMATION, struct.pack("<IBBH", 0, 0, 1, 1) + b"A\0v")
    assert (size(), security(), attributes()) == ([], [], [(MODIFIED, "file")])


@pytest.mark.parametrize(
    ("path", "access", "status"),
    [("file", c.FILE_ALL_ACCESS, S.INVALID_PARAMETER), ("", c.FILE_READ_ATTRIBUTES, S.ACCESS_DENIED)],
)
def test_only_a_directory_that_may_be_listed_is_watched(share, refused, path, access, status):
    share.make("file")
    opened = share.open(path, desired_access=access)
    refused(status, change_notify, share.context, opened, ALL, False, 4096)
    assert share.volume.watchers is None


class Requests:
    """Requests that wait for changes, on one loop."""

    def __init__(self, share):
        self.share = share
        self.engine = Engine(asyncio.get_running_loop(), threads=1)
        self.outcomes = {}

    def start(self, name, directory, **asked):
        asked = {"completion_filter": ALL, "watch_tree": False, "max_length": 4096, **asked}

        def run():
            try:
                told = change_notify(self.share.context, directory, **asked)
                self.outcomes[name] = unpack(told.data) or told.status
            except NtStatusError as error:
                self.outcomes[name] = error.status
            except RequestCancelled:
                self.outcomes[name] = "cancelled"
                raise

        task = Task()
        self.engine.spawn(task, run)
        return task

    async def end(self):
        for _ in range(5):
            await asyncio.sleep(0)
        assert not self.engine.running
        self.engine.close()
        return self.outcomes


def test_a_request_waits_for_the_next_change(share):
    async def main():
        requests = Requests(share)
        directory = share.directory()
        requests.start("one", directory, completion_filter=NAMES)
        requests.start("two", directory, completion_filter=0, watch_tree=True)
        share.make("file")
        share.make("other")
        return await requests.end()

    assert asyncio.run(main()) == {"one": [(ADDED, "file")], "two": [(ADDED, "other")]}


def test_a_cancelled_request_leaves_the_next_change_to_the_next_one(share):
    async def main():
        requests = Requests(share)
        directory = share.directory()
        task = requests.start("one", directory)
        requests.start("two", directory)
        task.cancel()
        await asyncio.sleep(0)
        share.make("file")
        return await requests.end()

    assert asyncio.run(main()) == {"one": "cancelled", "two": [(ADDED, "file")]}


def test_a_change_that_came_before_the_cancellation_is_told(share):
    async def main():
        requests = Requests(share)
        directory = share.directory()
        task = requests.start("one", directory)
        share.make("file")
        task.cancel()
        return await requests.end()

    assert asyncio.run(main()) == {"one": [(ADDED, "file")]}


def test_closing_the_directory_ends_its_requests(share):
    async def main():
        requests = Requests(share)
        directory = share.directory()
        requests.start("one", directory)
        requests.start("two", directory)
        share.close(directory)
        return await requests.end()

    assert asyncio.run(main()) == {"one": S.NOTIFY_CLEANUP, "two": S.NOTIFY_CLEANUP}
    assert share.volume.watchers is None


@pytest.mark.parametrize("on_close", [False, True])
def test_a_directory_that_will_be_deleted_is_watched_no_longer(share, on_close):
    share.make("a", options=c.FILE_DIRECTORY_FILE)

    async def main():
        requests = Requests(share)
        directory = share.directory("a")
        requests.start("one", directory)
        options = c.FILE_DIRECTORY_FILE | (c.FILE_DELETE_ON_CLOSE if on_close else 0)
        doomed = share.open("a", options=options)
        assert not requests.outcomes
        if not on_close:
            share.dispose(doomed)
        share.close(doomed)
        requests.start("two", directory)
        return await requests.end()

    assert asyncio.run(main()) == {"one": S.DELETE_PENDING, "two": S.DELETE_PENDING}
