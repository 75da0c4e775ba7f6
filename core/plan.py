"""What to serve, as a value: the one thing that the configuration, the command line and `lamina.Server` make.

Nothing here is opened or started; `runtime` does that. A plan made twice from the same input compares equal, share by
share, which is how a reload knows what changed.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from lamina.core.settings import ServerSettings
from lamina.core.share_security import ShareAccess
from lamina.vfs_modules.module import VfsModule

DEFAULT_CHAIN: tuple[str, ...] = ("streams_xattr", "dos_attributes", "posix")
"""The chain of a share that names none."""

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ModuleSpec:
    """One module of a chain: its name, its class or a ready instance, and the options to make it with."""

    module: str | type[VfsModule] | VfsModule
    options: Mapping[str, Any] = field(default_factory=lambda: _NO_OPTIONS)


ChangeNotify = Literal["all", "share", "off"]

ChainLink = str | type[VfsModule] | VfsModule | ModuleSpec
"""What a chain may be written as, from the top to the backend."""


@dataclass(frozen=True, slots=True)
class ShareSpec:
    """One share: a folder, who may connect, and the chain that its operations go through.

    `allow` and `deny` are names of users and groups, well-known names or SIDs; an empty `allow` admits every user who
    can log on. `access`: what those may do who are named, and nobody else anything. `access_based_enumeration`: leave
    out of listings what a user may not read. `hide_files`: names
    that clients see as hidden, whatever their case. `change_notify`: what who watches a folder learns of: all changes,
    those made through this share, or nothing at all. `write_time_delay`: seconds until a write shows in the last write
    time. `oplocks`: whether clients may cache at all; `directory_leases`: what they have listed, too.
    `durable_handles`: what they have open outlives their connection, where they ask for that.
    `template`: a path with substitutions, for a share whose folder depends on who connects; `path` is then the folder
    above the first of them. `places`: how many such folders are served at a time.
    `file_mode`, `directory_mode`: permission bits of what clients make. `posix_extensions`: whether clients that ask
    for POSIX semantics get them.
    """

    path: Path
    comment: str = ""
    read_only: bool = False
    encrypt: bool = False
    hidden: bool = False
    guest: bool = False
    allow: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()
    access: Mapping[str, ShareAccess] = field(default_factory=dict, hash=False)
    access_based_enumeration: bool = False
    hide_files: frozenset[str] = frozenset()
    write_time_delay: float = 2.0
    follow_symlinks: bool = True
    file_mode: int = 0o744
    directory_mode: int = 0o755
    change_notify: ChangeNotify = "all"
    oplocks: bool = True
    directory_leases: bool = True
    durable_handles: bool = True
    posix_extensions: bool = True
    template: str = ""
    places: int = 1000
    chain: Sequence[ChainLink] = DEFAULT_CHAIN


@dataclass(frozen=True, slots=True)
class Listener:
    """An address to accept connections on; "" is every address of the machine, port 0 any free one."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address or '*'}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """Everything that a server is started from, except the accounts, which live longer than a plan.

    `state`: the folder in which modules keep what is their own; without one it goes with the server.
    """

    settings: ServerSettings
    shares: Mapping[str, ShareSpec]
    listeners: tuple[Listener, ...]
    state: Path | None = None


def folder_owner(folder: os.PathLike[str] | str) -> tuple[int, int]:
    """The uid and gid that files of a made-up user belong to, when `folder` is served without configuration.

    Without root everything is done as the user who started the server. Root serves for whoever called sudo, and
    otherwise for the owner of the folder: never as root by accident.
    """
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    sudo_uid, sudo_gid = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if sudo_uid.isdecimal() and sudo_gid.isdecimal():
        return int(sudo_uid), int(sudo_gid)
    status = os.stat(folder)
    return status.st_uid, status.st_gid
