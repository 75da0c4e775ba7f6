"""A process that works on a share until it is killed, for the check of what outlives it (`Profile.crash`).

    python -m lamina.vfs_modules.testing.crash package.module:profile FOLDER

It prints the number of each round when the round has been acknowledged: its file is written, synchronised and renamed,
an older one removed, and the counter written and synchronised.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from lamina.vfs_modules.engine import Engine
from lamina.vfs_modules.testing import make_token
from lamina.vfs_modules.testing.conformance import in_request
from lamina.vfs_modules.testing.hand import READ_WRITE, Hand, hand_of
from lamina.vfs_modules.testing.profile import connected, find_profile

KEPT = 10
"""How many rounds a file is kept."""

COUNTER = "counter"

_FOR_EVER = 3600.0


def content(number: int) -> bytes:
    """What the file of a round holds."""
    return number.to_bytes(8, "little") * 500


def work(hand: Hand, acknowledge: Callable[[int], None]) -> None:
    """Do round after round, for ever."""
    counter = hand.make(COUNTER)
    number = 0
    while True:
        chain, token = hand.chain, hand.token
        handle = hand.make(f"new{number}", content(number))
        chain.fsync(token, handle)
        hand.rename(f"new{number}", f"file{number}")
        if number >= KEPT:
            chain.unlink(token, hand.root, f"file{number - KEPT}")
        chain.pwrite(token, counter, memoryview(number.to_bytes(8, "little")), 0)
        chain.fsync(token, counter)
        acknowledge(number)
        number += 1


def survivors(hand: Hand, last: int) -> None:
    """Raise AssertionError unless everything up to round `last` is there as it was acknowledged."""
    counted = int.from_bytes(hand.read(hand.open(COUNTER, READ_WRITE), 8), "little")
    assert counted in {last, last + 1}, f"the counter says {counted}, acknowledged was {last}"
    names = hand.names()
    oldest = max(0, last - KEPT + 1)
    must = {COUNTER} | {f"file{number}" for number in range(oldest + 1, last + 1)}
    may = must | {f"file{oldest}", f"new{last + 1}", f"file{last + 1}"}
    assert must <= names <= may, f"acknowledged was {last}; there are {sorted(names)}"
    for number in range(oldest + 1, last + 1):
        data = hand.read(hand.open(f"file{number}", READ_WRITE), len(content(number)) + 1)
        assert data == content(number), f"file{number} does not hold what was acknowledged"


def main(place: str, folder: str) -> None:
    """Work on the share of a profile until the process is killed."""

    def acknowledge(number: int) -> None:
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()

    def serve(engine: Engine) -> None:
        with connected(find_profile(place).make, Path(folder)) as chain, hand_of(chain, make_token()) as hand:
            work(hand, acknowledge)

    in_request(serve, _FOR_EVER)


if __name__ == "__main__":
    main(*sys.argv[1:])
