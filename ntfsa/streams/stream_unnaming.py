"""Renaming a named stream to "::$DATA": it becomes its file's data (MS-FSA 2.1.5.15.11.1).

As for other targets, what is replaced must be empty and not open. The data is copied, for no file system that keeps
streams beside a file can put one in its place.
"""

from typing import TYPE_CHECKING, Final

from lamina.ntfsa.fscc import notify_information as n
from lamina.ntfsa.grants.grant_holders import forget_grants
from lamina.ntfsa.opening.sharing import close_file, open_file
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.streams.stream_changes import tell_data_changed, tell_stream_name
from lamina.ntfsa.streams.stream_opens import detach, key_of_file
from lamina.vfs_modules.engine import breathe
from lamina.vfs_modules.operations import Access, OpenHow

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.handle import VfsHandle
    from lamina.vfs_modules.token import ImpersonationToken

_PIECE: Final = 1 << 20
_READ_WRITE: Final = OpenHow(Access.READ_WRITE)
_READ: Final = OpenHow(Access.READ)


def become_unnamed(token: "ImpersonationToken", open_: "NtOpen") -> None:
    """Make the stream of `open_` the data of its file, and the open one of that.

    Raises INVALID_PARAMETER where the file holds data or either is in use.
    """
    volume, key = open_.volume, open_.file_key
    others = [entry for entry in volume.registry.read(key_of_file(key)).opens if entry.granted_access]
    if others or len(volume.registry.read(key).opens) != 1:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "the file or the stream is in use")
    chain = volume.whole_chain
    file = chain.open(token, volume.root, open_.vfs_path, _READ_WRITE)
    try:
        stat = chain.fstat(token, file)
        if (stat.dev, stat.ino) != key[:2] or stat.size:
            raise NtStatusError(NtStatus.INVALID_PARAMETER, "the file holds data")
        source = chain.open_stream(token, file, open_.stream, _READ)
        try:
            _copy(token, open_, source, file)
        finally:
            chain.close(token, source)
        chain.remove_stream(token, file, open_.stream)
    except BaseException:
        chain.close(token, file)
        raise
    tell_stream_name(open_, open_.stream, n.FILE_ACTION_REMOVED_STREAM)
    _turn(token, open_, file)
    tell_data_changed(open_, n.WRITTEN)


def _copy(token: "ImpersonationToken", open_: "NtOpen", source: "VfsHandle", target: "VfsHandle") -> None:
    chain = open_.volume.whole_chain
    buffer, offset = memoryview(bytearray(_PIECE)), 0
    while count := chain.pread(token, source, buffer, offset):
        offset += chain.pwrite(token, target, buffer[:count], offset)
        breathe()


def _turn(token: "ImpersonationToken", open_: "NtOpen", file: "VfsHandle") -> None:
    """Let the open of the stream be one of the file, through the handle `file`."""
    volume, registry = open_.volume, open_.volume.registry
    entry = registry.read(open_.file_key).find_open(open_.owner)
    registry.update(open_.file_key, close_file, open_.owner)
    forget_grants(open_)
    volume.remove_open(open_)
    detach(token, open_)
    volume.chain.close(token, open_.handle)
    open_.path = open_.path.rpartition(":")[0]
    open_.stream, open_.chain, open_.file_key = "", volume.chain, key_of_file(open_.file_key)
    open_.handle = open_.data = file
    flags = entry.flags if entry is not None else 0
    registry.update(open_.file_key, open_file, open_.owner, open_.granted_access, open_.share_access, flags, True)
    volume.add_open(open_)
