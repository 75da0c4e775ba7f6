"""The server process of the benchmark: `lamina.Server` until it is told to end."""

import signal
import sys

from lamina.core.plan import DEFAULT_CHAIN
from lamina.core.server import Server


def main() -> None:
    folder, user, password, chain = sys.argv[1:]
    modules = tuple(chain.split(",")) if chain else DEFAULT_CHAIN
    # Signing and encryption are the client's choice here, so that one server serves all modes.
    server = Server({"bench": folder}, users={user: password}, chain=modules, require_signing=False)
    with server:
        print(server.port, flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    # Blocked before the server's threads start, so that the signal comes to sigwait and nowhere else.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
