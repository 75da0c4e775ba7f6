"""The check of crash consistency, for profiles that claim it: a process is killed while it works on the share.

SIGKILL takes away what the process had in its memory, which is what a module or a backend can be blamed for; what the
system had not written yet when the power fails is the storage's own affair.
"""

import contextlib
import signal
import subprocess
import sys

from lamina.vfs_modules.testing.hand import hand_of
from lamina.vfs_modules.testing.profile import Feature
from lamina.vfs_modules.testing.trial import Trial, trial

_ROUNDS = (1, 15, 40)
"""After how many rounds the process is killed, each time with a share of its own."""


@trial(feature=Feature.CRASH)
def what_was_acknowledged_outlives_a_killed_process(subject: Trial) -> None:
    """Names and data: all that was told to be done is there when the share is opened again, and nothing else is."""
    from lamina.vfs_modules.testing.crash import survivors

    for rounds in _ROUNDS:
        folder = subject.folder / f"killed-after-{rounds}"
        folder.mkdir()
        last = _kill_after(rounds, subject.profile.crash, str(folder))
        again = Trial(subject.profile, folder, subject.token, subject.engine)
        with again.chain() as chain, hand_of(chain, subject.token) as hand:
            survivors(hand, last)


def _kill_after(rounds: int, place: str, folder: str) -> int:
    """The last round that was acknowledged."""
    command = [sys.executable, "-m", "lamina.vfs_modules.testing.crash", place, folder]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:  # noqa: S603 - our own module
        assert process.stdout is not None
        assert process.stderr is not None
        told = [process.stdout.readline() for _ in range(rounds)]
        process.send_signal(signal.SIGKILL)
        with contextlib.suppress(ValueError):
            told += process.stdout.readlines()
        whole = [line for line in told if line.endswith("\n")]
        assert len(whole) >= rounds, f"the process ended by itself: {process.stderr.read()[-500:]}"
        return int(whole[-1])


__all__ = ["what_was_acknowledged_outlives_a_killed_process"]
