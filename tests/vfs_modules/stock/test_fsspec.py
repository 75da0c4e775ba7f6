"""`fsspec`: a foreign store is a share like any other, as far as it can be."""

import asyncio
import contextlib
import errno
import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.vfs_modules.engine import Engine, RequestCancelled, Task
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.names import encode_name
from lamina.vfs_modules.operations import Access, Capability, OpenHow, Times
from lamina.vfs_modules.stock.foreign.entries import entry_of, from_store, time_ns, to_store
from lamina.vfs_modules.stock.foreign.faults import as_os_error
from lamina.vfs_modules.stock.foreign.options import FsspecOptions
from lamina.vfs_modules.stock.foreign.tree import MARKER, Numbers
from lamina.vfs_modules.stock.fsspec import FsspecBackend
from lamina.vfs_modules.stock.streams_depot import StreamsDepotModule
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.conformance import Case, Profile, cases
from lamina.vfs_modules.testing.hand import CREATE, LIST, READ, READ_WRITE, Hand, fails_with
from lamina.vfs_modules.testing.stock import OF_STORES
from lamina.vfs_modules.testing.stock import fsspec as announced
from tests.support.ftp_server import ftp_server

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'lamina[fsspec]'")

TOKEN = make_token()
SECOND = 1_000_000_000

BY_FTP = OF_STORES | {"names_are_kept_as_they_are": "names are UTF-8"}


class Warehouse(fsspec.get_filesystem_class("memory")):
    """A store of keys: there is no directory but by what is in it. `fault` is raised once by the call of that name;
    calls wait while `gate` is closed."""

    protocol = "warehouse"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    faults: ClassVar[dict[str, Exception]] = {}
    calls: ClassVar[list[str]] = []
    gate: ClassVar[threading.Event] = threading.Event()

    @classmethod
    def begin(cls) -> None:
        cls.store, cls.pseudo_dirs, cls.faults, cls.calls = {}, [""], {}, []
        cls.gate.set()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.removeprefix("warehouse://"))

    def _meet(self, name: str) -> None:
        self.calls.append(name)
        self.gate.wait(20)
        if name in self.faults:
            raise self.faults.pop(name)

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        self._meet("mkdir")

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        self._meet("cat_file")
        return super().cat_file(path, start, end, **options)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        self._meet("pipe_file")
        super().pipe_file(path, value, mode, **options)

    def info(self, path: str, **options: Any) -> Any:
        self._meet("info")
        return super().info(path, **options)


fsspec.register_implementation("warehouse", Warehouse, clobber=True)


@pytest.fixture(autouse=True)
def _new_warehouse() -> None:
    Warehouse.begin()


def backend(url: str, **options: Any) -> FsspecBackend:
    return FsspecBackend(FsspecOptions(url=url, make_root=True, **options))


def memory_url() -> str:
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def hand() -> Iterator[Hand]:
    """A share in the warehouse."""
    chain = local_chain("/nowhere", backend("warehouse://share", directories="marked", cache_seconds=0))
    hand = Hand(chain, TOKEN)
    yield hand
    hand.close()
    chain.disconnect()


def profile(kind: str, url: Callable[[Path], str], limits: Mapping[str, str] = OF_STORES, **options: Any) -> Profile:
    return Profile(kind, lambda folder: [backend(url(folder), **options)], known_failures=limits)


@contextlib.contextmanager
def through_ftp(folder: Path) -> Iterator[list[VfsModule]]:
    with ftp_server(folder) as url:
        yield [backend(url)]


def above_a_store(*kinds: type[VfsModule]) -> Callable[[Path], list[VfsModule]]:
    return lambda folder: [*(kind() for kind in kinds), backend(f"file://{folder}")]


PROFILES = (
    profile("memory", lambda _: memory_url()),
    profile("memory-unremembered", lambda _: memory_url(), cache_seconds=0),
    announced,
    profile("keys", lambda _: "warehouse://share", directories="marked"),
    profile("keys-unannounced", lambda _: "warehouse://share"),
    Profile("streams_depot", above_a_store(StreamsDepotModule), known_failures=OF_STORES),
    Profile("ftp", through_ftp, known_failures=BY_FTP),
)


@pytest.mark.parametrize(
    "case", [case for profile in PROFILES for case in cases(profile)], ids=lambda case: f"{case.profile.name}-{case}"
)
def test_conforms(case: Case, tmp_path: Path) -> None:
    case(tmp_path)


def test_only_what_every_store_can_is_claimed() -> None:
    chain = local_chain("/nowhere", backend(memory_url()))
    assert chain.capabilities == Capability.CASE_SENSITIVE
    with fails_with(errno.ENOTSUP):
        chain.setxattr(TOKEN, chain.open_root(TOKEN), "user.a", b"")


# Writing.


def test_a_file_is_written_back_when_its_writer_closes(hand: Hand) -> None:
    handle = hand.chain.open(TOKEN, hand.root, "file", CREATE)
    hand.chain.pwrite(TOKEN, handle, memoryview(b"abcdef"), 0)
    hand.chain.pwrite(TOKEN, handle, memoryview(b"XY"), 2)
    assert bytes(Warehouse.store["/share/file"].getvalue()) == b""
    assert hand.chain.stat(TOKEN, hand.root, "file").size == 6, "everybody sees what is not written back yet"
    assert hand.read(hand.open("file", READ), 99) == b"abXYef"
    hand.chain.close(TOKEN, handle)
    assert bytes(Warehouse.store["/share/file"].getvalue()) == b"abXYef"


def test_synchronising_writes_back_once(hand: Hand) -> None:
    handle = hand.make("file", b"abc")
    hand.chain.fsync(TOKEN, handle)
    assert bytes(Warehouse.store["/share/file"].getvalue()) == b"abc"
    Warehouse.calls.clear()
    hand.chain.fsync(TOKEN, handle)
    assert "pipe_file" not in Warehouse.calls


def test_a_part_of_a_large_file_is_changed(hand: Hand) -> None:
    data = bytes(range(256)) * 40_000
    hand.chain.close(TOKEN, hand.chain.open(TOKEN, hand.root, "file", CREATE))
    handle = hand.chain.open(TOKEN, hand.root, "file", READ_WRITE)
    hand.chain.pwrite(TOKEN, handle, memoryview(data), 0)
    hand.chain.close(TOKEN, handle)
    handle = hand.chain.open(TOKEN, hand.root, "file", READ_WRITE)
    hand.chain.pwrite(TOKEN, handle, memoryview(b"changed"), 5_000_000)
    hand.chain.close(TOKEN, handle)
    assert bytes(Warehouse.store["/share/file"].getvalue()) == data[:5_000_000] + b"changed" + data[5_000_007:]


def test_what_is_cut_off_is_not_fetched_first(hand: Hand) -> None:
    handle = hand.make("file", b"abc")
    hand.chain.close(TOKEN, handle)
    hand._opened.remove(handle)
    with_limit = hand.chain.modules[-1]
    assert isinstance(with_limit, FsspecBackend)
    with_limit._spool.free = 2
    handle = hand.open("file", READ_WRITE)
    with fails_with(errno.ENOSPC):
        hand.chain.pwrite(TOKEN, handle, memoryview(b"x"), 0)
    hand.chain.ftruncate(TOKEN, handle, 1)
    assert hand.read(handle, 9) == b"a"


def test_local_copies_are_bounded_and_given_back() -> None:
    chain = local_chain("/nowhere", module := backend(memory_url(), spool_limit=1000))
    with_hand = Hand(chain, TOKEN)
    handle = with_hand.make("file", bytes(900))
    with fails_with(errno.ENOSPC):
        chain.pwrite(TOKEN, handle, memoryview(bytes(200)), 900)
    assert chain.fstat(TOKEN, handle).size == 900
    with_hand.close()
    assert module._spool.free == 1000
    assert not any(node.path for node in module._nodes.values())
    chain.disconnect()


def test_what_cannot_be_written_back_is_kept_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    Warehouse.begin()
    chain = local_chain("/nowhere", module := backend("warehouse://share", directories="marked", retry_seconds=0.01))

    async def serve() -> None:
        engine = Engine(asyncio.get_running_loop())

        def work() -> None:
            root = chain.open_root(TOKEN)
            handle = chain.open(TOKEN, root, "file", CREATE)
            chain.pwrite(TOKEN, handle, memoryview(b"precious"), 0)
            Warehouse.faults["pipe_file"] = ConnectionError("gone")
            with fails_with(errno.EIO):
                chain.close(TOKEN, handle)
            assert chain.stat(TOKEN, root, "file").size == 8, "the server still has it"

        await engine.run(work)
        async with asyncio.timeout(10):
            while module._retrying:
                await asyncio.sleep(0.005)
        engine.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(serve())
    assert "cannot be written back" in caplog.text
    assert bytes(Warehouse.store["/share/file"].getvalue()) == b"precious"
    assert [path for path, node in module._nodes.items() if node.is_local] == []


def test_the_last_chance_is_the_end_of_the_share() -> None:
    chain = local_chain("/nowhere", backend("warehouse://share", directories="marked"))
    handle = chain.open(TOKEN, chain.open_root(TOKEN), "file", CREATE)
    chain.pwrite(TOKEN, handle, memoryview(b"abc"), 0)
    chain.disconnect()
    assert bytes(Warehouse.store["/share/file"].getvalue()) == b"abc"


# Names.


def test_an_empty_directory_stays_in_a_store_of_keys(hand: Hand) -> None:
    hand.mkdir("folder")
    assert hand.chain.stat(TOKEN, hand.root, "folder").mode & 0o040000
    assert hand.names("folder") == set()
    assert list(Warehouse.store) == [f"/share/folder/{MARKER}"]
    hand.chain.close(TOKEN, hand.chain.open(TOKEN, hand.root, "folder/file", CREATE))
    with fails_with(errno.ENOTEMPTY):
        hand.chain.rmdir(TOKEN, hand.root, "folder")
    hand.chain.unlink(TOKEN, hand.root, "folder/file")
    hand.chain.rmdir(TOKEN, hand.root, "folder")
    assert Warehouse.store == {}


def test_a_folder_of_others_stays_when_its_last_file_goes(hand: Hand) -> None:
    fsspec.filesystem("warehouse").pipe_file("/share/folder/file", b"x")
    hand.chain.unlink(TOKEN, hand.root, "folder/file")
    assert hand.names() == {"folder"}
    assert hand.names("folder") == set()


def test_the_mark_is_nobodys_file(hand: Hand) -> None:
    hand.mkdir("folder")
    with fails_with(errno.ENOENT):
        hand.open(f"folder/{MARKER}", READ)
    with fails_with(errno.EACCES):
        hand.make(MARKER)


def test_names_are_no_patterns(hand: Hand) -> None:
    for name in ("a1.txt", "a[1].txt", "a*", "a?"):
        hand.chain.close(TOKEN, hand.chain.open(TOKEN, hand.root, name, CREATE))
    hand.rename("a[1].txt", "moved")
    hand.chain.unlink(TOKEN, hand.root, "a*")
    assert hand.names() == {"a1.txt", "a?", "moved"}


def test_a_file_keeps_its_number_when_it_is_renamed_and_a_new_one_gets_another(hand: Hand) -> None:
    hand.chain.close(TOKEN, hand.chain.open(TOKEN, hand.root, "first", CREATE))
    before = hand.chain.stat(TOKEN, hand.root, "first").ino
    hand.rename("first", "second")
    assert hand.chain.stat(TOKEN, hand.root, "second").ino == before
    hand.make("first")
    assert hand.chain.stat(TOKEN, hand.root, "first").ino != before
    again = local_chain("/nowhere", backend("warehouse://share", directories="marked"))
    assert again.stat(TOKEN, again.open_root(TOKEN), "first").ino == before, "a new start knows only the path"


def test_a_file_that_is_open_without_a_name_shares_its_number_with_nobody(hand: Hand) -> None:
    handle = hand.make("file", b"x")
    number = hand.chain.fstat(TOKEN, handle).ino
    hand.chain.unlink(TOKEN, hand.root, "file")
    assert hand.chain.fstat(TOKEN, hand.make("file")).ino != number


PLACES = st.sampled_from(["a", "b", "a/x", "b/x", "a/x/y", "b/x/y"])


@given(st.lists(st.tuples(st.sampled_from(["make", "move", "remove", "remove open"]), PLACES, PLACES), max_size=40))
def test_everything_has_one_number_of_its_own_as_long_as_it_is_there(steps: list[tuple[str, str, str]]) -> None:
    numbers, there = Numbers(), {}
    without_name: list[int] = []
    for what, path, target in steps:
        if what == "make" and path not in there:
            there[path] = numbers.of(path)
        elif what == "move" and path in there and target not in there and not target.startswith(path):
            numbers.move(path, target)
            moved = [each for each in there if each == path or each.startswith(path + "/")]
            for each in moved:
                there[target + each[len(path) :]] = there.pop(each)
        elif what.startswith("remove") and path in there and not any(each.startswith(path + "/") for each in there):
            numbers.forget(path)
            number = there.pop(path)
            if what == "remove open":
                numbers.renew(path)
                without_name.append(number)
        assert {each: numbers.of(each) for each in there} == there
        assert len({*there.values(), *without_name}) == len(there) + len(without_name)


def test_what_is_beneath_a_directory_that_is_renamed_keeps_its_number(hand: Hand) -> None:
    hand.mkdir("folder")
    hand.chain.close(TOKEN, hand.chain.open(TOKEN, hand.root, "folder/file", CREATE))
    before = hand.chain.stat(TOKEN, hand.root, "folder/file").ino
    hand.rename("folder", "other")
    assert hand.chain.stat(TOKEN, hand.root, "other/file").ino == before
    hand.mkdir("folder")
    hand.chain.close(TOKEN, hand.chain.open(TOKEN, hand.root, "folder/file", CREATE))
    assert hand.chain.stat(TOKEN, hand.root, "folder/file").ino != before


def test_links_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "share/link").symlink_to(tmp_path / "secret")
    (tmp_path / "share/folder").symlink_to(tmp_path)
    hand = Hand(local_chain("/nowhere", backend(f"file://{tmp_path}/share")), TOKEN)
    assert hand.names() == set()
    for path in ("link", "folder", "folder/secret"):
        with fails_with(errno.ELOOP):
            hand.open(path, READ)


def test_what_others_do_is_seen(hand: Hand) -> None:
    handle = hand.make("file", b"abc")
    hand.chain.close(TOKEN, handle)
    hand._opened.remove(handle)
    other = fsspec.filesystem("warehouse")
    other.pipe_file("/share/file", b"longer than before")
    assert hand.read(hand.open("file", READ), 99) == b"longer than before"
    other.pipe_file("/share/new", b"")
    assert hand.names() == {"file", "new"}


def test_a_directory_without_times_is_as_old_as_its_last_change(hand: Hand) -> None:
    before = hand.chain.fstat(TOKEN, hand.root).mtime_ns
    hand.make("file")
    after = hand.chain.fstat(TOKEN, hand.root).mtime_ns
    assert after > before
    assert hand.chain.fstat(TOKEN, hand.root).mtime_ns == after


# What stores say.


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (FileNotFoundError("/x"), errno.ENOENT),
        (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
        (PermissionError("no"), errno.EACCES),
        (NotImplementedError(), errno.ENOTSUP),
        (TimeoutError(), errno.ETIMEDOUT),
        (RuntimeError("550 Directory not empty"), errno.ENOTEMPTY),
        (RuntimeError("The specified bucket does not exist"), errno.ENOENT),
        (RuntimeError("552 Quota exceeded"), errno.EDQUOT),
        (KeyError("what"), errno.EIO),
        (ConnectionResetError("reset"), errno.EIO),
    ],
)
def test_errors_have_numbers(error: Exception, number: int) -> None:
    assert as_os_error(error, "path").errno == number


def test_a_lost_connection_is_made_anew_to_look(hand: Hand) -> None:
    hand.make("file")
    Warehouse.faults["info"] = EOFError()
    assert hand.chain.stat(TOKEN, hand.root, "file").size == 0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.5, 1_500_000_000),
        (7, 7 * SECOND),
        ("19700101000007", 7 * SECOND),
        ("19700101000007.123", 7 * SECOND),
        ("1970-01-01T00:00:07Z", 7 * SECOND),
        ("1970-01-01T01:00:07+01:00", 7 * SECOND),
        ("yesterday", None),
        (None, None),
        (True, None),
        (float("nan"), None),
        (1.79e302, None),
    ],
)
def test_times_come_in_many_forms(value: object, expected: int | None) -> None:
    assert time_ns(value) == expected


@given(st.dictionaries(st.sampled_from(["type", "size", "mtime", "created", "islink"]), st.one_of(
    st.none(), st.text(max_size=20), st.integers(), st.floats(), st.sampled_from(["file", "directory"]))))  # fmt: skip
def test_whatever_a_store_says_is_taken(info: dict[str, Any]) -> None:
    assert entry_of(info).size >= 0


@given(st.text(st.characters(exclude_characters="\0/"), min_size=1))
def test_names_come_back(name: str) -> None:
    assert encode_name(from_store(to_store(name))) == encode_name(name)


# Waiting.


def test_a_slow_store_stops_nobody_else_and_who_waits_for_a_place_may_be_cancelled() -> None:
    module = backend("warehouse://share", directories="marked", parallel=1, cache_seconds=0)
    chain = local_chain("/nowhere", module)
    root = chain.open_root(TOKEN)
    chain.close(TOKEN, chain.open(TOKEN, root, "file", CREATE))
    outcome: list[str] = []

    async def serve() -> None:
        engine = Engine(asyncio.get_running_loop())
        Warehouse.gate.clear()
        first = asyncio.ensure_future(engine.run(chain.stat, TOKEN, root, "file"))
        task = Task()

        def second() -> None:
            try:
                chain.stat(TOKEN, root, "file")
            except RequestCancelled:
                outcome.append("cancelled")

        await asyncio.sleep(0)
        engine.spawn(task, second)
        while not module._store._places.waiting:
            await asyncio.sleep(0)
        task.cancel()
        while not outcome:
            await asyncio.sleep(0)
        assert not first.done()
        Warehouse.gate.set()
        assert (await first).size == 0
        assert module._store._places.free == 1
        engine.close()

    asyncio.run(serve())
    assert outcome == ["cancelled"]


def test_requests_side_by_side_see_whole_files() -> None:
    chain = local_chain("/nowhere", backend(memory_url(), parallel=4))
    root = chain.open_root(TOKEN)

    def work(number: int) -> bytes:
        name = f"file{number % 3}"
        handle = chain.open(TOKEN, root, name, OpenHow(Access.READ_WRITE, create=True))
        chain.pwrite(TOKEN, handle, memoryview(bytes([65 + number]) * 3000), 0)
        buffer = memoryview(bytearray(3000))
        chain.pread(TOKEN, handle, buffer, 0)
        chain.close(TOKEN, handle)
        return bytes(buffer)

    async def serve() -> list[bytes]:
        engine = Engine(asyncio.get_running_loop())
        answers = await asyncio.gather(*(engine.run(work, number) for number in range(24)))
        engine.close()
        return answers

    for answer in asyncio.run(serve()):
        assert len(answer) == 3000
    hand = Hand(chain, TOKEN)
    assert hand.names() == {"file0", "file1", "file2"}
    assert {len(hand.read(hand.open(name, READ), 9999)) for name in hand.names()} == {3000}


def test_moves_and_reads_side_by_side_find_the_file() -> None:
    chain = local_chain("/nowhere", backend(memory_url(), cache_seconds=0))
    hand = Hand(chain, TOKEN)
    hand.mkdir("a")
    hand.chain.close(TOKEN, hand.make("a/file", b"content"))
    hand._opened.pop()
    handle = hand.open("a/file", READ)

    def move() -> None:
        for source, target in (("a", "b"), ("b", "a")) * 5:
            hand.rename(source, target)

    async def serve() -> None:
        engine = Engine(asyncio.get_running_loop())
        moving = asyncio.ensure_future(engine.run(move))
        while not moving.done():
            assert await engine.run(hand.read, handle, 99) == b"content"
        await moving
        engine.close()

    asyncio.run(serve())


# Configuration.


@pytest.mark.parametrize("url", ["", "folder", "://x"])
def test_a_url_is_asked_for(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        FsspecOptions(url=url)


def test_a_root_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        local_chain("/nowhere", FsspecBackend(FsspecOptions(url=f"file://{tmp_path}/missing")))
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        local_chain("/nowhere", FsspecBackend(FsspecOptions(url=f"file://{tmp_path}/file")))
    with pytest.raises(OSError, match="nothing-like-it"):
        local_chain("/nowhere", FsspecBackend(FsspecOptions(url="nothing-like-it://x")))


def test_times_that_are_set_are_left_out(hand: Hand) -> None:
    handle = hand.make("file", b"x")
    before = hand.chain.fstat(TOKEN, handle)
    hand.chain.set_times(TOKEN, handle, Times(1, 2, 3, 4))
    assert hand.chain.fstat(TOKEN, handle) == before


def test_wrapped_protocols_are_told_by_the_last() -> None:
    assert FsspecOptions(url="simplecache::s3://bucket/x").marks_directories
    assert not FsspecOptions(url="memory://x").marks_directories


def test_listing_with_attributes_agrees_with_looking(hand: Hand) -> None:
    hand.make("file", b"abc")
    hand.mkdir("folder")
    for entry in hand.chain.readdir(TOKEN, hand.open("", LIST), True):
        assert entry.stat == hand.chain.stat(TOKEN, hand.root, entry.name)
