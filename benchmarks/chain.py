"""`python -m benchmarks.chain`: what modules of a chain cost an operation, in the process, in nanoseconds.

Chains over `posix` and a file in memory, called as ntfsa calls them. Each number is the first decile of many rounds,
which go from chain to chain in turn: what disturbs the machine disturbs all of them, and is left out; beside it what
is left of it for one module. The targets: ten modules that do nothing of a read cost it 1 % at most (that its function
is the backend's own, a test says), ten that each hook it 500 ns each.
"""

import statistics
import tempfile
import timeit
from collections.abc import Callable

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.stock.transparent import TransparentModule
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.token import ImpersonationToken

_MODULES, _CALLS, _ROUNDS = 10, 2_000, 201


class ReadHook(VfsModule):
    """A module that has a read of its own, which passes it on."""

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        return self.next.pread(token, handle, buffer, offset)


CHAINS = {"no module": None, "ten that do nothing": TransparentModule, "ten that hook pread": ReadHook}


def reading(chain: Chain) -> Callable[[], object]:
    """A read of 4 KiB."""
    token, buffer = make_token(), memoryview(bytearray(4096))
    handle = chain.open(token, chain.open_root(token), "file", OpenHow(Access.READ_WRITE, create=True))
    chain.pwrite(token, handle, buffer, 0)
    read = chain.files.pread
    return lambda: read(token, handle, buffer, 0)


def opening(chain: Chain) -> Callable[[], object]:
    """An open and a close."""
    token, how = make_token(), OpenHow(Access.READ)
    root, open_, close = chain.open_root(token), chain.files.open, chain.files.close
    chain.close(token, chain.open(token, root, "file", OpenHow(Access.READ_WRITE, create=True)))
    return lambda: close(token, open_(token, root, "file", how))


def measure(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Nanoseconds of one call of each: from rounds that take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(_ROUNDS):
        for name, call in calls.items():
            seconds[name].append(timeit.timeit(call, number=_CALLS))
    return {name: statistics.quantiles(times, n=10)[0] / _CALLS * 1e9 for name, times in seconds.items()}


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        chains = {
            title: local_chain(folder, *(kind() for _ in range(_MODULES) if kind), name=title)
            for title, kind in CHAINS.items()
        }
        for what, make in {"read of 4 KiB": reading, "open and close": opening}.items():
            times = measure({title: make(chain) for title, chain in chains.items()})
            least = times["no module"]
            for title, time in times.items():
                more = f"{(time / least - 1) * 100:+6.1f} %  {(time - least) / _MODULES:+6.0f} ns a module"
                print(f"{what:<16} {title:<20} {time:7.0f} ns" + (f"  {more}" if title != "no module" else ""))


if __name__ == "__main__":
    main()
