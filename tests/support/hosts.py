"""A host name that only the processes of a test find, by a private /etc/hosts in a mount namespace."""

import os
from pathlib import Path


def knowing(folder: Path, name: str, address: str = "127.0.0.1") -> list[str]:
    """What to put before a command so that `name` is `address` to it; `folder` keeps the file. Needs unshare(1)."""
    hosts = folder / f"hosts-{address}"
    hosts.write_text(f"{address} {name}\n127.0.0.1 localhost\n")
    namespace = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    return [*namespace, "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"]
