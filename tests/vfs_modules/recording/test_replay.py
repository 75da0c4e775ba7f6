"""Recording a chain, and playing the recording to another: the same is the same, and what is otherwise is told."""

import errno
import inspect
import json
from pathlib import Path

import pytest

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import OPERATIONS, Access, DosAttributes, OpenHow, Operations, Times
from lamina.vfs_modules.recording.form import VERSION, Recording, RecordingError
from lamina.vfs_modules.recording.values import OBJECT, decode, encode, kind_of
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.record import RecordModule, RecordOptions
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.hand import NEEDS, READ_WRITE, Hand
from lamina.vfs_modules.testing.replay import Replay, replay
from lamina.vfs_modules.testing.suite import checks

TOKEN = make_token(user_name="ada")


def new_chain(*modules: VfsModule) -> Chain:
    return local_chain("/nowhere", *modules, DosAttributesModule(), MemoryBackend())


def recorded(work, *, data: str = "full", below: tuple[VfsModule, ...] = ()) -> Recording:
    """What `work(hand)` does, as a recording."""
    module = RecordModule(RecordOptions(data=data))
    chain = new_chain(module, *below)
    hand = Hand(chain, TOKEN)
    work(hand)
    hand.close()
    chain.disconnect()
    return module.recording()


def played(recording: Recording, *modules: VfsModule) -> Replay:
    return replay(recording, new_chain(*modules))


def a_day(hand: Hand) -> None:
    hand.mkdir("folder")
    handle = hand.make("folder/file", b"some text")
    hand.chain.set_times(TOKEN, handle, Times(write_ns=1_000_000_000))
    hand.chain.setxattr(TOKEN, handle, "user.colour", b"blue")
    hand.chain.set_dos_attributes(TOKEN, handle, DosAttributes(2, 5_000_000_000))
    assert hand.read(handle, 100) == b"some text"
    assert hand.names("folder") == {"file"}
    hand.chain.fstat(TOKEN, handle)
    hand.rename("folder/file", "folder/other")
    with pytest.raises(FileNotFoundError):
        hand.open("folder/file")
    hand.chain.unlink(TOKEN, hand.root, "folder/other")


def test_the_same_chain_does_the_same() -> None:
    done = played(recorded(a_day))
    assert done.differences == ()
    assert (done.skipped, done.made) == (0, len(recorded(a_day).calls))


@pytest.mark.parametrize("check", checks(), ids=lambda check: check.__name__)
def test_whatever_the_conformance_suite_asks_can_be_recorded_and_played(check) -> None:
    module = RecordModule(RecordOptions(data="full"))
    chain = new_chain(module)
    if NEEDS[check] not in chain.capabilities:
        return
    check(chain, TOKEN)
    done = played(module.recording())
    assert [str(one) for one in done.differences] == []


class Shouting(VfsModule):
    def pread(self, token, handle, buffer, offset):
        count = self.next.pread(token, handle, buffer, offset)
        buffer[:count] = bytes(buffer[:count]).upper()
        return count


class Tidy(VfsModule):
    """Lists nothing, refuses attributes, and lets every file begin at a time of its own."""

    def readdir(self, token, handle, with_attributes=False):
        return iter(())

    def setxattr(self, token, handle, name, value):
        raise OSError(errno.EACCES, "no")

    def set_times(self, token, handle, times):
        self.next.set_times(token, handle, times._replace(write_ns=3))


def test_what_a_changed_chain_does_otherwise_is_told() -> None:
    (difference,) = played(recorded(a_day), Shouting()).differences
    assert (difference.operation, difference.what) == ("pread", "data")
    told = [(one.operation, one.what, one.was, one.found) for one in played(recorded(a_day), Tidy()).differences]
    assert told == [
        ("setxattr", "", "nothing", "EACCES"),
        ("readdir", "file", "there", "not there"),
        ("fstat", "mtime_ns", "1000000000", "3"),
    ]


def test_what_is_ignored_is_not_told() -> None:
    done = replay(recorded(a_day), new_chain(Tidy()), ignore=("setxattr", "readdir"))
    assert [one.operation for one in done.differences] == ["fstat"]


class Locked(VfsModule):
    def open(self, token, directory, path, how):
        if how.access != Access.PATH and path:
            raise PermissionError(errno.EACCES, "no")
        return self.next.open(token, directory, path, how)


def test_what_needs_a_handle_that_there_is_not_is_left_out() -> None:
    done = played(recorded(a_day), Locked())
    assert done.differences[0].found == "EACCES"
    assert done.skipped >= 5
    assert "was handle" in str(done.differences[0])


def test_a_success_instead_of_a_failure_is_told_and_leaves_nothing_open() -> None:
    class Generous(VfsModule):
        def open(self, token, directory, path, how):
            return self.next.open(token, directory, path or "", OpenHow(READ_WRITE.access, create=bool(path)))

    def work(hand: Hand) -> None:
        with pytest.raises(FileNotFoundError):
            hand.open("missing")

    (difference,) = played(recorded(work), Generous()).differences
    assert difference.was == "ENOENT"


@pytest.mark.parametrize("data", ["hash", "none"])
def test_data_that_is_not_in_the_recording_is_made_up_and_its_length_compared(data: str) -> None:
    recording = recorded(a_day, data=data)
    assert "some text" not in json.dumps([call.arguments for call in recording.calls])
    assert played(recording, Shouting()).differences == ()

    class Short(VfsModule):
        def pread(self, token, handle, buffer, offset):
            return self.next.pread(token, handle, buffer[:4], offset)

    (difference,) = played(recording, Short()).differences
    assert (difference.what, difference.was, difference.found) == ("count", "9", "4")


def test_hashes_tell_of_data_that_was_there_before(tmp_path: Path) -> None:
    def chain_over(text: str, *modules: VfsModule) -> Chain:
        (tmp_path / "file").write_text(text)
        return local_chain(tmp_path, *modules)

    module = RecordModule(RecordOptions(data="hash"))
    hand = Hand(chain_over("one", module), TOKEN)
    hand.read(hand.open("file", READ_WRITE), 100)
    assert replay(module.recording(), chain_over("one")).differences == ()
    (difference,) = replay(module.recording(), chain_over("two")).differences
    assert difference.what == "data"


def test_a_file_that_takes_the_place_of_another_is_told() -> None:
    class Copying(VfsModule):
        """Renames by writing a new file."""

        def rename(self, token, source_directory, source, target_directory, target, replace):
            self.next.close(token, self.next.open(token, target_directory, target, OpenHow(create=True)))
            self.next.unlink(token, source_directory, source)

    def work(hand: Hand) -> None:
        hand.make("file")
        hand.chain.stat(TOKEN, hand.root, "file")
        hand.rename("file", "other")
        hand.chain.stat(TOKEN, hand.root, "other")

    differences = played(recorded(work), Copying()).differences
    assert [one.what for one in differences if "another file" in one.found] == ["ino"]


def test_a_listing_that_is_not_kept_whole_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.vfs_modules.stock.record._ENTRIES", 2)

    def work(hand: Hand) -> None:
        for name in ("a", "b", "c"):
            hand.mkdir(name)
        assert hand.names() == {"a", "b", "c"}
        assert hand.names("a") == set()

    recording = recorded(work)
    listings = [call.result for call in recording.calls if call.operation == "readdir"]
    assert [(len(one["entries"]), one["complete"]) for one in listings] == [(2, False), (0, True)]
    assert played(recording).differences == ()


# The form.


def test_every_argument_of_an_operation_is_in_a_recording_by_its_name() -> None:
    recording = recorded(a_day)
    for call in recording.calls:
        names = set(inspect.signature(getattr(Operations, call.operation)).parameters) - {"self", "token"}
        assert set(call.arguments) <= names | {"length"}
    assert [call.number for call in recording.calls] == sorted(call.number for call in recording.calls)
    assert recording.tokens[1]["user"] == "ada"
    assert recording.is_whole


def test_values_come_back_as_they_were() -> None:
    from lamina.vfs_modules.outside import RangeLock
    from lamina.vfs_modules.quotas import Quota, QuotaKind

    for value in (
        None, True, 7, "na\udc80me", b"\0\xff", [1, (2, 3)], OpenHow(Access.WRITE, create=True), Times(change_ns=4),
        RangeLock.SHARED, Quota(QuotaKind.GROUP, 5, 6, None, 7), DosAttributes(1, None),
    ):  # fmt: skip
        text = json.dumps(encode(value, lambda handle: 0))
        again = decode(json.loads(text), lambda number: VfsHandle(-1, False))
        assert again == ([1, [2, 3]] if isinstance(value, list) else value)
    assert kind_of(encode(object(), lambda handle: 0)) == OBJECT
    with pytest.raises(ValueError, match="cannot be had back"):
        decode({OBJECT: "Watch"}, lambda number: VfsHandle(-1, False))


def lines(*entries: object) -> list[bytes]:
    header = {"lamina": "recording", "version": VERSION, "share": "s", "data": "hash", "started_ns": 0}
    return [json.dumps(entry).encode() for entry in (header, *entries)]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ([], "an empty file"),
        ([b"not json"], "line 1"),
        ([b'{"version": 1}'], "this is no recording"),
        ([b'{"lamina": "recording", "version": 9}'], "version 9"),
        (lines({"op": "open"}), "line 2 lacks something"),
        ([*lines(), b"torn", b"{}"], "line 2 cannot be read"),
    ],
)
def test_what_is_no_recording_is_refused(given: list[bytes], complaint: str) -> None:
    with pytest.raises(RecordingError, match=complaint):
        Recording.parse(given)


def test_a_recording_that_was_cut_off_says_so() -> None:
    recording = Recording.parse([*lines({"gap": 3}), b'{"op": "op'])
    assert (recording.lost, recording.end, recording.is_whole) == (3, "cut off", False)
    assert recording.problems[0].startswith("line 3 cannot be read")


# Files.


def test_a_file_is_written_and_never_written_over(tmp_path: Path) -> None:
    options = RecordOptions(file=str(tmp_path / "%S.jsonl"))
    for _ in range(2):
        chain = local_chain(tmp_path, RecordModule(options), MemoryBackend(), name="data")
        Hand(chain, TOKEN).mkdir("folder")
        chain.disconnect()
    assert {path.name for path in tmp_path.iterdir()} == {"data.jsonl", "data-2.jsonl"}
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        recording = Recording.load(str(path))
        assert recording.is_whole
        assert [call.operation for call in recording.calls] == ["open_root", "mkdir"]


def test_a_recording_ends_at_its_limit_and_the_share_does_not(caplog: pytest.LogCaptureFixture) -> None:
    module = RecordModule(RecordOptions(limit=1500))
    hand = Hand(new_chain(module), TOKEN)
    for number in range(20):
        hand.mkdir(str(number))
    assert len(hand.names()) == 20
    recording = module.recording()
    assert recording.end == "limit"
    assert not recording.is_whole
    assert len(recording.calls) < 20
    assert "has reached its limit" in caplog.text


def test_what_the_writer_has_no_room_for_is_counted(tmp_path: Path) -> None:
    from lamina.vfs_modules.recording.form import as_line
    from lamina.vfs_modules.recording.line_writer import LineWriter
    from lamina.vfs_modules.syscalls.log_file import LogFile

    path = tmp_path / "file"
    writer = LineWriter(LogFile(str(path)), lambda count: as_line({"gap": count}), waiting=10)
    for _ in range(4):
        writer.add(b"x" * 11)
    writer.close(b"end\n")
    assert path.read_bytes() == b'{"gap":4}\nend\n'


def test_relative_paths_are_refused() -> None:
    with pytest.raises(ValueError, match="must be an absolute path"):
        RecordOptions(file="here.jsonl")


def test_every_operation_is_recorded() -> None:
    module = RecordModule()
    chain = new_chain(module)
    assert all(module in chain._taking_part[name] for name in OPERATIONS)
