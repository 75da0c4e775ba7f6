"""The profile that the conformance suite judges this by: `lamina module test ceph`.

It needs a CephFS to try things in: LAMINA_CEPH_CONF names the configuration of its cluster, LAMINA_CEPH_KEYRING and
LAMINA_CEPH_USER who to be there. Everything is done in a directory of its own for each case.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ShareInfo
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.testing.profile import Modules, Profile
from lamina.vfs_modules.testing.subject import default_users
from lamina.vfs_modules.token import SERVER_TOKEN

from lamina_ceph.backend import CephBackend
from lamina_ceph.options import CephOptions

TRIALS = "/lamina-trials"
"""The directory of CephFS that trials are made beneath."""


def options(root: str, **others: object) -> CephOptions:
    """Options for the cluster that the environment names."""
    where = {"conf": "LAMINA_CEPH_CONF", "keyring": "LAMINA_CEPH_KEYRING", "user": "LAMINA_CEPH_USER"}
    given = {name: os.environ[variable] for name, variable in where.items() if os.environ.get(variable)}
    return CephOptions.model_validate({"root": root, **given, **others})


def make_directory(path: str) -> None:
    """Make a directory of CephFS, and those above it, unless they are there."""
    backend = CephBackend(options("/", take_over=False))
    backend.connect(ShareInfo("trials", "/"))
    try:
        root = backend.open_root(SERVER_TOKEN)
        try:
            _make_each(backend, root, path.strip("/").split("/"))
        finally:
            backend.close(SERVER_TOKEN, root)
    finally:
        backend.disconnect()


def _make_each(backend: CephBackend, root: VfsHandle, names: list[str]) -> None:
    for count in range(1, len(names) + 1):
        with suppress(FileExistsError):
            backend.mkdir(SERVER_TOKEN, root, "/".join(names[:count]), 0o755)


def directory_for(folder: Path) -> str:
    """The directory of CephFS that stands for a folder of this machine: the same one for the same folder."""
    return f"{TRIALS}/{blake2b(os.fsencode(folder), digest_size=12).hexdigest()}"


@contextmanager
def make(folder: Path) -> Iterator[Modules]:
    """The backend over a directory of its own, as one server."""
    root, made = directory_for(folder), folder.with_name(f"{folder.name}.made")
    # Once: a client that was killed holds up who looks at its directory, until the backend has taken over from it.
    if not made.exists():
        make_directory(root)
        made.touch()
    yield [CephBackend(options(root, posix_locking=True))]


@contextmanager
def make_second(folder: Path) -> Iterator[Modules]:
    """The same as another client of the cluster."""
    yield [CephBackend(options(directory_for(folder), posix_locking=True, take_over=False))]


profile = Profile(
    "ceph",
    make,
    capabilities=Capability.CASE_SENSITIVE
    | Capability.HARD_LINKS
    | Capability.SYMLINKS
    | Capability.XATTRS
    | Capability.CREATION_TIME
    | Capability.DURABLE_HANDLES
    | Capability.RANGE_LOCKS,
    users=default_users(),
    second_client=make_second,
    crash="lamina_ceph.conformance:profile",
)
