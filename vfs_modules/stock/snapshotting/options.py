"""The options of `shadow_copy`, called as those of Samba's shadow_copy2, and how names tell times. Pure."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from lamina.vfs_modules.module import ModuleOptions, named_by_samba

LABEL: Final = "@GMT-%Y.%m.%d-%H.%M.%S"
"""How clients call a snapshot, in UTC (MS-SMB2 2.2.13.2.7)."""


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    return text


def _plain(path: str) -> str:
    if path and any(component in {"", ".", ".."} for component in path.split("/")):
        raise ValueError(f"{path!r} must be a path without a / at its ends")
    return path


class ShadowCopyOptions(ModuleOptions):
    """Options of `shadow_copy`."""

    samba_names = named_by_samba(
        "shadow",
        *("snapdir", "format", "localtime", "basedir", "mountpoint", "snapsharepath", "sort", "snapprefix"),
        *("delimiter", "sscanf", "fixinodes"),
    )

    provider: str = Field(
        default="folders",
        pattern=r"^\w[\w.-]*$",
        description='who knows the snapshots: "folders" by their names, "btrfs" by what it keeps of subvolumes, or the '
        "name of a provider that is installed",
    )
    provider_options: dict[str, Any] = Field(default_factory=dict, description="what that provider is told")
    snapdir: str = Field(
        default=".snapshots",
        pattern=r"^/?[^/]+(/[^/]+)*$",
        description="the folder that has the snapshots, each a folder with the share's files: beneath the share, or "
        "beneath the mountpoint where one of mountpoint and basedir is given, or anywhere with a / before it",
    )
    mountpoint: str = Field(
        default="", pattern=r"^(/.*|auto|)$", description='where the file system is mounted; "auto" finds out'
    )
    basedir: str = Field(
        default="", pattern=r"^(/.*|)$", description="the folder that snapshots are of, where it is not the share's"
    )
    snapsharepath: Annotated[str, AfterValidator(_plain)] = Field(
        default="", description="the path of the share's folder in each snapshot"
    )
    format: str = Field(default=LABEL, description="how a snapshot's name tells its time, as strftime(3) writes it")
    snapprefix: Annotated[str, AfterValidator(_expression)] = Field(
        default="", description="a regular expression for what stands before that in names"
    )
    delimiter: str = Field(default="_GMT", description="what stands between the two, where there is a snapprefix")
    sscanf: bool = Field(default=False, description='whether "%lu" in the format is the time in seconds since 1970')
    localtime: bool = Field(default=False, description="whether that is the machine's local time, or UTC")
    sort: Literal["desc", "asc", "none"] = Field(default="desc", description="in what order clients are told of them")
    fixinodes: bool = Field(
        default=False,
        description="whether files in snapshots get other ids than the share's, with which they share them",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.snapsharepath and self.basedir:
            raise ValueError("snapsharepath and basedir say the same: give one of them")
        if self.sscanf and self.format.count("%lu") != 1:
            raise ValueError("with sscanf the format must have one %lu")
        return self

    @property
    def is_in_share(self) -> bool:
        """Whether the folder of the snapshots is one beneath the share's."""
        return not (self.snapdir.startswith("/") or self.mountpoint or self.basedir)


class Names:
    """What the names of snapshots tell."""

    def __init__(self, options: ShadowCopyOptions) -> None:
        self._options = options
        self._prefix = re.compile(options.snapprefix) if options.snapprefix else None
        before, _, after = options.format.partition("%lu")
        self._seconds = re.compile(f"{re.escape(before)}([0-9]{{1,15}}){re.escape(after)}") if options.sscanf else None

    def when(self, name: str) -> int | None:
        """The time that a name tells, in seconds since 1970; None for one that is no snapshot's."""
        if self._prefix is None:
            return self._moment(name)
        # As many times as the delimiter is in the name: it may be in the prefix, too.
        at = name.find(self._options.delimiter)
        while at >= 0:
            rest = name[at + len(self._options.delimiter) :]
            if self._prefix.fullmatch(name[:at]) and (moment := self._moment(rest)) is not None:
                return moment
            at = name.find(self._options.delimiter, at + 1)
        return None

    def _moment(self, text: str) -> int | None:
        if self._seconds is not None:
            found = self._seconds.fullmatch(text)
            return int(found[1]) if found is not None else None
        try:
            moment = datetime.strptime(text, self._options.format)
        except ValueError:
            return None
        if moment.tzinfo is None and not self._options.localtime:
            moment = moment.replace(tzinfo=UTC)
        try:
            return int(moment.timestamp())
        except (OverflowError, OSError, ValueError):
            return None


def label_of(when: int) -> str | None:
    """What clients call a snapshot of a time; None for one that no calendar has."""
    try:
        return datetime.fromtimestamp(when, UTC).strftime(LABEL)
    except (OverflowError, OSError, ValueError):
        return None
