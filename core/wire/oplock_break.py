"""OPLOCK_BREAK: notification, acknowledgment, response, each for oplocks and leases (MS-SMB2 2.2.23 to 2.2.25).

All of them have the same command; StructureSize tells oplock from lease. An oplock's three messages are alike, and
a lease's acknowledgment and response.
"""

from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from lamina.core.wire.constants import HEADER_SIZE
from lamina.core.wire.errors import WireError
from lamina.core.wire.fields import unpack_body

_SIZE = Struct("<H")
_OPLOCK = Struct("<HBBIQQ")
_OPLOCK_SIZE: Final = 24
_LEASE_NOTIFICATION = Struct("<HHI16sIIIII")
_LEASE_NOTIFICATION_SIZE: Final = 44
_LEASE = Struct("<HHI16sIQ")
_LEASE_SIZE: Final = 36


class OplockBreak(NamedTuple):
    """A notification (2.2.23.1), an acknowledgment (2.2.24.1) or a response (2.2.25.1); OPLOCK_LEVEL_*."""

    persistent: int
    volatile: int
    oplock_level: int


class LeaseBreakNotification(NamedTuple):
    """2.2.23.2; states LEASE_*, `flags` NOTIFY_BREAK_LEASE_FLAG_ACK_REQUIRED."""

    lease_key: bytes
    current_state: int
    new_state: int
    new_epoch: int = 0
    flags: int = 0


class LeaseBreak(NamedTuple):
    """An acknowledgment (2.2.24.2) or a response (2.2.25.2)."""

    lease_key: bytes
    lease_state: int


def decode_oplock_break_request(message: memoryview) -> OplockBreak | LeaseBreak:
    """The acknowledgment that a client sends, of an oplock's or a lease's break."""
    try:
        (size,) = _SIZE.unpack_from(message, HEADER_SIZE)
    except struct_error:
        raise WireError("OPLOCK_BREAK without a body") from None
    return decode_lease_break(message) if size == _LEASE_SIZE else decode_oplock_break(message)


def decode_oplock_break(message: memoryview) -> OplockBreak:
    """Decode an oplock's notification, acknowledgment or response."""
    level, _, _, persistent, volatile = unpack_body(_OPLOCK, message, _OPLOCK_SIZE, "OPLOCK_BREAK of an oplock")
    return OplockBreak(persistent, volatile, level)


def encode_oplock_break(message: OplockBreak) -> bytes:
    """The body of an oplock's notification, acknowledgment or response."""
    return _OPLOCK.pack(_OPLOCK_SIZE, message.oplock_level, 0, 0, message.persistent, message.volatile)


def decode_lease_break_notification(message: memoryview) -> LeaseBreakNotification:
    """Decode a lease's notification."""
    epoch, flags, key, current, new, _, _, _ = unpack_body(
        _LEASE_NOTIFICATION, message, _LEASE_NOTIFICATION_SIZE, "lease break notification"
    )
    return LeaseBreakNotification(key, current, new, epoch, flags)


def encode_lease_break_notification(message: LeaseBreakNotification) -> bytes:
    """The body of a lease's notification; BreakReason and the hints are reserved and 0."""
    key, current, new, epoch, flags = message
    return _LEASE_NOTIFICATION.pack(_LEASE_NOTIFICATION_SIZE, epoch, flags, key, current, new, 0, 0, 0)


def decode_lease_break(message: memoryview) -> LeaseBreak:
    """Decode a lease's acknowledgment or response."""
    _, _, key, state, _ = unpack_body(_LEASE, message, _LEASE_SIZE, "OPLOCK_BREAK of a lease")
    return LeaseBreak(key, state)


def encode_lease_break(message: LeaseBreak) -> bytes:
    """The body of a lease's acknowledgment or response."""
    return _LEASE.pack(_LEASE_SIZE, 0, 0, message.lease_key, message.lease_state, 0)
