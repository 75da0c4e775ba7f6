"""The server process of the benchmark: `lamina.Server` until it is told to end, or the same one under a sampler."""

import asyncio
import signal
import sys
from pathlib import Path

from benchmarks.sampler import Sampler
from lamina.core.auth.settings import AuthSettings
from lamina.core.events import ServerEvents
from lamina.core.plan import DEFAULT_CHAIN, Listener, ServerPlan, ShareSpec, folder_owner
from lamina.core.runtime import Runtime
from lamina.core.server import Server, make_accounts, new_event_loop
from lamina.core.settings import ServerSettings
from lamina.vfs_modules.engine import Engine

SHARE = "bench"


def main() -> None:
    folder, user, password, chain, samples = sys.argv[1:]
    modules = tuple(chain.split(",")) if chain else DEFAULT_CHAIN
    if samples:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_sampled(Path(folder), {user: password}, modules, Path(samples)))
        return
    # Blocked before the server's threads start, so that the signal comes to sigwait and nowhere else.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    # Signing and encryption are the client's choice here, so that one server serves all modes.
    server = Server({SHARE: folder}, users={user: password}, chain=modules, require_signing=False)
    with server:
        print(server.port, flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


async def _sampled(folder: Path, users: dict[str, str], modules: tuple[str, ...], samples: Path) -> None:
    """The same server in the main thread, for that is where Python handles signals."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    engine = Engine(loop)
    shares = {SHARE: ShareSpec(folder, chain=modules)}
    plan = ServerPlan(ServerSettings(require_signing=False), shares, (Listener("127.0.0.1", 0),))
    try:
        accounts = make_accounts(users, folder_owner(folder))
        runtime = await Runtime.start(engine, plan, accounts, AuthSettings(), ServerEvents())
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        Sampler(samples).install()
        print(runtime.bound[0].port, flush=True)
        await stop.wait()
        await runtime.close()
    finally:
        engine.close()


if __name__ == "__main__":
    main()
