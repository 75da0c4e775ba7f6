"""What a worker process is told when it is started: who it is, and by which descriptors it reaches the others."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Seat:
    """A worker's place. `number` counts from 1 to `count`; `folder` has the shared state and the control sockets.

    `bells`: descriptors of the bells by worker number (see `shared_state`); `link`: that of the socket to the
    supervisor; `guid`: the server's, in hexadecimal digits.
    """

    number: int
    count: int
    folder: str
    link: int
    bells: Mapping[int, int]
    guid: str

    def as_text(self) -> str:
        """For a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "Seat":
        """What `as_text` made."""
        values = json.loads(text)
        values["bells"] = {int(number): bell for number, bell in values["bells"].items()}
        return cls(**values)

    @property
    def control(self) -> Path:
        """The control socket of this worker."""
        return control_socket(self.folder, self.number)


def control_socket(folder: str, number: int) -> Path:
    """Where a worker answers its supervisor (see `control`)."""
    return Path(folder) / f"worker{number}.sock"
