"""Copies of whole files: the data, the named streams, and what stops them."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.content.whole_copy import copy_whole
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import OpenHow
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.token import ImpersonationToken
from tests.ntfsa.conftest import Share


class Full(VfsModule, public=("fill",)):
    """Has no room for further streams once it is full."""

    def fill(self) -> None:
        self._is_full = True

    def connect(self, share: object) -> None:
        self._is_full = False

    def open_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str, how: OpenHow) -> VfsHandle:
        if self._is_full and how.create:
            raise OSError(errno.ENOSPC, "no room", name)
        return self.next.open_stream(token, handle, name, how)


class Copying(Share):
    def with_stream(self, name: str, content: bytes) -> None:
        self.make(name, content)
        self.make(f"{name}:tag", b"blue")

    def copy(self, source: str, target: str) -> tuple[int, int]:
        copied = copy_whole(self.context, self.open(source), self.open(target, c.FILE_OPEN_IF))
        return copied.status, copied.total


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Copying]:
    return lambda *modules: Copying(tmp_path, *modules)


def test_data_and_streams_are_copied(made: Callable[..., Copying]) -> None:
    share = made(StreamsXattrModule())
    share.with_stream("file", b"data")
    share.make("copy", b"", options=0)
    share.make("copy:tag", b"a longer stream than that of the source")
    assert share.copy("file", "copy") == (NtStatus.SUCCESS, 4)
    assert share.read(share.open("copy"), 10) == b"data"
    assert share.read(share.open("copy:tag"), 100) == b"blue"


def test_an_empty_file_is_copied_with_its_streams(made: Callable[..., Copying]) -> None:
    share = made(StreamsXattrModule())
    share.with_stream("file", b"")
    assert share.copy("file", "copy") == (NtStatus.SUCCESS, 0)
    assert share.read(share.open("copy:tag"), 100) == b"blue"


def test_of_a_stream_only_the_stream_is_copied(made: Callable[..., Copying]) -> None:
    share = made(StreamsXattrModule())
    share.with_stream("file", b"data")
    assert share.copy("file:tag", "copy") == (NtStatus.SUCCESS, 4)
    assert share.read(share.open("copy"), 10) == b"blue"
    assert share.status("copy:tag") == NtStatus.OBJECT_NAME_NOT_FOUND


def test_a_stream_that_has_no_room_stops_the_copy(made: Callable[..., Copying]) -> None:
    full = Full()
    share = made(full, StreamsXattrModule())
    share.with_stream("file", b"data")
    share.make("copy")
    full.fill()
    with pytest.raises(NtStatusError) as raised:
        share.copy("file", "copy")
    assert raised.value.status == NtStatus.DISK_FULL
