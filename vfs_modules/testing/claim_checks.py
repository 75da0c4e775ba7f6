"""Checks of capabilities that are small enough to be asked about in one place."""

import errno

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.operations import Capability, Times
from lamina.vfs_modules.outside import FileLease
from lamina.vfs_modules.testing.calls import DESCRIPTOR
from lamina.vfs_modules.testing.hand import MOMENT, PATH, READ, READ_WRITE, SECOND, check, fails_with, hand_of
from lamina.vfs_modules.token import ImpersonationToken


@check(Capability.CASE_SENSITIVE)
def names_that_differ_in_case_are_different(chain: Chain, token: ImpersonationToken) -> None:
    """Two files, each found under its own name only."""
    with hand_of(chain, token) as hand:
        hand.make("name", b"small")
        with fails_with(errno.ENOENT):
            hand.open("NAME")
        hand.make("NAME", b"large")
        assert hand.names() == {"name", "NAME"}
        hand.rename("name", "Name")
        assert hand.read(hand.open("Name", READ), 9) == b"small"


@check(Capability.CREATION_TIME)
def the_creation_time_is_known_and_stays(chain: Chain, token: ImpersonationToken) -> None:
    """Through writes, other times that are set, and a rename."""
    with hand_of(chain, token) as hand:
        handle = hand.make("file")
        born = _creation(chain, token, handle)
        assert born is not None
        chain.pwrite(token, handle, memoryview(b"data"), 0)
        chain.set_times(token, handle, Times(access_ns=MOMENT, write_ns=MOMENT))
        hand.rename("file", "moved")
        assert _creation(chain, token, hand.open("moved")) == born
        assert abs(born - chain.fstat(token, hand.make("other")).mtime_ns) < 3600 * SECOND


def _creation(chain: Chain, token: ImpersonationToken, handle: object) -> int | None:
    return chain.get_dos_attributes(token, handle, chain.fstat(token, handle)).creation_ns  # type: ignore[arg-type]


@check(Capability.SECURITY)
def a_security_descriptor_is_kept(chain: Chain, token: ImpersonationToken) -> None:
    """Byte for byte, for files and directories, through a rename, until another one is set."""
    with hand_of(chain, token) as hand:
        hand.make("file")
        hand.mkdir("directory")
        for path in ("file", "directory"):
            handle = hand.open(path, READ)
            chain.set_security(token, handle, DESCRIPTOR)
            assert chain.get_security(token, handle, chain.fstat(token, handle)) == DESCRIPTOR
            hand.rename(path, f"{path}-moved")
            again = hand.open(f"{path}-moved", PATH)
            assert chain.get_security(token, again, chain.fstat(token, again)) == DESCRIPTOR
        fresh = hand.make("file")
        assert chain.get_security(token, fresh, chain.fstat(token, fresh)) != DESCRIPTOR


@check(Capability.LEASES)
def a_lease_is_for_who_is_alone(chain: Chain, token: ImpersonationToken) -> None:
    """EAGAIN while another has the file open in the way of it; what is given back can be taken again."""
    with hand_of(chain, token) as hand:
        handle = hand.make("file")
        other = chain.open(token, hand.root, "file", READ_WRITE)
        with fails_with(errno.EAGAIN):
            chain.set_lease(token, handle, FileLease.WRITE, lambda to: None)
        chain.close(token, other)
        for _ in range(2):
            chain.set_lease(token, handle, FileLease.WRITE, lambda to: None)
            chain.set_lease(token, handle, FileLease.NONE, lambda to: None)


__all__ = [
    "a_lease_is_for_who_is_alone",
    "a_security_descriptor_is_kept",
    "names_that_differ_in_case_are_different",
    "the_creation_time_is_known_and_stays",
]
