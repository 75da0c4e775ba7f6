"""What the administrator may say in [share.NAME.glusterfs]."""

import re
from typing import Final, Literal, NamedTuple

from lamina.vfs_modules.module import ModuleOptions, named_by_samba
from pydantic import Field, field_validator

PORT: Final = 24007
LOG_LEVELS: Final = ("none", "emergency", "alert", "critical", "error", "warning", "notice", "info", "debug", "trace")

_TCP = re.compile(r"(?:tcp\+)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]+]+)(?::(?P<port>\d{1,5}))?")


class Place(NamedTuple):
    """Where a management daemon is: `host` is a path where the transport is "unix"."""

    transport: str
    host: str
    port: int


def place_of(text: str) -> Place:
    """A server as it is written: "host", "host:port", "[::1]:port" or "unix+/path". ValueError where it is none."""
    if text.startswith("unix+/"):
        return Place("unix", text.removeprefix("unix+"), 0)
    found = _TCP.fullmatch(text)
    port = int(found["port"] or PORT) if found else 0
    if found is None or not 0 < port < 1 << 16:
        raise ValueError(f"{text!r} is no server: write host, host:port, [address]:port or unix+/path/of/the/socket")
    return Place("tcp", found["host"].strip("[]"), port)


def folder_of(path: str) -> str:
    """A folder of a volume as it is written, with one "/" between names. ValueError where it is none."""
    parts = [part for part in path.split("/") if part]
    if "\0" in path or {".", ".."} & set(parts):
        raise ValueError(f"{path!r} is no folder of a volume")
    return "/" + "/".join(parts)


class GlusterOptions(ModuleOptions):
    """What the administrator may say in [share.NAME.glusterfs]."""

    samba_names = {
        **named_by_samba("glusterfs", "volume", servers="volfile_server", log_file="logfile", log_level="loglevel"),
        **named_by_samba("", posix_locking="posix locking"),
    }

    volume: str = Field(default="", pattern=r"^[\w.-]*$", description="the volume's name; needed")
    servers: tuple[str, ...] = Field(
        default=("localhost",),
        min_length=1,
        description="the management daemons to ask for the volume, one after the other until one answers: host, "
        f"host:port (without one {PORT}), [IPv6 address]:port, or unix+/path of a socket",
    )
    root: str = Field(
        default="",
        pattern=r"^(/|$)",
        description="the folder of the volume that is the share's root; without it the share's `path` is",
    )
    log_file: str = Field(default="/dev/null", description="where the GlusterFS library logs")
    log_level: Literal[LOG_LEVELS] = Field(default="warning", description="what it logs")  # type: ignore[valid-type]
    threads: int = Field(
        default=16,
        ge=1,
        le=256,
        description="calls on the volume that may be under way at a time, beside reads, "
        "writes and syncs, of which there may be any number",
    )
    timeout: float = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="seconds for which an operation waits for the volume, where bricks are away or do not answer, "
        "before it fails",
    )
    ping_timeout: int = Field(
        default=10,
        ge=0,
        le=1013,
        description="seconds after which a silent brick is taken for gone; 0: as the volume "
        "has it (network.ping-timeout, 42 seconds unless it is set)",
    )
    client_caches: Literal["none", "volume"] = Field(
        default="none",
        description="which of the library's caches (md-cache, quick-read, io-cache, read-ahead …) are used: none, so "
        "that what other clients do is seen at once and a brick checks each access, or those that the volume has",
    )
    posix_locking: bool = Field(
        default=False,
        description="take clients' byte-range locks on the volume too, so that theirs and those of other clients of "
        "the volume exclude each other",
    )
    upcalls: bool = Field(
        default=True,
        description="let clients who watch a folder learn of what other clients of the volume do: at once where the "
        "volume's features.cache-invalidation is on, within seconds otherwise",
    )

    @field_validator("servers", mode="before")
    @classmethod
    def _split(cls, given: object) -> object:
        """Samba has them in one text."""
        return tuple(given.replace(",", " ").split()) if isinstance(given, str) else given

    @field_validator("servers")
    @classmethod
    def _are_servers(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for text in given:
            place_of(text)
        return given

    @field_validator("root")
    @classmethod
    def _is_plain(cls, given: str) -> str:
        return folder_of(given) if given else ""

    @field_validator("log_level", mode="before")
    @classmethod
    def _by_number(cls, given: object) -> object:
        """Samba has numbers."""
        number = int(given) if isinstance(given, str) and given.isdecimal() else given
        return LOG_LEVELS[number] if isinstance(number, int) and 0 <= number < len(LOG_LEVELS) else given
