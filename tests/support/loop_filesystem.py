"""A file system of its own in a file, for what the one beneath the tests may not have: shared blocks, compression.

Needs root and the file system's tools (Debian: btrfs-progs).
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

WHY_NOT = "needs a Btrfs on a loop device: run as root, apt install btrfs-progs"
"""What a test that must be skipped says."""

_SIZE = 256 << 20


def can_mount() -> bool:
    """Whether it is worth trying."""
    return os.geteuid() == 0 and shutil.which("mkfs.btrfs") is not None and os.path.exists("/dev/loop-control")


@contextlib.contextmanager
def btrfs(folder: Path) -> Iterator[Path | None]:
    """A new Btrfs mounted at `folder`, for the time of a with block; None where that cannot be."""
    image = folder.with_suffix(".img")
    if not can_mount() or not _mount(image, folder):
        yield None
        return
    try:
        yield folder
    finally:
        # Whoever still has a file open on it keeps it until then.
        subprocess.run(["umount", "--lazy", folder], check=True)
        image.unlink()


def _mount(image: Path, folder: Path) -> bool:
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(_SIZE)
    made = subprocess.run(["mkfs.btrfs", "-q", image], capture_output=True, check=False)
    if made.returncode == 0:
        made = subprocess.run(["mount", "-o", "loop,noatime", image, folder], capture_output=True, check=False)
    if made.returncode:
        image.unlink()
        folder.rmdir()
    return made.returncode == 0
