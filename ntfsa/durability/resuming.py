"""Opens of a process that is gone, made anew in another under their own numbers: the record of the file has stayed.

Unlike after a restart of the server (`keeping`) nothing is asked for again, neither sharing nor locks nor caching:
all of it was held without a gap.
"""

import errno
from typing import TYPE_CHECKING

from lamina.ntfsa.durability.keeping import fill
from lamina.ntfsa.durability.rules import Kind
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_II, OPLOCK_LEVEL_NONE
from lamina.ntfsa.grants.grant_holders import Oplock
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.opening.create_check import data_access
from lamina.ntfsa.opening.sharing import close_file
from lamina.ntfsa.record import STABLE, Grant
from lamina.ntfsa.streams.stream_opens import keys_of_open, lead_to
from lamina.vfs_modules.operations import OpenHow
from lamina.vfs_modules.token import SERVER_TOKEN

if TYPE_CHECKING:
    from lamina.ntfsa.durability.open_record import OpenState
    from lamina.ntfsa.record import FileKey, FileRecord
    from lamina.ntfsa.registry import Registry
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.handle import VfsHandle


def resume(volume: "NtVolume", key: "FileKey", owner: int, state: "OpenState", kind: Kind) -> NtOpen | None:
    """The open `owner` of the file `key` again, or None, and it is closed.

    That is where it is closed already, or was promised no more than what it rested on and has lost that, or was about
    to. Raises OSError where its file is not to be found; it is closed then, too.
    """
    record = volume.registry.read(key)
    grant = _grant(record, owner)
    rests = grant is not None and grant.breaking_to == STABLE
    if record.find_open(owner) is None or (kind is Kind.DURABLE and not rests):
        # Who breaks what is left without a client does not wait for it.
        close_records(volume.registry, key, owner)
        return None
    try:
        return _opened(volume, key, owner, state, grant)
    except BaseException:
        close_records(volume.registry, key, owner)
        raise


def _grant(record: "FileRecord", owner: int) -> Grant | None:
    return next((grant for grant in record.grants if owner in grant.owners), None)


def close_records(registry: "Registry", key: "FileKey", owner: int) -> None:
    """Take an open that no process has out of the records it stands in."""
    for each in keys_of_open(key):
        registry.update(each, close_file, owner)


def _opened(volume: "NtVolume", key: "FileKey", owner: int, state: "OpenState", grant: Grant | None) -> NtOpen:
    handle = _handle(volume, state)
    try:
        stat = volume.chain.fstat(SERVER_TOKEN, handle)
        if (stat.dev, stat.ino) != key[:2]:
            raise OSError(errno.ESTALE, "the name means another file by now")
        open_ = NtOpen(volume, handle, state.path, state.vfs_path, key, owner)
        if state.stream:
            how = OpenHow(data_access(state.granted_access))
            lead_to(open_, volume.whole_chain.open_stream(SERVER_TOKEN, handle, state.stream, how), state.stream)
    except BaseException:
        volume.chain.close(SERVER_TOKEN, handle)
        raise
    fill(open_, state)
    volume.add_open(open_)
    if grant is not None and grant.lease:
        volume.leases.resume(open_, grant, state.lease.version if state.lease is not None else 1)
    elif grant is not None:
        open_.oplock = Oplock(open_, grant.address)
        volume.registry.subscribe(grant.address, open_.oplock.broken)
    return open_


def _handle(volume: "NtVolume", state: "OpenState") -> "VfsHandle":
    how = OpenHow(data_access(0 if state.stream else state.granted_access))
    if state.cookie:
        return volume.whole_chain.durable_open(SERVER_TOKEN, volume.root, state.cookie, how)
    return volume.chain.open(SERVER_TOKEN, volume.root, state.vfs_path, how)


def is_still_held(open_: NtOpen) -> bool:
    """Whether nobody has begun to break what a resumed open rests on before it could be told."""
    grant = _grant(open_.volume.registry.read(open_.file_key), open_.owner)
    return grant is not None and grant.breaking_to == STABLE


def give_up_what_breaks(open_: NtOpen) -> None:
    """Answer a break that the process before was told of: a client that is gone keeps what is to be left in the end.

    For an open that stays whatever it rests on.
    """
    grant = _grant(open_.volume.registry.read(open_.file_key), open_.owner)
    if grant is None or grant.breaking_to == STABLE:
        return
    if open_.lease is not None:
        open_.lease.acknowledge(grant.breaking_to)
    elif open_.oplock is not None:
        open_.oplock.acknowledge(OPLOCK_LEVEL_II if grant.breaking_to else OPLOCK_LEVEL_NONE)
