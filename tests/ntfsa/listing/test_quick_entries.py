"""The quick way and the long way put the same into a listing's answer, whatever is known of an entry."""

from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.directory_information import NEEDS_STAT, DirectoryBuffer
from lamina.ntfsa.listing import directory
from lamina.ntfsa.listing.quick_entries import quickly
from lamina.ntfsa.volume import VolumeSettings
from lamina.vfs_modules.operations import DosAttributes, FileStat

TIMES = some.one_of(
    some.integers(0, 4_000_000_000_000_000_000),
    some.sampled_from([-1, 0, 99, (1 << 62) - 1, 1 << 62, 1 << 70, -(1 << 70)]),
)
SIZES = some.one_of(some.integers(0, 20_000), some.sampled_from([4096, 8192, 12_288, 1 << 40]))
stats = some.builds(
    FileStat,
    dev=some.just(7),
    ino=some.integers(1, 3),
    mode=some.sampled_from([0o100644, 0o040755, 0o010644]),
    nlink=some.just(1),
    uid=some.just(0),
    gid=some.just(0),
    size=SIZES,
    allocated=SIZES,
    atime_ns=TIMES,
    mtime_ns=TIMES,
    ctime_ns=TIMES,
    btime_ns=some.none() | TIMES,
    compressed=some.sampled_from([False, False, True]),
)
attributes = some.builds(
    DosAttributes,
    some.sampled_from([0, 0, c.FILE_ATTRIBUTE_HIDDEN, c.FILE_ATTRIBUTE_SPARSE_FILE, c.FILE_ATTRIBUTE_ARCHIVE]),
    some.none() | TIMES,
    some.none() | TIMES,
)
names = some.sampled_from(["a", "name.txt", ".dot", "Ünïcode", "\U0001f600", "x" * 255, "hidden"])
listed = some.lists(some.tuples(names, stats, attributes, some.just(False)), max_size=8)


@pytest.mark.parametrize("hidden", [frozenset(), frozenset({"HIDDEN"})])
def test_both_ways_put_the_same_into_the_answer(make_share, hidden):
    share = make_share(settings=VolumeSettings(hidden_names=hidden))
    opened = share.directory()

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(entries=listed, info_class=some.sampled_from(sorted(NEEDS_STAT)), room=some.integers(200, 3000))
    def check(entries, info_class, room):
        quick, careful = DirectoryBuffer(info_class, room), DirectoryBuffer(info_class, room)
        long_way = partial(directory._append, share.context.token, opened)
        append = quickly(share.volume, quick, partial(long_way, quick))
        for entry in entries:
            assert append(entry) == long_way(careful, entry)
        assert quick.finish() == careful.finish()

    check()


def test_a_plain_entry_goes_the_quick_way(share):
    stat = FileStat(7, 1, 0o100644, 1, 0, 0, 5, 4096, 1, 2, 3, 4)
    taken = quickly(share.volume, DirectoryBuffer(c.FILE_ID_BOTH_DIRECTORY_INFORMATION, 1000), pytest.fail)
    assert taken(("name", stat, DosAttributes(0, 4), False))


def test_the_last_write_time_of_a_file_that_is_being_written_is_the_long_ways_matter(share):
    opened = share.open("file", c.FILE_CREATE)
    share.write(opened, b"x")
    stat = share.chain.fstat(share.context.token, opened.handle)
    asked = []
    append = quickly(
        share.volume,
        DirectoryBuffer(c.FILE_ID_BOTH_DIRECTORY_INFORMATION, 1000),
        lambda entry: not asked.append(entry),
    )
    assert append(("file", stat, DosAttributes(0, 4), False))
    assert len(asked) == 1
