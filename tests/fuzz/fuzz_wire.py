# ruff: noqa: T201 - a program for the command line
"""Fuzz every decoder of `lamina.core.wire`: nothing but WireError may come out of one.

    python -m tests.fuzz.fuzz_wire --seconds 60 --seed 1
    python -m tests.fuzz.fuzz_wire --atheris [libFuzzer options]     (needs the package atheris)

Mutates valid messages. A failure prints the decoder and its input in hexadecimal, and ends with 1.
"""

import argparse
import random
import struct
import sys
import time
import traceback
from collections.abc import Callable

from lamina.core.wire.errors import WireError
from tests.support.wire_samples import SAMPLES, Sample

_INTERESTING = (0, 1, 7, 8, 63, 64, 65, 127, 128, 255, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


class FindingError(Exception):
    """A decoder raised something else than WireError."""


def check(sample: Sample, data: bytes) -> None:
    """Give `data` to a decoder; raises FindingError if anything but a value or WireError comes out."""
    try:
        sample.decode(memoryview(data))
    except WireError:
        pass
    except Exception as error:
        raise FindingError(f"{sample.name}: {type(error).__name__} for {data.hex()}") from error


def _flip(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _number(data: bytearray, chance: random.Random) -> None:
    size, code = chance.choice(((1, "<B"), (2, "<H"), (4, "<I")))
    at = chance.randrange(len(data))
    value = struct.pack(code, chance.choice(_INTERESTING) & ((1 << 8 * size) - 1))
    data[at : at + size] = value[: len(data) - at]


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def _extend(data: bytearray, chance: random.Random) -> None:
    data += chance.randbytes(chance.randrange(1, 32))


def _shift(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    data[at:at] = chance.randbytes(chance.randrange(1, 9))


_MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (_flip, _number, _number, _cut, _extend, _shift)


def mutate(data: bytes, chance: random.Random) -> bytes:
    """`data` with one to four things wrong."""
    mutated = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        if mutated:
            chance.choice(_MUTATIONS)(mutated, chance)
    return bytes(mutated)


def run(seed: int, iterations: int | None = None, seconds: float | None = None) -> int:
    """Fuzz until one limit is reached; how many inputs were tried. Raises FindingError."""
    chance = random.Random(seed)
    end = None if seconds is None else time.monotonic() + seconds
    tried = 0
    while (iterations is None or tried < iterations) and (end is None or time.monotonic() < end):
        sample = chance.choice(SAMPLES)
        check(sample, mutate(sample.data, chance))
        tried += 1
    return tried


def _run_atheris(arguments: list[str]) -> int:
    try:
        import atheris
    except ImportError:
        print("atheris is not installed: pip install atheris")
        return 2

    def one(data: bytes) -> None:
        if data:
            check(SAMPLES[data[0] % len(SAMPLES)], data[1:])

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()
    return 0


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None, help="by default another one each time; it is printed")
    parser.add_argument("--atheris", action="store_true", help="let atheris choose the inputs")
    options, rest = parser.parse_known_args()
    if options.atheris:
        return _run_atheris(rest)
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}, {len(SAMPLES)} samples")
    try:
        print(f"{run(seed, seconds=options.seconds)} inputs, nothing found")
    except FindingError as finding:
        traceback.print_exception(finding)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
