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

NO_QUOTAS = "this kernel counts nothing for users of such a file system: try one with CONFIG_QFMT_V2, CONFIG_XFS_QUOTA"
"""Why a test cannot pass where everything is installed that can be."""

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
def quota_filesystem(kind: str, folder: Path) -> Iterator[Path | None]:
    """A new file system mounted at `folder`, for the time of a with block; None where the kernel mounts none."""
    make, options = _KINDS[kind]
    image = folder.with_suffix(".img")
    if not _mount(make, options, image, folder):
        yield None
        return
    try:
        os.chmod(folder, 0o777)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        image.unlink()


def _mount(make: list[str], options: str, image: Path, folder: Path) -> bool:
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(_SIZE)
    done = subprocess.run([*make, image], capture_output=True, check=False)
    if done.returncode == 0:
        done = subprocess.run(["mount", "-o", options, image, folder], capture_output=True, check=False)
    if done.returncode:
        image.unlink()
        folder.rmdir()
    return done.returncode == 0
