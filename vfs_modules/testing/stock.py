"""The profiles of Lamina's own modules of which more is to be said than their class says; announced as a vendor's."""

from pathlib import Path
from typing import Final

from lamina.vfs_modules.stock.audit import AuditModule, AuditOptions
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.durable import DurableModule
from lamina.vfs_modules.stock.foreign.options import FsspecOptions
from lamina.vfs_modules.stock.fsspec import FsspecBackend
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.persistent_store import PersistentStoreModule
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.stock.readonly import ReadonlyModule, ReadonlyOptions
from lamina.vfs_modules.stock.recycle import RecycleModule
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.testing.profile import Modules, Profile
from lamina.vfs_modules.testing.subject import USUAL, default_users, profile_of

USERS: Final = default_users()


def _posix(folder: Path) -> Modules:
    return [PosixBackend()]


posix = Profile(
    "posix", _posix, users=USERS, second_client=_posix, crash=f"{__name__}:posix", processes=f"{__name__}:posix"
)

memory = Profile("memory", lambda folder: [MemoryBackend()])

IN_THE_BIN: Final = {
    "a_handle_outlives_its_name": "what is in the bin still has a name",
    "rename_replaces_only_when_told": "what is in the bin still has a name",
    "only_a_file_that_is_there_gets_a_further_name": "what is in the bin still has a name",
    "files_and_directories_do_not_replace_each_other": "the bin is a folder of the share, and is listed",
    "hostile_names_are_kept_or_refused": "the bin is a folder of the share, and is listed",
}
"""What a bin does otherwise than a file system without one, and is there to do."""

recycle = Profile(
    "recycle",
    lambda folder: [RecycleModule(), StreamsXattrModule(), DosAttributesModule(), PosixBackend()],
    known_failures=IN_THE_BIN,
    users=USERS,
    processes=f"{__name__}:recycle",
)


OF_STORES: Final = {
    "times_are_set_one_by_one": "stores take no times",
    "the_mode_is_set": "stores have no modes",
    "directories_are_as_deep_as_one_likes": "a store has paths, and is told whole ones",
}
"""What foreign stores cannot."""

fsspec = Profile(
    "fsspec",
    lambda folder: [FsspecBackend(FsspecOptions(url=f"file://{folder}"))],
    known_failures=OF_STORES,
    crash=f"{__name__}:fsspec",
)


def _audited(folder: Path) -> Modules:
    log = folder.parent / f"{folder.name}.audit.log"
    options = AuditOptions(file=str(log), success=("all",), failure=("all",))
    return [AuditModule(options), StreamsXattrModule(), DosAttributesModule(), PosixBackend()]


audit = Profile("audit", _audited, users=USERS, processes=f"{__name__}:audit")

readonly = Profile(
    "readonly",
    lambda folder: [
        ReadonlyModule(ReadonlyOptions(period=("tomorrow", "tomorrow 1:00"))),
        StreamsXattrModule(),
        DosAttributesModule(),
        PosixBackend(),
    ],
    users=USERS,
)
"""Outside its period: inside, nothing that the suite does can be done."""

persistent_store = profile_of(PersistentStoreModule, None, (DurableModule, *USUAL))

__all__ = [
    "IN_THE_BIN",
    "OF_STORES",
    "USERS",
    "audit",
    "fsspec",
    "memory",
    "persistent_store",
    "posix",
    "readonly",
    "recycle",
]
