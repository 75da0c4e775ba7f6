"""Shares whose symbolic links nobody follows: every backend says ELOOP, and the links themselves can be handled."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.vfs_modules.module import Backend
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.syscalls import libc
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.suite import Hand

LINK = OpenHow(follow=False)


@pytest.fixture(params=["openat2", "walk", "memory"])
def hand(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hand]:
    """A folder with a file, and links to both."""
    if request.param == "walk":
        monkeypatch.setattr(libc, "HAS_OPENAT2", False)
    backend: Backend = MemoryBackend() if request.param == "memory" else PosixBackend()
    chain = local_chain(tmp_path, backend, follow_symlinks=False)
    made = Hand(chain, make_token())
    made.mkdir("folder")
    made.make("folder/file", b"x")
    chain.symlink(made.token, "folder", made.root, "to-folder")
    chain.symlink(made.token, "folder/file", made.root, "to-file")
    yield made
    made.close()
    chain.disconnect()


def fails_with_eloop(hand: Hand, path: str, how: OpenHow) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)) as caught:
        hand.open(path, how)
    assert caught.value.errno == errno.ELOOP


@pytest.mark.parametrize("access", list(Access), ids=lambda access: access.name)
@pytest.mark.parametrize("path", ["to-file", "to-folder/file"])
def test_no_link_is_followed(hand: Hand, path: str, access: Access) -> None:
    fails_with_eloop(hand, path, OpenHow(access))


def test_nor_one_to_a_directory(hand: Hand) -> None:
    for access in (Access.PATH, Access.READ):
        fails_with_eloop(hand, "to-folder", OpenHow(access, directory=True))
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        hand.chain.stat(hand.token, hand.root, "to-file", True)


def test_what_is_reached_without_links_is_there(hand: Hand) -> None:
    assert hand.read(hand.open("folder/file", OpenHow(Access.READ)), 9) == b"x"
    assert hand.names("folder") == {"file"}


def test_the_links_themselves_can_be_handled(hand: Hand) -> None:
    for path, target in (("to-file", "folder/file"), ("to-folder", "folder")):
        status = hand.chain.stat(hand.token, hand.root, path)
        assert hand.chain.fstat(hand.token, hand.open(path, LINK)).ino == status.ino
        assert hand.chain.readlink(hand.token, hand.root, path) == target
    hand.rename("to-file", "renamed")
    hand.chain.unlink(hand.token, hand.root, "renamed")
    assert hand.names() == {"folder", "to-folder"}
