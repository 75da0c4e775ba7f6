"""Folders of the server's own, in which it keeps what is to outlive it. Nobody but the server may look into them.

They are not the share's: their place is the administrator's choice, and they are made as the server (`assume` it).
"""

import atexit
import errno
import os
import shutil
import stat
import tempfile


def private_folder(base: str, *parts: str) -> str:
    """The folder `parts` beneath `base`, made if need be. Raises OSError: EPERM for one that others can write to."""
    os.makedirs(base, mode=0o700, exist_ok=True)
    path = base
    _check(path)
    for part in parts:
        path = os.path.join(path, part)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            _check(path)
    return path


def _check(path: str) -> None:
    found = os.stat(path, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "what modules store needs a folder", path)
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "others can write to a folder that modules are to store in", path)


class TemporaryFolder:
    """A folder `name` that goes with `cleanup`, or at the latest with the process.

    Not when this object is collected: that may happen in a thread that acts for a user, who may not remove it.
    """

    def __init__(self) -> None:
        self.name = tempfile.mkdtemp(prefix="lamina-state-")
        atexit.register(self.cleanup)

    def cleanup(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.name, ignore_errors=True)
        atexit.unregister(self.cleanup)
