"""Files without a name that the server keeps something in for a while; they are gone with their last descriptor."""

import os
import tempfile


def open_scratch(folder: str = "") -> int:
    """The descriptor of a new file without a name, in `folder` or in the system's place for such. Raises OSError."""
    where = folder or tempfile.gettempdir()
    try:
        return os.open(where, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        # Not every file system can make a file that never had a name.
        with tempfile.TemporaryFile(dir=where) as file:
            return os.dup(file.fileno())
