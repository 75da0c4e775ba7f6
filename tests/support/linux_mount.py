"""Linux's own SMB client: shares mounted by the kernel. Needs root and the module cifs, which `tests/guest` has."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import ServerProcess, User

POSIX = "vers=3.1.1,posix,modefromsid,idsfromsid,mfsymlinks"
"""The options of a mount that knows modes, owners and links, as the administrator's guide has them."""


@contextlib.contextmanager
def mounted(server: ServerProcess, folder: Path, options: str, user: User | None = None) -> Iterator[Path]:
    """The share "share" mounted at a new folder, for the time of a with block; nothing is remembered for a second."""
    who = user or server.user
    folder.mkdir(parents=True)
    # Two mounts are two clients, each with a connection of its own; what one looks up twice it asks twice.
    fixed = f"ip={server.host},port={server.port},username={who.name},password={who.password},nosharesock,actimeo=0"
    source = f"//{server.host}/share"
    command = ["mount", "-i", "-t", "cifs", source, str(folder), "-o", f"{fixed},uid={who.uid},gid={who.gid},{options}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = subprocess.run(["dmesg"], capture_output=True, text=True, check=False).stdout
        raise RuntimeError(f"{done.stderr}{said[-2000:]}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
