"""A real GlusterFS volume of one brick, for tests; `python -m tests.support.gluster_volume` is one to play with.

Bricks look for glusterd on its usual port, and volumes are not made on 127.0.0.1: each instance has an address of its
own in 127.0.24.0/24. Its daemons live in namespaces of their own, for mounts (/var/lib/glusterd is a folder of the
instance) and for processes (all end with the first). Needs root. All of a run share one (see `keeper`).
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path

from tests.support.keeper import START_SECONDS, Daemon, Kept, Servers, keep, kept, play, this_run, wait_until

VOLUME = "vol0"

SHARE = """[share.store]
path = "/"
chain = ["streams_xattr", "dos_attributes", "glusterfs"]

[share.store.glusterfs]
servers = ["{host}"]
volume = "vol0"
"""
"""How Lamina is told to serve it."""

_PROGRAMS = ("glusterd", "gluster", "glusterfsd", "unshare", "setpriv")
_PORT = 24007

# The paths are compiled in; what stands there is hidden from these daemons only.
_SYSTEM_FOLDERS = {"lib": "/var/lib/glusterd", "log": "/var/log/glusterfs", "run": "/run/gluster"}

_CONF = """volume management
    type mgmt/glusterd
    option working-directory /var/lib/glusterd
    option run-directory /run/gluster
    option glusterd-sockfile {folder}/glusterd.socket
    option transport-type socket
    option transport.socket.read-fail-log off
    option transport.socket.listen-port {port}
    option transport.socket.bind-address {host}
    option rpc-auth-allow-insecure on
    option ping-timeout 0
    option event-threads 1
    option max-port 60999
end-volume
"""


def missing() -> str:
    """What must be installed for a volume to run, or nothing."""
    if os.geteuid() != 0:
        return "GlusterFS runs as root only"
    lacking = [name for name in _PROGRAMS if shutil.which(name) is None]
    lacking += [] if find_library("gfapi") else ["gfapi"]
    return f"{', '.join(lacking)} missing: apt install --no-install-recommends glusterfs-server" if lacking else ""


@dataclass(frozen=True)
class GlusterVolume:
    """A running volume: `VOLUME`, from the server `host` at the usual port."""

    keeper: Kept

    @property
    def host(self) -> str:
        return self.keeper.facts["host"]

    @property
    def brick(self) -> Path:
        """The folder that has the volume's files, as they are stored."""
        return Path(self.keeper.facts["brick"])

    def kill_brick(self) -> None:
        """Kill the brick as a power failure would."""
        self.keeper.ask("kill_brick")

    def start_brick(self) -> None:
        """Start it again; returns when it is online. Clients connect to it some seconds later."""
        self.keeper.ask("start_brick")

    def kill_all(self) -> None:
        """Kill every daemon: nobody answers, and nobody will."""
        self.keeper.ask("kill_all")


@contextlib.contextmanager
def gluster_volume(name: str = "") -> Iterator[GlusterVolume]:
    """The volume of this run of pytest for the time of a with block, or one of a name of its own.

    Raises RuntimeError with the ends of the logs where it does not start.
    """
    name = f"gluster-{name or this_run()}"
    with kept(name, [sys.executable, "-m", "tests.support.gluster_volume", "--keep", name]) as keeper:
        yield GlusterVolume(keeper)


class GlusterServers(Servers):
    """glusterd, what it starts, and how a volume is made."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        mounts = [f'mount --bind "{folder}/{ours}" {theirs}' for ours, theirs in _SYSTEM_FOLDERS.items()]
        script = "; ".join(
            [
                "set -e",
                f"mkdir -p {' '.join(_SYSTEM_FOLDERS.values())}",
                *mounts,
                # The first process of the namespace has to take in what its children leave behind.
                f'glusterd -N --volfile="{folder}/glusterd.vol" --pid-file="{folder}/glusterd.pid" '
                f'--log-file="{folder}/glusterd.log" --log-level=WARNING & wait',
            ]
        )
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._daemon = Daemon([*namespaces, "--propagation", "private", "bash", "-c", script], folder / "start.log")

    def start(self) -> dict[str, str]:
        host = _free_address()
        for name in (*_SYSTEM_FOLDERS, "brick"):
            (self.folder / name).mkdir()
        conf = _CONF.format(folder=self.folder, host=host, port=_PORT)
        (self.folder / "glusterd.vol").write_text(conf)
        self._daemon.start()
        wait_until(lambda: self._gluster("peer", "status").returncode == 0, "glusterd", [self._daemon])
        for command in (
            ["create", VOLUME, f"{host}:{self.folder}/brick", "force"],
            # Clients need no privileged port.
            ["set", VOLUME, "server.allow-insecure", "on"],
            ["start", VOLUME],
        ):
            self._gluster("volume", *command).check_returncode()
        wait_until(self._brick_is_online, "the brick", [self._daemon])
        return {"host": host, "brick": str(self.folder / "brick")}

    def stop(self) -> None:
        self._daemon.kill()

    def commands(self) -> Mapping[str, Callable[[], None]]:
        return {"kill_brick": self._kill_brick, "start_brick": self._start_brick, "kill_all": self.stop}

    def _gluster(self, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        command = ["gluster", f"--glusterd-sock={self.folder}/glusterd.socket", "--mode=script"]
        command += [f"--log-file={self.folder}/cli.log", *arguments]
        return subprocess.run(command, capture_output=True, check=False, timeout=START_SECONDS)

    def _brick_is_online(self) -> bool:
        said = self._gluster("volume", "status", VOLUME, "--xml").stdout
        return re.search(rb"<path>/.*?<status>1</status>", said, re.DOTALL) is not None

    def _kill_brick(self) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().split(b"\0")
                if words[0].endswith(b"glusterfsd") and str(self.folder / "brick").encode() in words:
                    os.kill(int(process.name), signal.SIGKILL)
        wait_until(lambda: not self._brick_is_online(), "the end of the brick")

    def _start_brick(self) -> None:
        self._gluster("volume", "start", VOLUME, "force").check_returncode()
        wait_until(self._brick_is_online, "the brick")


def _free_address() -> str:
    """An address of this machine where nobody has taken glusterd's port."""
    for last in range(2, 255):
        host = f"127.0.24.{last}"
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, _PORT))
            return host
    raise RuntimeError("no address is free for glusterd")


def main() -> None:
    """Be the keeper of a name, or bring up a volume, say how it is used, and wait."""
    if sys.argv[1:2] == ["--keep"]:
        keep(sys.argv[2], GlusterServers)
    elif reason := missing():
        sys.exit(reason)
    else:
        with gluster_volume() as volume:
            play(volume.brick.parent, SHARE.format(host=volume.host))


if __name__ == "__main__":
    main()
