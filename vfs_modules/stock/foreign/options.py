"""The options of `fsspec`. Pure."""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from lamina.vfs_modules.module import ModuleOptions

WITHOUT_DIRECTORIES: Final = frozenset(
    {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "adl", "az", "oss", "oci", "ocilake", "tos", "cos", "obs", "r2", "hf"}
)
"""Protocols of stores that know keys only: a directory is there as long as something is in it."""

LISTING_TO_LOOK: Final = frozenset({"ftp"})
"""Protocols by which a whole directory is listed to look at one file in it."""


def _mode(value: object) -> object:
    return int(value, 8) if isinstance(value, str) else value


def _url(value: str) -> str:
    protocol, separator, _ = value.partition("://")
    if not separator or not protocol:
        raise ValueError(f'{value!r} is no URL of a file system, such as "s3://bucket/folder" or "ftp://host/folder"')
    return value


Mode = Annotated[int, BeforeValidator(_mode), Field(ge=0, le=0o777)]


class FsspecOptions(ModuleOptions):
    """Options of `fsspec`."""

    url: Annotated[str, AfterValidator(_url)] = Field(
        description='what is shared, as fsspec writes it: "s3://bucket/folder", "ftp://host/folder", "memory://share"'
    )
    storage_options: dict[str, Any] = Field(
        default_factory=dict, description="what else the file system is told: account, key, endpoint, time limits"
    )
    parallel: int = Field(default=4, ge=1, le=64, description="how many calls, each with a connection of its own")
    cache_seconds: float = Field(
        default=1.0, ge=0, le=3600, description="how long what was learnt of a file holds; others may change it"
    )
    refresh_seconds: float = Field(
        default=10.0, gt=0, le=3600, description="after how long names that others have made are found in any case"
    )
    directories: Literal["auto", "real", "marked"] = Field(
        default="auto",
        description='"marked": an empty directory is kept by a file in it that clients do not see, as stores of keys '
        "need it; auto: as the protocol needs it",
    )
    make_root: bool = Field(default=False, description="whether the folder of the URL is made where it is missing")
    file_mode: Mode = Field(
        default=0o777, description="the mode that files are shown with; without an x Windows starts no program"
    )
    directory_mode: Mode = Field(default=0o777, description="the mode that directories are shown with")
    uid: int | None = Field(default=None, ge=0, description="the owner that files are shown with: the server's user")
    gid: int | None = Field(default=None, ge=0, description="the group that files are shown with: the server's")
    size: int = Field(default=1 << 40, gt=0, description="bytes that the volume is said to have")
    spool_directory: str = Field(default="", description="where files are while they are written to: the system's")
    spool_limit: int = Field(default=1 << 30, gt=0, description="bytes that all files there may take together")
    retry_seconds: float = Field(
        default=30.0, gt=0, le=86400, description="after how long a file that could not be written back is tried again"
    )

    @property
    def protocol(self) -> str:
        """The protocol of the store itself; before it may stand those that fsspec wraps it into."""
        return self.url.rpartition("::")[2].partition("://")[0]

    @property
    def marks_directories(self) -> bool:
        """Whether empty directories need a mark."""
        if self.directories == "auto":
            return self.protocol in WITHOUT_DIRECTORIES
        return self.directories == "marked"

    @property
    def lists_to_look(self) -> bool:
        """Whether looking at a file costs as much as listing its directory."""
        return self.protocol in LISTING_TO_LOOK
