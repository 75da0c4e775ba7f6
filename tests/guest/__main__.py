"""`python -m tests.guest COMMAND...`: run a command as root in the guest, from this folder; ends with its status."""

import argparse
import os
import shlex
import sys

from tests.guest.kernel import NoKernelError
from tests.guest.machine import USUAL, GuestError, Size, run_in_guest, what_is_missing


def main() -> int:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.guest", description=__doc__)
    parser.add_argument("--memory", type=int, default=USUAL.memory, help="MiB")
    parser.add_argument("--processors", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=600.0, help="the longest that it may take")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="one word is a shell's command, more are one program")
    asked = parser.parse_args()
    missing = what_is_missing()
    if missing or not asked.command:
        parser.error(missing or "no command")
    words = asked.command
    command = words[0] if len(words) == 1 else shlex.join(words)
    size = Size(asked.memory, asked.processors, asked.seconds)
    try:
        return run_in_guest(f"cd {shlex.quote(os.getcwd())}\n{command}", _say, size)
    except (GuestError, NoKernelError) as error:
        sys.stderr.write(f"{error}\n")
        return 125


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
