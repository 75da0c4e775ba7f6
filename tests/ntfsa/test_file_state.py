"""What clients are told of a file is worked out once for each status, and anew for each other one."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from lamina.ntfsa.file_state import allocation_size, network_open, shown_attributes
from lamina.ntfsa.times.filetime import to_filetime
from lamina.vfs_modules.operations import DosAttributes, FileStat

_STATS = st.builds(
    FileStat,
    dev=st.just(1),
    ino=st.integers(1, 2),
    mode=st.sampled_from([0o100644, 0o040755]),
    nlink=st.just(1),
    uid=st.just(0),
    gid=st.just(0),
    size=st.sampled_from([0, 5000]),
    allocated=st.sampled_from([0, 8192]),
    atime_ns=st.sampled_from([0, 1000, 2000]),
    mtime_ns=st.sampled_from([0, 1000, 2000]),
    ctime_ns=st.sampled_from([0, 1000, 2000]),
    btime_ns=st.sampled_from([None, 7]),
)
_DOS = st.builds(DosAttributes, st.sampled_from([0, 2, 0x20]), st.sampled_from([None, 9]), st.sampled_from([None, 11]))


@given(
    st.lists(_STATS, min_size=1, max_size=3),
    st.lists(_DOS, min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans(), st.sampled_from([0, 70_000])), max_size=20),
)
def test_what_is_told_is_that_of_the_status_that_is_given(
    stats: list[FileStat], attributes: list[DosAttributes], asked: list[tuple[int, int, bool, int]]
) -> None:
    for which, stored, hidden, reserved in asked:
        stat, dos = stats[which % len(stats)], attributes[stored % len(attributes)]
        told = network_open(stat, dos, hidden, reserved)
        assert told.last_write_time == to_filetime(stat.mtime_ns)
        assert told.change_time == to_filetime(stat.ctime_ns if dos.change_ns is None else dos.change_ns)
        assert told.file_attributes == shown_attributes(stat, dos.attributes, hidden)
        assert told.allocation_size == allocation_size(stat, dos.attributes, reserved)


def test_it_is_the_same_object_for_the_same_status() -> None:
    stat = FileStat(1, 3, 0o100644, 1, 0, 0, 5, 4096, 1, 2, 3, 4)
    dos = DosAttributes(0, None)
    assert network_open(stat, dos) is network_open(stat, dos)
    like_it = stat._replace(mtime_ns=9000)
    assert network_open(like_it, dos).last_write_time != network_open(stat, dos).last_write_time


def test_many_files_are_told_of_rightly() -> None:
    dos = DosAttributes(0, None)
    stats = [FileStat(1, ino, 0o100644, 1, 0, 0, ino, 0, 1, 2, 3, 4) for ino in range(3000)]
    for stat in itertools.chain(stats, stats):
        assert network_open(stat, dos).end_of_file == stat.size
