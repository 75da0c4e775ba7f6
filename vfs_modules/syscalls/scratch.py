"""Files without a name that the server keeps something in for a while; they are gone with their last descriptor."""

import fcntl
import os
import tempfile
from typing import Final

_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def open_scratch(folder: str = "") -> int:
    """The descriptor of a new file without a name, in `folder` or in the system's place for such. Raises OSError."""
    where = folder or tempfile.gettempdir()
    try:
        return os.open(where, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        # Not every file system can make a file that never had a name.
        with tempfile.TemporaryFile(dir=where) as file:
            return os.dup(file.fileno())


def sealed_memory(data: bytes) -> int:
    """The descriptor of a file in memory that holds `data` and that nobody can change (memfd_create(2))."""
    fd = os.memfd_create("lamina", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd
