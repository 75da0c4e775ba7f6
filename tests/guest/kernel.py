"""The guest's kernel: Debian's package, unpacked into a cache and not installed, and which modules a guest loads.

`LAMINA_GUEST_KERNEL` names another package than Debian's current one for this machine.
"""

import fcntl
import lzma
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_CURRENT = "linux-image-amd64"
_WANTED = ("./boot/vmlinuz-", "./lib/modules/")


class NoKernelError(Exception):
    """There is no kernel to be had; says what to do."""


class Kernel(NamedTuple):
    """An unpacked kernel: its image, and its modules by name."""

    image: Path
    modules: dict[str, Path]

    def load_order(self, names: Iterable[str]) -> list[tuple[str, bytes]]:
        """The modules of these names with those they need, each after what it needs, as what `insmod` reads.

        Names without a file are left out: the kernel has them built in, or this version has them no more.
        """
        loaded: dict[str, bytes] = {}
        for name in names:
            self._load(name, loaded)
        return list(loaded.items())

    def _load(self, name: str, loaded: dict[str, bytes]) -> None:
        if name in loaded or name not in self.modules:
            return
        content = _content(self.modules[name])
        for needed in _needed_by(content):
            self._load(needed, loaded)
        loaded[name] = content


def _content(path: Path) -> bytes:
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def _needed_by(content: bytes) -> Iterator[str]:
    """What a module says of itself (the section .modinfo): the modules whose symbols it uses."""
    _, found, behind = content.partition(b"\0depends=")
    names = behind.partition(b"\0")[0].decode() if found else ""
    return (_key(name) for name in names.split(",") if name)


def _key(name: str) -> str:
    return name.replace("-", "_")


def cache_folder() -> Path:
    """Where kernels are kept, and what else takes time to make."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lamina-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def kernel() -> Kernel:
    """The kernel, fetched where it is not in the cache. Raises NoKernelError."""
    cache = cache_folder()
    folder = cache / _package()
    if not folder.exists():
        with (cache / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                _fetch(folder)
    modules = (folder / "lib" / "modules").rglob("*.ko*")
    return Kernel(next((folder / "boot").iterdir()), {_key(path.name.partition(".")[0]): path for path in modules})


def _package() -> str:
    """The package with the kernel that the meta package stands for."""
    name = os.environ.get("LAMINA_GUEST_KERNEL")
    if name:
        return name
    if shutil.which("apt-cache") is None:
        raise NoKernelError("needs a kernel from a Debian package: only Debian's apt knows where")
    known = subprocess.run(["apt-cache", "depends", _CURRENT], capture_output=True, text=True, check=False).stdout
    for line in known.splitlines():
        relation, _, package = line.strip().partition(": ")
        if relation == "Depends" and package.startswith("linux-image-"):
            return package
    raise NoKernelError(f"apt knows no package {_CURRENT}: apt update")


def _fetch(folder: Path) -> None:
    """Download the package and unpack of it what a guest needs."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        command = ["apt-get", "-qq", "download", folder.name]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        packages = list(Path(scratch).glob("*.deb"))
        if done.returncode or not packages:
            raise NoKernelError(f"apt could not download {folder.name}: {done.stderr.strip()[-300:]}")
        _unpack(packages[0], Path(scratch) / "unpacked")
        (Path(scratch) / "unpacked").rename(folder)


def _unpack(package: Path, folder: Path) -> None:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as unpacking:
        with tarfile.open(fileobj=unpacking.stdout, mode="r|") as archive:
            for member in archive:
                if member.isfile() and member.name.startswith(_WANTED):
                    archive.extract(member, folder, filter="data")
