"""Under which names persistent opens of a share wait for their clients, on whatever worker (MS-SMB2 3.3.5.9).

All workers refuse whoever else comes. A row for each open; who is killed leaves those that he had (see `kept_opens`).
"""

import struct
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from lamina.ntfsa.naming.names import name_of_file
from lamina.ntfsa.workers.shared_state import SharedState
from lamina.vfs_modules.operations import Capability

if TYPE_CHECKING:
    from lamina.ntfsa.volume import NtVolume

_ID: Final = struct.Struct(">Q")
_DIGEST: Final = 16


def awaited_row(name: bytes, open_id: int) -> bytes:
    """The key of the row of an open, which waits under `name` (`AwaitedNames.known_as`)."""
    return name + _ID.pack(open_id)


def awaited_in(state: SharedState, volume: "NtVolume", share: str) -> "AwaitedNames | None":
    """Those of a volume; None where it has no persistent opens. `share`: what it is called among the workers."""
    return AwaitedNames(state, share) if Capability.PERSISTENT_HANDLES in volume.capabilities else None


class AwaitedNames:
    """Those of one share. Paths are NT paths: what counts is the file, whatever the case and the stream."""

    __slots__ = ("_key", "_state")

    def __init__(self, state: SharedState, share: str) -> None:
        self._state = state
        self._key = blake2b(share.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).digest()

    def known_as(self, path: str) -> bytes:
        """What all workers call a file."""
        name = name_of_file(path).encode("utf-8", "surrogatepass")
        return blake2b(name, digest_size=_DIGEST, key=self._key).digest()

    def begin(self, path: str, open_id: int) -> None:
        """A persistent open of this file waits for its client."""
        with self._state.changing(self._state.awaited) as step:
            step.transaction.put(awaited_row(self.known_as(path), open_id), b"")

    def end(self, path: str, open_id: int) -> None:
        """It does so no longer."""
        with self._state.changing(self._state.awaited) as step:
            step.transaction.delete(awaited_row(self.known_as(path), open_id))

    def has(self, path: str) -> bool:
        """Whether one does."""
        name = self.known_as(path)
        with self._state.reading(self._state.awaited) as transaction:
            cursor = transaction.cursor()
            return bool(cursor.set_range(name)) and bytes(cursor.key()).startswith(name)
