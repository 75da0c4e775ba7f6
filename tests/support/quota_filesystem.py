"""A file system of its own that counts what its users have, in a file.

Needs root, a kernel with quotas, and the tools of XFS or ext4 (Debian: xfsprogs, e2fsprogs).
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

WHY_NOT = "needs a file system with quotas on a loop device: run as root, apt install xfsprogs e2fsprogs"
"""What a test that must be skipped says."""

_SIZE = 320 << 20
_KINDS = {
    "xfs": (["mkfs.xfs", "-q"], "loop,usrquota,grpquota"),
    "ext4": (["mkfs.ext4", "-q", "-O", "quota"], "loop,usrquota,grpquota"),
}


def can_make(kind: str) -> bool:
    """Whether what is needed beside the kernel is there."""
    make, _ = _KINDS[kind]
    return os.geteuid() == 0 and shutil.which(make[0]) is not None and os.path.exists("/dev/loop-control")


@contextlib.contextmanager
def quota_filesystem(kind: str, folder: Path) -> Iterator[Path]:
    """A new file system mounted at `folder`, for the time of a with block."""
    make, options = _KINDS[kind]
    image = folder.with_suffix(".img")
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(_SIZE)
    subprocess.run([*make, image], capture_output=True, check=True)
    subprocess.run(["mount", "-o", options, image, folder], check=True)
    try:
        os.chmod(folder, 0o777)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        image.unlink()
