"""Opens of a process that is gone, made anew in another under their own numbers: the record of the file has stayed.

Unlike after a restart of the server (`keeping`) nothing is asked for again, neither sharing nor locks nor caching:
all of it was held without a gap.
"""

import errno
from typing import TYPE_CHECKING

from lamina.ntfsa.durability.keeping import fill
from lamina.ntfsa.grants.grant_holders import Oplock
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.opening.create_check import data_access
from lamina.ntfsa.opening.sharing import close_file
from lamina.ntfsa.record import STABLE, Grant
from lamina.vfs_modules.operations import OpenHow
from lamina.vfs_modules.token import SERVER_TOKEN

if TYPE_CHECKING:
    from lamina.ntfsa.durability.open_record import OpenState
    from lamina.ntfsa.record import FileKey
    from lamina.ntfsa.volume import NtVolume


def resume(volume: "NtVolume", key: "FileKey", owner: int, state: "OpenState") -> NtOpen | None:
    """The open `owner` of the file `key` again, or None, and it is closed.

    That is where it has lost what it was kept for, or was about to. Raises OSError where its file is not to be found
    under the name it had; it is closed then, too.
    """
    record = volume.registry.read(key)
    grant = next((grant for grant in record.grants if owner in grant.owners), None)
    if record.find_open(owner) is None or grant is None or grant.breaking_to != STABLE:
        # Who breaks what is left without a client does not wait for it.
        volume.registry.update(key, close_file, owner)
        return None
    try:
        return _opened(volume, key, owner, state, grant)
    except BaseException:
        volume.registry.update(key, close_file, owner)
        raise


def _opened(volume: "NtVolume", key: "FileKey", owner: int, state: "OpenState", grant: Grant) -> NtOpen:
    how = OpenHow(data_access(state.granted_access))
    handle = volume.chain.open(SERVER_TOKEN, volume.root, state.vfs_path, how)
    stat = volume.chain.fstat(SERVER_TOKEN, handle)
    if (stat.dev, stat.ino) != key[:2]:
        volume.chain.close(SERVER_TOKEN, handle)
        raise OSError(errno.ESTALE, "the name means another file by now")
    open_ = NtOpen(volume, handle, state.path, state.vfs_path, key, owner)
    fill(open_, state)
    volume.add_open(open_)
    if state.lease is not None:
        volume.leases.resume(open_, grant, state.lease.version)
    else:
        open_.oplock = Oplock(open_, grant.address)
        volume.registry.subscribe(grant.address, open_.oplock.broken)
    return open_


def is_still_held(open_: NtOpen) -> bool:
    """Whether nobody has begun to break what a resumed open rests on before it could be told."""
    grants = open_.volume.registry.read(open_.file_key).grants
    return any(open_.owner in grant.owners and grant.breaking_to == STABLE for grant in grants)
