"""Hard links (MS-FSA 2.1.5.15.6 FileLinkInformation)."""

from typing import TYPE_CHECKING

from lamina.ntfsa.metadata.rename import check_replaceable, new_name, new_place, require_open_parent, still_names
from lamina.ntfsa.naming.lookup import join, stat_or_none
from lamina.ntfsa.security.access import require_child_creation
from lamina.ntfsa.status import NtStatus, NtStatusError

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.fscc.set_information import RenameInformation
    from lamina.ntfsa.open_state import NtOpen


def link(context: "NtContext", open_: "NtOpen", asked: "RenameInformation") -> None:
    """Give the file of an open a further name.

    Raises FILE_IS_A_DIRECTORY, OBJECT_NAME_COLLISION, ACCESS_DENIED, DELETE_PENDING, OBJECT_PATH_NOT_FOUND.
    """
    while not _link(context, open_, asked):
        pass


def _link(context: "NtContext", open_: "NtOpen", asked: "RenameInformation") -> bool:
    """False where others were changing the name, and all must be looked at again."""
    if open_.is_directory:
        raise NtStatusError(NtStatus.FILE_IS_A_DIRECTORY)
    if open_.stream:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a stream has no links")
    volume, token = open_.volume, context.token
    if volume.registry.read(open_.file_key).delete_pending:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "the file is about to be deleted")
    where = new_place(context, open_, asked.name)
    require_open_parent(open_, where)
    require_child_creation(volume, context, where.parent, where.parent_stat, False)
    target = join(where.parent, new_name(open_, asked.name))
    stat = stat_or_none(volume, token, where.vfs_path, follow=not open_.posix) if where.found else None
    if stat is not None:
        check_replaceable(context, open_, where.vfs_path, stat, asked)
        if (stat.dev, stat.ino) == open_.file_key[:2]:
            return True
    change = volume.name_changes.begin(where.vfs_path, target)
    if change is None:
        return False
    with change:
        if stat is not None:
            if not still_names(context, open_, where.vfs_path, stat):
                return False
            volume.chain.unlink(token, volume.root, where.vfs_path)
            change.removed(where.vfs_path, False, open_.parent_key)
        volume.chain.link(token, open_.handle, volume.root, target)
        change.added(target, False, open_.parent_key)
    return True
