"""More of the same: histories against the model, and simulations, with seeds that no test has tried.

python -m tests.caching                      a minute of each
python -m tests.caching --seconds 3600       an hour of each
python -m tests.caching --seed 17            one history and one simulation, as long as those that failed
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Final

from tests.caching.histories import DifferenceError, run
from tests.caching.simulation import BrokenPromiseError, simulate

HISTORY_STEPS: Final = 10_000
SIMULATION_STEPS: Final = 3000


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _try(name: str, seed: int, function: Callable[[int, int], object], steps: int) -> bool:
    try:
        function(seed, steps)
    except (DifferenceError, BrokenPromiseError) as error:
        _say(f"{name} {seed}: {error}")
        return False
    except BaseException:
        _say(f"{name}, seed {seed}:")
        raise
    return True


def main() -> int:
    """Run until the time is over or something is wrong; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.caching", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to try each of the two")
    parser.add_argument("--first", type=int, default=1000, metavar="SEED", help="the first seed to try")
    parser.add_argument("--seed", type=int, help="try this seed alone")
    parser.add_argument("--only", choices=("history", "simulation"), help="one of the two")
    asked = parser.parse_args()
    for name, function, steps in (("history", run, HISTORY_STEPS), ("simulation", simulate, SIMULATION_STEPS)):
        if asked.only not in (None, name):
            continue
        end = time.monotonic() + asked.seconds
        seed = asked.first if asked.seed is None else asked.seed
        tried = 0
        while (not tried if asked.seed is not None else time.monotonic() < end) and _try(name, seed, function, steps):
            seed += 1
            tried += 1
        _say(f"{name}: {tried} seeds of {steps} steps without a difference")
        if not tried or (asked.seed is None and time.monotonic() < end):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
