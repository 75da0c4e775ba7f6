"""Files that were modified are marked for archiving (MS-FSA 2.1.4.17)."""

import os
import struct

import pytest

from lamina.ntfsa import constants as c

ARCHIVE, HIDDEN = c.FILE_ATTRIBUTE_ARCHIVE, c.FILE_ATTRIBUTE_HIDDEN


def attributes(share, open_) -> int:
    return struct.unpack_from("<I", share.query(open_, c.FILE_BASIC_INFORMATION), 32)[0]


@pytest.fixture
def saved(share, packed):
    """An open of a file that a backup has just saved."""
    share.make("file", b"content")
    backup = share.open("file")
    share.set(backup, c.FILE_BASIC_INFORMATION, packed.basic(attributes=HIDDEN))
    share.close(backup)
    opened = share.open("file")
    assert attributes(share, opened) == HIDDEN
    return opened


@pytest.mark.parametrize(
    "modify",
    [
        lambda share, opened: share.write(opened, b"new"),
        lambda share, opened: share.set(opened, c.FILE_END_OF_FILE_INFORMATION, bytes(8)),
        lambda share, opened: share.set(opened, c.FILE_ALLOCATION_INFORMATION, bytes(8)),
        lambda share, opened: share.rename(opened, "renamed"),
    ],
    ids=["write", "end of file", "allocation", "rename"],
)
def test_modifying_a_file_marks_it(share, saved, modify) -> None:
    modify(share, saved)
    assert attributes(share, saved) == HIDDEN | ARCHIVE


def test_reading_does_not(share, saved) -> None:
    share.read(saved, 4)
    share.close(saved)
    assert attributes(share, share.open("file")) == HIDDEN


def test_a_file_that_was_made_beside_the_server_is_marked_when_it_is_written(share) -> None:
    (share.path / "local").write_text("local")
    opened = share.open("local")
    created = os.stat(share.path / "local")
    assert attributes(share, opened) == c.FILE_ATTRIBUTE_NORMAL
    share.write(opened, b"new")
    assert attributes(share, opened) == ARCHIVE
    assert created.st_ino == os.stat(share.path / "local").st_ino


def test_who_takes_the_mark_away_while_others_have_the_file_open_gets_it_back_with_the_next_write(
    share, saved, packed
) -> None:
    first, second = share.open("file"), share.open("file")
    share.write(first, b"1")
    share.set(saved, c.FILE_BASIC_INFORMATION, packed.basic(attributes=HIDDEN))
    share.close(first)
    assert attributes(share, saved) == HIDDEN
    share.write(second, b"2")
    assert attributes(share, saved) == HIDDEN | ARCHIVE


def test_what_an_open_sets_after_writing_stays_when_it_closes(share, saved, packed) -> None:
    share.write(saved, b"new")
    share.set(saved, c.FILE_BASIC_INFORMATION, packed.basic(attributes=HIDDEN))
    share.close(saved)
    assert attributes(share, share.open("file")) == HIDDEN
