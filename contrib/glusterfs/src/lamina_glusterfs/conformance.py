"""The profile that the conformance suite judges this by: `lamina module test glusterfs`.

It takes a volume: LAMINA_GLUSTERFS="volume@host[:port]" says which, and the folder `lamina-conformance` of it is used.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lamina.vfs_modules.module import ShareInfo
from lamina.vfs_modules.testing.profile import Modules, Profile
from lamina.vfs_modules.testing.subject import default_users
from lamina.vfs_modules.token import SERVER_TOKEN

from lamina_glusterfs.module import GlusterBackend
from lamina_glusterfs.options import GlusterOptions

VARIABLE = "LAMINA_GLUSTERFS"
"""The variable of the environment that says which volume is there for tests: "volume@host"."""

FOLDER = "lamina-conformance"


def options(**more: object) -> GlusterOptions:
    """Options for the volume that there is for tests. Raises LookupError where there is none."""
    volume, at, server = os.environ.get(VARIABLE, "").partition("@")
    if not at:
        raise LookupError(f"set {VARIABLE}=volume@server to a volume whose folder {FOLDER!r} may be used")
    return GlusterOptions.model_validate({"volume": volume, "servers": [server], "posix_locking": True, **more})


def folder_for(scratch: Path) -> str:
    """The folder of the volume that stands for a scratch folder; it is made where it is not there."""
    name = hashlib.sha256(os.fsencode(scratch)).hexdigest()[:24]
    backend = GlusterBackend(options())
    backend.connect(ShareInfo("making", "/"))
    try:
        root = backend.open_root(SERVER_TOKEN)
        for path in (FOLDER, f"{FOLDER}/{name}"):
            try:
                backend.mkdir(SERVER_TOKEN, root, path, 0o755)
            except FileExistsError:
                continue
        backend.close(SERVER_TOKEN, root)
    finally:
        backend.disconnect()
    return f"/{FOLDER}/{name}"


@contextmanager
def make(folder: Path) -> Iterator[Modules]:
    """The backend over a folder of the volume: the same share whenever it is made there."""
    yield [GlusterBackend(options(root=folder_for(folder)))]


@contextmanager
def make_other(folder: Path) -> Iterator[Modules]:
    """The same share through a connection of its own, as another server has it."""
    yield [GlusterBackend(options(root=folder_for(folder), threads=3))]


profile = Profile(
    "glusterfs",
    make,
    known_failures={
        "directories_are_as_deep_as_one_likes": "a brick reaches a folder by a path of its own, of at most 4096 bytes",
    },
    users=default_users(),
    second_client=make_other,
    crash="lamina_glusterfs.conformance:profile",
)
