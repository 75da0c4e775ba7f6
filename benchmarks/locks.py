"""What byte-range locks cost on a file that has very many: `python -m benchmarks.locks [--locks 100000]`.

The rules alone, in this process, without a server: microseconds for each operation. Where the cost of one operation
grew with the locks of a file, ten times the locks would cost a hundred times as much.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence

from lamina.ntfsa.constants import FILE_ALL_ACCESS, FILE_SHARE_ALL
from lamina.ntfsa.locks.byte_range import lock, read_conflict, unlock, write_conflict
from lamina.ntfsa.opening.sharing import close_file, open_file
from lamina.ntfsa.record import FileKey, LockRange
from lamina.ntfsa.registry import MemoryRegistry
from lamina.ntfsa.status import NtStatus

KEY: FileKey = (0, 1, "")
OWNERS = 100


class File:
    """One file that `OWNERS` opens have open."""

    def __init__(self) -> None:
        self.registry = MemoryRegistry()
        for owner in range(1, OWNERS + 1):
            self.registry.update(KEY, open_file, owner, FILE_ALL_ACCESS, FILE_SHARE_ALL)

    def lock(self, owner: int, wanted: LockRange, ticket: int | None = None) -> NtStatus:
        """Lock one range."""
        return self.registry.update(KEY, lock, owner, (wanted,), ticket).result

    def unlock(self, owner: int, offset: int, length: int) -> NtStatus:
        """Unlock one range."""
        return self.registry.update(KEY, unlock, owner, offset, length).result


def measure(name: str, operations: Sequence[Callable[[], object]]) -> None:
    """Run all the operations and print what one took."""
    began = time.perf_counter()
    for operation in operations:
        operation()
    micros = (time.perf_counter() - began) / len(operations) * 1e6
    print(f"  {name:52}{len(operations):>9}{micros:>12.2f} µs")


def _step(call: Callable[..., object], *arguments: object) -> Callable[[], object]:
    return lambda: call(*arguments)


def apart(count: int) -> None:
    """Exclusive locks of one byte each, of many opens, in no order."""
    print(f"{count} exclusive locks, of {OWNERS} opens, in random order")
    file = File()
    offsets = random.Random(1).sample(range(0, 2 * count, 2), count)
    owner_of = {offset: 1 + offset // 2 % OWNERS for offset in offsets}
    measure("lock", [_step(file.lock, owner_of[x], LockRange(x, 1, True)) for x in offsets])
    record = file.registry.read(KEY)
    some = offsets[:: max(1, count // 20_000)]
    measure("read of a locked byte: is it another's", [_step(read_conflict, record, 999, x, 1) for x in some])
    measure("write of a free byte", [_step(write_conflict, record, 999, x + 1, 1) for x in some])
    measure("lock that is refused", [_step(file.lock, 1, LockRange(x, 2, False)) for x in some if owner_of[x] != 1])
    kept = [x for x in offsets if owner_of[x] > OWNERS // 2]
    measure("unlock", [_step(file.unlock, owner_of[x], x, 1) for x in kept])
    measure("close of an open with many", [_step(file.registry.update, KEY, close_file, n) for n in range(1, 51)])
    measure("close of an open with none", [_step(file.registry.update, KEY, close_file, n) for n in range(51, 101)])


def of_one(count: int) -> None:
    """Exclusive locks of one open, which reads and writes over all of them."""
    print(f"{count} exclusive locks of one open")
    file = File()
    measure("lock, from the first to the last", [_step(file.lock, 1, LockRange(x, 1, True)) for x in range(count)])
    record = file.registry.read(KEY)
    measure("read over all of them by their owner", [_step(read_conflict, record, 1, 0, count)] * 1000)
    measure("write over all of them by their owner", [_step(write_conflict, record, 1, 0, count)] * 1000)
    measure("close", [_step(file.registry.update, KEY, close_file, 1)])


def stacked(count: int) -> None:
    """Shared locks of many opens on the same bytes."""
    print(f"{count} shared locks on the same bytes, of {OWNERS} opens")
    file = File()
    same = LockRange(1000, 1000, False)
    measure("lock", [_step(file.lock, 1 + x % OWNERS, same) for x in range(count)])
    record = file.registry.read(KEY)
    measure("read there", [_step(read_conflict, record, 999, 1500, 10)] * 10_000)
    measure("write there, refused", [_step(write_conflict, record, 1, 1500, 10)] * 10_000)
    measure("unlock", [_step(file.unlock, 1 + x % OWNERS, 1000, 1000) for x in range(count)])


def queue(count: int) -> None:
    """Requests that wait, each for its own byte of one locked range."""
    print(f"{count} requests wait for one lock")
    file = File()
    file.lock(1, LockRange(0, count, True))
    waits = [_step(file.lock, 2, LockRange(x, 1, True), x) for x in range(count)]
    measure("request that has to wait", waits)
    record = file.registry.read(KEY)
    measure("read beside them", [_step(read_conflict, record, 2, count + 5, 10)] * 10_000)
    measure("unlock elsewhere in the file", [_step(file.lock, 3, LockRange(count + 1, 1, True))])
    measure("unlock that lets all of them go on", [_step(file.unlock, 1, 0, count)])


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--locks", type=int, default=100_000, help="how many locks the file has")
    parser.add_argument("--waiters", type=int, default=1000, help="how many requests wait")
    asked = parser.parse_args()
    for scenario in (apart, of_one, stacked):
        scenario(asked.locks)
    queue(asked.waiters)


if __name__ == "__main__":
    main()
