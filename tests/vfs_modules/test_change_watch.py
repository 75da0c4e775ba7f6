"""What others do in watched directories and trees: told in order, once, at once, and within limits."""

import asyncio
import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lamina.vfs_modules.chain import Chain, build_chain
from lamina.vfs_modules.changes import LOST, ChangeKind, ChangeQuery
from lamina.vfs_modules.credentials import assume, can_impersonate
from lamina.vfs_modules.engine import Engine, Task
from lamina.vfs_modules.module import ShareInfo
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.stock.posix.backend import PosixBackend, PosixOptions
from lamina.vfs_modules.syscalls import change_watch, inotify, libc
from lamina.vfs_modules.syscalls.change_watch import ChangeWatcher
from lamina.vfs_modules.testing import make_token
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

TOKEN = make_token()
ADDED, REMOVED, RENAMED, DATA, ATTRIBUTES = (
    ChangeKind.ADDED,
    ChangeKind.REMOVED,
    ChangeKind.RENAMED,
    ChangeKind.DATA,
    ChangeKind.ATTRIBUTES,
)


class Watched:
    """A folder with one watch on it; `news()` are the changes since the last call."""

    def __init__(
        self,
        folder: Path,
        tree: bool = True,
        contents: bool = True,
        options: PosixOptions | None = None,
        token: ImpersonationToken = TOKEN,
    ) -> None:
        self.folder = folder
        self.backend = PosixBackend(options)
        self.chain: Chain = build_chain([self.backend], ShareInfo("test", str(folder)))
        self.chain.connect()
        self.root = self.chain.open_root(TOKEN)
        self.woken = 0
        self.token = token
        self.watch = self.begin(tree, contents)

    def begin(self, tree: bool = True, contents: bool = True) -> ChangeWatcher:
        """A further watch."""
        watch = self.chain.watch_changes(self.token, self.root, ChangeQuery(tree, contents, self._wake))
        assert isinstance(watch, ChangeWatcher)
        return watch

    def _wake(self) -> None:
        self.woken += 1

    def news(self) -> list[tuple[object, ...]]:
        """(kind, path) or (RENAMED, path, target)."""
        return [_short(change) for change in self.watch.poll()]

    @property
    def watched(self) -> int:
        return self.backend._notifier.watched()

    def end(self) -> None:
        self.watch.close()
        assert self.watched == 0
        self.chain.close(TOKEN, self.root)
        self.chain.disconnect()


def _short(change: object) -> tuple[object, ...]:
    assert isinstance(change, tuple)
    kind, path, _, target = change
    return (kind, path, target) if target else (kind, path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    return tmp_path / "outside"


@pytest.fixture
def watch(folder: Path) -> Iterator[Callable[..., Watched]]:
    made: list[Watched] = []

    def begin(**asked: object) -> Watched:
        made.append(Watched(folder, **asked))  # type: ignore[arg-type]
        return made[-1]

    yield begin
    for watched in made:
        watched.end()


@pytest.fixture
def tree(watch: Callable[..., Watched]) -> Watched:
    return watch()


# --- what is told ----------------------------------------------------------------------------------------------------


def test_a_file_comes_changes_and_goes(tree: Watched) -> None:
    file = tree.folder / "file"
    file.write_text("content")
    assert tree.news() == [(ADDED, "file"), (DATA, "file")]
    os.truncate(file, 3)
    assert tree.news() == [(DATA, "file")]
    file.chmod(0o600)
    os.setxattr(file, "user.test", b"value")
    os.utime(file)
    assert tree.news() == [(ATTRIBUTES, "file")]
    file.unlink()
    assert tree.news() == [(REMOVED, "file")]


def test_who_wants_names_is_told_of_names_alone(watch: Callable[..., Watched]) -> None:
    watched = watch(contents=False)
    (watched.folder / "file").write_text("content")
    assert watched.news() == [(ADDED, "file")]


def test_two_watches_of_one_folder_have_what_each_wants(tree: Watched) -> None:
    names = tree.begin(tree=False, contents=False)
    (tree.folder / "file").write_text("content")
    assert [_short(change) for change in names.poll()] == [(ADDED, "file")]
    assert tree.news() == [(ADDED, "file"), (DATA, "file")]
    names.close()
    (tree.folder / "file").write_text("more")
    assert tree.news() == [(DATA, "file")]


def test_what_happened_before_is_not_told(tree: Watched) -> None:
    (tree.folder / "file").write_text("content")
    later = tree.begin()
    assert later.poll() == []
    assert tree.news() == [(ADDED, "file"), (DATA, "file")]
    later.close()


def test_a_rename_is_one_change(tree: Watched) -> None:
    (tree.folder / "sub").mkdir()
    (tree.folder / "file").touch()
    tree.news()
    os.rename(tree.folder / "file", tree.folder / "sub" / "other")
    assert tree.news() == [(RENAMED, "file", "sub/other")]


def test_who_watches_one_folder_sees_half_of_a_rename_across(watch: Callable[..., Watched], folder: Path) -> None:
    (folder / "sub").mkdir()
    flat = watch(tree=False)
    (folder / "file").touch()
    os.rename(folder / "file", folder / "sub" / "other")
    os.rename(folder / "sub" / "other", folder / "back")
    assert flat.news() == [(ADDED, "file"), (REMOVED, "file"), (ADDED, "back")]


def test_links_are_names_and_links_to_directories_are_not_followed(tree: Watched, outside: Path) -> None:
    (tree.folder / "link").symlink_to(outside)
    (outside / "file").touch()
    assert tree.news() == [(ADDED, "link")]


def test_names_that_are_not_utf8_come_as_they_are(tree: Watched) -> None:
    os.mkdir(os.fsencode(tree.folder) + b"/\xff")
    Path(os.fsdecode(os.fsencode(tree.folder) + b"/\xff/x")).touch()
    assert tree.news() == [(ADDED, "\udcff"), (ADDED, "\udcff/x")]


# --- trees -----------------------------------------------------------------------------------------------------------


def test_what_is_there_from_the_beginning_is_watched(watch: Callable[..., Watched], folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    watched = watch()
    assert watched.news() == []
    (folder / "a" / "b" / "file").touch()
    assert watched.news() == [(ADDED, "a/b/file")]


def test_what_is_made_at_once_in_a_new_directory_is_told_once(tree: Watched) -> None:
    deep = tree.folder / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "file").touch()
    (tree.folder / "a" / "beside").touch()
    news = tree.news()
    assert sorted(news) == sorted((ADDED, path) for path in ("a", "a/b", "a/b/c", "a/b/c/file", "a/beside"))
    assert news.index((ADDED, "a")) < news.index((ADDED, "a/b")) < news.index((ADDED, "a/b/c/file"))
    (deep / "more").touch()
    (deep / "file").unlink()
    assert tree.news() == [(ADDED, "a/b/c/more"), (REMOVED, "a/b/c/file")]


def test_what_is_made_while_a_new_directory_is_listed_is_told_once(
    tree: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = ChangeWatcher._list

    def slowly(self: ChangeWatcher, fd: int) -> dict[str, bool]:
        if not (tree.folder / "new" / "before").exists():
            (tree.folder / "new" / "before").touch()
            (tree.folder / "new" / "gone").touch()
            (tree.folder / "new" / "gone").unlink()
            (tree.folder / "new" / "sub").mkdir()
        found = listing(self, fd)
        (tree.folder / "new" / "after").touch()
        return found

    monkeypatch.setattr(ChangeWatcher, "_list", slowly)
    (tree.folder / "new").mkdir()
    news = tree.news()
    monkeypatch.undo()
    assert [item for item in news if item[1] != "new/gone"].count((ADDED, "new/before")) == 1
    for path in ("new", "new/before", "new/after", "new/sub"):
        assert news.count((ADDED, path)) == 1, path
    assert news.count((ADDED, "new/gone")) == news.count((REMOVED, "new/gone")) == 1
    (tree.folder / "new" / "sub" / "file").touch()
    assert (ADDED, "new/sub/file") in tree.news()


def test_a_directory_that_is_gone_or_another_before_it_is_seen(tree: Watched) -> None:
    (tree.folder / "a").mkdir()
    os.rename(tree.folder / "a", tree.folder / "b")
    (tree.folder / "b" / "file").touch()
    (tree.folder / "c").mkdir()
    (tree.folder / "c").rmdir()
    (tree.folder / "d").mkdir()
    (tree.folder / "d").rmdir()
    (tree.folder / "d").mkdir()
    news = tree.news()
    assert news[:2] == [(ADDED, "a"), (RENAMED, "a", "b")]
    assert news.count((ADDED, "b/file")) == 1
    (tree.folder / "d" / "x").touch()
    (tree.folder / "b" / "y").touch()
    assert tree.news() == [(ADDED, "d/x"), (ADDED, "b/y")]


def test_a_renamed_directory_is_watched_under_its_new_name(tree: Watched) -> None:
    (tree.folder / "a" / "b").mkdir(parents=True)
    tree.news()
    os.rename(tree.folder / "a", tree.folder / "z")
    (tree.folder / "z" / "b" / "file").touch()
    assert tree.news() == [(RENAMED, "a", "z"), (ADDED, "z/b/file")]


def test_a_directory_that_leaves_is_watched_no_longer(tree: Watched, outside: Path) -> None:
    (tree.folder / "a" / "b").mkdir(parents=True)
    tree.news()
    assert tree.watched == 3
    os.rename(tree.folder / "a", outside / "a")
    assert tree.news() == [(REMOVED, "a")]
    assert tree.watched == 1
    (outside / "a" / "b" / "file").touch()
    assert tree.news() == []


def test_a_directory_that_arrives_is_one_new_name_and_watched(tree: Watched, outside: Path) -> None:
    (outside / "a" / "b").mkdir(parents=True)
    (outside / "a" / "b" / "file").touch()
    for path in (outside / "a", outside / "a" / "b"):
        os.utime(path, (1, 1))
    os.rename(outside / "a", tree.folder / "a")
    assert tree.news() == [(ADDED, "a")]
    (tree.folder / "a" / "b" / "more").touch()
    assert tree.news() == [(ADDED, "a/b/more")]


@pytest.mark.parametrize("where", ["a", "a/b"])
def test_what_is_made_in_a_directory_as_it_arrives_is_not_passed_over(tree: Watched, outside: Path, where: str) -> None:
    (outside / "a" / "b").mkdir(parents=True)
    for path in (outside / "a", outside / "a" / "b"):
        os.utime(path, (1, 1))
    os.rename(outside / "a", tree.folder / "a")
    (tree.folder / where / "file").touch()
    assert tree.watch.poll() == [LOST]


def test_removed_trees_give_their_watches_back(tree: Watched) -> None:
    (tree.folder / "a" / "b" / "c").mkdir(parents=True)
    tree.news()
    assert tree.watched == 4
    shutil.rmtree(tree.folder / "a")
    assert tree.news() == [(REMOVED, "a/b/c"), (REMOVED, "a/b"), (REMOVED, "a")]
    assert tree.watched == 1


@pytest.mark.skipif(not can_impersonate(), reason="acting for other users needs root; run the tests as root")
def test_a_tree_is_watched_as_far_as_its_user_may_list_it() -> None:
    with tempfile.TemporaryDirectory(prefix="lamina-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for sub, mode in (("open", 0o755), ("closed", 0o700)):
            (folder / sub).mkdir()
            (folder / sub).chmod(mode)
        watched = Watched(folder, token=make_token(23001, 23001))
        assume(SERVER_TOKEN)
        for sub in ("open", "closed"):
            (folder / sub / "file").touch()
        assert watched.news() == [(ADDED, "open/file")]
        assume(SERVER_TOKEN)
        watched.end()


def test_what_is_skipped_is_neither_told_nor_watched(tree: Watched) -> None:
    query = ChangeQuery(True, True, lambda: None).without(lambda path: path.startswith("hidden"))
    watch = tree.chain.watch_changes(TOKEN, tree.root, query.without(lambda path: path == "secret"))
    (tree.folder / "hidden").mkdir()
    (tree.folder / "secret").touch()
    (tree.folder / "shown").touch()
    assert [_short(change) for change in watch.poll()] == [(ADDED, "shown")]
    assert tree.watched == 2  # for the other watch of the tree
    tree.watch.close()
    assert tree.watched == 1
    os.rename(tree.folder / "secret", tree.folder / "now shown")
    os.rename(tree.folder / "shown", tree.folder / "hidden shown")
    os.rename(tree.folder / "hidden shown", tree.folder / "hidden again")
    assert [_short(change) for change in watch.poll()] == [(ADDED, "now shown"), (REMOVED, "shown")]
    watch.close()


# --- limits ----------------------------------------------------------------------------------------------------------


def test_a_tree_of_more_directories_than_may_be_watched_says_so_once(watch: Callable[..., Watched]) -> None:
    watched = watch(options=PosixOptions(watches=3))
    for number in range(5):
        (watched.folder / f"d{number}").mkdir()
    assert watched.watch.poll() == [LOST]
    assert watched.watched == 3
    (watched.folder / "file").touch()
    assert watched.news() == [(ADDED, "file")]


def test_the_limit_of_the_kernel_is_a_loss_in_a_tree_and_an_error_at_its_top(
    tree: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        ctypes.set_errno(errno.ENOSPC)
        return -1

    monkeypatch.setattr(libc, "inotify_add_watch", full)
    (tree.folder / "new").mkdir()
    assert tree.watch.poll() == [LOST]
    with pytest.raises(OSError) as caught:
        tree.begin()
    assert caught.value.errno == errno.ENOSPC
    assert tree.watched == 1


def test_what_nobody_asks_for_is_bounded(tree: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_watch, "MAX_QUEUED", 50)
    for number in range(60):
        (tree.folder / f"{number}").touch()
    assert tree.watch.poll() == [LOST]
    (tree.folder / "file").touch()
    assert tree.news() == [(ADDED, "file")]


def test_after_an_overflow_new_directories_are_looked_for(tree: Watched) -> None:
    notifier = tree.backend._notifier._inotify
    (tree.folder / "a" / "b").mkdir(parents=True)
    while os.read(notifier._fd, 1 << 16):  # the kernel gives these events up
        break
    notifier._deliver(inotify._EVENT.pack(-1, 0x4000, 0, 0))
    assert tree.watch.poll() == [LOST]
    (tree.folder / "a" / "b" / "file").touch()
    assert tree.news() == [(ADDED, "a/b/file")]


def test_the_end_of_the_share_is_a_loss(folder: Path) -> None:
    watched = Watched(folder)
    watched.chain.close(TOKEN, watched.root)
    watched.chain.disconnect()
    assert watched.watch.poll() == [LOST]
    watched.watch.close()


def test_no_descriptor_is_left(folder: Path) -> None:
    (folder / "a").mkdir()
    before = set(os.listdir("/proc/self/fd"))
    watched = Watched(folder)
    (folder / "b").mkdir()
    watched.news()
    watched.end()
    assert set(os.listdir("/proc/self/fd")) == before


# --- the event loop --------------------------------------------------------------------------------------------------


def test_the_loop_reads_and_wakes_who_watches(folder: Path) -> None:
    async def main() -> list[tuple[object, ...]]:
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watched = Watched(folder)

        def wake() -> None:
            if not told.done():
                told.set_result(None)

        watched._wake = wake  # type: ignore[method-assign]
        watched.watch.close()
        watched.watch = watched.begin()
        (folder / "file").touch()
        await told
        news = watched.news()
        watched.end()
        return news

    assert asyncio.run(main()) == [(ADDED, "file")]


def test_a_flood_is_told_piece_by_piece_and_whole(folder: Path) -> None:
    async def main() -> list[int]:
        pieces: list[int] = []
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watched = Watched(folder, contents=False)

        def wake() -> None:
            pieces.append(len(watched.news()))
            if sum(pieces) == 6000:
                done.set_result(None)

        watched._wake = wake  # type: ignore[method-assign]
        watched.watch.close()
        watched.watch = watched.begin(contents=False)
        for number in range(6000):
            (folder / f"{number:040}").touch()
        await done
        watched.end()
        return pieces

    assert len(asyncio.run(main())) > 1


def test_a_large_tree_leaves_the_loop_to_others_while_it_is_looked_through(folder: Path) -> None:
    for number in range(300):
        (folder / f"{number}").mkdir()
    order: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        engine = Engine(loop, threads=1)
        done = loop.create_future()

        def run() -> None:
            watched = Watched(folder)
            order.append("watched")
            assert watched.watched == 301
            watched.end()
            done.set_result(None)

        engine.spawn(Task(), run)
        loop.call_soon(order.append, "other")
        await done
        engine.close()

    asyncio.run(main())
    assert order == ["other", "watched"]


def test_a_file_cannot_be_watched(tree: Watched) -> None:
    (tree.folder / "file").touch()
    handle = tree.chain.open(TOKEN, tree.root, "file", OpenHow(Access.READ))
    with pytest.raises(NotADirectoryError):
        tree.chain.watch_changes(TOKEN, handle, ChangeQuery(False, False, lambda: None))
    tree.chain.close(TOKEN, handle)
