"""A real Ceph cluster of one node with a CephFS, for tests; `python -m tests.support.ceph_cluster` is one to play with.

One monitor, manager, OSD (BlueStore, so that it can be killed and comes back with its data) and metadata server on
loopback, for any user. All of a run share one (see `keeper`); who kills daemons wants one of a name of its own.
"""

import base64
import contextlib
import secrets
import shutil
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path

from tests.support.keeper import START_SECONDS, Daemon, Kept, Servers, keep, kept, play, this_run, wait_until
from tests.support.rados import Monitors

USER = "smb"
"""The one that Lamina is: it may use the file system with its snapshots and quotas, and nothing else."""

FILESYSTEM = "cephfs"

SHARE = """[share.store]
path = "/"
chain = ["streams_xattr", "dos_attributes", "ceph"]

[share.store.ceph]
conf = "{conf}"
user = "smb"
file_system = "cephfs"
"""
"""How Lamina is told to serve it."""

_PROGRAMS = ("ceph-mon", "ceph-mgr", "ceph-osd", "ceph-mds", "monmaptool", "setpriv")

_CAPABILITIES = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "mgr": "allow *", "osd": "allow *", "mds": "allow *"},
    f"client.{USER}": {
        "mon": "allow r",
        "mgr": "allow r",
        "osd": f"allow rw tag cephfs data={FILESYSTEM}",
        "mds": "allow rwps",
    },
    "mgr.a": {"mon": "allow profile mgr", "osd": "allow *", "mds": "allow *"},
    "mds.a": {"mon": "allow profile mds", "mgr": "allow profile mds", "osd": "allow *", "mds": "allow *"},
    "osd.0": {"mon": "allow profile osd", "mgr": "allow profile osd", "osd": "allow *"},
}

_CONF = """[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{port}/0]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = {folder}/keyring
run dir = {folder}
crash dir = {folder}
log file = {folder}/$type.$id.log
log flush on exit = false
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
debug osd = 0
debug bluestore = 0
debug bluefs = 0
debug rocksdb = 0
debug mds = 0
debug mon = 0
debug paxos = 0
# How long one that was killed may have promised its clients to answer, which those who come after it wait for.
osd heartbeat grace = 3
osd pool default read lease ratio = 0.2
# How soon who waits for it looks whether it is back.
objecter tick interval = 1
objecter timeout = 2
[mon]
mon data = {folder}/mon
mon allow pool size one = true
mon allow pool delete = true
mon warn on pool no redundancy = false
mon data avail warn = 2
mon data avail crit = 1
mon cluster log file = {folder}/cluster.log
paxos propose interval = 0.05
paxos min wait = 0.01
mgr initial modules =
[mgr]
mgr data = {folder}/mgr
mgr stats period = 1
mgr tick period = 1
[osd]
osd data = {folder}/osd
osd objectstore = bluestore
osd memory target = 939524096
bluestore block size = {size}
bluestore fsck on mount = false
[mds]
mds data = {folder}/mds
mds cache memory limit = 268435456
[client]
log file =
admin socket =
"""

_DISK = 16 << 30
"""Bytes of the OSD's disk: a sparse file."""


def missing() -> str:
    """What must be installed for a cluster to run, or nothing."""
    lacking = [name for name in _PROGRAMS if shutil.which(name) is None]
    lacking += [name for name in ("rados", "cephfs") if find_library(name) is None]
    return (
        f"{', '.join(lacking)} missing: apt install --no-install-recommends ceph-mon ceph-mgr ceph-osd ceph-mds"
        if lacking
        else ""
    )


@dataclass(frozen=True)
class CephCluster:
    """A running cluster. `configuration` names the keyring that has the keys of `USER` and of the administrator."""

    keeper: Kept

    @property
    def configuration(self) -> Path:
        return Path(self.keeper.facts["configuration"])

    @property
    def folder(self) -> Path:
        """Where the cluster has its state and its logs."""
        return self.configuration.parent

    def kill_osd(self) -> None:
        """Kill the OSD as a power failure would: what clients do with data waits."""
        self.keeper.ask("kill_osd")

    def start_osd(self) -> None:
        """Start it again. Clients go on some seconds later."""
        self.keeper.ask("start_osd")

    def kill_all(self) -> None:
        """Kill every daemon: nobody answers, and nobody will."""
        self.keeper.ask("kill_all")


@contextlib.contextmanager
def ceph_cluster(name: str = "") -> Iterator[CephCluster]:
    """The cluster of this run of pytest for the time of a with block, or one of a name of its own.

    Raises RuntimeError with the ends of the logs where it does not start.
    """
    name = f"ceph-{name or this_run()}"
    with kept(name, [sys.executable, "-m", "tests.support.ceph_cluster", "--keep", name]) as keeper:
        yield CephCluster(keeper)


class CephServers(Servers):
    """The daemons of a cluster, and how it is made."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.configuration = folder / "ceph.conf"
        self._daemons = {
            name: Daemon([f"ceph-{kind}", "-i", number, "-f", "--conf", self.configuration], folder / f"{name}.out.log")
            for kind, number in (("mon", "a"), ("mgr", "a"), ("osd", "0"), ("mds", "a"))
            for name in [f"{kind}.{number}"]
        }

    def start(self) -> dict[str, str]:
        fsid, disk, port = str(uuid.uuid4()), str(uuid.uuid4()), _free_port()
        self.configuration.write_text(_CONF.format(folder=self.folder, fsid=fsid, port=port, size=_DISK))
        self._write_keyring()
        for name in ("mon", "mgr", "osd", "mds"):
            (self.folder / name).mkdir()
        self._make_monitor(fsid, port)
        self._start("mon.a")
        with self._connected() as monitors:
            self._start("mgr.a")
            monitors.ask("osd new", uuid=disk)
            self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk, "--conf", self.configuration)
            self._start("osd.0")
            self._make_filesystem(monitors)
            self._start("mds.a")
            wait_until(lambda: _is_ready(monitors), "CephFS", list(self._daemons.values()))
        return {"configuration": str(self.configuration)}

    def stop(self) -> None:
        for daemon in self._daemons.values():
            daemon.kill()

    def commands(self) -> Mapping[str, Callable[[], None]]:
        osd = self._daemons["osd.0"]
        return {"kill_osd": osd.kill, "start_osd": osd.start, "kill_all": self.stop}

    def _start(self, name: str) -> None:
        self._daemons[name].start()

    def _run(self, *command: str | Path) -> None:
        subprocess.run(command, check=True, capture_output=True, timeout=START_SECONDS)

    def _write_keyring(self) -> None:
        """Every key, from the beginning: the monitor's first keyring is this one, too."""
        lines = []
        for name, rights in _CAPABILITIES.items():
            lines += [f"[{name}]", f"\tkey = {_new_key()}"]
            lines += [f'\tcaps {service} = "{right}"' for service, right in rights.items()]
        (self.folder / "keyring").write_text("\n".join([*lines, ""]))

    def _make_monitor(self, fsid: str, port: int) -> None:
        monmap = self.folder / "monmap"
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{port}]", monmap)
        where = ["--monmap", monmap, "--keyring", self.folder / "keyring", "--conf", self.configuration]
        self._run("ceph-mon", "-i", "a", "--mkfs", *where)

    def _connected(self) -> Monitors:
        """The monitor, as soon as it answers."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return Monitors(self.configuration, 5)
            except OSError:
                if time.monotonic() > deadline or not self._daemons["mon.a"].running():
                    raise

    @staticmethod
    def _make_filesystem(monitors: Monitors) -> None:
        for pool in ("metadata", "data"):
            monitors.ask("osd pool create", pool=pool, pg_num=8)
        monitors.ask("fs new", fs_name=FILESYSTEM, metadata="metadata", data="data")


def _is_ready(monitors: Monitors) -> bool:
    """Whether the metadata server is active; and the manager has reported, for free space is none until then."""
    ranks = monitors.ask("fs dump")["filesystems"][0]["mdsmap"]["info"].values()
    active = any(rank["state"] == "up:active" for rank in ranks)
    return active and any(pool["stats"]["max_avail"] for pool in monitors.ask("df")["pools"])


def _new_key() -> str:
    """A secret in the form of Ceph's keyrings: type AES, when it was made, its length, itself."""
    return base64.b64encode(struct.pack("<HIIH", 1, int(time.time()), 0, 16) + secrets.token_bytes(16)).decode()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    """Be the keeper of a name, or bring up a cluster, say how it is used, and wait."""
    if sys.argv[1:2] == ["--keep"]:
        keep(sys.argv[2], CephServers)
    elif reason := missing():
        sys.exit(reason)
    else:
        with ceph_cluster() as cluster:
            play(cluster.folder, SHARE.format(conf=cluster.configuration))


if __name__ == "__main__":
    main()
