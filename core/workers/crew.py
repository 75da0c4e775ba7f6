"""What a worker has of the others, for the parts of a server that must know them."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina.core.workers.elsewhere import Elsewhere
from lamina.ntfsa.workers.peers import Peers
from lamina.ntfsa.workers.shared_registry import SharedRegistry
from lamina.ntfsa.workers.shared_state import Letter, SharedState
from lamina.ntfsa.workers.volume_peers import VolumesOfPeers

if TYPE_CHECKING:
    from lamina.core.server_core import SmbServer


@dataclass(slots=True)
class Crew:
    """A worker's own number, the registry it shares, the other workers, their volumes, and what else is shared.

    `held`: messages for opens of the worker that was here before, until they have been taken up; None after that.
    """

    number: int
    registry: SharedRegistry
    peers: Peers
    volumes: VolumesOfPeers
    state: SharedState
    held: list[Letter] | None = field(default_factory=list)

    def elsewhere(self, server: "SmbServer") -> Elsewhere:
        """The other workers, for the server of this one."""
        return Elsewhere(server, self)

    def release(self) -> None:
        """Deliver what was held, and all that comes from now on."""
        held, self.held = self.held or [], None
        for letter in held:
            self.registry.receive(letter)
