"""The server that smbtorture is let loose on: one share to a worker, and those that single tests ask for by name."""

import os
from pathlib import Path

from tests.smbtorture.runner import Target
from tests.support.processes import Folder, Layout, ServerProcess, User, empty, give_to, owned_folder, two_users

SNAPSHOT = "@GMT-2015.10.31-19.40.30"
"""The one that `shadow` has; the list names it, too."""

TIMEOUT = 75.0
"""Seconds a test may take. smbtorture itself gives up on an answer after 60."""

SLOW_TIMEOUT = 240.0
"""The same for a test that is marked slow: some sleep through more than a minute, whatever the server does."""

_SMBD_FRUIT = {
    "vfs objects": "catia fruit streams_xattr acl_xattr",
    "fruit:resource": "file",
    "fruit:metadata": "netatalk",
    "fruit:locking": "netatalk",
    "fruit:encoding": "native",
    "fruit:veto_appledouble": "no",
    "posix locking": "yes",
}

SPECIAL_SHARES: dict[str, dict[str, str]] = {
    "noperm": {},
    "slow_reads": {},
    "nonotify": {},
    "short_names": {"mangled names": "yes"},
    "shadow": {"vfs objects": "shadow_copy2 streams_xattr", "shadow:fixinodes": "yes"},
    "hideunread": {"hide unreadable": "yes"},
    "noncanonical": {"acl flag inherited canonicalization": "no"},
    "acl_xattr_ign_sysacl_posix": {"acl_xattr:default acl style": "posix", "create mask": "0777"},
    "acl_xattr_ign_sysacl_windows": {},
    "local_programs": {"kernel oplocks": "yes"},
    "persistent": {},
    "nostreams": {"vfs objects": "xattr_tdb"},
    "dosmode": {"hide files": "/hidefile/", "hide dot files": "yes", "vfs objects": "xattr_tdb"},
    "fruit": _SMBD_FRUIT,
    "fruit_zero_fileid": {**_SMBD_FRUIT, "fruit:zero_file_id": "yes"},
    "fruit_timemachine": {
        **_SMBD_FRUIT,
        "fruit:metadata": "stream",
        "fruit:time machine": "yes",
        "fruit:time machine max size": "32K",
    },
    "fruit_delete_empty_adfiles": {
        "vfs objects": "fruit streams_xattr acl_xattr xattr_tdb",
        "fruit:resource": "file",
        "fruit:veto_appledouble": "no",
        "fruit:metadata": "stream",
        "fruit:wipe_intentionally_left_blank_rfork": "true",
        "fruit:delete_empty_adfiles": "true",
    },
    "wo_fruit": {"vfs objects": "streams_xattr acl_xattr"},
    "fruit_conversion": {},
}
"""Shares for one test each, with the settings that make smbd fit for it."""

FOLDERS = {"wo_fruit": "fruit", "fruit_delete_empty_adfiles": "fruit_conversion"}
"""Shares of a folder that another share has, too."""

HIDDEN = {"dosmode": ("hidefile",)}
"""What such a share hides, for Lamina."""

OPTIONS: dict[str, dict[str, object]] = {
    "nonotify": {"change_notify": "off"},
    "hideunread": {"access_based_enumeration": True},
    "acl_xattr_ign_sysacl_posix": {"file_mode": 0o777},
}
"""What such a share is configured with, for Lamina."""

CHAIN: tuple[tuple[str, dict[str, object]], ...] = (
    ("streams_xattr", {}),
    ("acl_xattr", {"ignore_system_acls": True}),
    ("dos_attributes", {}),
    ("posix", {}),
)
"""Lamina's chain of the main shares: descriptors alone decide, as they do in the smbd that the list was made with."""

_FRUIT = {"encoding": "native", "veto_appledouble": False, "zero_file_id": False, "copyfile": True}


def _fruit(**options: object) -> tuple[tuple[str, dict[str, object]], ...]:
    return (("catia", {}), ("fruit", {**_FRUIT, **options}), *CHAIN)


def _with_lists(**options: object) -> tuple[tuple[str, dict[str, object]], ...]:
    """The chain whose permissions are kept otherwise."""
    return tuple((name, {**given, **options} if name == "acl_xattr" else given) for name, given in CHAIN)


CHAINS = {
    "fruit": (*_fruit(locking="netatalk")[:-1], ("posix", {"posix_locking": True})),
    "fruit_zero_fileid": _fruit(zero_file_id=True),
    "fruit_timemachine": _fruit(metadata="stream", time_machine=True, time_machine_max_size="32K"),
    "fruit_delete_empty_adfiles": _fruit(
        metadata="stream", wipe_intentionally_left_blank_rfork=True, delete_empty_adfiles=True
    ),
    "fruit_conversion": CHAIN,
    "wo_fruit": CHAIN,
    "slow_reads": (("delay", {"seconds": 2, "operations": ["pread"]}), *CHAIN),
    "nostreams": CHAIN[1:],
    "short_names": (("short_names", {}), *CHAIN),
    "shadow": (("shadow_copy", {}), *CHAIN),
    "hideunread": CHAIN,
    "noncanonical": _with_lists(canonicalize_inherited=False),
    "acl_xattr_ign_sysacl_posix": _with_lists(default_acl_style="posix"),
    "acl_xattr_ign_sysacl_windows": CHAIN,
    "local_programs": (*CHAIN[:-1], ("posix", {"posix_locking": True, "kernel_oplocks": True})),
    "persistent": (("persistent_store", {}), *CHAIN[:-1], ("durable", {}), CHAIN[-1]),
}
"""The same of other shares that have one of their own."""


def layout(folder: Path, shares: int = 1, kind: str | None = None, workers: int = 1) -> Layout:
    """`share`, `share1` … beneath `folder`, and the special ones, all of the first user's.

    `btrfs` is among them where somebody has mounted one at that name. `workers`: how many processes Lamina is.
    """
    users = two_users(kind)
    names = ["share", *(f"share{number}" for number in range(1, shares))]
    if os.path.ismount(folder / "btrfs"):
        names.append("btrfs")
    wanted: dict[str, dict[str, str]] = {name: {} for name in names} | SPECIAL_SHARES
    folders = {
        name: Folder(
            str(owned_folder(folder / FOLDERS.get(name, name), users[0])),
            hide=HIDDEN.get(name, ()),
            settings=settings,
            chain=CHAIN if name in names else CHAINS.get(name, ()),
            options=OPTIONS.get(name, {}),
        )
        for name, settings in wanted.items()
    }
    # A share that may be connected to and not read: also the modes and Windows' descriptors say so.
    os.chmod(owned_folder(folder / "noperm", User("root", "", 0, 0)), 0o700 if os.geteuid() == 0 else 0)
    # smbtorture speaks unsigned and as nobody here and there, and uses wrong passwords on purpose.
    auth = {"allow_anonymous": True, "throttle": False}
    smbd = {"vfs objects": "acl_xattr streams_xattr xattr_tdb", "xattr_tdb:file": str(folder / "xattr.tdb")}
    return Layout(folders, users, {"require_signing": False}, auth, smbd, torture=True, workers=workers)


def fresh(server: ServerProcess, share: str) -> None:
    """Empty a share, but for what tests look for: `shadow` has a few files, which a snapshot has, too."""
    folder = server.folder(share)
    empty(folder)
    if share != "shadow":
        return
    snapshot = folder / ".snapshots" / SNAPSHOT
    snapshot.mkdir(parents=True)
    for place in (folder, snapshot):
        (place / "foo").write_bytes(b"foo")
        os.setxattr(place / "foo", "user.DosStream.bar:$DATA", b"bar\0")
        (place / "subdir").mkdir()
        os.link(place / "foo", place / "subdir" / "hardlink")
    give_to(folder, server.layout.users[0])


def target(server: ServerProcess, arguments: tuple[str, ...] = ()) -> Target:
    """How smbtorture reaches `server`."""
    user, other = server.layout.users[:2]
    return Target(
        server.port,
        user.name,
        user.password,
        other.name,
        other.password,
        arguments=arguments,
        folders={name: folder.path for name, folder in server.layout.shares.items()},
    )
