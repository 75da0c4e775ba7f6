"""Telling watchers of what was changed through an open, be it a file's or a stream's (MS-FSA 2.1.4.1).

What is done with the data of a stream is told with the actions and under the names of streams; everything else of a
stream is its file's.
"""

from typing import TYPE_CHECKING, Final

from lamina.ntfsa.fscc import notify_information as n

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen

_DATA: Final = {
    n.FILE_NOTIFY_CHANGE_SIZE: n.FILE_NOTIFY_CHANGE_STREAM_SIZE,
    n.FILE_NOTIFY_CHANGE_LAST_WRITE: n.FILE_NOTIFY_CHANGE_STREAM_WRITE,
}


def tell_data_changed(open_: "NtOpen", changed: int) -> None:
    """The data was changed through `open_`; `changed`: FILE_NOTIFY_CHANGE_*, as they are for a file."""
    watchers = open_.volume.watchers
    if watchers is None:
        return
    if open_.stream:
        of_stream = sum(flag for of_file, flag in _DATA.items() if changed & of_file)
        watchers.stream_changed(
            open_.vfs_path, open_.stream, n.FILE_ACTION_MODIFIED_STREAM, of_stream, open_.parent_key
        )
    else:
        watchers.modified(open_.vfs_path, changed, open_.parent_key)


def tell_stream_name(open_: "NtOpen", name: str, action: int) -> None:
    """A stream has got the name `name`, or lost it: FILE_ACTION_ADDED_STREAM, FILE_ACTION_REMOVED_STREAM."""
    watchers = open_.volume.watchers
    if watchers is not None:
        watchers.stream_changed(open_.vfs_path, name, action, n.FILE_NOTIFY_CHANGE_STREAM_NAME, open_.parent_key)
