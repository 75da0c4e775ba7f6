"""A store as the tests see it: real servers, an administrator's view beside Lamina, and how a share of it is told.

`posix` is a folder: what fails there, too, is a fault of the test (`LAMINA_TEST_STORES=posix`).
"""

import contextlib
import itertools
import os
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import ceph_cluster, contrib, gluster_volume
from tests.support.processes import Folder, Layout, ServerProcess, User, empty, serving, two_users
from tests.support.store_view import Stat, StoreView, store_view

Chain = Sequence[tuple[str, Mapping[str, Any]]]

ABOVE: Chain = (("streams_xattr", {}), ("dos_attributes", {}))
"""The default chain without its backend."""

_numbers = itertools.count(1)


class Store(ABC):
    """A store that runs. `python_path`: where its module is installed, for a server's process."""

    name: str
    patience: str
    """Its option for how many seconds it waits for servers that do not answer."""
    snapshot_provider = ""
    """What `shadow_copy` calls that which knows of its snapshots; nothing where it makes none on such a machine."""

    def __init__(self, view: StoreView, python_path: Sequence[str]) -> None:
        self.view = view
        self.python_path = python_path
        self.users = two_users("lamina")

    @abstractmethod
    def backend(self, root: str) -> tuple[str, Mapping[str, Any]]:
        """The module with the options that make the folder `root` of the store a share's root."""

    @abstractmethod
    def configuration(self) -> str:
        """How a configuration file says that it is [share.store], from the top of the store."""

    @abstractmethod
    def environment(self) -> Mapping[str, str]:
        """What the tests of its distribution find it by."""

    @abstractmethod
    def kill_storage(self) -> None:
        """Kill what holds the data, as a power failure would."""

    @abstractmethod
    def start_storage(self) -> None:
        """Start it again."""

    @abstractmethod
    def kill_all(self) -> None:
        """Kill all servers, for good."""

    def new_folder(self, wish: str, mode: int = 0o755, within: str = "") -> str:
        """A new folder of the first user's: its path on the store, or its name `within` another."""
        name = f"{re.sub(r'[^A-Za-z0-9]+', '-', wish)[:40].strip('-')}-{os.getpid()}-{next(_numbers)}"
        path = f"{within}/{name}"
        self.view.make_folder(path)
        self.give(path, self.users[0], mode)
        return name if within else path

    def give(self, path: str, user: User, mode: int) -> None:
        uid, gid = user.uid, user.gid
        self.view.give(path, os.geteuid() if uid is None else uid, os.getegid() if gid is None else gid, mode)

    def folder(self, root: str, above: Chain = ABOVE, **backend: Any) -> Folder:
        """A share of `root`, with the modules `above` over the backend; `backend` are further options of that."""
        name, options = self.backend(root)
        return Folder("/", chain=[*above, (name, {**options, **backend})])

    @contextlib.contextmanager
    def serving(self, shares: Mapping[str, Folder], folder: Path, **layout: Any) -> Iterator[ServerProcess]:
        """A server in a process of its own."""
        with serving(self.layout(shares, **layout), folder, "lamina") as server:
            yield server

    def layout(self, shares: Mapping[str, Folder], **layout: Any) -> Layout:
        """What such a server serves."""
        return Layout(shares, self.users, python_path=self.python_path, **layout)


class CephStore(Store):
    """CephFS."""

    name = "ceph"
    patience = "seconds"
    snapshot_provider = "ceph"

    def __init__(self, cluster: ceph_cluster.CephCluster, view: StoreView, python_path: Sequence[str]) -> None:
        super().__init__(view, python_path)
        self._cluster = cluster

    def backend(self, root: str) -> tuple[str, Mapping[str, Any]]:
        options = {"conf": str(self._cluster.configuration), "user": ceph_cluster.USER}
        return "ceph", {**options, "file_system": ceph_cluster.FILESYSTEM, "root": root}

    def configuration(self) -> str:
        return ceph_cluster.SHARE.format(conf=self._cluster.configuration)

    def environment(self) -> Mapping[str, str]:
        return {"LAMINA_CEPH_CONF": str(self._cluster.configuration), "LAMINA_CEPH_USER": ceph_cluster.USER}

    def kill_storage(self) -> None:
        self._cluster.kill_osd()

    def start_storage(self) -> None:
        self._cluster.start_osd()

    def kill_all(self) -> None:
        self._cluster.kill_all()


class GlusterStore(Store):
    """A GlusterFS volume."""

    name = "glusterfs"
    patience = "timeout"

    def __init__(self, volume: gluster_volume.GlusterVolume, view: StoreView, python_path: Sequence[str]) -> None:
        super().__init__(view, python_path)
        self._volume = volume

    def backend(self, root: str) -> tuple[str, Mapping[str, Any]]:
        return "glusterfs", {"servers": [self._volume.host], "volume": gluster_volume.VOLUME, "root": root}

    def configuration(self) -> str:
        return gluster_volume.SHARE.format(host=self._volume.host)

    def environment(self) -> Mapping[str, str]:
        return {"LAMINA_GLUSTERFS": f"{gluster_volume.VOLUME}@{self._volume.host}"}

    def kill_storage(self) -> None:
        self._volume.kill_brick()

    def start_storage(self) -> None:
        self._volume.start_brick()

    def kill_all(self) -> None:
        self._volume.kill_all()


class PosixStore(Store):
    """A folder, which nothing happens to."""

    name = "posix"

    def __init__(self, top: Path) -> None:
        super().__init__(FolderView(top), ())  # type: ignore[arg-type]
        self._top = top

    def backend(self, root: str) -> tuple[str, Mapping[str, Any]]:
        return "posix", {}

    def folder(self, root: str, above: Chain = ABOVE, **backend: Any) -> Folder:
        return Folder(f"{self._top}{root}", chain=[*above, ("posix", {})])

    def configuration(self) -> str:
        return f'[share.store]\npath = "{self._top}"\n'

    def environment(self) -> Mapping[str, str]:
        pytest.skip("posix is no distribution of its own")

    def kill_storage(self) -> None:
        pytest.skip("a folder is always there")

    start_storage = kill_all = kill_storage


class FolderView:
    """What a `StoreView` has, of a folder."""

    def __init__(self, top: Path) -> None:
        self._top = top

    def _at(self, path: str) -> Path:
        return self._top / path.lstrip("/")

    def stat(self, path: str) -> Stat:
        found = os.lstat(self._at(path))
        return Stat(found.st_uid, found.st_gid, found.st_mode, found.st_size)

    def read(self, path: str) -> bytes:
        return self._at(path).read_bytes()

    def write(self, path: str, data: bytes) -> None:
        self._at(path).write_bytes(data)

    def names(self, path: str) -> list[str]:
        return sorted(os.listdir(self._at(path)))

    def make_folder(self, path: str) -> None:
        self._at(path).mkdir()

    def give(self, path: str, uid: int, gid: int, mode: int) -> None:
        os.chown(self._at(path), uid, gid)
        self._at(path).chmod(mode)

    def attribute(self, path: str, name: str) -> bytes:
        return os.getxattr(self._at(path), name)

    def empty(self, path: str) -> None:
        empty(self._at(path))


@contextlib.contextmanager
def running(name: str, instance: str = "") -> Iterator[Store]:
    """The store called `name` for the time of a with block: that of the whole run, or one for oneself, `instance`."""
    with tempfile.TemporaryDirectory(prefix="lamina-store-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        with _RUNNING[name](folder, instance) as store:
            yield store


@contextlib.contextmanager
def _ceph(scratch: Path, instance: str) -> Iterator[Store]:
    path = contrib.install("ceph", scratch)
    with ceph_cluster.ceph_cluster(instance) as cluster:
        with store_view("ceph", cluster.configuration, ceph_cluster.FILESYSTEM) as view:
            yield CephStore(cluster, view, path)


@contextlib.contextmanager
def _gluster(scratch: Path, instance: str) -> Iterator[Store]:
    path = contrib.install("glusterfs", scratch)
    with gluster_volume.gluster_volume(instance) as volume:
        with store_view("gluster", volume.host, gluster_volume.VOLUME) as view:
            yield GlusterStore(volume, view, path)


@contextlib.contextmanager
def _posix(scratch: Path, _instance: str) -> Iterator[Store]:
    yield PosixStore(scratch)


_RUNNING: Mapping[str, Callable[[Path, str], contextlib.AbstractContextManager[Store]]] = {
    "ceph": _ceph,
    "glusterfs": _gluster,
    "posix": _posix,
}
_MISSING: Mapping[str, Callable[[], str]] = {
    "ceph": ceph_cluster.missing,
    "glusterfs": gluster_volume.missing,
    "posix": lambda: "",
}

NAMES = tuple(os.environ.get("LAMINA_TEST_STORES", "ceph,glusterfs").split(","))
"""The stores that tests are run with."""


def why_not(name: str) -> str:
    """What is missing for a store to run here, or nothing."""
    return _MISSING[name]()
