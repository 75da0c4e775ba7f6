"""OPLOCK_BREAK: the notifications to holders (MS-SMB2 3.3.4.6, 3.3.4.7) and their acknowledgments (3.3.5.22)."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from lamina.core.break_delivery import BreakDelivery
from lamina.core.open_lookup import open_of
from lamina.core.request import Reply, Request
from lamina.core.session import SmbOpen, SmbSession
from lamina.core.wire.oplock_break import (
    LeaseBreak,
    LeaseBreakNotification,
    OplockBreak,
    decode_oplock_break_request,
    encode_lease_break,
    encode_lease_break_notification,
    encode_oplock_break,
)
from lamina.ntfsa.grants.caching import LEVEL_OF_STATE
from lamina.ntfsa.grants.grant_holders import (
    BreakNotice,
    acknowledge_lease_break,
    acknowledge_oplock_break,
    awaits_answer,
    lease_identity,
)
from lamina.ntfsa.status import NtStatus, NtStatusError

if TYPE_CHECKING:
    from lamina.core.connection import Connection
    from lamina.core.server_core import SmbServer

_ACK_REQUIRED: Final = 0x01


def listen(server: "SmbServer", open_: SmbOpen) -> None:
    """Tell the client of this open when its oplock or its lease breaks."""
    nt = open_.nt
    assert nt is not None
    if nt.oplock is not None:
        nt.oplock.listener = partial(_notify_oplock, server, open_)
    if nt.lease is not None:
        nt.lease.listeners[nt.owner] = partial(_notify_lease, server, open_)


def _notify_oplock(server: "SmbServer", open_: SmbOpen, notice: BreakNotice) -> bool:
    """Send the notification on the session's channels; False where there is none (3.3.4.6)."""
    assert open_.nt is not None
    server.durables.save_sharing_soon(open_.nt)
    body = encode_oplock_break(OplockBreak(open_.file_id, open_.file_id, LEVEL_OF_STATE[notice.to]))
    return _deliver(open_, notice, body, lambda: _channels(open_.tree.session))


def _notify_lease(server: "SmbServer", open_: SmbOpen, notice: BreakNotice) -> bool:
    assert open_.nt is not None
    server.durables.save_sharing_soon(open_.nt)
    lease = open_.nt.lease
    assert lease is not None
    epoch = notice.epoch if lease.version > 1 else 0
    flags = _ACK_REQUIRED if notice.answer_awaited else 0
    body = encode_lease_break_notification(
        LeaseBreakNotification(lease.key, notice.held, notice.to, epoch, flags),
    )
    return _deliver(open_, notice, body, partial(_connections, server, open_, lease.version))


def _connections(server: "SmbServer", open_: SmbOpen, version: int) -> "list[Connection]":
    """Where a lease's client can be told (3.3.4.7).

    A lease belongs to the client, whichever of its connections made it: Windows tells of one of version 2 on the
    client's first connection, of others on the session's (smb2.lease.v2_complex1). What must be encrypted, only who has
    the session's keys can read.
    """
    session = open_.tree.session
    own = list(_channels(session))
    if _sealing(open_) is not None:
        return own
    all_of_them = server.connections_of_client(session.client_guid)
    return all_of_them if version > 1 else own + [each for each in all_of_them if each not in own]


def _channels(session: SmbSession) -> "Iterator[Connection]":
    return (connection for connection, channel in list(session.channels.items()) if not channel.binding)


def _deliver(open_: SmbOpen, notice: BreakNotice, body: bytes, channels: "Callable[[], Iterable[Connection]]") -> bool:
    nt = open_.nt
    assert nt is not None
    holder = nt.oplock or nt.lease
    assert holder is not None
    awaited = partial(awaits_answer, nt.volume.registry, nt.file_key, holder.address, notice)
    return BreakDelivery(channels, body, _sealing(open_), awaited if notice.answer_awaited else None).send()


def _sealing(open_: SmbOpen) -> SmbSession | None:
    tree = open_.tree
    return tree.session if tree.session.encrypt_data or tree.share.encrypt else None


def handle(request: Request) -> bytes | Reply:
    """Take a holder's answer to a break; what it still holds goes back to it."""
    asked = decode_oplock_break_request(request.message)
    if isinstance(asked, LeaseBreak):
        return _lease(request, asked)
    open_ = open_of(request, asked.persistent, asked.volatile)
    if open_.nt is None:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a pipe has no oplock")
    state = acknowledge_oplock_break(open_.nt, asked.oplock_level)
    request.connection.server.durables.save_sharing(open_.nt)
    return encode_oplock_break(OplockBreak(open_.file_id, open_.file_id, LEVEL_OF_STATE[state]))


def _lease(request: Request, asked: LeaseBreak) -> bytes:
    """3.3.5.22.2 Processing a Lease Acknowledgment."""
    assert request.tree is not None
    volume = request.tree.share.volume
    if volume is None:
        raise NtStatusError(NtStatus.OBJECT_NAME_NOT_FOUND, "pipes have no leases")
    identity = lease_identity(request.tree.context, asked.lease_key)
    state = acknowledge_lease_break(volume.leases, identity, asked.lease_state)
    lease = volume.leases.find(identity)
    # Any of its opens stands for all that share it.
    nt = next(iter(lease.opens.values()), None) if lease is not None else None
    if nt is not None:
        request.connection.server.durables.save_sharing(nt)
    return encode_lease_break(LeaseBreak(asked.lease_key, state))
