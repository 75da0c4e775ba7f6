"""Opens follow a rename: those of what was renamed, of what is beneath it, and the names that are to be deleted."""

from typing import TYPE_CHECKING

from lamina.ntfsa.naming.lookup import nt_path

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.record import FileKey
    from lamina.ntfsa.volume import NtVolume


def move_opens(volume: "NtVolume", key: "FileKey", names: tuple[str, str], is_directory: bool) -> None:
    """Let every open of a file that was renamed, and of what is beneath it, know its new path.

    `names`: the chain path that it had, and the one that it has.
    """
    source, target = names
    volume.moves += 1
    beneath = list(volume.opens_beneath(source)) if is_directory else []
    for other in (*volume.opens_of(key), *volume.stream_opens_of(key)):
        if other.vfs_path == source:
            _moved(other, target)
    volume.doomed.move(source, target, is_directory)
    for other in beneath:
        _moved(other, target + other.vfs_path[len(source) :])


def _moved(open_: "NtOpen", vfs_path: str) -> None:
    open_.vfs_path, open_.path = vfs_path, nt_path(vfs_path)
    if open_.stream:
        open_.path += f":{open_.stream}"
    if open_.watcher is not None and open_.volume.watchers is not None:
        open_.volume.watchers.moved(open_.watcher, vfs_path)
    if open_.lease is not None and open_.lease.watcher is not None and open_.volume.watchers is not None:
        open_.volume.watchers.moved(open_.lease.watcher, vfs_path)
