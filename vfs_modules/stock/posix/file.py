"""What every part of `posix` knows: its options, what it keeps for a handle, and what it keeps for its share."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from lamina.vfs_modules.module import Backend, named_by_samba
from lamina.vfs_modules.stock.posix.outside import OutsideOptions
from lamina.vfs_modules.syscalls.notify import Notifier


class PosixOptions(OutsideOptions):
    """Options of `posix`."""

    samba_names: ClassVar[Mapping[str, str]] = {
        **OutsideOptions.samba_names,
        **named_by_samba("", sendfile="use sendfile"),
    }

    offload: Literal["never", "auto", "always"] = Field(
        default="auto",
        description="which system calls run on worker threads: those that may sleep (auto), none, or all",
    )
    access_time: Literal["mount", "never"] = Field(
        default="mount",
        description="whether reading changes a file's access time: as the file system is mounted, or never",
    )
    inline_write: int = Field(
        default=1_048_576, ge=0, description="bytes up to which a buffered write runs on the loop's thread"
    )
    sendfile: bool = Field(
        default=True,
        description="whether the kernel sends large parts of files in memory by itself, in replies that are neither "
        "signed nor encrypted",
    )
    watches: int = Field(
        default=16_384, ge=1, description="directories of the share that may be watched for changes at a time"
    )


class PosixFile:
    """What `posix` keeps for a handle: how it reads, and whether its descriptor is O_PATH."""

    __slots__ = ("by_path", "nowait", "waits")

    def __init__(self, by_path: bool, nowait: bool, waits: bool) -> None:
        self.by_path = by_path
        self.nowait = nowait
        self.waits = waits


BY_PATH = PosixFile(True, False, True)
"""That of a handle whose descriptor reaches no data."""


class PosixShare(Backend):
    """The part of `posix` that the others stand on: what it keeps for its share. `handle.private` is a `PosixFile`."""

    Options = PosixOptions

    options: PosixOptions

    def __init__(self, options: PosixOptions | None = None) -> None:
        super().__init__(options)
        self._root = -1
        self._follows = True
        self._metadata_waits: bool | None = None
        self._notifier = Notifier(self.options.watches)
        self._devices: dict[int, PosixFile] = {}
        self._ready = PosixFile(False, True, self.options.offload != "never")
        self._inline_write = self.options.inline_write
        # A descriptor that is still sent from would keep what local programs see of locks and leases.
        self._sends = self.options.sendfile and not (self.options.posix_locking or self.options.kernel_oplocks)
        self._quiet = self.options.access_time == "never"
