"""Checks of impersonation: what is done, is done as the user of the token, in whatever order users come.

For profiles with `users`. The root is opened to everybody first; both users work in it.
"""

import errno
import stat as st
from functools import partial

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.engine import breathe
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Capability, OpenHow
from lamina.vfs_modules.testing.entry_checks import asked
from lamina.vfs_modules.testing.hand import CREATE, LIST, READ, READ_WRITE, Hand, fails_with, hand_of
from lamina.vfs_modules.testing.profile import Feature
from lamina.vfs_modules.testing.trial import LeftOut, Trial, trial
from lamina.vfs_modules.token import ImpersonationToken

_ROUNDS = 20
_REFUSED = (errno.EPERM, errno.EACCES)


def _users(subject: Trial, chain: Chain, by_mode: bool = True) -> tuple[ImpersonationToken, ImpersonationToken]:
    """Both users, for a check that is about what the mode of files allows unless `by_mode` is False."""
    if by_mode and Capability.MODE_IGNORED in chain.capabilities:
        raise LeftOut("MODE_IGNORED: what a user may do is decided above the chain")
    with hand_of(chain, subject.token) as hand:
        chain.fchmod(subject.token, hand.open("", LIST), 0o777)
    assert subject.profile.users is not None
    return subject.profile.users


@trial(feature=Feature.USERS)
def what_is_made_belongs_to_who_made_it(subject: Trial) -> None:
    """Files and directories of two users in turns."""
    with subject.chain() as chain:
        for round_ in range(_ROUNDS):
            for user in _users(subject, chain, by_mode=False):
                with hand_of(chain, user) as hand:
                    name = f"{user.uid}-{round_}"
                    assert chain.fstat(user, hand.make(name)).uid == user.uid
                    hand.mkdir(f"d{name}")
                    status = chain.stat(user, hand.root, f"d{name}")
                    assert (status.uid, status.gid) == (user.uid, user.gid)


@trial(feature=Feature.USERS)
def what_is_not_for_a_user_is_kept_from_him(subject: Trial) -> None:
    """EACCES for opening, and for every change of names in a folder that is another's."""
    with subject.chain() as chain:
        owner, other = _users(subject, chain)
        with hand_of(chain, owner) as hand:
            hand.mkdir("private")
            chain.fchmod(owner, hand.make("secret", b"secret"), 0o600)
            chain.fchmod(owner, hand.open("private", LIST), 0o755)
            hand.make("private/file", b"data")
        with hand_of(chain, other) as hand:
            for how in (READ, READ_WRITE):
                with fails_with(errno.EACCES):
                    hand.open("secret", how)
            _changes_no_names(chain, other, hand)
        with hand_of(chain, owner) as hand:
            assert hand.read(hand.open("secret", READ), 99) == b"secret"
            assert hand.names("private") == {"file"}


def _changes_no_names(chain: Chain, other: ImpersonationToken, hand: Hand) -> None:
    with fails_with(errno.EACCES):
        hand.open("private/new", CREATE)
    with fails_with(errno.EACCES):
        hand.mkdir("private/new")
    with fails_with(errno.EACCES):
        chain.unlink(other, hand.root, "private/file")
    with fails_with(errno.EACCES):
        hand.rename("private/file", "stolen")
    with fails_with(errno.EPERM, errno.EACCES):
        chain.fchmod(other, hand.open("private/file"), 0o777)


@trial(feature=Feature.USERS)
def what_is_kept_of_a_file_is_changed_by_its_owner(subject: Trial) -> None:
    """The owner itself, and where there are such: extended attributes; what is in a folder by the folder's."""
    with subject.chain() as chain:
        owner, other = _users(subject, chain)
        with hand_of(chain, owner) as hand:
            hand.mkdir("folder")
            hand.mkdir("folder/empty")
            file = hand.make("file", b"data")
            if Capability.XATTRS in chain.capabilities:
                chain.setxattr(owner, file, "user.test", b"value")
            chain.fchmod(owner, file, 0o600)
        with hand_of(chain, other) as hand:
            handle, folder = hand.open("file"), hand.open("folder")
            with fails_with(*_REFUSED):
                chain.fchown(other, handle, other.uid, -1)
            with fails_with(errno.EACCES):
                chain.rmdir(other, folder, "empty")
            _changes_nothing_optional(chain, other, handle, folder, chain.capabilities)


def _changes_nothing_optional(
    chain: Chain, other: ImpersonationToken, handle: VfsHandle, folder: VfsHandle, has: Capability
) -> None:
    if Capability.HARD_LINKS in has:
        with fails_with(*_REFUSED):
            chain.link(other, handle, folder, "second")
    if Capability.SYMLINKS in has:
        with fails_with(errno.EACCES):
            chain.symlink(other, "target", folder, "link")
    if Capability.XATTRS in has:
        with fails_with(*_REFUSED):
            chain.getxattr(other, handle, "user.test")
        with fails_with(*_REFUSED):
            chain.setxattr(other, handle, "user.test", b"value")
        with fails_with(*_REFUSED):
            chain.removexattr(other, handle, "user.test")


@trial(feature=Feature.USERS)
def attributes_of_entries_are_for_who_may_see_each(subject: Trial) -> None:
    """Who is asking is the user, also where many are asked for at once."""
    with subject.chain() as chain:
        owner, other = _users(subject, chain)
        if Capability.XATTRS not in chain.capabilities:
            raise LeftOut("XATTRS are not claimed")
        with hand_of(chain, owner) as hand:
            hand.mkdir("folder")
            chain.fchmod(owner, hand.open("folder", LIST), 0o755)
            for name, mode in (("folder/open", 0o644), ("folder/secret", 0o600)):
                file = hand.make(name)
                chain.setxattr(owner, file, "user.test", b"value")
                chain.fchmod(owner, file, mode)
            assert [entry.values[0] for entry in asked(hand, hand.open("folder"), ["open", "secret"])] == [b"value"] * 2
        with hand_of(chain, other) as hand:
            seen, unseen = asked(hand, hand.open("folder"), ["open", "secret"])
            assert seen.values[0] == b"value"
            assert unseen.values[0] in _REFUSED


@trial(feature=Feature.USERS)
def a_directory_is_listed_by_who_may(subject: Trial) -> None:
    """And a path through it is for who may pass."""
    with subject.chain() as chain:
        owner, other = _users(subject, chain)
        with hand_of(chain, owner) as hand:
            hand.mkdir("closed")
            hand.make("closed/file")
            chain.fchmod(owner, hand.open("closed", LIST), 0o700)
        with hand_of(chain, other) as hand:
            with fails_with(errno.EACCES):
                hand.names("closed")
            with fails_with(errno.EACCES):
                hand.open("closed/file", READ)
            with fails_with(errno.EACCES):
                chain.stat(other, hand.root, "closed/file")


@trial(feature=Feature.USERS)
def users_at_the_same_time_are_not_mixed_up(subject: Trial) -> None:
    """However their requests take turns, on the loop and on its threads."""
    with subject.chain() as chain:
        users = _users(subject, chain, by_mode=False)

        def work(user: ImpersonationToken, number: int) -> None:
            with hand_of(chain, user) as hand:
                for turn in range(_ROUNDS):
                    handle = hand.make(f"{user.uid}-{number}-{turn}", b"data")
                    breathe()
                    chain.fsync(user, handle)
                    assert chain.fstat(user, handle).uid == user.uid
                    chain.fchmod(user, handle, 0o640)
                    breathe()
                    assert st.S_IMODE(chain.fstat(user, handle).mode) == 0o640

        for result in subject.at_once(*(partial(work, user, number) for number in range(3) for user in users)):
            if isinstance(result, BaseException):
                raise result
        with hand_of(chain, subject.token) as hand:
            for entry in chain.readdir(subject.token, hand.open("", LIST)):
                assert chain.stat(subject.token, hand.root, entry.name).uid == int(entry.name.partition("-")[0])


@trial(feature=Feature.USERS)
def an_open_handle_stays_open_for_its_user(subject: Trial) -> None:
    """Access is checked when a file is opened: who has it open may read it, whatever its mode becomes."""
    with subject.chain() as chain:
        owner, other = _users(subject, chain)
        with hand_of(chain, owner) as hand, hand_of(chain, other) as others:
            mine = hand.make("file", b"data")
            chain.fchmod(owner, mine, 0o644)
            handle = others.open("file", OpenHow(READ.access))
            chain.fchmod(owner, mine, 0o600)
            assert others.read(handle, 99) == b"data"
            with fails_with(errno.EACCES):
                others.open("file", READ)


__all__ = [
    "a_directory_is_listed_by_who_may",
    "an_open_handle_stays_open_for_its_user",
    "attributes_of_entries_are_for_who_may_see_each",
    "users_at_the_same_time_are_not_mixed_up",
    "what_is_kept_of_a_file_is_changed_by_its_owner",
    "what_is_made_belongs_to_who_made_it",
    "what_is_not_for_a_user_is_kept_from_him",
]
