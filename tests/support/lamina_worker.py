"""A worker of `lamina_process`: `python -m tests.support.lamina_worker LAYOUT-AS-JSON SEAT`."""

import json
import os
import sys

from lamina.core.events import ServerEvents
from lamina.core.workers.seat import Seat
from lamina.core.workers.worker import Work, run_worker
from tests.smbtorture import blocked_channels, slow_controls
from tests.support import lamina_process


def main() -> None:
    """Serve what the supervisor says until it ends."""
    layout = json.loads(sys.argv[1])
    os.umask(0)
    if layout["torture"]:
        blocked_channels.install()
        slow_controls.install()
    work = Work(
        lamina_process.plan(layout, 0),
        lamina_process.accounts(layout),
        lamina_process.authentication(layout),
        ServerEvents(),
    )
    run_worker(Seat.from_text(sys.argv[2]), work)


if __name__ == "__main__":
    main()
