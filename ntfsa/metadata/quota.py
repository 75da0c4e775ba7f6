"""Quotas: what users and groups have on a volume, and may have (MS-FSA 2.1.5.21, 2.1.5.22; MS-SMB2 3.3.5.20.4).

The file system counts and enforces; here it is decided who may know and change it. Administrators may; everybody else
learns of himself and of the groups he is in, and changes nothing.
"""

import errno
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from lamina.ntfsa import constants as c
from lamina.ntfsa.borders import translated
from lamina.ntfsa.context import NtContext
from lamina.ntfsa.fscc.quota_information import (
    NO_LIMIT,
    QuotaBuffer,
    QuotaEntry,
    parse_quotas,
    parse_start,
    parse_wanted,
)
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.result import Information
from lamina.ntfsa.security.sid import BUILTIN_ADMINISTRATORS, LOCAL_SYSTEM
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.engine import breathe
from lamina.vfs_modules.operations import Capability, VolumeStatistics
from lamina.vfs_modules.quotas import Quota, QuotaKind

if TYPE_CHECKING:
    from lamina.ntfsa.opening.create import CreateParameters
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.handle import VfsHandle
    from lamina.vfs_modules.token import ImpersonationToken

QUOTA_FILE: Final = "$EXTEND\\$QUOTA:$Q:$INDEX_ALLOCATION"
"""The file of NTFS that holds the quotas; clients open it to ask for them."""

_Item = TypeVar("_Item")

_KINDS: Final = tuple(QuotaKind)
_BATCH: Final = 64
_LEAST_LIMIT: Final = 1024  # no limit at all is 0 for file systems: who is to have nothing gets this


class QuotaQuery(NamedTuple):
    """What is asked for: of the SIDs in `wanted` (FILE_GET_QUOTA_INFORMATION), or all from the SID in `start` on."""

    single: bool = False
    restart: bool = True
    wanted: bytes = b""
    start: bytes = b""


def is_quota_file(volume: "NtVolume", path: str) -> bool:
    """Whether a client means the quotas of the volume, and not a file."""
    return Capability.QUOTAS in volume.capabilities and path.upper() == QUOTA_FILE


def as_root(parameters: "CreateParameters") -> "CreateParameters":
    """What to open instead of the file of quotas: the share's root, without any right to it but to look at it.

    Raises ACCESS_DENIED for what would make it or replace it.
    """
    if parameters.disposition not in {c.FILE_OPEN, c.FILE_OPEN_IF} or parameters.options & c.FILE_DELETE_ON_CLOSE:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "the quotas of a volume are no file to make")
    parameters.path, parameters.options = "", 0
    parameters.desired_access = c.FILE_READ_ATTRIBUTES | c.READ_CONTROL | c.SYNCHRONIZE
    parameters.oplock_level, parameters.lease = 0, None
    return parameters


def _require_quotas(open_: NtOpen) -> None:
    if Capability.QUOTAS not in open_.volume.capabilities:
        raise NtStatusError(NtStatus.NOT_SUPPORTED, "quotas are not kept here")


def _administers(token: "ImpersonationToken") -> bool:
    return token.uid == 0 or token.has_sid(BUILTIN_ADMINISTRATORS) or token.has_sid(LOCAL_SYSTEM)


def _is_own(token: "ImpersonationToken", kind: QuotaKind, number: int) -> bool:
    if kind is QuotaKind.USER:
        return number == token.uid
    return number == token.gid or number in token.groups


def _principal(volume: "NtVolume", sid: str) -> tuple[QuotaKind, int] | None:
    uid = volume.identities.uid_of_sid(sid)
    if uid is not None:
        return QuotaKind.USER, uid
    gid = volume.identities.gid_of_sid(sid)
    return None if gid is None else (QuotaKind.GROUP, gid)


def _entry(volume: "NtVolume", quota: Quota) -> QuotaEntry:
    of = volume.identities.sid_of_uid if quota.kind is QuotaKind.USER else volume.identities.sid_of_gid
    soft, hard = (NO_LIMIT if limit is None else limit for limit in (quota.soft, quota.hard))
    return QuotaEntry(of(quota.number), quota.used, soft, hard)


@translated
def query_quota(context: NtContext, open_: NtOpen, query: QuotaQuery, max_length: int) -> Information:
    """Answer a query for quotas, on from where the last one of this open stopped.

    Raises NOT_SUPPORTED, ACCESS_DENIED (of others, by name), NO_MORE_ENTRIES, BUFFER_TOO_SMALL, INVALID_PARAMETER.
    """
    _require_quotas(open_)
    buffer = QuotaBuffer(max_length)
    if query.wanted:
        sids = parse_wanted(query.wanted)
        for entry in _of(context, open_, sids[:1] if query.single else sids):
            if not buffer.append(entry):
                raise NtStatusError(NtStatus.BUFFER_TOO_SMALL)
        return Information(NtStatus.SUCCESS, buffer.finish())
    if query.start:
        found = _principal(open_.volume, parse_start(query.start))
        if found is None:
            raise NtStatusError(NtStatus.NO_MORE_ENTRIES)
        open_.next_quota = (found[0].value, found[1])
    elif query.restart:
        open_.next_quota = (0, 0)
    _enumerate(context, open_, buffer, query.single)
    return Information(NtStatus.SUCCESS, buffer.finish())


def _of(context: NtContext, open_: NtOpen, sids: list[str]) -> Iterator[QuotaEntry]:
    volume, token = open_.volume, context.token
    for sid in _a_few_at_once(sids):
        principal = _principal(volume, sid)
        if not _administers(token) and (principal is None or not _is_own(token, *principal)):
            raise NtStatusError(NtStatus.ACCESS_DENIED, "the quotas of others are the administrators' to see")
        if principal is None:
            yield QuotaEntry(sid, 0, NO_LIMIT, NO_LIMIT)
        else:
            quota = volume.chain.get_quota(token, open_.handle, *principal)
            yield _entry(volume, quota)._replace(sid=sid)


def _a_few_at_once(items: Iterable[_Item]) -> Iterator[_Item]:
    """The same, with others being served now and then: what the file system keeps may come from a disk."""
    for number, item in enumerate(items):
        if number and not number % _BATCH:
            breathe()
        yield item


def _enumerate(context: NtContext, open_: NtOpen, buffer: QuotaBuffer, single: bool) -> None:
    for quota in _a_few_at_once(_from(context.token, open_)):
        if not buffer.append(_entry(open_.volume, quota)):
            if not buffer.count:
                raise NtStatusError(NtStatus.BUFFER_TOO_SMALL)
            return
        open_.next_quota = (quota.kind.value, quota.number + 1)
        if single:
            return
    if not buffer.count:
        raise NtStatusError(NtStatus.NO_MORE_ENTRIES)


def _from(token: "ImpersonationToken", open_: NtOpen) -> Iterator[Quota]:
    # Of accounts that may be looked at: all of them, or those that are the user's own.
    at_kind, at_number = open_.next_quota
    for kind in _KINDS[at_kind:]:
        start = at_number if kind.value == at_kind else 0
        yield from _all(token, open_, kind, start) if _administers(token) else _own(token, open_, kind, start)


def _all(token: "ImpersonationToken", open_: NtOpen, kind: QuotaKind, start: int) -> Iterator[Quota]:
    while True:
        batch = open_.volume.chain.list_quotas(token, open_.handle, kind, start, _BATCH)
        yield from batch
        if len(batch) < _BATCH:
            return
        start = batch[-1].number + 1


def _own(token: "ImpersonationToken", open_: NtOpen, kind: QuotaKind, start: int) -> Iterator[Quota]:
    numbers = {token.uid} if kind is QuotaKind.USER else {token.gid, *token.groups}
    for number in sorted(number for number in numbers if number >= start):
        yield open_.volume.chain.get_quota(token, open_.handle, kind, number)


@translated
def set_quota(context: NtContext, open_: NtOpen, data: memoryview) -> None:
    """Set the limits of users and groups.

    Raises NOT_SUPPORTED, ACCESS_DENIED, INVALID_PARAMETER, INVALID_SID (nobody here).
    """
    _require_quotas(open_)
    if not _administers(context.token) or open_.volume.settings.read_only:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "quotas are the administrators' to set")
    quotas = [_wanted(open_.volume, entry) for entry in parse_quotas(data)]
    for quota in _a_few_at_once(quotas):
        open_.volume.chain.set_quota(context.token, open_.handle, quota)


def _wanted(volume: "NtVolume", entry: QuotaEntry) -> Quota:
    principal = _principal(volume, entry.sid)
    if principal is None:
        raise NtStatusError(NtStatus.INVALID_SID, f"{entry.sid} is nobody here")
    return Quota(*principal, 0, _limit(entry.threshold), _limit(entry.limit))


def _limit(value: int) -> int | None:
    return None if value < 0 else max(value, _LEAST_LIMIT)


def within_quota(
    volume: "NtVolume", token: "ImpersonationToken", handle: "VfsHandle", sizes: VolumeStatistics
) -> VolumeStatistics:
    """The sizes of a volume as its user may have them (MS-FSA 2.1.5.13, FileFsSizeInformation)."""
    if Capability.QUOTAS not in volume.capabilities:
        return sizes
    try:
        quota = volume.chain.get_quota(token, handle, QuotaKind.USER, token.uid)
    except OSError as error:
        if error.errno in {errno.ENOTSUP, errno.EPERM, errno.EACCES}:
            return sizes
        raise
    if quota.hard is None:
        return sizes
    room = max(quota.hard - quota.used, 0)
    return sizes._replace(total=min(sizes.total, quota.hard), available=min(sizes.available, room))
