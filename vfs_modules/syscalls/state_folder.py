"""Folders of the server's own, in which it keeps what is to outlive it. Nobody but the server may look into them.

They are not the share's: their place is the administrator's choice, and they are made as the server (`assume` it).
"""

import errno
import os
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


class TemporaryFolder(tempfile.TemporaryDirectory[str]):
    """A folder `name` that goes with this object, or with `cleanup`."""

    def __init__(self) -> None:
        super().__init__(prefix="lamina-state-", ignore_cleanup_errors=True)
