"""The options of `recycle`, called as Samba's where those have them, and which files they let be kept. Pure."""

import fnmatch
import stat as st
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from lamina.vfs_modules.module import ModuleOptions, named_by_samba
from lamina.vfs_modules.operations import FileStat
from lamina.vfs_modules.substitution import Substituted, names_the_user

_FOR_ONE: Final = 0o700
_FOR_ALL: Final = 0o1777


def _mode(value: object) -> object:
    """Samba's octal text, or a number."""
    return int(value, 8) if isinstance(value, str) else value


def _repository(path: str) -> str:
    components = path.split("/")
    if any(component in {"", ".", ".."} for component in components):
        raise ValueError(f"{path!r} must be a path beneath the share, without a / at its ends")
    if "%" in components[0].replace("%%", ""):
        raise ValueError(f"{path!r}: the first folder has one name for everybody")
    return path


Mode = Annotated[int, BeforeValidator(_mode), Field(ge=0, le=0o7777)]


class RecycleOptions(ModuleOptions):
    """Options of `recycle`."""

    samba_names = named_by_samba(
        "recycle",
        *("repository", "keeptree", "versions", "touch", "touch_mtime", "minsize", "maxsize", "exclude", "exclude_dir"),
        *("noversions", "directory_mode", "subdir_mode"),
    )

    repository: Annotated[str, Substituted(), AfterValidator(_repository)] = Field(
        default=".recycle/%u", description="the folder beneath the share that deleted files go to; %u is the user"
    )
    keeptree: bool = Field(default=True, description="whether the folders that a file was in are made there, too")
    versions: bool = Field(
        default=True, description="whether a file of the same name there stays, and the new one gets a number"
    )
    touch: bool = Field(default=False, description="whether the access time becomes that of the deletion")
    touch_mtime: bool = Field(default=False, description="whether the write time does")
    minsize: int = Field(default=0, ge=0, description="bytes; smaller files are deleted at once")
    maxsize: int = Field(default=0, ge=0, description="bytes; larger files are deleted at once; 0: none is too large")
    exclude: tuple[str, ...] = Field(default=(), description="names of files that are deleted at once, with * and ?")
    exclude_dir: tuple[str, ...] = Field(
        default=(), description="folders, from the share's root and with * and ?, whose files are deleted at once"
    )
    noversions: tuple[str, ...] = Field(default=(), description="names that are without versions all the same")
    directory_mode: Mode | None = Field(
        default=None, description="the mode of the repository: 0700, or 1777 where it is one for all users"
    )
    subdir_mode: Mode | None = Field(default=None, description="the mode of folders in it, by default the same")
    retention: float = Field(default=0.0, ge=0, description="days after which files there are deleted; 0: never")
    quota: int = Field(
        default=0, ge=0, description="bytes that one repository may hold before the oldest files are deleted; 0: any"
    )
    when_failing: Literal["delete", "refuse"] = Field(
        default="delete", description="what happens to a file that cannot be put there: it is deleted, or it stays"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.maxsize and self.minsize > self.maxsize:
            raise ValueError("minsize is more than maxsize: nothing would be kept")
        if self.directory_mode is not None and not self.for_each_user and self.directory_mode & 0o003 != 0o003:
            raise ValueError("a repository for all users needs a directory_mode that lets them in: 1777, or %u in it")
        return self

    @property
    def for_each_user(self) -> bool:
        """Whether each user has a repository of his own."""
        return names_the_user(self.repository)

    @property
    def mode(self) -> int:
        """The mode of a repository."""
        if self.directory_mode is not None:
            return self.directory_mode
        return _FOR_ONE if self.for_each_user else _FOR_ALL

    @property
    def inner_mode(self) -> int:
        """The mode of folders in a repository."""
        return self.mode if self.subdir_mode is None else self.subdir_mode

    def wants(self, path: str, stat: FileStat) -> bool:
        """Whether a file is kept when its name is deleted. One that has other names is not lost by that."""
        if not st.S_ISREG(stat.mode) or stat.nlink > 1:
            return False
        limits = [limit for limit in (self.maxsize, self.quota) if limit]
        if stat.size < self.minsize or any(stat.size > limit for limit in limits):
            return False
        folder, _, name = path.rpartition("/")
        return not (matches(name, self.exclude) or _is_in(folder, self.exclude_dir))

    def numbers(self, name: str) -> bool:
        """Whether a file of this name stays beside another one."""
        return self.versions and not matches(name, self.noversions)


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a name is one of those that patterns describe, whatever its case."""
    return any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def _is_in(folder: str, patterns: tuple[str, ...]) -> bool:
    if not patterns or not folder:
        return False
    plain = tuple(pattern.strip("/") for pattern in patterns)
    components = folder.split("/")
    return any(matches("/".join(components[:depth]), plain) for depth in range(1, len(components) + 1))
