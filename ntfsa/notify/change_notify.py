"""Waiting for changes in a directory (MS-FSA 2.1.5.11 Server Requests Change Notifications for a Directory)."""

import asyncio
from typing import TYPE_CHECKING

from lamina.ntfsa import constants as c
from lamina.ntfsa.notify.local_changes import LocalChanges
from lamina.ntfsa.notify.watchers import WaitingNotify, Watcher, Watchers
from lamina.ntfsa.result import Information
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules import engine
from lamina.vfs_modules.operations import Capability

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.token import ImpersonationToken


def change_notify(
    context: "NtContext", open_: "NtOpen", completion_filter: int, watch_tree: bool, max_length: int
) -> Information:
    """Changes in a directory since the last request on this open, or the next one; waits for it.

    `completion_filter` is FILE_NOTIFY_CHANGE_*; it and `watch_tree` count in the first request on an open only.
    Answers FILE_NOTIFY_INFORMATION, or NOTIFY_ENUM_DIR where there is not room for it in `max_length` bytes. Raises
    INVALID_PARAMETER (not a directory), ACCESS_DENIED, DELETE_PENDING, NOTIFY_CLEANUP (closed meanwhile),
    NOT_IMPLEMENTED (the share's settings say so; MS-FSA 2.1.5.11: an object store need not).
    """
    if open_.volume.settings.change_notify == "off":
        raise NtStatusError(NtStatus.NOT_IMPLEMENTED, "change notification is switched off")
    if not open_.is_directory:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "only directories are watched")
    if not open_.granted_access & c.FILE_LIST_DIRECTORY:
        raise NtStatusError(NtStatus.ACCESS_DENIED)
    _require_staying(open_)
    watcher = open_.watcher
    if watcher is None:
        watcher = Watcher(open_.vfs_path, completion_filter, watch_tree, max_length)
        _watch(context, open_, watcher)
        # That may have taken waiting.
        _require_staying(open_)
    known = watcher.take(max_length)
    return known if known is not None else _wait(watcher, max_length)


def _require_staying(open_: "NtOpen") -> None:
    if open_.volume.registry.read(open_.file_key).delete_pending:
        raise NtStatusError(NtStatus.DELETE_PENDING)


def _watch(context: "NtContext", open_: "NtOpen", watcher: Watcher) -> None:
    open_.watcher = watcher
    try:
        begin_watching(context.token, open_, watcher)
    except BaseException:
        # Half a watch is none: the next request begins anew.
        unwatch(open_)
        raise


def sees_local_changes(volume: "NtVolume") -> bool:
    """Whether those who watch learn of what is done beside SMB."""
    return volume.settings.change_notify == "all" and bool(volume.capabilities & Capability.WATCH_CHANGES)


def begin_watching(token: "ImpersonationToken", open_: "NtOpen", watcher: Watcher) -> None:
    """Tell `watcher` of changes in the directory that is open; may wait. What it raises leaves it watching."""
    volume = open_.volume
    watchers = _watchers_of(volume)
    watchers.add(watcher)
    if volume.peers is not None:
        volume.peers.begin_watching()
    if watchers.local is not None and watchers.has(watcher):
        watchers.local.begin(token, open_, watcher)


def _watchers_of(volume: "NtVolume") -> Watchers:
    watchers = volume.watchers
    if watchers is None:
        watchers = volume.watchers = Watchers(volume.peers)
        if sees_local_changes(volume):
            watchers.local = LocalChanges(volume, watchers)
    return watchers


def _wait(watcher: Watcher, max_length: int) -> Information:
    future: asyncio.Future[Information] = asyncio.get_running_loop().create_future()
    waiting = WaitingNotify(future, max_length)
    watcher.waiting.append(waiting)
    try:
        return engine.wait(future, indefinite=True)
    except engine.RequestCancelled:
        if future.done() and not future.cancelled():
            # The change came first: the client would never learn of it otherwise.
            return future.result()
        raise
    finally:
        if not future.done():
            future.cancel()
        if waiting in watcher.waiting:
            watcher.waiting.remove(waiting)


def unwatch(open_: "NtOpen") -> None:
    """End what `change_notify` began, when the open is closed; requests that wait end with NOTIFY_CLEANUP."""
    watcher = open_.watcher
    if watcher is not None:
        open_.watcher = None
        end_watching(open_.volume, watcher)


def end_watching(volume: "NtVolume", watcher: Watcher) -> None:
    """End what `begin_watching` began."""
    if volume.watchers is None:
        return
    volume.watchers.remove(watcher)
    if not volume.watchers:
        if volume.peers is not None:
            volume.peers.end_watching()
            if volume.peers.is_watched:
                return
        # So that nothing is spent on changes that nobody watches.
        volume.watchers = None


def watched_elsewhere(volume: "NtVolume", begins: bool) -> None:
    """Somebody watches the share on another worker, or nobody does any more: changes are told there, too."""
    watchers = _watchers_of(volume) if begins else volume.watchers
    if watchers is not None and watchers.local is not None:
        watchers.local.watched_elsewhere()
    if not begins and not watchers:
        volume.watchers = None
