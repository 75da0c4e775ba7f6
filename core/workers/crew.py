"""What a worker has of the others, for the parts of a server that must know them."""

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina.core.workers.elsewhere import Elsewhere
from lamina.core.workers.kept import KeptForNext, close_others, take_up
from lamina.core.workers.recovering import Recovery
from lamina.ntfsa.naming.lookup import nt_path
from lamina.ntfsa.status import NtStatusError
from lamina.ntfsa.workers.peers import Peers
from lamina.ntfsa.workers.shared_registry import SharedRegistry
from lamina.ntfsa.workers.shared_state import Letter, SharedState
from lamina.ntfsa.workers.volume_peers import VolumesOfPeers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamina.core.server_core import SmbServer
    from lamina.core.share import Share
    from lamina.ntfsa.volume import NtVolume

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Crew:
    """A worker's own number, the registry it shares, the other workers, their volumes, and what else is shared.

    `recovery`: how persistent opens come back at the start. `held`: messages for opens of the worker that was here
    before, until they have been taken up; None after that.
    """

    number: int
    registry: SharedRegistry
    peers: Peers
    volumes: VolumesOfPeers
    state: SharedState
    recovery: Recovery
    held: list[Letter] | None = field(default_factory=list)

    def join(self, server: "SmbServer") -> None:
        """Have the server of this worker know of the others, and write down what the next in its place must know."""
        server.be_worker(Elsewhere(server, self))
        server.durables.kept = KeptForNext(self.state)

        def moved(volume: "NtVolume", path: str) -> None:
            try:
                server.durables.save_renamed(volume, nt_path(path))
            except NtStatusError as error:
                log.warning("share %s: records of open files have old names: %s", volume.name, error)

        self.volumes.moved_here = moved

    def recover(self, server: "SmbServer", share: "Share") -> None:
        """A share is connected: its persistent opens are back when this returns. Raises `keeping.StoreError`."""
        self.recovery.recover(server, share)
        if self.held is None:
            # Added while the server runs: those that are for this worker are not awaited by anybody else.
            self.take_up(server, {share.name: share})

    def take_up(self, server: "SmbServer", shares: "Mapping[str, Share]") -> None:
        """Go on with the opens that this worker has of the one before it, or of before the server's start."""
        take_up(self, server, shares)
        if self.held is not None:
            close_others(self, shares)
        if server.elsewhere is not None:
            server.elsewhere.expect_clients()

    def release(self) -> None:
        """Deliver what was held, and all that comes from now on."""
        held, self.held = self.held or [], None
        for letter in held:
            self.registry.receive(letter)
