"""What every source of changes must do, for the conformance suite: see `lamina.vfs_modules.changes`.

The suite can only do what the chain itself does; that others are noticed is for each backend to prove.
"""

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.changes import Change, ChangeKind, ChangeQuery, ChangeWatch
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.testing.hand import check, hand_of
from lamina.vfs_modules.token import ImpersonationToken

__all__ = ["a_source_of_changes_can_be_left_twice", "own_changes_are_told_at_once_or_never"]


@check(Capability.WATCH_CHANGES)
def own_changes_are_told_at_once_or_never(chain: Chain, token: ImpersonationToken) -> None:
    """A poll after an operation tells of it, or no poll ever does; and a watch that is not of a tree stays above it."""
    with hand_of(chain, token) as hand:
        hand.mkdir("a")
        hand.mkdir("a/b")
        watches = [_watch(chain, token, hand.open("a"), tree) for tree in (False, True)]
        hand.make("a/file", b"content")
        hand.rename("a/file", "a/b/file")
        chain.unlink(token, hand.root, "a/b/file")
        flat, tree = ([change for change in watch.poll() if _is_of_a_name(change)] for watch in watches)
        added = Change(ChangeKind.ADDED, "file")
        assert flat in ([], [added, Change(ChangeKind.REMOVED, "file")]), flat
        moved = Change(ChangeKind.RENAMED, "file", False, "b/file")
        assert tree in ([], [added, moved, Change(ChangeKind.REMOVED, "b/file")]), tree
        for watch in watches:
            assert watch.poll() == []
            watch.close()


@check(Capability.WATCH_CHANGES)
def a_source_of_changes_can_be_left_twice(chain: Chain, token: ImpersonationToken) -> None:
    """And nobody is woken afterwards."""
    woken: list[bool] = []
    with hand_of(chain, token) as hand:
        query = ChangeQuery(True, True, lambda: woken.append(True))
        watch = chain.watch_changes(token, hand.root, query)
        watch.close()
        watch.close()
        hand.make("file")
    assert not woken


def _watch(chain: Chain, token: ImpersonationToken, handle: VfsHandle, tree: bool) -> ChangeWatch:
    return chain.watch_changes(token, handle, ChangeQuery(tree, False, lambda: None))


def _is_of_a_name(change: Change) -> bool:
    return change.kind not in {ChangeKind.DATA, ChangeKind.ATTRIBUTES}
