"""What is kept of a listing's entries: each object is somebody's to close, whatever happens; no volume is needed."""

import errno
import time
from typing import Any

import pytest

from lamina_glusterfs import entries
from lamina_glusterfs.entries import Listed


class Library:
    """Notes what is closed."""

    def __init__(self) -> None:
        self.closed: list[str] = []
        self.lib = self.api = self

    def glfs_h_close(self, one: str) -> None:
        self.closed.append(one)


@pytest.fixture
def volume() -> Any:
    return Library()


def test_an_object_is_taken_once_and_then_its_takers(volume: Any) -> None:
    listed = Listed(volume)
    listed.keep({b"a": "object a", b"b": "object b"})
    assert [listed.take(b"a"), listed.take(b"a"), listed.take(b"c")] == ["object a", None, None]
    listed.close()
    assert volume.closed == ["object b"]


def test_what_is_read_next_takes_the_place_of_what_nobody_took(volume: Any) -> None:
    listed = Listed(volume)
    listed.keep({b"a": "first"})
    listed.keep({b"a": "second"})
    assert volume.closed == ["first"]
    assert listed.take(b"a") == "second"


def test_a_name_that_was_read_long_ago_is_looked_up(volume: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = Listed(volume)
    listed.keep({b"a": "object"})
    later = time.monotonic() + 60
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert listed.take(b"a") is None
    listed.close()
    assert volume.closed == ["object"]


def test_what_comes_after_the_folder_was_closed_is_closed_at_once(volume: Any) -> None:
    listed = Listed(volume)
    listed.close()
    listed.keep({b"a": "late"})
    assert volume.closed == ["late"]
    assert listed.take(b"a") is None


def test_only_those_that_are_listed_are_asked_for() -> None:
    listed = b"user.DOSATTRIB\0trusted.gfid\0glusterfs.x\0user.one\0"
    assert entries._told(listed, (b"user.one", b"user.two", errno.ENOTSUP)) == (
        ("user.DOSATTRIB", "user.one"),
        (b"user.one", errno.ENODATA, errno.ENOTSUP),
    )


def test_errors_that_are_not_of_one_entry_are_raised() -> None:
    assert entries._own(OSError(errno.EACCES, "")) == errno.EACCES
    assert entries._own(OSError(errno.ESTALE, "")) == errno.ENOENT
    with pytest.raises(OSError, match="away"):
        entries._own(OSError(errno.ENOTCONN, "away"))
