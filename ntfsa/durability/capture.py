"""Taking down what an open holds, for the record that survives the server (`open_record`)."""

from typing import TYPE_CHECKING

from lamina.ntfsa.durability.open_record import LeaseState, OpenState
from lamina.ntfsa.record import STABLE, FileRecord, Grant, LockRange

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen


def capture(open_: "NtOpen", cookie: bytes) -> OpenState:
    """The state of an open as it is now; `cookie` is what the chain finds its file again with."""
    record = open_.volume.registry.read(open_.file_key)
    held = next((grant for grant in record.grants if open_.owner in grant.owners), None)
    return OpenState(
        open_.path,
        open_.vfs_path,
        open_.stream,
        open_.file_key[:2],
        cookie,
        open_.granted_access,
        open_.share_access,
        open_.options,
        open_.mode,
        open_.position,
        open_.reserved,
        open_.delete_on_close,
        record.delete_pending,
        open_.posix,
        open_.posix_delete,
        open_.has_written,
        open_.unarchived,
        _rights(held) if held is not None and not held.lease else 0,
        _lease(open_, held),
        _locks(record, open_.owner),
    )


def _lease(open_: "NtOpen", held: Grant | None) -> LeaseState | None:
    lease = open_.lease
    if lease is None or held is None:
        return None
    return LeaseState(lease.key, lease.version, _rights(held), held.epoch, open_.parent_key)


def _rights(held: Grant) -> int:
    """What is left of a grant: whoever comes back in the middle of a break finds it over."""
    return held.state if held.breaking_to == STABLE else held.breaking_to


def _locks(record: FileRecord, owner: int) -> tuple[LockRange, ...]:
    return tuple(
        LockRange(lock.offset, lock.end - lock.offset, lock.exclusive) for lock in record.locks if lock.owner == owner
    )
