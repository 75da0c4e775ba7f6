"""`recycle`: what is deleted or replaced comes to the bin, stays its time there, and comes back."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Access, FileStat, OpenHow
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.stock.recycle import RecycleModule
from lamina.vfs_modules.stock.recycling.notes import ATTRIBUTE, Note, unpack
from lamina.vfs_modules.stock.recycling.options import RecycleOptions
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.substitution import as_component, substitute
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.hand import Hand
from lamina.vfs_modules.token import SERVER_TOKEN

ADA = make_token(user_name="ada")
BIN = ".recycle/ada"
DAY = 86_400_000_000_000
READ = OpenHow(Access.READ)


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000_000_000

    def __call__(self) -> int:
        self.now += 1
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


Make = Callable[..., tuple[Hand, RecycleModule]]


@pytest.fixture(params=["memory", "posix"])
def make(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Make]:
    hands: list[Hand] = []

    def make_(**options) -> tuple[Hand, RecycleModule]:
        module = RecycleModule(RecycleOptions(**options), clock)
        below = [MemoryBackend(clock=clock)] if request.param == "memory" else [DosAttributesModule(), PosixBackend()]
        hand = Hand(local_chain(tmp_path, module, *below), ADA)
        hands.append(hand)
        return hand, module

    yield make_
    for hand in hands:
        hand.close()
        hand.chain.disconnect()


def delete(hand: Hand, path: str) -> None:
    hand.chain.unlink(ADA, hand.root, path)


def content(hand: Hand, path: str) -> bytes:
    return hand.read(hand.open(path, READ), 1000)


def tree(hand: Hand, path: str) -> set[str]:
    """The files beneath a folder."""
    found = set()
    for name in hand.names(path):
        if hand.open(f"{path}/{name}").is_directory:
            found |= {f"{name}/{inner}" for inner in tree(hand, f"{path}/{name}")}
        else:
            found.add(name)
    return found


# What comes to the bin.


def test_a_deleted_file_comes_to_the_bin_with_its_folders(make: Make) -> None:
    hand, _ = make()
    hand.mkdir("a")
    hand.mkdir("a/b")
    hand.make("a/b/file", b"data")
    delete(hand, "a/b/file")
    assert hand.names("a/b") == set()
    assert content(hand, f"{BIN}/a/b/file") == b"data"


def test_without_keeptree_it_comes_to_the_bin_itself(make: Make) -> None:
    hand, _ = make(keeptree=False)
    hand.mkdir("a")
    hand.make("a/file")
    delete(hand, "a/file")
    assert tree(hand, BIN) == {"file"}


def test_files_of_one_name_get_numbers(make: Make) -> None:
    hand, _ = make()
    for number in range(3):
        hand.make("file", b"%d" % number)
        delete(hand, "file")
    assert tree(hand, BIN) == {"file", "Copy #1 of file", "Copy #2 of file"}
    assert content(hand, f"{BIN}/Copy #2 of file") == b"2"


def test_there_is_a_name_for_each_of_many(make: Make) -> None:
    hand, _ = make()
    for _ in range(40):
        hand.make("file")
        delete(hand, "file")
    assert len(tree(hand, BIN)) == 40


@pytest.mark.parametrize("options", [{"versions": False}, {"noversions": ("*.TMP",)}])
def test_without_versions_the_last_one_stays(make: Make, options: dict) -> None:
    hand, _ = make(**options)
    for data in (b"old", b"new"):
        hand.make("file.tmp", data)
        delete(hand, "file.tmp")
    assert tree(hand, BIN) == {"file.tmp"}
    assert content(hand, f"{BIN}/file.tmp") == b"new"


def test_the_longest_name_has_versions_too(make: Make) -> None:
    hand, _ = make()
    name = "n" * 255
    for _ in range(2):
        hand.make(name)
        delete(hand, name)
    assert len(tree(hand, BIN)) == 2


def test_a_folder_in_the_place_of_a_deleted_file_finds_another(make: Make) -> None:
    hand, _ = make()
    hand.make("name", b"file")
    delete(hand, "name")
    hand.mkdir("name")
    hand.make("name/inner")
    delete(hand, "name/inner")
    assert tree(hand, BIN) == {"name", "name~/inner"}


def test_what_is_replaced_comes_to_the_bin(make: Make) -> None:
    hand, _ = make()
    hand.make("old", b"old")
    hand.make("new", b"new")
    hand.rename("new", "old", replace=True)
    assert content(hand, "old") == b"new"
    assert content(hand, f"{BIN}/old") == b"old"
    assert hand.chain.stat(ADA, hand.root, f"{BIN}/old").nlink == 1


def test_a_rename_that_fails_leaves_all_as_it_was(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    hand, module = make()
    hand.make("old", b"old")
    hand.make("new", b"new")
    rename = module.next.rename

    def failing(token, source_directory, source, target_directory, target, replace) -> None:
        if source == "new":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rename(token, source_directory, source, target_directory, target, replace)

    monkeypatch.setattr(module.next, "rename", failing)
    with pytest.raises(OSError, match="No space"):
        hand.rename("new", "old", replace=True)
    assert content(hand, "old") == b"old"
    assert tree(hand, BIN) == set()


def test_where_there_are_no_hard_links_the_replaced_file_is_moved(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    hand, module = make()
    hand.make("old", b"old")
    hand.make("new", b"new")

    def no_links(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(module.next, "link", no_links)
    hand.rename("new", "old", replace=True)
    assert (content(hand, "old"), content(hand, f"{BIN}/old")) == (b"new", b"old")


def test_two_names_of_one_file_are_no_replacement(make: Make) -> None:
    hand, _ = make()
    handle = hand.make("file", b"data")
    hand.chain.link(ADA, handle, hand.root, "second")
    hand.rename("file", "second", replace=True)
    delete(hand, "second") if "second" in hand.names() else None
    assert ".recycle" not in hand.names(), "a file with another name is not lost"


def test_what_is_deleted_in_the_bin_is_gone(make: Make) -> None:
    hand, _ = make()
    hand.make("file")
    delete(hand, "file")
    delete(hand, f"{BIN}/file")
    assert tree(hand, BIN) == set()


@pytest.mark.parametrize(
    ("options", "path", "data", "kept"),
    [
        ({"minsize": 3}, "file", b"ab", False),
        ({"minsize": 3}, "file", b"abc", True),
        ({"maxsize": 3}, "file", b"abcd", False),
        ({"maxsize": 3}, "file", b"abc", True),
        ({"quota": 3}, "file", b"abcd", False),
        ({"exclude": ("*.tmp", "~$*")}, "FILE.TMP", b"", False),
        ({"exclude": ("*.tmp",)}, "file.txt", b"", True),
        ({"exclude_dir": ("/folder",)}, "folder/file", b"", False),
        ({"exclude_dir": ("fol*",)}, "folder/file", b"", False),
        ({"exclude_dir": ("file",)}, "folder/file", b"", True),
    ],
)
def test_what_is_not_to_be_kept_is_deleted(make: Make, options: dict, path: str, data: bytes, kept: bool) -> None:
    hand, module = make(**options)
    hand.mkdir("folder")
    hand.make(path, data)
    delete(hand, path)
    assert [deleted.note.path for deleted in module.contents()] == ([path] if kept else [])


def test_links_and_folders_are_not_kept(make: Make) -> None:
    hand, _ = make()
    hand.chain.symlink(ADA, "nowhere", hand.root, "link")
    hand.mkdir("folder")
    delete(hand, "link")
    hand.chain.rmdir(ADA, hand.root, "folder")
    assert hand.names() == set()


def test_what_the_server_deletes_is_deleted(make: Make) -> None:
    hand, _ = make()
    hand.make("file")
    hand.chain.unlink(SERVER_TOKEN, hand.root, "file")
    assert hand.names() == set()


def test_touch_sets_the_times(make: Make, clock: Clock) -> None:
    hand, _ = make(touch=True, touch_mtime=True)
    hand.make("file")
    clock.now += DAY
    delete(hand, "file")
    stat = hand.chain.stat(ADA, hand.root, f"{BIN}/file")
    assert abs(stat.atime_ns - clock.now) < 1_000_000
    assert abs(stat.mtime_ns - clock.now) < 1_000_000


@pytest.mark.parametrize("when_failing", ["delete", "refuse"])
def test_what_cannot_come_to_the_bin(
    make: Make, when_failing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hand, module = make(when_failing=when_failing)
    hand.make("file")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module.next, "mkdir", full)
    if when_failing == "refuse":
        with pytest.raises(OSError, match="No space"):
            delete(hand, "file")
        assert hand.names() == {"file"}
    else:
        delete(hand, "file")
        assert hand.names() == set()
        assert "'file' does not come to .recycle/ada" in caplog.text


# Whose bin it is.


@pytest.mark.parametrize("name", ["../../etc", "..", "/", "a/b", "", "a\0b", ".", "%S"])
def test_no_users_name_leads_anywhere_else(make: Make, name: str) -> None:
    hand, _ = make()
    mallory = make_token(user_name=name)
    hand.make("file", b"data")
    hand.chain.unlink(mallory, hand.root, "file")
    (only,) = hand.names(".recycle")
    assert "/" not in only
    assert only not in {"", ".", ".."}
    assert tree(hand, f".recycle/{only}") == {"file"}


def test_substitutions_are_put_in_once() -> None:
    assert substitute("%U/%S%%", {"U": "%S", "S": "data"}, as_component) == "%S/data%"


@contextmanager
def as_root() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("run as root: bins cannot be given away otherwise")
    yield


@pytest.fixture
def shared(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Chain]]:
    """Chains over a folder that two users may write to."""
    os.chmod(tmp_path, 0o777)
    for folder in tmp_path.parents:
        if folder.stat().st_mode & 0o001 == 0 and "pytest" in str(folder):
            os.chmod(folder, 0o755)
    chains = []

    def make_(**options) -> Chain:
        chains.append(local_chain(tmp_path, RecycleModule(RecycleOptions(**options), clock)))
        return chains[-1]

    yield make_
    for chain in chains:
        chain.disconnect()


ALICE = make_token(12001, 12001, user_name="alice")
BOB = make_token(12002, 12002, user_name="bob")


def test_each_user_has_a_bin_that_the_others_cannot_enter(shared: Callable[..., Chain], tmp_path: Path) -> None:
    with as_root():
        chain = shared()
        for token in (ALICE, BOB):
            hand = Hand(chain, token)
            hand.make(f"of {token.user_name}", b"data")
            chain.unlink(token, hand.root, f"of {token.user_name}")
            hand.close()
        for token in (ALICE, BOB):
            stat = (tmp_path / ".recycle" / token.user_name).stat()
            assert (stat.st_uid, stat.st_mode & 0o7777) == (token.uid, 0o700)
        hand = Hand(chain, BOB)
        with pytest.raises(PermissionError):
            hand.names(".recycle/alice")
        with pytest.raises(PermissionError):
            chain.unlink(BOB, hand.root, ".recycle/alice/of alice")
        with pytest.raises(PermissionError):
            hand.rename(".recycle/alice", "mine")
        hand.close()


def test_a_bin_that_somebody_else_has_made_is_not_used(shared: Callable[..., Chain], tmp_path: Path) -> None:
    with as_root():
        chain = shared(when_failing="refuse")
        hand = Hand(chain, BOB)
        hand.mkdir(".recycle")
        hand.mkdir(".recycle/alice")
        hand.close()
        hand = Hand(chain, ALICE)
        hand.make("secret")
        with pytest.raises(PermissionError, match="belongs to somebody else"):
            chain.unlink(ALICE, hand.root, "secret")
        hand.close()
        assert os.listdir(tmp_path / ".recycle" / "alice") == []


def test_a_link_in_the_place_of_a_bin_is_not_followed(shared: Callable[..., Chain], tmp_path: Path) -> None:
    with as_root():
        chain = shared(when_failing="refuse")
        (tmp_path / "elsewhere").mkdir(mode=0o777)
        os.symlink("elsewhere", tmp_path / ".recycle")
        hand = Hand(chain, ALICE)
        hand.make("file")
        with pytest.raises(OSError):
            chain.unlink(ALICE, hand.root, "file")
        hand.close()
        assert os.listdir(tmp_path / "elsewhere") == []


def test_who_may_not_delete_does_not(shared: Callable[..., Chain], tmp_path: Path) -> None:
    with as_root():
        (tmp_path / "folder").mkdir(mode=0o755)
        (tmp_path / "folder" / "file").write_bytes(b"data")
        chain = shared()
        hand = Hand(chain, ALICE)
        with pytest.raises(PermissionError):
            chain.unlink(ALICE, hand.root, "folder/file")
        hand.close()
        assert os.listdir(tmp_path / "folder") == ["file"]


def test_one_bin_for_all_lets_all_in(shared: Callable[..., Chain], tmp_path: Path) -> None:
    with as_root():
        chain = shared(repository=".bin")
        for token in (ALICE, BOB):
            hand = Hand(chain, token)
            hand.make("file", b"data")
            chain.unlink(token, hand.root, "file")
            hand.close()
        assert sorted(os.listdir(tmp_path / ".bin")) == ["Copy #1 of file", "file"]
        assert (tmp_path / ".bin").stat().st_mode & 0o7777 == 0o1777


def test_tidying_follows_no_link_out_of_a_bin(shared: Callable[..., Chain], tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "precious").mkdir(mode=0o755)
    (tmp_path / "precious" / "file").write_bytes(b"data")
    (tmp_path / ".recycle" / "alice").mkdir(parents=True)
    os.symlink("../../precious", tmp_path / ".recycle" / "alice" / "link")
    clock.now += 10_000 * DAY
    shared(retention=1)
    assert (tmp_path / "precious" / "file").exists()


# What is noted, and what goes.


def test_where_who_and_when_is_noted(make: Make, clock: Clock) -> None:
    hand, module = make()
    hand.mkdir("folder")
    hand.make("folder/file", b"data")
    delete(hand, "folder/file")
    (deleted,) = module.contents()
    assert (deleted.bin, deleted.path, deleted.size) == (BIN, f"{BIN}/folder/file", 4)
    assert (deleted.note.path, deleted.note.user) == ("folder/file", "ada")
    assert clock.now - 1000 < deleted.note.time_ns <= clock.now


def test_the_note_is_nobodys_to_see_or_change(make: Make) -> None:
    hand, _ = make()
    hand.make("file")
    delete(hand, "file")
    handle = hand.open(f"{BIN}/file", OpenHow(Access.READ_WRITE))
    assert ATTRIBUTE not in hand.chain.listxattr(ADA, handle)
    with pytest.raises(PermissionError):
        hand.chain.setxattr(ADA, handle, ATTRIBUTE, Note("elsewhere", "bob", 1).pack())


@pytest.mark.parametrize(
    "value",
    [b"", b"{}", b"[]", b"\xff", b'{"path":"a/../../b","user":"x","time":1}', b'{"path":"/a","user":"x","time":1}'],
)
def test_what_is_no_note_is_none(value: bytes) -> None:
    assert unpack(value) is None


def test_what_is_too_old_goes(make: Make, clock: Clock) -> None:
    hand, module = make(retention=7)
    hand.mkdir("folder")
    hand.make("folder/old")
    delete(hand, "folder/old")
    clock.now += 6 * DAY
    hand.make("middle")
    delete(hand, "middle")
    assert len(module.contents()) == 2
    clock.now += 2 * DAY
    hand.make("new")
    delete(hand, "new")
    assert tree(hand, BIN) == {"middle", "new"}
    assert hand.names(BIN) == {"middle", "new"}, "the folder is empty, and gone too"


def test_what_is_too_much_goes_from_the_oldest_on(make: Make, clock: Clock) -> None:
    hand, _ = make(quota=100)
    for number in range(5):
        hand.make(f"file {number}", b"x" * 40)
        delete(hand, f"file {number}")
        clock.now += DAY
    assert tree(hand, BIN) == {"file 3", "file 4"}


# What comes back.


def test_a_file_is_restored_to_where_it_was(make: Make) -> None:
    hand, module = make()
    hand.mkdir("folder")
    hand.make("folder/file", b"data")
    delete(hand, "folder/file")
    hand.chain.rmdir(ADA, hand.root, "folder")
    (deleted,) = module.contents()
    assert module.restore(deleted) == "folder/file"
    assert content(hand, "folder/file") == b"data"
    assert tree(hand, BIN) == set()
    with pytest.raises(OSError):
        module.next.getxattr(ADA, hand.open("folder/file"), ATTRIBUTE)


def test_nothing_is_overwritten_by_what_comes_back(make: Make) -> None:
    hand, module = make()
    hand.make("file", b"old")
    delete(hand, "file")
    hand.make("file", b"new")
    (deleted,) = module.contents()
    with pytest.raises(FileExistsError):
        module.restore(deleted)
    assert module.restore(deleted, "other/name") == "other/name"
    assert (content(hand, "file"), content(hand, "other/name")) == (b"new", b"old")


@pytest.mark.parametrize("target", ["../file", "a//b", ".recycle/bob/file"])
def test_nothing_is_restored_to_where_it_must_not_be(make: Make, target: str) -> None:
    hand, module = make()
    hand.make("file")
    delete(hand, "file")
    with pytest.raises(OSError) as caught:
        module.restore(module.contents()[0], target)
    assert caught.value.errno == errno.EINVAL


def test_a_user_takes_a_file_back_himself(make: Make) -> None:
    hand, module = make()
    hand.make("file", b"data")
    delete(hand, "file")
    hand.rename(f"{BIN}/file", "back")
    with pytest.raises(OSError):
        module.next.getxattr(ADA, hand.open("back"), ATTRIBUTE)
    delete(hand, "back")
    assert [deleted.note.path for deleted in module.contents()] == ["back"]


def test_purging_deletes_for_good(make: Make) -> None:
    hand, module = make()
    for name in ("a", "b"):
        hand.make(name)
        delete(hand, name)
    module.purge(module.contents()[:1])
    assert tree(hand, BIN) == {"b"}


def test_streams_go_with_their_file(tmp_path: Path) -> None:
    module = RecycleModule()
    chain = local_chain(tmp_path, module, StreamsXattrModule(), DosAttributesModule(), PosixBackend())
    hand = Hand(chain, ADA)
    handle = hand.make("file")
    stream = hand.keep(chain.open_stream(ADA, handle, "tail", OpenHow(Access.READ_WRITE, create=True)))
    chain.pwrite(ADA, stream, memoryview(b"data"), 0)
    delete(hand, "file")
    assert [entry.name for entry in chain.list_streams(ADA, hand.open(f"{BIN}/file"))] == ["tail"]
    hand.close()
    chain.disconnect()


class NoNotes(VfsModule):
    """A file system without attributes."""

    def setxattr(self, token, handle: VfsHandle, name: str, value: bytes) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


def test_without_attributes_the_place_tells(tmp_path: Path) -> None:
    module = RecycleModule()
    chain = local_chain(tmp_path, module, NoNotes(), PosixBackend())
    hand = Hand(chain, ADA)
    hand.mkdir("folder")
    hand.make("folder/file")
    delete(hand, "folder/file")
    (deleted,) = module.contents()
    assert (deleted.note.path, deleted.note.user) == ("folder/file", "ada")
    hand.close()
    chain.disconnect()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"repository": "/bin"}, "beneath the share"),
        ({"repository": "a/../b"}, "beneath the share"),
        ({"repository": "%u/bin"}, "one name for everybody"),
        ({"repository": ".bin/%x"}, "no substitution %x"),
        ({"repository": ".bin", "directory_mode": "0700"}, "lets them in"),
        ({"minsize": 5, "maxsize": 4}, "nothing would be kept"),
        ({"directory_mode": "0999"}, "invalid literal"),
        ({"retention": -1}, "greater than or equal to 0"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RecycleOptions(**options)


def test_modes_are_written_as_sambas() -> None:
    options = RecycleOptions(directory_mode="0770", subdir_mode=0o750)
    assert (options.mode, options.inner_mode) == (0o770, 0o750)
    assert RecycleOptions().inner_mode == 0o700


def test_a_file_with_another_name_is_not_wanted() -> None:
    stat = FileStat(1, 1, 0o100644, 2, 0, 0, 10, 0, 0, 0, 0, None)
    assert not RecycleOptions().wants("file", stat)
    assert RecycleOptions().wants("file", stat._replace(nlink=1))
