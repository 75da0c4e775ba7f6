"""A control that takes a while, for smbtorture to close its file meanwhile: FSCTL_SMBTORTURE_FSP_ASYNC_SLEEP.

Whether the file is still open when it ends is what the test wants to know (MS-SMB2 3.3.5.10: a CLOSE ends what is done
with the open first). Only the test's own server process takes it; Lamina itself knows no such thing.
"""

from typing import Final

from lamina.ntfsa.fsctl.control import NOTHING, Control
from lamina.ntfsa.fsctl.fs_control import CODES
from lamina.ntfsa.result import Information
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.engine import sleep

FSP_ASYNC_SLEEP: Final = 0x83848043


def install() -> None:
    """Let the server of this process take the request."""
    CODES[FSP_ASYNC_SLEEP] = _sleep


def _sleep(control: Control) -> Information:
    if len(control.input) != 1:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "milliseconds, as one byte")
    sleep(control.input[0] / 1000)
    if control.open.closed:
        raise NtStatusError(NtStatus.FILE_CLOSED)
    return NOTHING
