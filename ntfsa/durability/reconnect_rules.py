"""Who gets an open back (MS-SMB2 3.3.5.9.7, 3.3.5.9.12): a table of conditions, in the order of the specification."""

from collections.abc import Callable
from typing import Final, NamedTuple

from lamina.ntfsa.durability.rules import Kind
from lamina.ntfsa.naming.names import fold
from lamina.ntfsa.status import NtStatus

NO_GUID: Final = bytes(16)


class Kept(NamedTuple):
    """What is known of an open that outlives its connection.

    `owner`: the SID of its user; `lease` its lease's key, b"" without one, `lease_version` that lease's; `path` its NT
    path. `connected`: it is somebody's still. `deleted_at_close`: its name goes with it, and counts no more.
    """

    kind: Kind
    owner: str
    client_guid: bytes
    create_guid: bytes
    path: str
    lease: bytes = b""
    lease_version: int = 0
    connected: bool = False
    deleted_at_close: bool = False


class Claim(NamedTuple):
    """Somebody asks for an open back: the same facts as they are now, and as he says."""

    version: int
    user: str
    client_guid: bytes
    path: str
    create_guid: bytes = NO_GUID
    persistent: bool = False
    lease: bytes = b""
    lease_version: int = 0


def refusal(kept: Kept, claim: Claim) -> NtStatus | None:
    """With what `claim` is refused; None where the open is given back."""
    return next((status for wrong, status in _CONDITIONS if wrong(kept, claim)), None)


def _another_kind(kept: Kept, claim: Claim) -> bool:
    # An open of one version may be asked back by the context of the other (smb2.durable-v2-open.reopen2b, and
    # durable-open.reopen2-lease with a create guid of zeros, as opens of version 1 have).
    if (kept.kind is Kind.PERSISTENT) is not claim.persistent:
        return True
    return claim.version > 1 and kept.create_guid != claim.create_guid


def _another_lease(kept: Kept, claim: Claim) -> bool:
    return kept.lease != claim.lease or (bool(kept.lease) and kept.lease_version != claim.lease_version)


def _another_name(kept: Kept, claim: Claim) -> bool:
    return bool(kept.lease) and not kept.deleted_at_close and fold(kept.path) != fold(claim.path)


_CONDITIONS: Final[tuple[tuple[Callable[[Kept, Claim], bool], NtStatus], ...]] = (
    (lambda kept, _: kept.connected, NtStatus.OBJECT_NAME_NOT_FOUND),
    (_another_kind, NtStatus.OBJECT_NAME_NOT_FOUND),
    (lambda kept, claim: bool(kept.lease) and kept.client_guid != claim.client_guid, NtStatus.OBJECT_NAME_NOT_FOUND),
    (_another_lease, NtStatus.OBJECT_NAME_NOT_FOUND),
    (_another_name, NtStatus.INVALID_PARAMETER),
    (lambda kept, claim: kept.owner != claim.user, NtStatus.ACCESS_DENIED),
)
