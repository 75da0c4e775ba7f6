"""Records of persistent opens, in and out of the chain's store, and opens made of them again after a restart.

A record is on stable storage before the client is told of what it says. After a restart the opens come back in two
steps: first all of them are entered with their sharing and their locks, as they stood side by side; then each is given
its caching rights again, as far as those who have come back beside it leave them.
"""

import logging
from typing import TYPE_CHECKING

from lamina.ntfsa import constants as c
from lamina.ntfsa.durability.open_record import OpenRecord, OpenState, decode
from lamina.ntfsa.errors import nt_error
from lamina.ntfsa.grants.caching import LEVEL_OF_STATE
from lamina.ntfsa.grants.grant_holders import LeaseRequest, lease_identity, request_oplock
from lamina.ntfsa.locks.lock import MAX_ELEMENTS, LockElement, lock
from lamina.ntfsa.naming.doomed import Doomed
from lamina.ntfsa.naming.names import fold
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.opening.create_check import data_access
from lamina.ntfsa.opening.create_existing import unregister
from lamina.ntfsa.opening.delete import set_delete_pending
from lamina.ntfsa.opening.sharing import open_file
from lamina.ntfsa.record import OPEN_DELETE_ON_CLOSE, OPEN_POSIX
from lamina.ntfsa.security.access import MODIFIES
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.streams.stream_opens import attach
from lamina.vfs_modules.operations import Capability, OpenHow
from lamina.vfs_modules.token import SERVER_TOKEN

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.handle import VfsHandle

log = logging.getLogger(__name__)


class StoreError(Exception):
    """What a share has kept of persistent opens cannot be used; the message says why."""


def keeps_opens(volume: "NtVolume") -> bool:
    """Whether the volume's chain keeps records of opens and finds their files again."""
    return Capability.PERSISTENT_HANDLES in volume.capabilities


def prepare(context: "NtContext", open_: NtOpen) -> bytes:
    """Get ready to keep a new open; the cookie of its file. Raises NtStatusError where the chain cannot."""
    chain = open_.volume.whole_chain
    try:
        chain.durable_upgrade(context.token, open_.handle)
        return chain.durable_cookie(context.token, open_.handle)
    except OSError as error:
        raise nt_error(error) from error


def keep(volume: "NtVolume", open_id: int, form: bytes) -> None:
    """Return when the record is on stable storage. Raises NtStatusError."""
    try:
        volume.whole_chain.save_open(SERVER_TOKEN, open_id, form)
    except OSError as error:
        log.error("share %s: the record of a persistent open cannot be kept: %s", volume.name, error)
        raise nt_error(error) from error


def forget(volume: "NtVolume", open_id: int) -> None:
    """Forget the record of an open that is closed. A failure is logged: after a restart it would wait in vain."""
    try:
        volume.whole_chain.forget_open(SERVER_TOKEN, open_id)
    except OSError as error:
        log.error("share %s: the record of a closed open stays in the store: %s", volume.name, error)


def kept_records(volume: "NtVolume") -> list[OpenRecord]:
    """All that is kept, or nothing: raises StoreError if any of it cannot be read."""
    records = []
    try:
        for open_id, form in volume.whole_chain.load_opens(SERVER_TOKEN):
            record = decode(form)
            if record.promise.open_id != open_id:
                raise ValueError(f"the record of open {record.promise.open_id} stands under {open_id}")
            records.append(record)
    except (OSError, ValueError) as error:
        raise StoreError(f"what is kept of persistent opens cannot be used: {error}") from error
    return records


def put_back(context: "NtContext", volume: "NtVolume", state: OpenState) -> NtOpen:
    """The open of a record again, with its sharing and its locks; `give_rights` follows when all are back.

    Raises NtStatusError where its file is gone, somebody else has taken what it holds, or the share has become
    read-only.
    """
    if volume.settings.read_only and state.granted_access & MODIFIES:
        raise NtStatusError(NtStatus.MEDIA_WRITE_PROTECTED, "the share is read-only now")
    how = OpenHow(data_access(0 if state.stream else state.granted_access))
    try:
        handle = volume.whole_chain.durable_open(SERVER_TOKEN, volume.root, state.cookie, how)
        try:
            return _entered(context, volume, state, handle)
        except BaseException:
            volume.whole_chain.close(SERVER_TOKEN, handle)
            raise
    except OSError as error:
        raise nt_error(error) from error


def _entered(context: "NtContext", volume: "NtVolume", state: OpenState, handle: "VfsHandle") -> NtOpen:
    stat = volume.whole_chain.fstat(SERVER_TOKEN, handle)
    key = (stat.dev, stat.ino, fold(state.stream))
    owner = volume.registry.new_owner()
    flags = (OPEN_DELETE_ON_CLOSE if state.delete_on_close else 0) | (OPEN_POSIX if state.posix else 0)
    status = volume.registry.update(key, open_file, owner, state.granted_access, state.share_access, flags).result
    if status is not NtStatus.SUCCESS:
        raise NtStatusError(status, "others have opened the file otherwise")
    open_ = NtOpen(volume, handle, state.path, state.vfs_path, key, owner)
    fill(open_, state)
    volume.add_open(open_)
    try:
        if state.stream:
            how = OpenHow(data_access(state.granted_access))
            attach(open_, volume.whole_chain.open_stream(SERVER_TOKEN, handle, state.stream, how), state.stream)
        _take_locks(context, open_, state)
    except BaseException:
        unregister(open_)
        raise
    return open_


def fill(open_: NtOpen, state: OpenState) -> None:
    """Give an open what is written down of it, but for what its file's record has."""
    open_.granted_access = state.granted_access
    open_.share_access = state.share_access
    open_.options = state.options
    open_.mode = state.mode
    open_.position = state.position
    open_.reserved = state.reserved
    open_.delete_on_close = state.delete_on_close
    open_.posix = state.posix
    open_.posix_delete = state.posix_delete
    # The first write after this settles the last write time; those before have done so on disk.
    open_.unarchived = state.unarchived
    if state.lease is not None:
        open_.parent_key = state.lease.parent_key


def _take_locks(context: "NtContext", open_: NtOpen, state: OpenState) -> None:
    kinds = {True: c.SMB2_LOCKFLAG_EXCLUSIVE_LOCK, False: c.SMB2_LOCKFLAG_SHARED_LOCK}
    elements = [
        LockElement(held.offset, held.length, kinds[held.exclusive] | c.SMB2_LOCKFLAG_FAIL_IMMEDIATELY)
        for held in state.locks
    ]
    for start in range(0, len(elements), MAX_ELEMENTS):
        lock(context, open_, elements[start : start + MAX_ELEMENTS])


def give_rights(context: "NtContext", open_: NtOpen, state: OpenState) -> None:
    """Give an open that was put back its caching rights, and its file the deletion that was pending."""
    volume, key, lease = open_.volume, open_.file_key, state.lease
    if state.delete_pending and not volume.settings.read_only:
        volume.registry.update(key, set_delete_pending, True)
        if not open_.stream:
            volume.doomed.note(key, Doomed(open_.vfs_path, open_.parent_key))
    if lease is not None:
        asked = LeaseRequest(lease.key, lease.state, lease.version, lease.epoch, lease.parent_key or None)
        volume.leases.request(SERVER_TOKEN, open_, lease_identity(context, lease.key), asked)
    elif state.oplock:
        request_oplock(open_, LEVEL_OF_STATE[state.oplock])


def let_go(open_: NtOpen) -> None:
    """Give the file of an open back without closing the open: its record stays, and the next start goes on with it."""
    open_.closed = True
    volume = open_.volume
    volume.remove_open(open_)
    try:
        if open_.data is not open_.handle:
            volume.whole_chain.close(SERVER_TOKEN, open_.data)
        volume.chain.close(SERVER_TOKEN, open_.handle)
    except OSError as error:
        log.debug("share %s: %r: %s", volume.name, open_.path, error)
