"""Directory listings."""

import asyncio
import os
import struct

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.directory_information import DIRECTORY_MINIMUM, NEEDS_STAT
from lamina.ntfsa.listing import directory, enumeration
from lamina.ntfsa.listing.directory import query_directory
from lamina.ntfsa.security import access_based
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.status import NtStatusError
from lamina.ntfsa.volume import VolumeSettings
from lamina.vfs_modules.engine import Engine, Task
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.memory import MemoryBackend


def fill(share, *names):
    for name in names:
        (share.path / name).write_bytes(b"")


def query(share, opened, info_class=c.FILE_ID_BOTH_DIRECTORY_INFORMATION, pattern="*", flags=0, room=65536):
    return query_directory(share.context, opened, info_class, pattern, flags, 0, room)


def test_dots_come_first_and_everything_once(share):
    fill(share, *(f"file{i}" for i in range(300)))
    directory = share.directory()
    first = share.list_raw(directory, room=1000)
    assert first[:2] == [".", ".."]
    rest = share.list_all(directory, room=500)
    assert sorted(first[2:] + rest) == sorted(f"file{i}" for i in range(300))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", {"a.txt", "B.TXT", "c", "d.doc"}),
        ("*.*", {"a.txt", "B.TXT", "c", "d.doc"}),
        ("*.txt", {"a.txt", "B.TXT"}),
        ("<.txt", {"a.txt", "B.TXT"}),
        ("b.txt", {"B.TXT"}),
        ("?", {"c"}),
        ('c"*', {"c"}),
        ("nothing*", set()),
        ("nothing", set()),
    ],
)
def test_patterns(share, pattern, expected):
    fill(share, "a.txt", "B.TXT", "c", "d.doc")
    assert set(share.list_all(share.directory(), pattern)) == expected


def test_nothing_found_and_nothing_more(share, refused):
    fill(share, "a")
    directory = share.directory()
    refused(S.NO_SUCH_FILE, share.names, directory, "x*")
    refused(S.NO_MORE_FILES, share.names, directory, "x*")
    assert share.names(directory, "a", c.SMB2_RESTART_SCANS) == ["a"]
    refused(S.NO_MORE_FILES, share.names, directory, "a")


def test_the_pattern_is_kept_until_the_scan_restarts(share, refused):
    fill(share, "a1", "a2", "b1")
    directory = share.directory()
    first = share.names(directory, "a*", c.SMB2_RETURN_SINGLE_ENTRY)
    second = share.names(directory, "b*", c.SMB2_RETURN_SINGLE_ENTRY)
    assert sorted(first + second) == ["a1", "a2"]
    refused(S.NO_MORE_FILES, share.names, directory, "*")
    assert share.names(directory, "b*", c.SMB2_REOPEN) == ["b1"]
    assert share.names(directory, "", c.SMB2_RESTART_SCANS) == ["b1"]


def test_an_entry_without_room_comes_next_time(share):
    fill(share, "x" * 100, "y" * 100)
    directory = share.directory()
    single = share.names(directory, "?*", c.SMB2_RETURN_SINGLE_ENTRY)
    while not single:
        single = share.names(directory, "?*", c.SMB2_RETURN_SINGLE_ENTRY)
    assert len(share.names(directory, "?*", room=12 + 200)) == 1


@pytest.mark.parametrize("info_class", sorted(DIRECTORY_MINIMUM))
def test_rooms_too_small(share, refused, info_class):
    fill(share, "file")
    directory = share.directory()
    least = DIRECTORY_MINIMUM[info_class]
    refused(S.INFO_LENGTH_MISMATCH, query, share, directory, info_class, room=least - 1)
    refused(S.INFO_LENGTH_MISMATCH, query, share, directory, info_class, room=least)
    assert b"f\0i\0l\0e\0" in query(share, directory, info_class)


def test_refusals(share, refused):
    fill(share, "file")
    refused(S.INVALID_INFO_CLASS, query, share, share.directory(), 99)
    refused(S.INVALID_PARAMETER, query, share, share.open("file"))
    looks = share.directory(desired_access=c.FILE_READ_ATTRIBUTES)
    refused(S.ACCESS_DENIED, query, share, looks)
    refused(S.OBJECT_NAME_INVALID, query, share, share.directory(), pattern="")
    refused(S.OBJECT_NAME_INVALID, query, share, share.directory(), pattern="a\\*")


def test_an_entry_tells_what_the_file_tells(share):
    opened = share.open("file", c.FILE_CREATE, file_attributes=c.FILE_ATTRIBUTE_HIDDEN)
    share.write(opened, b"12345")
    entry = query(share, share.directory(), pattern="file")
    assert (
        entry[8:56]
        == share.query(opened, c.FILE_NETWORK_OPEN_INFORMATION)[:32]
        + (5).to_bytes(8, "little")
        + (share.query(opened, c.FILE_NETWORK_OPEN_INFORMATION)[32:40])
    )
    assert entry[56] == c.FILE_ATTRIBUTE_HIDDEN | c.FILE_ATTRIBUTE_ARCHIVE
    assert entry[96:104] == opened.file_id.to_bytes(8, "little")
    again = query(share, share.directory(), pattern="*")
    assert entry[8:] in again


def test_links_are_shown_as_what_they_lead_to(share):
    (share.path / "dir").mkdir()
    (share.path / "link").symlink_to("dir")
    (share.path / "broken").symlink_to("nowhere")
    entry = query(share, share.directory(), pattern="li*")
    assert entry[56] == c.FILE_ATTRIBUTE_DIRECTORY
    assert "broken" not in names_of(query(share, share.directory()))


def names_of(packed):
    return packed.decode("utf-16-le", "replace")


def test_changes_meanwhile(share):
    fill(share, *(f"file{i:04}" for i in range(2000)))
    directory = share.directory()
    seen = share.names(directory, room=2000)
    kept = [f"file{i:04}" for i in range(0, 2000, 2)]
    for i in range(1, 2000, 2):
        os.unlink(share.path / f"file{i:04}")
    seen += share.list_all(directory, room=5000)
    assert len(seen) == len(set(seen))
    assert set(kept) <= set(seen)


def test_closing_in_the_middle_gives_the_directory_back(share):
    fill(share, *(f"file{i:04}" for i in range(2000)))
    before = len(os.listdir("/proc/self/fd"))
    directory = share.directory()
    share.names(directory, room=2000)
    share.close(directory)
    assert len(os.listdir("/proc/self/fd")) == before


def counting_pauses(monkeypatch, at_once):
    """Where listings pause from now on, which they do after so many entries."""
    turns = []
    for module in (enumeration, access_based, directory):
        name = "LISTED_AT_ONCE" if module is directory else "PASSED_OVER_AT_ONCE"
        monkeypatch.setattr(module, name, at_once)
        monkeypatch.setattr(module, "pause", lambda _, name=module.__name__: turns.append(name))
    return turns


def test_others_are_served_while_many_entries_are_passed_over(make_share, monkeypatch, refused):
    turns = counting_pauses(monkeypatch, 10)
    share = make_share(settings=VolumeSettings(access_based_enumeration=True))
    fill(share, *(f"file{i}" for i in range(45)))
    refused(S.NO_SUCH_FILE, query, share, share.directory(), pattern="nothing*")
    assert turns == [enumeration.__name__] * 4
    monkeypatch.setattr(access_based, "is_readable", lambda *_: False)
    assert not share.list_all(share.directory())
    assert turns[4:] == [access_based.__name__] * 4


@pytest.mark.parametrize("info_class", sorted(DIRECTORY_MINIMUM))
def test_others_are_served_while_many_entries_are_told(share, monkeypatch, info_class):
    turns = counting_pauses(monkeypatch, 10)
    fill(share, *(f"file{i}" for i in range(45)))
    query(share, share.directory(), info_class)
    assert turns == [directory.__name__] * 4


@pytest.fixture
def overlapping(monkeypatch):
    """`overlapping(first, second, …)` runs requests at once, of which listings pause at every entry; their outcomes."""
    monkeypatch.setattr(enumeration, "PASSED_OVER_AT_ONCE", 1)
    monkeypatch.setattr(directory, "LISTED_AT_ONCE", 1)

    async def run(requests):
        engine = Engine(asyncio.get_running_loop(), threads=1)
        outcomes = dict.fromkeys(range(len(requests)), S.PENDING)

        def answer(number, request):
            try:
                outcomes[number] = request()
            except NtStatusError as error:
                outcomes[number] = error.status

        for number, request in enumerate(requests):
            engine.spawn(Task(), answer, number, request)
        while engine.running:
            await asyncio.sleep(0)
        engine.close()
        return outcomes.values()

    return lambda *requests: asyncio.run(run(requests))


@pytest.mark.parametrize("pattern", ["nothing*", "*"])
def test_who_closes_a_directory_ends_its_listing(share, overlapping, pattern):
    fill(share, *(f"file{i}" for i in range(20)))
    before = len(os.listdir("/proc/self/fd"))
    opened = share.directory()
    listed, closed = overlapping(lambda: query(share, opened, pattern=pattern), lambda: share.close(opened))
    assert (listed, closed) == (S.FILE_CLOSED, None)
    assert len(os.listdir("/proc/self/fd")) == before


def test_who_begins_again_waits_for_who_is_told(share, overlapping):
    fill(share, *(f"file{i}" for i in range(20)))
    opened = share.directory()
    first, second, third = overlapping(
        lambda: query(share, opened, pattern="nothing*"),
        lambda: share.names(opened, flags=c.SMB2_RESTART_SCANS),
        lambda: share.names(opened, pattern="file1", flags=c.SMB2_REOPEN),
    )
    assert first is S.NO_SUCH_FILE
    assert len(second) == 20
    assert third == ["file1"]


EA_SIZE_AT = 64
TELL_EA_SIZE = NEEDS_STAT - {c.FILE_DIRECTORY_INFORMATION}


@pytest.fixture(params=["posix with attributes", "posix alone", "memory"])
def keeping(request, make_share):
    """A share that keeps extended attributes."""
    if request.param == "memory":
        return make_share(DosAttributesModule(), MemoryBackend())
    return make_share(*([DosAttributesModule()] if "with" in request.param else []))


@pytest.mark.parametrize("info_class", sorted(TELL_EA_SIZE))
def test_the_size_of_extended_attributes_is_told(keeping, info_class):
    keeping.make("none")
    keeping.make("some")
    opened = keeping.open("some")
    keeping.set(opened, c.FILE_FULL_EA_INFORMATION, full_ea(b"NAME", b"value"))
    told = struct.unpack("<I", keeping.query(opened, c.FILE_EA_INFORMATION))[0]
    assert told == 8 + 5 + 5
    for name, size in (("none", 0), ("some", told), (".", 0)):
        entry = query(keeping, keeping.directory(), info_class, name)
        assert struct.unpack_from("<I", entry, EA_SIZE_AT)[0] == size
    whole = query(keeping, keeping.directory(), info_class)
    sizes, offset = [], 0
    while True:
        sizes.append(struct.unpack_from("<I", whole, offset + EA_SIZE_AT)[0])
        following = struct.unpack_from("<I", whole, offset)[0]
        if not following:
            break
        offset += following
    assert sorted(sizes) == [0, 0, 0, told]


def full_ea(name, value):
    return struct.pack("<IBBH", 0, 0, len(name), len(value)) + name + b"\0" + value
