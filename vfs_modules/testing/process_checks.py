"""Checks of several processes of one server, for profiles that say where they find it (`processes`).

What two processes do at the same time over one folder must come out as if one had done it. Only of chains whose modules
all say that they can (`VfsModule.one_process`); that is a claim as any other.
"""

from collections.abc import Sequence
from typing import Any, Final

from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.testing.crew import Colleague, two_processes
from lamina.vfs_modules.testing.profile import Feature
from lamina.vfs_modules.testing.trial import Trial, trial

_MANY: Final = 40
_PIECES: Final = 60
_ROUNDS: Final = 25
_PIECE: Final = 20
_HIDDEN, _SYSTEM, _ARCHIVE = 0x2, 0x4, 0x20
_MOMENT: Final = 1_234_567_890_000_000_000
_HUNDRED_NS: Final = 100
# Owner and group are the world's: valid, and nobody's in particular.
_WORLD: Final = bytes.fromhex("010100000000000100000000")
_DESCRIPTOR: Final = bytes.fromhex("0100008014000000200000000000000000000000") + _WORLD + _WORLD


def _at_once(crew: Sequence[Colleague], deed: str, *arguments: Sequence[Any]) -> list[Any]:
    """Have each do it, with arguments of its own, at the same time; what each returned."""
    for colleague, own in zip(crew, arguments, strict=True):
        colleague.begin(deed, *own)
    return [colleague.result() for colleague in crew]


@trial(feature=Feature.PROCESSES)
def one_process_sees_what_another_does(subject: Trial) -> None:
    """Data, sizes and names, through handles that it has had open before, at once."""
    with two_processes(subject) as (one, other):
        one.do("make", "file", b"first")
        other.do("open", "file")
        assert (other.do("read", "file"), other.do("size", "file")) == (b"first", 5)
        for data in (b"second and longer", b"3"):
            one.do("cut", "file", 0)
            one.do("write", "file", data)
            assert (other.do("read", "file"), other.do("size", "file")) == (data, len(data))
        assert one.do("names") == {"file"}
        other.do("rename", "file", "moved")
        other.do("mkdir", "directory")
        assert one.do("names") == {"moved", "directory"}
        other.do("write", "file", b"through the old name")
        one.do("open", "moved")
        assert one.do("read", "moved") == b"through the old name"
        one.do("close", "file")
        one.do("make", "file", b"another")
        assert other.do("read", "file") == b"through the old name"
        one.do("unlink", "file")
        assert other.do("names") >= {"moved", "directory"}
        assert "file" not in other.do("names")


@trial(feature=Feature.PROCESSES)
def one_of_two_processes_makes_a_name(subject: Trial) -> None:
    """Of those who make the same file or directory, or rename to the same name, one succeeds, and no file is lost."""
    names = [f"name{number}" for number in range(_MANY)]
    folders = [f"folder{number}" for number in range(_MANY)]
    with two_processes(subject) as crew:
        for deed, wanted in (("make_all", names), ("mkdir_all", folders)):
            won = _at_once(crew, deed, (wanted,), (wanted,))
            assert sorted(won[0] + won[1]) == sorted(wanted)
        assert crew[0].do("names") == {*names, *folders}
        for colleague, source in zip(crew, ("mine", "yours"), strict=True):
            colleague.do("make_all", [f"{source}{number}" for number in range(_MANY)])
        targets = [str(number) for number in range(_MANY)]
        won = _at_once(crew, "move_all", ("mine", targets), ("yours", targets))
        assert sorted(won[0] + won[1]) == sorted(targets)
        left = {f"mine{name}" for name in won[1]} | {f"yours{name}" for name in won[0]}
        assert crew[0].do("names") == {*names, *folders, *targets, *left}


def _is_whole(data: bytes) -> bool:
    """Whether even pieces are full of 1, odd ones of 2."""
    expected = b"".join(bytes([1 + number % 2]) * _PIECE for number in range(_PIECES))
    return data == expected


@trial(feature=Feature.PROCESSES)
def what_two_processes_write_is_all_kept(subject: Trial) -> None:
    """Both fill every second piece of one file."""
    with two_processes(subject) as crew:
        crew[0].do("make", "file")
        crew[1].do("open", "file")
        pieces = [("file", list(range(first, _PIECES, 2)), first + 1) for first in (0, 1)]
        _at_once(crew, "write_pieces", *pieces)
        for colleague in crew:
            assert colleague.do("size", "file") == _PIECES * _PIECE
            assert _is_whole(colleague.do("read", "file", _PIECES * _PIECE + 1)), "a piece is lost"


@trial(Capability.STREAMS, Feature.PROCESSES)
def what_two_processes_write_to_a_stream_is_all_kept(subject: Trial) -> None:
    """Both fill every second piece of one stream; and of those who make the same stream, one does."""
    with two_processes(subject) as crew:
        crew[0].do("make", "file")
        crew[1].do("open", "file")
        for colleague in crew:
            colleague.do("open_stream", "file", "stream", "stream")
        pieces = [("stream", list(range(first, _PIECES, 2)), first + 1) for first in (0, 1)]
        _at_once(crew, "write_pieces", *pieces)
        for colleague in crew:
            assert colleague.do("streams", "file") == {"stream": _PIECES * _PIECE}
            assert _is_whole(colleague.do("read", "stream", _PIECES * _PIECE + 1)), "a piece is lost"
        names = [f"stream{number}" for number in range(10)]
        won = _at_once(crew, "make_streams", ("file", names), ("file", names))
        assert sorted(won[0] + won[1]) == sorted(names)
        assert set(crew[0].do("streams", "file")) == {"stream", *names}


@trial(Capability.STREAMS, Feature.PROCESSES)
def a_stream_goes_with_its_file_whichever_process_renames_it(subject: Trial) -> None:
    """Through a handle from before the rename, of the file or of a folder above; another of its name has none."""
    for stream in ("stream", "AFP_Resource"):
        folder = subject.folder / stream
        folder.mkdir()
        with two_processes(Trial(subject.profile, folder, subject.token, subject.engine)) as (one, other):
            one.do("mkdir", "a")
            one.do("make", "a/file")
            other.do("rename", "a/file", "a/moved")
            other.do("make", "a/file")
            other.do("rename", "a", "b")
            one.do("open_stream", "a/file", stream, "stream")
            one.do("write", "stream", b"of the first")
            assert other.do("read_stream", "b/moved", stream) == b"of the first"
            assert other.do("streams", "a/file") == {}
            one.do("close", "stream")
            one.do("close", "a/file")
            other.do("rename", "b/file", "b/moved", True)
            one.do("open", "b/moved", "second")
            assert one.do("streams", "second") == {}


@trial(Capability.STREAMS, Feature.PROCESSES)
def streams_of_what_one_process_removes_are_nobodys(subject: Trial) -> None:
    """Where the next file has the number of the one that another process has removed, it does not have its streams."""
    with two_processes(subject) as (one, other):
        for number in range(20):
            one.do("make", f"file{number}")
            assert one.do("streams", f"file{number}") == {}, "they were another file's"
            one.do("open_stream", f"file{number}", "stream", "stream")
            one.do("write", "stream", b"secret")
            one.do("close", "stream")
            one.do("close", f"file{number}")
            other.do("unlink", f"file{number}")


@trial(Capability.XATTRS, Feature.PROCESSES)
def attributes_that_two_processes_set_are_all_kept(subject: Trial) -> None:
    """Extended attributes of one file."""
    own = [[f"user.{process}.{number}" for number in range(20)] for process in ("one", "other")]
    with two_processes(subject) as crew:
        crew[0].do("make", "file")
        crew[1].do("open", "file")
        _at_once(crew, "set_own", *(("file", names) for names in own))
        for colleague in crew:
            assert colleague.do("own", "file") >= {*own[0], *own[1]}


@trial(Capability.DOS_ATTRIBUTES | Capability.CREATION_TIME, Feature.PROCESSES)
def what_two_processes_set_of_one_file_is_all_kept(subject: Trial) -> None:
    """NT attributes by one, its creation time by the other; and each sees at once what the other has set."""
    with two_processes(subject) as crew:
        one, other = crew
        one.do("make", "file")
        other.do("open", "file")
        for round_ in range(_ROUNDS):
            # Each ends with another value than it began with, and both at about the same time.
            one.begin("set_dos", "file", [_HIDDEN, _SYSTEM, _HIDDEN if round_ % 2 else _SYSTEM | _HIDDEN])
            other.begin("set_created", "file", [_MOMENT + (3 * round_ + step) * _HUNDRED_NS for step in range(3)])
            one.result()
            other.result()
            attributes, created = crew[round_ % 2].do("dos", "file")
            assert attributes & ~_ARCHIVE == (_HIDDEN if round_ % 2 else _SYSTEM | _HIDDEN), "attributes are lost"
            assert created == _MOMENT + (3 * round_ + 2) * _HUNDRED_NS, "a creation time is lost"
        other.do("set_dos", "file", [_HIDDEN])
        assert one.do("dos", "file")[0] & ~_ARCHIVE == _HIDDEN


@trial(Capability.SECURITY, Feature.PROCESSES)
def one_process_sees_the_descriptor_that_another_sets(subject: Trial) -> None:
    """Through a handle that it has had open before."""
    with two_processes(subject) as (one, other):
        one.do("make", "file")
        other.do("open", "file")
        other.do("security", "file")
        one.do("set_security", "file", _DESCRIPTOR)
        assert other.do("security", "file") == _DESCRIPTOR


@trial(Capability.QUOTAS, Feature.PROCESSES)
def what_two_processes_write_is_counted_once(subject: Trial) -> None:
    """Of one file that both make larger, and of files of their own; and what goes is free, whoever removes it."""
    with two_processes(subject) as crew:
        one, other = crew
        before = one.do("used")
        one.do("make", "file")
        other.do("open", "file")
        pieces = [("file", list(range(first, _PIECES, 2)), first + 1) for first in (0, 1)]
        _at_once(crew, "write_pieces", *pieces)
        for number, colleague in enumerate(crew):
            colleague.do("make", f"own{number}", bytes(1000))
        expected = before + _PIECES * _PIECE + 2000
        assert [colleague.do("used") for colleague in crew] == [expected] * 2
        other.do("cut", "file", 100)
        one.do("write", "file", bytes(200), 0)
        assert one.do("used") == before + 2200
        for colleague in crew:
            colleague.do("close", "file")
        one.do("close", "own0")
        other.do("unlink", "own0")
        other.do("unlink", "file")
        assert [colleague.do("used") for colleague in crew] == [before + 1000] * 2


@trial(feature=Feature.PROCESSES)
def a_killed_process_holds_up_nobody(subject: Trial) -> None:
    """Whatever it was about to do: the other goes on with the same file, its streams and names."""
    with subject.chain() as chain:
        has_streams = Capability.STREAMS in chain.capabilities
    with two_processes(subject) as (one, other):
        one.do("make", "file")
        other.do("open", "file")
        for colleague in (one, other) if has_streams else ():
            colleague.do("open_stream", "file", "stream")
        one.do("go_on_for_ever", "file")
        one.kill()
        other.do("write", "file", b"still here")
        assert other.do("read", "file", 10) == b"still here"
        if has_streams:
            other.do("write", "file:stream", b"still here")
            assert other.do("read", "file:stream", 10) == b"still here"
        other.do("make", "next")
        other.do("rename", "next", "renamed", True)
        assert {"file", "renamed"} <= other.do("names")


__all__ = [
    "a_killed_process_holds_up_nobody",
    "a_stream_goes_with_its_file_whichever_process_renames_it",
    "attributes_that_two_processes_set_are_all_kept",
    "one_of_two_processes_makes_a_name",
    "one_process_sees_the_descriptor_that_another_sets",
    "one_process_sees_what_another_does",
    "streams_of_what_one_process_removes_are_nobodys",
    "what_two_processes_set_of_one_file_is_all_kept",
    "what_two_processes_write_is_all_kept",
    "what_two_processes_write_is_counted_once",
    "what_two_processes_write_to_a_stream_is_all_kept",
]
