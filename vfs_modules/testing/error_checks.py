"""Checks of the errors that the contract documents, as far as a client can bring them about."""

import errno

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.operations import Capability, OpenHow
from lamina.vfs_modules.testing.hand import CREATE, READ, check, fails_with, hand_of
from lamina.vfs_modules.token import ImpersonationToken

_TOO_LONG = "x" * 256


@check()
def what_lies_beneath_no_directory_is_told_so(chain: Chain, token: ImpersonationToken) -> None:
    """ENOTDIR beneath a file, ENOENT beneath nothing, for every operation that takes a path."""
    with hand_of(chain, token) as hand:
        hand.make("file")
        with fails_with(errno.ENOTDIR):
            chain.stat(token, hand.root, "file/name")
        with fails_with(errno.ENOTDIR):
            chain.mkdir(token, hand.root, "file/name", 0o755)
        with fails_with(errno.ENOENT):
            chain.mkdir(token, hand.root, "no/name", 0o755)
        with fails_with(errno.ENOENT):
            chain.unlink(token, hand.root, "no")
        with fails_with(errno.ENOTDIR):
            chain.unlink(token, hand.root, "file/name")
        with fails_with(errno.ENOTDIR):
            hand.rename("file", "file/name")
        assert hand.names() == {"file"}


@check()
def files_and_directories_do_not_replace_each_other(chain: Chain, token: ImpersonationToken) -> None:
    """Nor does anything replace a directory with something in it."""
    with hand_of(chain, token) as hand:
        hand.make("file")
        for name in ("directory", "full"):
            hand.mkdir(name)
        hand.make("full/file")
        with fails_with(errno.EISDIR):
            hand.rename("file", "directory", replace=True)
        with fails_with(errno.ENOTDIR):
            hand.rename("directory", "file", replace=True)
        with fails_with(errno.ENOTEMPTY, errno.EEXIST):
            hand.rename("directory", "full", replace=True)
        assert hand.names() == {"file", "directory", "full"}
        hand.rename("full", "directory", replace=True)
        assert hand.names("directory") == {"file"}


@check()
def a_directory_has_no_data_and_a_file_no_entries(chain: Chain, token: ImpersonationToken) -> None:
    """EISDIR, ENOTDIR."""
    with hand_of(chain, token) as hand:
        file = hand.make("file", b"data")
        hand.mkdir("directory")
        directory = hand.open("directory", READ)
        with fails_with(errno.EISDIR):
            chain.pread(token, directory, memoryview(bytearray(9)), 0)
        with fails_with(errno.ENOTDIR):
            list(chain.readdir(token, file))


@check(Capability.SYMLINKS)
def links_are_made_and_read_as_other_names_are(chain: Chain, token: ImpersonationToken) -> None:
    """With the errors of every name; a look through one that leads nowhere says why."""
    with hand_of(chain, token) as hand:
        hand.make("file")
        chain.symlink(token, "loop", hand.root, "loop")
        chain.symlink(token, "../..", hand.root, "out")
        with fails_with(errno.EEXIST):
            chain.symlink(token, "target", hand.root, "file")
        with fails_with(errno.ENOENT):
            chain.symlink(token, "target", hand.root, "no/name")
        with fails_with(errno.ENAMETOOLONG):
            chain.symlink(token, "target", hand.root, _TOO_LONG)
        with fails_with(errno.ENOENT):
            chain.readlink(token, hand.root, "no")
        with fails_with(errno.ENOTDIR):
            chain.readlink(token, hand.root, "file/name")
        with fails_with(errno.ELOOP):
            chain.stat(token, hand.root, "loop", True)
        with fails_with(errno.EXDEV):
            chain.stat(token, hand.root, "out", True)


@check(Capability.HARD_LINKS)
def only_a_file_that_is_there_gets_a_further_name(chain: Chain, token: ImpersonationToken) -> None:
    """EPERM for a directory, ENOENT for a file that has no name any more, and beneath nothing."""
    with hand_of(chain, token) as hand:
        file = hand.make("file")
        hand.mkdir("directory")
        with fails_with(errno.EPERM):
            chain.link(token, hand.open("directory"), hand.root, "second")
        with fails_with(errno.ENOENT):
            chain.link(token, file, hand.root, "no/name")
        with fails_with(errno.ENAMETOOLONG):
            chain.link(token, file, hand.root, _TOO_LONG)
        chain.unlink(token, hand.root, "file")
        with fails_with(errno.ENOENT):
            chain.link(token, file, hand.root, "again")
        assert hand.names() == {"directory"}


@check(Capability.STREAMS)
def a_stream_gets_no_name_that_is_too_long(chain: Chain, token: ImpersonationToken) -> None:
    """And keeps the one that it has."""
    with hand_of(chain, token) as hand:
        file = hand.make("file")
        chain.close(token, chain.open_stream(token, file, "stream", CREATE))
        with fails_with(errno.ENAMETOOLONG):
            chain.rename_stream(token, file, "stream", "ä" * 255, False)
        assert [entry.name for entry in chain.list_streams(token, hand.open("file", OpenHow()))] == ["stream"]


__all__ = [
    "a_directory_has_no_data_and_a_file_no_entries",
    "a_stream_gets_no_name_that_is_too_long",
    "files_and_directories_do_not_replace_each_other",
    "links_are_made_and_read_as_other_names_are",
    "only_a_file_that_is_there_gets_a_further_name",
    "what_lies_beneath_no_directory_is_told_so",
]
