"""Opens of named streams beside those of their file: what the file must know of them, and what they must of it.

Each stream has a record of its own (sharing, caching, locks, deletion), as has the file's unnamed one. An open of a
named stream stands in two more: in the file's, with no access, so that the file is in use as long as the stream is; and
in one of all the file's named streams together, which tells an open for DELETE of the file whether they share it
(MS-FSA 2.1.5.1.2.2 Algorithm to Check Sharing Access to an Existing Stream or Directory, 2.1.5.5 Server Requests
Closing an Open).
"""

from typing import TYPE_CHECKING, Final

from lamina.ntfsa.constants import DELETE, FILE_SHARE_ALL
from lamina.ntfsa.opening.sharing import close_file, open_file, share_counts_of, sharing_conflict
from lamina.ntfsa.record import FileKey, FileRecord, OpenEntry, Outcome
from lamina.ntfsa.status import NtStatus, NtStatusError

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.registry import Registry
    from lamina.vfs_modules.handle import VfsHandle
    from lamina.vfs_modules.token import ImpersonationToken

_ALL_STREAMS: Final = ":"
"""The third part of the key of the record of all named streams: no stream can be called so."""


def key_of_file(key: FileKey) -> FileKey:
    """The key of the record of a stream's file."""
    return (key[0], key[1], "")


def key_of_all_streams(key: FileKey) -> FileKey:
    """The key of the record that all opens of a file's named streams stand in."""
    return (key[0], key[1], _ALL_STREAMS)


def keys_of_open(key: FileKey) -> tuple[FileKey, ...]:
    """The keys of the records that an open of this file or stream stands in."""
    return (key, key_of_file(key), key_of_all_streams(key)) if key[2] else (key,)


def note_stream(record: FileRecord, owner: int, granted_access: int, share_access: int) -> Outcome[None]:
    """Enter an open of a stream among those of all; they are in nobody's way here."""
    entry = OpenEntry(owner, granted_access, share_access, 0)
    opens = tuple(sorted((*record.opens, entry)))
    counts = record.share_counts + share_counts_of((entry,))
    return Outcome(record._replace(opens=opens, share_counts=counts, version=record.version + 1), None)


def require_streams_share_delete(registry: "Registry", key: FileKey) -> None:
    """SHARING_VIOLATION where a named stream of the file is open that does not share deleting."""
    if sharing_conflict(registry.read(key_of_all_streams(key)), DELETE, FILE_SHARE_ALL):
        raise NtStatusError(NtStatus.SHARING_VIOLATION, "a stream of the file is open")


def has_open_streams(registry: "Registry", key: FileKey) -> bool:
    """Whether a named stream of the file is open."""
    return bool(registry.read(key_of_all_streams(key)).opens)


def attach(open_: "NtOpen", data: "VfsHandle", name: str) -> None:
    """Make `open_`, which is registered under the stream's key, one of the stream whose data is `data`.

    Raises DELETE_PENDING where its file is about to go.
    """
    volume, key = open_.volume, open_.file_key
    lead_to(open_, data, name)
    status = volume.registry.update(key_of_file(key), open_file, open_.owner, 0, FILE_SHARE_ALL, 0, True).result
    if status is not NtStatus.SUCCESS:
        raise NtStatusError(status)
    volume.registry.update(key_of_all_streams(key), note_stream, open_.owner, open_.granted_access, open_.share_access)


def lead_to(open_: "NtOpen", data: "VfsHandle", name: str) -> None:
    """Have what is done with the data of an open done to this stream, which its records have already."""
    open_.data, open_.chain, open_.stream = data, open_.volume.whole_chain, name
    open_.is_directory = False


def detach(token: "ImpersonationToken", open_: "NtOpen") -> None:
    """Take the open out of the file's records, and close its data."""
    registry, key = open_.volume.registry, open_.file_key
    registry.update(key_of_file(key), close_file, open_.owner)
    registry.update(key_of_all_streams(key), close_file, open_.owner)
    open_.chain.close(token, open_.data)
