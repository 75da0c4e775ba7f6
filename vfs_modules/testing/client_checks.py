"""Checks of a store that has other clients: for profiles with a `second_client`.

A second chain over the same share stands for another server, or for programs beside this one.
"""

import asyncio
import errno

from lamina.vfs_modules.changes import Change, ChangeKind, ChangeQuery
from lamina.vfs_modules.engine import wait
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.outside import RangeLock
from lamina.vfs_modules.testing.hand import READ, READ_WRITE, fails_with, hand_of
from lamina.vfs_modules.testing.profile import Feature
from lamina.vfs_modules.testing.trial import Trial, trial

_SOON = 20.0
"""Seconds in which a source must have told of a change."""


@trial(feature=Feature.SECOND_CLIENT)
def another_client_sees_what_was_done(subject: Trial) -> None:
    """Names at once, data when the file was closed or `fsync` has returned, and the other way round."""
    with subject.chain() as first, subject.second_chain() as second:
        for here, there in ((first, second), (second, first)):
            with hand_of(here, subject.token) as hand, hand_of(there, subject.token) as other:
                handle = hand.make("file", b"data")
                here.fsync(subject.token, handle)
                assert other.read(other.open("file", READ), 99) == b"data"
                hand.rename("file", "moved")
                assert other.names() == {"moved"}
                with fails_with(errno.EEXIST):
                    other.mkdir("moved")
                there.unlink(subject.token, other.root, "moved")
                assert hand.names() == set()


@trial(Capability.WATCH_CHANGES, Feature.SECOND_CLIENT)
def changes_of_another_client_are_told(subject: Trial) -> None:
    """Without anybody having asked again: the watch wakes whoever waits for it."""
    with (
        subject.chain() as first,
        subject.second_chain() as second,
        hand_of(first, subject.token) as hand,
        hand_of(second, subject.token) as other,
    ):
        hand.mkdir("directory")
        woken = asyncio.Event()
        query = ChangeQuery(False, False, woken.set)
        watch = first.watch_changes(subject.token, hand.open("directory"), query)
        try:
            other.make("directory/file")
            told: list[Change] = []
            while not any(change.path == "file" for change in told):
                wait(asyncio.wait_for(woken.wait(), _SOON))
                woken.clear()
                told += watch.poll()
            assert any(change.kind is ChangeKind.ADDED for change in told)
        finally:
            watch.close()


@trial(Capability.RANGE_LOCKS, Feature.SECOND_CLIENT)
def range_locks_exclude_another_client(subject: Trial) -> None:
    """As long as they are held, and no longer."""
    with (
        subject.chain() as first,
        subject.second_chain() as second,
        hand_of(first, subject.token) as hand,
        hand_of(second, subject.token) as other,
    ):
        mine, theirs = hand.make("file", b"data"), other.open("file", READ_WRITE)
        first.set_range_lock(subject.token, mine, 0, 2, RangeLock.EXCLUSIVE)
        with fails_with(errno.EAGAIN):
            second.set_range_lock(subject.token, theirs, 1, 2, RangeLock.SHARED)
        second.set_range_lock(subject.token, theirs, 2, 2, RangeLock.EXCLUSIVE)
        first.set_range_lock(subject.token, mine, 0, 2, RangeLock.NONE)
        second.set_range_lock(subject.token, theirs, 0, 4, RangeLock.EXCLUSIVE)


__all__ = [
    "another_client_sees_what_was_done",
    "changes_of_another_client_are_told",
    "range_locks_exclude_another_client",
]
