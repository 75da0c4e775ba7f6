"""The tests that need more of a kernel than most have, in a machine with Debian's: none of them is left out."""

import shlex
import sys
from collections.abc import Iterator

import pytest

from tests.guest.kernel import NoKernelError
from tests.guest.machine import Size, run_in_guest, what_is_missing
from tests.support.processes import REPOSITORY

MARK = "pytest.mark." + "guest"
# What it does not need costs time where the processor is emulated.
PYTEST = (
    "-m",
    "pytest",
    "--in-guest",
    "--no-skips",
    "-v",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-o",
    "timeout=0",
)


def marked() -> Iterator[str]:
    """The files of which some tests run in the guest."""
    for path in sorted((REPOSITORY / "tests").rglob("test_*.py")):
        if MARK in path.read_text():
            yield str(path.relative_to(REPOSITORY))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_what_needs_a_kernel_of_its_own() -> None:
    missing = what_is_missing()
    if missing:
        pytest.skip(missing)
    command = f"cd {shlex.quote(str(REPOSITORY))}\n{shlex.join([sys.executable, *PYTEST, *marked()])}"
    printed: list[str] = []
    try:
        status = run_in_guest(command, printed.append, Size(processors=2))
    except NoKernelError as error:
        pytest.skip(str(error))
    sys.stdout.writelines(printed)
    assert status == 0, "a test failed in the guest: see what it printed"
