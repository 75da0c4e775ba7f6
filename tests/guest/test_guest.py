"""The tests that need more of a kernel than most have, in a machine with Debian's: none of them is left out."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guest.kernel import NoKernelError, cache_folder
from tests.guest.machine import run_in_guest, what_is_missing
from tests.support.processes import REPOSITORY

MARK = "pytest.mark." + "guest"
PYTEST = (sys.executable, "-m", "pytest", "--in-guest", "--no-skips", "-v", "--tb=short")
# A process that waits for its file system hears no signal.
TIMES = ("-o", "timeout=240", "-o", "timeout_method=thread")
# What none of them needs costs time where the processor is emulated.
WITHOUT = ("-p", "no:cacheprovider", "-p", "no:xdist")


def marked() -> list[str]:
    """The files of which some tests run in the guest."""
    files = sorted((REPOSITORY / "tests").rglob("test_*.py"))
    return [str(path.relative_to(REPOSITORY)) for path in files if MARK in path.read_text()]


def compiled(command: list[str]) -> Path:
    """A folder with the bytecode of all that the command imports, which would take the guest long to make."""
    folder = cache_folder() / "bytecode"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder)
    source = REPOSITORY / "src" / "lamina"
    layers = [str(source / layer) for layer in ("core", "ntfsa", "vfs_modules")]
    for one in (
        [*command, "--collect-only", "-q"],
        [sys.executable, "-m", "compileall", "-q", *layers],
        [sys.executable, "-c", "import tests.support.lamina_process"],
    ):
        subprocess.run(one, env=environment, cwd=REPOSITORY, stdout=subprocess.DEVNULL, check=True)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_needs_a_kernel_of_its_own() -> None:
    missing = what_is_missing()
    if missing:
        pytest.skip(missing)
    command = [*PYTEST, *TIMES, *WITHOUT, *marked()]
    bytecode = shlex.quote(str(compiled(command)))
    script = f"cd {shlex.quote(str(REPOSITORY))}\nexport PYTHONPYCACHEPREFIX={bytecode}\n{shlex.join(command)}"
    printed: list[str] = []
    try:
        status = run_in_guest(script, printed.append)
    except NoKernelError as error:
        pytest.skip(str(error))
    sys.stdout.writelines(printed)
    failed = [line for line in printed if line.startswith(("FAILED ", "ERROR "))]
    assert status == 0, f"in the guest, whose output is above:\n{''.join(failed or printed[-20:])}"
