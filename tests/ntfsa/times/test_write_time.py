"""Last write times while files are written: the rules with a clock in hand, and a folder with endless or no delay."""

import os

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.content.data import flush
from lamina.ntfsa.listing.directory import query_directory
from lamina.ntfsa.opening.sharing import close_file, open_file
from lamina.ntfsa.record import EMPTY_RECORD, FileRecord
from lamina.ntfsa.record_form import from_plain, to_plain
from lamina.ntfsa.times.filetime import from_filetime
from lamina.ntfsa.times.write_time import begin_writing, end_writing, look, pending, settle
from lamina.ntfsa.volume import VolumeSettings

DELAY = 100
YEAR_2001_NS = 978_307_200_000_000_000
ENDLESS = VolumeSettings(write_time_delay_ns=1 << 62)
SHORTEST = VolumeSettings(write_time_delay_ns=1)
NONE = VolumeSettings(write_time_delay_ns=0)


def begun(stored: int = 5, now: int = 1000, record: FileRecord = EMPTY_RECORD) -> FileRecord:
    return begin_writing(record, stored, now, DELAY).record


def test_nothing_is_held_back_while_nobody_writes() -> None:
    assert look(EMPTY_RECORD, 7, 0) == (EMPTY_RECORD, 7, ())


def test_a_write_shows_after_the_delay_and_what_follows_does_not() -> None:
    record = begun()
    assert look(record, 1000, 1099).result == 5
    record, shown, _ = look(record, 1050, 1100)
    assert shown == 1050
    assert look(record, 9999, 10_000).result == 1050


def test_what_was_shown_is_settled_by_the_first_look_only() -> None:
    record = begun()
    assert look(record, 1050, 1099).record is record
    settled = look(record, 1050, 2000).record
    assert look(settled, 3000, 3000).record is settled


def test_a_second_writer_does_not_put_a_pending_time_off() -> None:
    record = begun(record=begun(now=1000), now=1090)
    assert look(record, 1095, 1100).result == 1095


def test_a_second_writer_after_the_delay_shows_late_again() -> None:
    settled = look(begun(), 1050, 1200).record
    record = begun(stored=1060, now=2000, record=settled)
    assert look(record, 2001, 2050).result == 1050
    assert look(record, 2001, 2100).result == 2001


def test_settling_shows_at_once() -> None:
    record = begun()
    assert pending(record, 1001)
    record = settle(record, 1001).record
    assert not pending(record, 1001)
    assert look(record, 1002, 1002).result == 1001
    assert settle(record, 1001).record is record
    assert settle(EMPTY_RECORD, 1).record is EMPTY_RECORD


def test_a_close_sets_the_time_only_when_more_was_written_than_shown() -> None:
    assert end_writing(begun(), 1001).result is False
    settled = look(begun(), 1050, 1200).record
    assert end_writing(settled, 1050).result is False
    assert end_writing(settled, 1300).result is True
    assert end_writing(EMPTY_RECORD, 1).record is EMPTY_RECORD


def test_the_last_writer_takes_the_time_with_it() -> None:
    record = begun(record=begun())
    record = end_writing(record, 1500).record
    assert look(record, 1600, 1600).result == 1500
    assert end_writing(record, 1600).record.write_time is None


def test_opens_and_closes_leave_the_time_alone_and_it_has_a_plain_form() -> None:
    record = open_file(EMPTY_RECORD, 1, c.FILE_WRITE_DATA, c.FILE_SHARE_ALL).record
    record = begun(record=record)
    both = open_file(record, 2, c.FILE_READ_DATA, c.FILE_SHARE_ALL).record
    assert both.write_time == record.write_time
    assert close_file(both, 2).record.write_time == record.write_time
    assert from_plain(to_plain(both)) == both


# --- With a folder -------------------------------------------------------------------------------------------------


def written_ns(share, open_) -> int:
    raw = share.query(open_, c.FILE_BASIC_INFORMATION)
    return from_filetime(int.from_bytes(raw[16:24], "little"))


def old_file(share, name: str = "file"):
    """A file last written in 2001, and an open of it."""
    share.make(name, b"content")
    os.utime(share.path / name, ns=(YEAR_2001_NS, YEAR_2001_NS))
    return share.open(name)


def listed_ns(share, name: str = "file") -> int:
    directory = share.directory()
    packed = query_directory(share.context, directory, c.FILE_DIRECTORY_INFORMATION, name, 0, 0, 4096)
    share.close(directory)
    return from_filetime(int.from_bytes(packed[24:32], "little"))


def test_everybody_sees_the_time_before_the_write_until_the_delay_has_passed(make_share) -> None:
    share = make_share(settings=ENDLESS)
    writer = old_file(share)
    share.write(writer, b"new")
    reader = share.create("file")
    assert from_filetime(reader.information.last_write_time) == YEAR_2001_NS
    assert {written_ns(share, writer), written_ns(share, reader.open), listed_ns(share)} == {YEAR_2001_NS}
    share.close(writer)
    assert written_ns(share, reader.open) > YEAR_2001_NS
    assert listed_ns(share) > YEAR_2001_NS


def test_later_writes_show_when_their_open_closes(make_share) -> None:
    share = make_share(settings=SHORTEST)
    writer = old_file(share)
    share.write(writer, b"new")
    first = written_ns(share, writer)
    assert first > YEAR_2001_NS
    share.write(writer, b"newer")
    os.utime(share.path / "file", ns=(first + 1000, first + 1000))  # whatever the file system's clock is made of
    assert written_ns(share, writer) == first
    assert from_filetime(share.close(writer, True).last_write_time) > first


def test_without_a_delay_every_write_shows(make_share) -> None:
    share = make_share(settings=NONE)
    writer = old_file(share)
    share.write(writer, b"new")
    assert written_ns(share, writer) > YEAR_2001_NS


@pytest.mark.parametrize(
    ("info_class", "value"),
    [
        (c.FILE_END_OF_FILE_INFORMATION, (3).to_bytes(8, "little")),
        (c.FILE_ALLOCATION_INFORMATION, (3).to_bytes(8, "little")),
        (c.FILE_BASIC_INFORMATION, bytes(40)),
    ],
)
def test_setting_size_or_basic_information_shows_what_was_written(make_share, info_class: int, value: bytes) -> None:
    share = make_share(settings=ENDLESS)
    writer = old_file(share)
    share.write(writer, b"new")
    share.set(writer, info_class, value)
    assert written_ns(share, writer) > YEAR_2001_NS


def test_flushing_shows_what_was_written_and_closing_changes_it_no_more(make_share) -> None:
    share = make_share(settings=ENDLESS)
    writer = old_file(share)
    share.write(writer, b"new")
    flush(share.context, writer)
    shown = written_ns(share, writer)
    assert shown > YEAR_2001_NS
    assert from_filetime(share.close(writer, True).last_write_time) == shown


def test_a_time_that_another_open_sets_is_there_at_once_and_stays(make_share, packed) -> None:
    share = make_share(settings=ENDLESS)
    share.make("file", b"content")
    writer, other = share.open("file"), share.open("file")
    share.write(writer, b"new")
    wanted = YEAR_2001_NS // 100 + 116_444_736_000_000_000
    share.set(other, c.FILE_BASIC_INFORMATION, packed.basic(write=wanted))
    assert written_ns(share, writer) == YEAR_2001_NS
    share.close(other)
    assert share.close(writer, True).last_write_time == wanted


def test_the_last_writer_tells_the_true_time_when_it_closes(make_share) -> None:
    share = make_share(settings=ENDLESS)
    writer = old_file(share)
    share.write(writer, b"new")
    written = (share.path / "file").stat().st_mtime_ns
    assert from_filetime(share.close(writer, True).last_write_time) // 100 == written // 100
