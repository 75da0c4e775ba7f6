"""An open without a client: what it still holds, and what its client is told when it comes back."""

from typing import TYPE_CHECKING, NamedTuple

from lamina.ntfsa.durability.rules import HeldGrant, Kind, held_grant, outlives_connection
from lamina.ntfsa.errors import nt_error
from lamina.ntfsa.file_state import information_of
from lamina.ntfsa.grants.caching import LEVEL_OF_STATE, OPLOCK_LEVEL_NONE
from lamina.ntfsa.grants.grant_holders import LeaseGranted
from lamina.ntfsa.record import STABLE

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.fscc.file_information import NetworkOpenInformation
    from lamina.ntfsa.open_state import NtOpen


class Regained(NamedTuple):
    """What a client learns of an open that it has got back: the same as from a CREATE."""

    information: "NetworkOpenInformation"
    oplock_level: int
    lease: LeaseGranted | None


def grant_of(open_: "NtOpen") -> HeldGrant:
    """The caching right that an open holds."""
    return held_grant(open_.volume.registry.read(open_.file_key), open_.owner)


def is_kept(open_: "NtOpen", kind: Kind) -> bool:
    """Whether an open that was promised `kind` is kept now that its connection ends."""
    return not open_.closed and outlives_connection(kind, grant_of(open_))


def lose_client(context: "NtContext", open_: "NtOpen") -> None:
    """The client of an open is gone: let the chain know. Raises NtStatusError where the open cannot be kept."""
    try:
        open_.volume.chain.durable_disconnect(context.token, open_.handle)
    except OSError as error:
        raise nt_error(error) from error


def regain_client(context: "NtContext", open_: "NtOpen") -> None:
    """It is back. Raises NtStatusError where the chain does not give the open back."""
    try:
        open_.volume.chain.durable_reconnect(context.token, open_.handle)
    except OSError as error:
        raise nt_error(error) from error


def tell_again(context: "NtContext", open_: "NtOpen") -> Regained:
    """The state of an open and of its file, for a client that asks for it back or anew. Raises NtStatusError."""
    try:
        information = information_of(context.token, open_)
    except OSError as error:
        raise nt_error(error) from error
    record = open_.volume.registry.read(open_.file_key)
    held = next((grant for grant in record.grants if open_.owner in grant.owners), None)
    if open_.lease is None:
        return Regained(information, LEVEL_OF_STATE[held.state] if held is not None else OPLOCK_LEVEL_NONE, None)
    version = open_.lease.version
    if held is None:
        return Regained(information, OPLOCK_LEVEL_NONE, LeaseGranted(0, 0, False, version))
    lease = LeaseGranted(held.state, held.epoch, held.breaking_to != STABLE, version)
    return Regained(information, OPLOCK_LEVEL_NONE, lease)
