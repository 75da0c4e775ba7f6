"""What one open was promised beyond its connection (MS-SMB2 3.3.1.10), and what the rules of reconnecting see of it."""

import asyncio
import time
from typing import TYPE_CHECKING

from lamina.core.wire.durable_contexts import AppInstanceVersion
from lamina.ntfsa.durability.reconnect_rules import NO_GUID, Kept
from lamina.ntfsa.durability.rules import Kind

if TYPE_CHECKING:
    from lamina.core.session import SmbOpen
    from lamina.core.workers.kept import KeptForNext
    from lamina.ntfsa.volume import NtVolume


class DurableState:
    """What an open was promised beyond its connection. `kind` None: nothing, but it is known by a guid.

    `seconds`: how long it waits for its client. `owner`: the SID of its user. `action`: the CreateAction of the answer
    to its CREATE. `replayable`: nothing has been done with
    it, so its client may ask for it again (Open.IsReplayEligible). `since`: seconds of time.monotonic when its
    client went, None while it is there. Of a persistent one: `cookie` finds its file again, `saved` is its record as it
    was kept last, `saving` how many are on their way to the store, and `awaited` the volume and folded name under which
    others meet it while it waits. `kept`: that of the table it is in.
    """

    __slots__ = (
        "action",
        "app_instance",
        "app_version",
        "awaited",
        "client_guid",
        "cookie",
        "create_guid",
        "kept",
        "kind",
        "owner",
        "replayable",
        "saved",
        "saving",
        "seconds",
        "since",
        "timer",
        "version",
    )

    def __init__(self, version: int, owner: str, client_guid: bytes, create_guid: bytes = NO_GUID) -> None:
        self.version = version
        self.owner = owner
        self.client_guid = client_guid
        self.create_guid = create_guid
        self.kind: Kind | None = None
        self.seconds = 0.0
        self.action = 0
        self.replayable = version > 1
        self.app_instance = b""
        self.app_version: AppInstanceVersion | None = None
        self.since: float | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.cookie = b""
        self.saved = b""
        self.saving = 0
        self.awaited: tuple[NtVolume, str] | None = None
        self.kept: KeptForNext | None = None

    def seconds_left(self) -> float | None:
        """How long the open still waits for its client; None while that is there."""
        return None if self.since is None else max(0.0, self.since + self.seconds - time.monotonic())


def kept_as(open_: "SmbOpen") -> Kept | None:
    """What the rules of reconnecting are told of an open; None where it was promised nothing."""
    state, nt = open_.durable, open_.nt
    if state is None or state.kind is None or nt is None:
        return None
    lease = nt.lease
    return Kept(
        state.kind,
        state.owner,
        state.client_guid,
        state.create_guid,
        nt.path,
        lease.key if lease is not None else b"",
        lease.version if lease is not None else 0,
        connected=state.since is None,
        deleted_at_close=nt.delete_on_close,
    )
