"""Renaming a named stream (MS-FSA 2.1.5.15.11.1 Algorithm for Performing Stream Rename)."""

from typing import TYPE_CHECKING

from lamina.ntfsa.fscc import notify_information as n
from lamina.ntfsa.naming.names import DIRECTORY_STREAM, fold, parse_stream
from lamina.ntfsa.opening.create_check import data_access
from lamina.ntfsa.opening.create_stream import find_stream
from lamina.ntfsa.record import EMPTY_RECORD, FileKey, FileRecord, Outcome
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.streams.stream_changes import tell_stream_name
from lamina.ntfsa.streams.stream_unnaming import become_unnamed
from lamina.vfs_modules.operations import OpenHow

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.fscc.set_information import RenameInformation
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.token import ImpersonationToken


def rename_stream(context: "NtContext", open_: "NtOpen", asked: "RenameInformation") -> None:
    """Give the stream of an open another name, ":name" or ":name:$DATA".

    An existing stream is replaced only if it is empty and not open. Raises SHARING_VIOLATION for a name with a path
    (as Windows does: the file is in use), INVALID_PARAMETER, OBJECT_TYPE_MISMATCH, OBJECT_NAME_COLLISION, and
    NOT_SUPPORTED for the unnamed stream.
    """
    name = _new_name(open_, asked.name)
    if not name:
        become_unnamed(context.token, open_)
        return
    if name == open_.stream:
        return
    volume, token = open_.volume, context.token
    key = (*open_.file_key[:2], fold(name))
    existing = find_stream(volume, token, open_.handle, name).name
    replaces = existing is not None and existing != open_.stream
    if replaces:
        _require_replaceable(token, open_, str(existing), key, asked.replace)
    opens = list(volume.opens_of(open_.file_key))
    if len(volume.registry.read(open_.file_key).opens) != len(opens):
        raise NtStatusError(NtStatus.SHARING_VIOLATION, "the stream is open through another share, too")
    before = open_.stream
    _rename(token, opens, before, name, str(existing) if replaces else None)
    if key != open_.file_key:
        _move_record(opens, open_.file_key, key)
    tell_stream_name(open_, before, n.FILE_ACTION_REMOVED_STREAM)
    tell_stream_name(open_, name, n.FILE_ACTION_ADDED_STREAM)


def _new_name(open_: "NtOpen", given: str) -> str:
    if not given.startswith(":"):
        raise NtStatusError(NtStatus.SHARING_VIOLATION, "a file is not renamed through a stream")
    try:
        name, stream_type = parse_stream(given[1:])
    except NtStatusError as error:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "not the name of a stream") from error
    if stream_type == DIRECTORY_STREAM:
        raise NtStatusError(NtStatus.OBJECT_TYPE_MISMATCH)
    if open_.is_directory or (not name and open_.handle.is_directory):
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a directory has no unnamed stream")
    if not open_.stream:
        raise NtStatusError(NtStatus.NOT_SUPPORTED, "the unnamed stream has no other name")
    return name


def _require_replaceable(
    token: "ImpersonationToken", open_: "NtOpen", existing: str, key: FileKey, replace: bool
) -> None:
    if not replace:
        raise NtStatusError(NtStatus.OBJECT_NAME_COLLISION)
    sizes = {entry.name: entry.size for entry in open_.volume.chain.list_streams(token, open_.handle)}
    if sizes.get(existing) or open_.volume.registry.read(key).opens:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "the target is in use, or holds data")


def _rename(token: "ImpersonationToken", opens: "list[NtOpen]", source: str, target: str, replaced: str | None) -> None:
    """Rename, with no handle of the stream open meanwhile."""
    chain, handle = opens[0].volume.whole_chain, opens[0].handle
    if replaced is not None and replaced != target:
        chain.remove_stream(token, handle, replaced)
    for each in opens:
        chain.close(token, each.data)
    name = source
    try:
        chain.rename_stream(token, handle, source, target, replaced is not None)
        name = target
    finally:
        for each in opens:
            each.data = chain.open_stream(token, each.handle, name, OpenHow(data_access(each.granted_access)))
            each.stream = name
            each.path = f"{each.path.rpartition(':')[0]}:{name}"


def _take(_: FileRecord, before: FileRecord) -> Outcome[None]:
    return Outcome(before, None)


def _move_record(opens: "list[NtOpen]", source: FileKey, target: FileKey) -> None:
    volume = opens[0].volume
    record = volume.registry.read(source)
    volume.registry.update(target, _take, record)
    volume.registry.update(source, _take, EMPTY_RECORD)
    for each in opens:
        volume.remove_open(each)
        each.file_key = target
        volume.add_open(each)
        if each.lease is not None:
            each.lease.file_key = target
