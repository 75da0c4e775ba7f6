"""The options of `virus_scan`, called as those of Samba's virusfilter where those have them. Pure."""

import errno
import fnmatch
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from lamina.vfs_modules.module import ModuleOptions, named_by_samba
from lamina.vfs_modules.operations import FileStat
from lamina.vfs_modules.stock.scanning.line import Address

_DEFAULT_PORT: Final = 3310


def _errno(name: str) -> str:
    if name and not isinstance(getattr(errno, name, None), int):
        raise ValueError(f"{name!r} is no name of an error, such as EACCES")
    return name


def _folder(path: str) -> str:
    if path.startswith("/") or any(component in {"", ".", ".."} for component in path.split("/")):
        raise ValueError(f"{path!r} must be a folder beneath the share: files are moved there, not copied")
    return path


class VirusScanOptions(ModuleOptions):
    """Options of `virus_scan`."""

    samba_names = named_by_samba(
        "virusfilter",
        "scanner",
        socket_path="socket path",
        scan_on_open="scan on open",
        scan_on_close="scan on close",
        min_file_size="min file size",
        max_file_size="max file size",
        exclude_files="exclude files",
        infected_file_action="infected file action",
        infected_file_errno_on_open="infected file errno on open",
        block_access_on_error="block access on error",
        quarantine_directory="quarantine directory",
        quarantine_prefix="quarantine prefix",
        quarantine_suffix="quarantine suffix",
        cache_entry_limit="cache entry limit",
        cache_time_limit="cache time limit",
    )

    scanner: Literal["clamav"] = Field(default="clamav", description="who scans: ClamAV's clamd")
    socket_path: str = Field(
        default="/run/clamav/clamd.ctl",
        min_length=1,
        description='where clamd listens: the path of a UNIX socket, or "host:port"',
    )
    connect_timeout: float = Field(default=5.0, gt=0, le=600, description="seconds to reach clamd in")
    io_timeout: float = Field(default=60.0, gt=0, le=3600, description="seconds that clamd may be silent for")
    parallel: int = Field(default=4, ge=1, le=256, description="how many files are scanned at a time; more wait")
    scan_on_open: bool = Field(default=True, description="whether files are scanned before they are read")
    scan_on_close: bool = Field(default=False, description="whether files are scanned after they were written to")
    min_file_size: int = Field(default=1, ge=0, description="bytes; smaller files are not scanned")
    max_file_size: int = Field(default=100_000_000, gt=0, description="bytes; larger files are not scanned")
    exclude_files: tuple[str, ...] = Field(default=(), description="names that are not scanned, with * and ?")
    infected_file_action: Annotated[
        Literal["nothing", "quarantine", "delete"],
        BeforeValidator(lambda value: "nothing" if value == "none" else value),
    ] = Field(default="nothing", description="what is done with an infected file beside that nobody may open it")
    infected_file_errno_on_open: Annotated[str, AfterValidator(_errno)] = Field(
        default="", description='how opening fails: an error such as "EACCES"; by default STATUS_VIRUS_INFECTED'
    )
    block_access_on_error: bool = Field(
        default=False, description="whether files that could not be scanned may not be opened"
    )
    quarantine_directory: Annotated[str, AfterValidator(_folder)] = Field(
        default=".quarantine",
        description="the folder beneath the share that infected files go to; no client reaches it",
    )
    quarantine_prefix: str = Field(
        default="virusfilter.", pattern=r"^[^/]{0,64}$", description="what their names begin with"
    )
    quarantine_suffix: str = Field(
        default=".infected", pattern=r"^[^/]{0,64}$", description="what their names end with"
    )
    cache_entry_limit: int = Field(default=10_000, ge=0, description="how many verdicts are kept")
    cache_time_limit: float = Field(default=3600.0, ge=0, description="for how many seconds each is")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.min_file_size > self.max_file_size:
            raise ValueError("min_file_size is more than max_file_size: nothing would be scanned")
        _ = self.address
        return self

    @property
    def address(self) -> Address:
        """Where clamd listens."""
        if self.socket_path.startswith("/"):
            return self.socket_path
        host, colon, port = self.socket_path.rpartition(":")
        if not colon:
            return self.socket_path, _DEFAULT_PORT
        if not port.isdigit() or not 0 < int(port) <= 65535:
            raise ValueError(f"{self.socket_path!r} is neither a path nor host:port")
        return host.strip("[]"), int(port)

    @property
    def quarantines(self) -> bool:
        """Whether there is a folder that nobody may reach."""
        return self.infected_file_action == "quarantine"

    def wants(self, name: str, stat: FileStat) -> bool:
        """Whether a file is to be scanned."""
        if not max(self.min_file_size, 1) <= stat.size <= self.max_file_size:
            return False
        return not any(fnmatch.fnmatchcase(name.casefold(), each.casefold()) for each in self.exclude_files)
