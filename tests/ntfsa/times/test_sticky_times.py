"""Times that clients set, freeze and thaw (MS-FSCC 2.4.7), and the change time, which POSIX lets nobody set."""

import errno
import itertools
import os
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.ntfsa import constants as c
from lamina.ntfsa.content.data import flush
from lamina.ntfsa.information import set_security
from lamina.ntfsa.listing.directory import query_directory
from lamina.ntfsa.status import NtStatus
from lamina.ntfsa.times.filetime import MAX_FILETIME, from_filetime, to_filetime
from lamina.ntfsa.times.sticky_times import FREEZE, THAW, StickyTimes, stuck
from lamina.ntfsa.volume import VolumeSettings
from lamina.vfs_modules.module import VfsModule

YEAR_2001 = to_filetime(978_307_200 * 10**9)
YEAR_2002 = to_filetime(1_009_843_200 * 10**9)
ENDLESS = VolumeSettings(write_time_delay_ns=1 << 62)
CREATION, ACCESS, WRITE, CHANGE = range(4)
NOW = StickyTimes(11, 12, 13)

asked_times = st.sampled_from([0, FREEZE, THAW, 1, YEAR_2001, MAX_FILETIME])
sticky_times = st.none() | st.builds(StickyTimes, *[st.none() | st.integers(0, 10**18)] * 3)


@given(sticky_times, st.builds(StickyTimes, asked_times, asked_times, asked_times))
def test_each_time_sticks_by_itself(before: StickyTimes | None, asked: StickyTimes) -> None:
    after = stuck(before, asked, NOW) or StickyTimes()
    for kept, wanted, now, was in zip(after, asked, NOW, before or StickyTimes(), strict=True):
        assert wanted is not None
        assert kept == {0: was, FREEZE: now, THAW: None}.get(wanted, from_filetime(wanted))


def test_nothing_that_sticks_is_none() -> None:
    assert stuck(None, StickyTimes(0, 0, 0), NOW) is None
    assert stuck(StickyTimes(1, 2, 3), StickyTimes(THAW, THAW, THAW), NOW) is None


# --- With a folder -------------------------------------------------------------------------------------------------


def times(share, open_) -> tuple[int, ...]:
    """The four times, as FILETIME."""
    return struct.unpack("<4q", share.query(open_, c.FILE_BASIC_INFORMATION)[:32])


def listed(share, name: str = "file") -> tuple[int, ...]:
    directory = share.directory()
    packed = query_directory(share.context, directory, c.FILE_DIRECTORY_INFORMATION, name, 0, 0, 4096)
    share.close(directory)
    return struct.unpack("<4q", packed[8:40])


def changed_until_told(share, change, name: str = "file") -> bool:
    """Change the file until its change time is not the one that was set: within a tick of the clock nobody can tell."""
    for number in range(100_000):
        change(number)
        if listed(share, name)[CHANGE] != YEAR_2001:
            return True
    return False


@pytest.fixture
def old_file(share, packed):
    """A closed file all of whose times were set."""
    opened = share.open("file", c.FILE_CREATE)
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(*[YEAR_2001] * 4))
    share.close(opened)
    return share.path / "file"


def test_a_change_time_that_was_set_is_told_wherever_times_are(share, old_file) -> None:
    created = share.create("file")
    assert created.information.change_time == YEAR_2001
    assert times(share, created.open) == listed(share) == (YEAR_2001,) * 4
    assert share.close(created.open, True).change_time == YEAR_2001


def test_the_change_time_is_the_status_change_time_where_none_was_set(share) -> None:
    share.make("file", b"content")
    os.utime(share.path / "file", ns=(10**18, 10**18))
    changed = to_filetime((share.path / "file").stat().st_ctime_ns)
    assert listed(share)[WRITE] == to_filetime(10**18)
    assert listed(share)[CHANGE] == changed == times(share, share.open("file"))[CHANGE]


@pytest.mark.parametrize(
    "change",
    [
        lambda share, path, number: os.chmod(path, 0o700 + number % 2),
        lambda share, path, number: path.write_text("local"),
        lambda share, path, number: os.setxattr(path, "user.x", b"%d" % number),
        lambda share, path, number: os.utime(path, ns=(5, 5)),
    ],
    ids=["mode", "data", "attribute", "times"],
)
def test_whoever_changes_the_file_beside_the_server_ends_the_change_time(share, old_file, change) -> None:
    assert changed_until_told(share, lambda number: change(share, old_file, number))


def attributes_of(number: int) -> int:
    return c.FILE_ATTRIBUTE_HIDDEN if number % 2 else c.FILE_ATTRIBUTE_SYSTEM


def test_changes_through_other_opens_end_the_change_time(share, old_file, packed) -> None:
    def write(number: int) -> None:
        share.write(other, b"%d" % number)

    def attributes(number: int) -> None:
        share.set(other, c.FILE_BASIC_INFORMATION, packed.basic(attributes=attributes_of(number)))

    def creation(number: int) -> None:
        share.set(other, c.FILE_BASIC_INFORMATION, packed.basic(creation=YEAR_2002 + number))

    for change in (write, attributes, creation):
        opened, other = share.open("file"), share.open("file")
        share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(change=YEAR_2001))
        share.close(opened)
        assert listed(share)[CHANGE] == YEAR_2001
        assert changed_until_told(share, change), change
        share.close(other)


def test_a_new_name_ends_the_change_time_and_a_copy_of_the_attribute_brings_none(share, old_file) -> None:
    names = itertools.cycle(["file", "other"])
    next(names)

    def rename(_number: int) -> None:
        new = next(names)
        os.rename(share.path / ("file" if new == "other" else "other"), share.path / new)

    copy = share.path / "copy"
    copy.write_text("")
    os.setxattr(copy, "user.DOSATTRIB", os.getxattr(old_file, "user.DOSATTRIB"))
    assert changed_until_told(share, lambda number: os.utime(copy, ns=(number, number)), "copy")
    rename(0)

    def there_and_back(number: int) -> None:
        rename(number)
        rename(number)

    assert changed_until_told(share, there_and_back, "other")


def test_through_the_open_that_set_it_the_change_time_stays(share, packed) -> None:
    opened = share.open("file", c.FILE_CREATE)
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(change=YEAR_2001))
    everybody = c.DACL_SECURITY_INFORMATION
    descriptor = bytes([1, 0, 4, 128]) + bytes(16)  # a null DACL
    changes = [
        lambda: share.write(opened, b"data"),
        lambda: share.set(opened, c.FILE_END_OF_FILE_INFORMATION, (9).to_bytes(8, "little")),
        lambda: share.set(opened, c.FILE_ALLOCATION_INFORMATION, (99999).to_bytes(8, "little")),
        lambda: share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(attributes=c.FILE_ATTRIBUTE_HIDDEN)),
        lambda: share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(write=YEAR_2002)),
        lambda: share.set(opened, c.FILE_FULL_EA_INFORMATION, struct.pack("<IBBH", 0, 0, 1, 1) + b"a\0b"),
        lambda: share.rename(opened, "renamed"),
        lambda: share.link(opened, "file"),
        lambda: set_security(share.context, opened, everybody, memoryview(descriptor)),
    ]
    for number, change in enumerate(changes):
        change()
        assert listed(share, "renamed" if number >= 6 else "file")[CHANGE] == YEAR_2001, number
    assert share.close(opened, True).change_time == YEAR_2001


def test_frozen_times_stay_and_thaw(share, old_file, packed) -> None:
    opened = share.open("file")
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(FREEZE, FREEZE, FREEZE, FREEZE))
    share.write(opened, b"new")
    share.read(opened, 3)
    assert times(share, opened) == listed(share) == (YEAR_2001,) * 4
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(THAW, THAW, THAW, THAW))
    assert opened.sticky is None
    share.set(opened, c.FILE_END_OF_FILE_INFORMATION, (9).to_bytes(8, "little"))
    after = times(share, opened)
    assert after[CREATION] == YEAR_2001
    assert min(after[WRITE], after[CHANGE]) > YEAR_2001


def test_a_frozen_change_time_may_be_one_that_nobody_set(share, packed) -> None:
    share.make("file", b"content")
    opened = share.open("file")
    before = times(share, opened)[CHANGE]
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(change=FREEZE, attributes=c.FILE_ATTRIBUTE_HIDDEN))
    share.write(opened, b"new")
    assert times(share, opened)[CHANGE] == before


def test_a_write_time_that_is_told_late_leaves_a_frozen_change_time_alone(make_share, packed) -> None:
    share = make_share(settings=ENDLESS)
    opened = share.open("file", c.FILE_CREATE)
    share.write(opened, b"first")
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(change=YEAR_2001))
    share.write(opened, b"more")
    information = share.close(opened, True)
    assert information.change_time == YEAR_2001
    assert information.last_write_time > YEAR_2001


@pytest.mark.parametrize("directory", [False, True])
def test_reading_does_not_show_in_an_access_time_that_was_set(share, packed, directory: bool) -> None:
    options = c.FILE_DIRECTORY_FILE if directory else 0
    opened = share.open("some", c.FILE_CREATE, options=options)
    # Older than the last write: where access times are kept at all, the next read is one that changes it.
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(access=YEAR_2001, change=YEAR_2002))
    if directory:
        share.names(opened)
    else:
        share.write(opened, b"data")
        share.read(opened, 4)
    assert times(share, opened)[ACCESS] == YEAR_2001
    assert times(share, opened)[CHANGE] == YEAR_2002


class NoTimes(VfsModule):
    """Lets nobody set times."""

    name = "no_times"

    def set_times(self, token, handle, times):
        raise PermissionError(errno.EPERM, "not the owner")


def test_a_frozen_time_that_cannot_be_put_back_does_not_undo_the_write(make_share, packed) -> None:
    share = make_share(NoTimes())
    opened = share.open("file", c.FILE_CREATE)
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(FREEZE, FREEZE, FREEZE, FREEZE))
    assert share.write(opened, b"data") == 4
    assert share.read(opened, 4) == b"data"


def test_who_may_write_and_not_set_times_may_flush(make_share) -> None:
    share = make_share(NoTimes(), settings=ENDLESS)
    opened = share.open("file", c.FILE_CREATE)
    share.write(opened, b"data")
    flush(share.context, opened)
    assert times(share, opened)[WRITE] == to_filetime((share.path / "file").stat().st_mtime_ns)


@pytest.mark.parametrize("field", ["creation", "access", "write", "change"])
@pytest.mark.parametrize("value", [-3, -YEAR_2001, -(1 << 63)])
def test_times_before_1601_are_refused(share, packed, refused, field: str, value: int) -> None:
    opened = share.open("file", c.FILE_CREATE)
    before = times(share, opened)
    wrong = packed.basic(**{field: value, "attributes": c.FILE_ATTRIBUTE_HIDDEN})
    refused(NtStatus.INVALID_PARAMETER, share.set, opened, c.FILE_BASIC_INFORMATION, wrong)
    assert times(share, opened) == before


@pytest.mark.parametrize("value", [1, to_filetime(-1), to_filetime(1 << 62), MAX_FILETIME])
def test_creation_and_change_times_reach_from_1601_to_the_end(share, packed, value: int) -> None:
    opened = share.open("file", c.FILE_CREATE)
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(creation=value, change=value))
    shown = times(share, opened)
    assert (shown[CREATION], shown[CHANGE]) == (value, value)


# What every file system keeps of its two times; the other two are kept beside the file. Of the first and the last
# second that a file system knows the kernel keeps no fraction.
kept_times = st.integers(to_filetime((1 - 2**31) * 10**9), to_filetime((2**31 - 1) * 10**9))
all_times = st.integers(1, MAX_FILETIME)


@given(st.tuples(all_times, kept_times, kept_times, all_times))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_100_ns_count(share, packed, wanted: tuple[int, ...]) -> None:
    opened = share.open("file", c.FILE_OPEN_IF)
    share.set(opened, c.FILE_BASIC_INFORMATION, packed.basic(*wanted))
    assert times(share, opened) == listed(share) == wanted
    share.close(opened)
