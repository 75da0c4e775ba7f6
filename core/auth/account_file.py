"""The file of the accounts database: whoever reads it can log on as anybody in it, so only its owner may."""

import errno
import os
import stat
from pathlib import Path


def make_private_file(path: Path) -> None:
    """Make an empty file that only its owner may read, if there is none. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    # The umask may have taken bits away from the owner, never given any to others.
    os.fchmod(descriptor, 0o600)
    os.close(descriptor)


def check_private(path: Path) -> None:
    """Raises OSError unless `path` is a regular file of the server's or root's that nobody else may read."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "the accounts database must be a regular file", str(path))
    if stat.S_IMODE(found.st_mode) & 0o077:
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        raise PermissionError(
            errno.EPERM,
            f"others may read the password hashes in it (mode {mode}); chmod 600 it, and change the passwords",
            str(path),
        )
    if found.st_uid not in (os.geteuid(), 0):
        raise PermissionError(errno.EPERM, f"it belongs to uid {found.st_uid}, not to the server", str(path))
