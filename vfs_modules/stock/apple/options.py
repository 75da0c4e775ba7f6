"""The options of `fruit`, called as Samba's, with "_" for blanks."""

import re
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from lamina.vfs_modules.module import ModuleOptions, named_by_samba

_UNITS: Final = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50}
_SIZE: Final = re.compile(r"(\d{1,18})\s*([KMGTP]?)", re.IGNORECASE)


def _bytes_of(given: object) -> object:
    if not isinstance(given, str):
        return given
    match = _SIZE.fullmatch(given.strip())
    if match is None:
        raise ValueError('a number of bytes, or a number with one of the units K, M, G, T and P: "500G"')
    return int(match[1]) << _UNITS[match[2].upper()]


class FruitOptions(ModuleOptions):
    """Options of `fruit`."""

    samba_names = named_by_samba(
        "fruit",
        *("metadata", "resource", "encoding", "aapl", "model", "nfs_aces", "copyfile", "posix_rename", "zero_file_id"),
        *("veto_appledouble", "convert_adouble", "wipe_intentionally_left_blank_rfork", "delete_empty_adfiles"),
        time_machine="time machine",
        time_machine_max_size="time machine max size",
        aapl_rsize="readdir_attr:aapl_rsize",
        aapl_finder_info="readdir_attr:aapl_finder_info",
        aapl_max_access="readdir_attr:aapl_max_access",
    )

    metadata: Literal["netatalk", "stream"] = Field(
        default="netatalk",
        description="where the Finder information is kept: in Netatalk's extended attribute, or as the named stream "
        "that it is to clients",
    )
    resource: Literal["file", "stream"] = Field(
        default="file",
        description='where resource forks are kept: in files "._NAME" beside the file, or as named streams',
    )
    encoding: Literal["private", "native"] = Field(
        default="private",
        description="how the names of attributes in converted header files are kept where NT reserves one of their "
        "characters: as Macs write it, or, above `catia`, as it is",
    )
    locking: Literal["none", "netatalk"] = Field(
        default="none",
        description="tell Netatalk and Samba on the same files how they are open, by locks on them, and respect theirs",
    )
    aapl: bool = Field(default=True, description="agree with Macs on Apple's extensions")
    model: str = Field(
        default="MacSamba", max_length=64, description="the kind of computer whose icon the Finder shows"
    )
    nfs_aces: bool = Field(default=True, description="tell Macs of owner and mode of files, and let them set the mode")
    copyfile: bool = Field(default=False, description="copy a file with all that belongs to it in one request")
    posix_rename: bool = Field(default=True, description="let Macs rename folders while something in them is open")
    zero_file_id: bool = Field(
        default=True, description="tell Macs no file ids, which they would take to be never used again"
    )
    veto_appledouble: bool = Field(
        default=True, description='hide files "._NAME" from clients, where resource forks are kept in them'
    )
    convert_adouble: bool = Field(
        default=True,
        description='take what a Mac has put into "._NAME" on another kind of server into streams',
    )
    wipe_intentionally_left_blank_rfork: bool = Field(
        default=False, description="drop resource forks that say that they are left blank, when they are converted"
    )
    delete_empty_adfiles: bool = Field(
        default=False, description='delete "._NAME" that hold nothing any more after they were converted'
    )
    time_machine: bool = Field(default=False, description="say that the share can be backed up to by Time Machine")
    time_machine_max_size: Annotated[int, BeforeValidator(_bytes_of)] = Field(
        default=0,
        ge=0,
        description='bytes that Time Machine is shown as the size of the share, such as "500G"; 0: its own',
    )
    aapl_rsize: bool = Field(default=True, description="tell the sizes of resource forks in listings")
    aapl_finder_info: bool = Field(default=True, description="tell the Finder information in listings")
    aapl_max_access: bool = Field(
        default=True, description="tell in listings what the user may do with a file, instead of everything"
    )
