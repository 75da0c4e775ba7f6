"""The checks of what is asked of many entries of a directory at once: as if each had been asked for itself."""

import errno
from collections.abc import Sequence

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Capability, EntryXattrs
from lamina.vfs_modules.operations.one_by_one import xattrs_one_by_one
from lamina.vfs_modules.testing.hand import LIST, PATH, Hand, check, hand_of
from lamina.vfs_modules.token import ImpersonationToken

_NAMES = ("user.test", "user.nobody", "user.other")
_MANY = 150


def asked(hand: Hand, directory: VfsHandle, entries: Sequence[str], names: Sequence[str] = _NAMES) -> list[EntryXattrs]:
    """What is answered of entries, which is what each of them says itself."""
    found = hand.chain.getxattrs_in(hand.token, directory, entries, names)
    alone = xattrs_one_by_one(hand.chain, hand.token, directory, entries, names)
    assert [entry.values for entry in found] == [entry.values for entry in alone]
    assert [sorted(entry.names) for entry in found] == [sorted(entry.names) for entry in alone]
    return found


@check(Capability.XATTRS)
def attributes_of_many_entries_are_those_of_each(chain: Chain, token: ImpersonationToken) -> None:
    """In the order of the question, of files and directories, through any handle; what is wrong with one is its own."""
    with hand_of(chain, token) as hand:
        hand.mkdir("directory")
        hand.mkdir("directory/inner")
        stored = {
            "small": b"value",
            "empty": b"",
            "large": b"x" * 3000,
            "bl\u00fcte": b"\0",
            "inner": b"of a directory",
        }
        for name, value in stored.items():
            handle = hand.open(f"directory/{name}") if name == "inner" else hand.make(f"directory/{name}")
            chain.setxattr(token, handle, "user.test", value)
        chain.setxattr(token, hand.open("directory/small"), "user.other", b"second")
        hand.make("directory/bare")
        entries = ["bare", *stored, "gone", "small"]
        for how in (LIST, PATH):
            found = asked(hand, hand.open("directory", how), entries)
            values = [errno.ENODATA, *stored.values(), errno.ENOENT, b"value"]
            assert [entry.values[0] for entry in found] == values
            assert [set(entry.names) for entry in (found[0], found[1])] == [set(), {"user.test", "user.other"}]
            assert found[-1].values == (b"value", errno.ENODATA, b"second")
        directory = hand.open("directory", LIST)
        assert [entry.values for entry in asked(hand, directory, ["small", "bare"], ())] == [(), ()]
        assert chain.getxattrs_in(token, directory, (), _NAMES) == []
        assert chain.getxattrs_in(token, hand.open("directory/small"), ["below"], _NAMES)[0].values[0] == errno.ENOTDIR


@check(Capability.XATTRS)
def attributes_of_entries_are_those_of_now(chain: Chain, token: ImpersonationToken) -> None:
    """Not those of when the directory was read, nor of when they were asked for before."""
    with hand_of(chain, token) as hand:
        hand.mkdir("directory")
        names = [f"file{number}" for number in range(_MANY)]
        for name in names:
            chain.setxattr(token, hand.make(f"directory/{name}"), "user.test", name.encode())
        directory = hand.open("directory", LIST)
        listed = [entry.name for entry in chain.readdir(token, directory, True)]
        found = chain.getxattrs_in(token, directory, listed, ("user.test",))
        assert [entry.values for entry in found] == [(name.encode(),) for name in listed]
        chain.setxattr(token, hand.open("directory/file7"), "user.test", b"changed")
        chain.removexattr(token, hand.open("directory/file8"), "user.test")
        chain.unlink(token, directory, "file9")
        hand.rename("directory/file10", "directory/file9")
        again = asked(hand, directory, ["file7", "file8", "file9", "file10"], ("user.test",))
        assert [entry.values[0] for entry in again] == [b"changed", errno.ENODATA, b"file10", errno.ENOENT]


@check(Capability.XATTRS | Capability.SYMLINKS)
def attributes_of_entries_are_not_those_that_links_lead_to(chain: Chain, token: ImpersonationToken) -> None:
    """A symbolic link that is asked for among others is itself."""
    with hand_of(chain, token) as hand:
        hand.mkdir("directory")
        chain.setxattr(token, hand.make("directory/file"), "user.test", b"value")
        chain.symlink(token, "file", hand.root, "directory/link")
        chain.symlink(token, "nowhere", hand.root, "directory/broken")
        directory = hand.open("directory", LIST)
        for entry in chain.getxattrs_in(token, directory, ["link", "broken"], ("user.test",)):
            assert not isinstance(entry.values[0], bytes)
            assert "user.test" not in entry.names


__all__ = [
    "asked",
    "attributes_of_entries_are_not_those_that_links_lead_to",
    "attributes_of_entries_are_those_of_now",
    "attributes_of_many_entries_are_those_of_each",
]
