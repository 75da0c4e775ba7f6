# ruff: noqa: T201 - a program for the command line
"""Fuzz the decoder of PACs: nothing but PacError may come out of it, and it must not take long.

    python -m tests.fuzz.fuzz_pac --seconds 60 --seed 1

Mutates a PAC of a real domain controller, and ones with further groups, claims and compressed claims.
"""

import argparse
import random
import sys
import time
from collections.abc import Sequence

from lamina.core.auth.pac import PacError, read_pac
from tests.core.auth import pac_samples as samples
from tests.fuzz.fuzz_wire import FindingError, mutate

SLOWEST = 2.0
"""Seconds of processor time that no input may take; the largest claims that are taken need a tenth of that."""


def inputs() -> list[bytes]:
    """Valid PACs."""
    claims = samples.claims({"department": ["Finance", "Legal"], "level": [3]})
    info = samples.logon_info(
        extra=[("S-1-5-21-1-2-3-4", samples.ENABLED)], resources=("S-1-5-21-1-2-3", [(5, samples.ENABLED)])
    )
    upn = samples.upn_dns_info(f"{samples.DOMAIN_SID}-1102")
    packed = samples.claims_info(samples.compressed(claims), 4, len(claims))
    return [
        samples.SAMBA,
        samples.pac({1: info, 12: upn, 13: samples.claims_info(claims)}),
        samples.pac({1: info, 13: packed}),
    ]


def check(data: bytes) -> None:
    """Read `data`; raises FindingError if anything but a value or PacError comes out."""
    begun = time.process_time()
    try:
        read_pac(data)
    except PacError:
        pass
    except Exception as error:
        raise FindingError(f"{type(error).__name__} for {data.hex()}") from error
    if time.process_time() - begun > SLOWEST:
        raise FindingError(f"{SLOWEST} s for {data.hex()}")


def run(seed: int, iterations: int | None = None, seconds: float | None = None) -> int:
    """Fuzz until one limit is reached; how many inputs were tried. Raises FindingError."""
    chance = random.Random(seed)
    valid: Sequence[bytes] = inputs()
    end = None if seconds is None else time.monotonic() + seconds
    tried = 0
    while (iterations is None or tried < iterations) and (end is None or time.monotonic() < end):
        check(mutate(chance.choice(valid), chance))
        tried += 1
    return tried


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None, help="by default another one each time; it is printed")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}")
    try:
        print(f"{run(seed, seconds=options.seconds)} inputs, nothing found")
    except FindingError as finding:
        print(finding)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
