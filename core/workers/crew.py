"""What a worker has of the others, for the parts of a server that must know them."""

from dataclasses import dataclass

from lamina.ntfsa.workers.peers import Peers
from lamina.ntfsa.workers.shared_registry import SharedRegistry
from lamina.ntfsa.workers.shared_state import SharedState
from lamina.ntfsa.workers.volume_peers import VolumesOfPeers


@dataclass(frozen=True, slots=True)
class Crew:
    """A worker's own number, the registry it shares, the other workers, their volumes, and what else is shared."""

    number: int
    registry: SharedRegistry
    peers: Peers
    volumes: VolumesOfPeers
    state: SharedState
