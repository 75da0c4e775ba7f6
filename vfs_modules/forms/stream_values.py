"""How `streams_xattr` lays a stream out in extended attributes: their names, and what is in each.

The value is the data and one byte more, for there is no attribute without a value: 0, or how many further attributes
hold the rest of what the first has no room for. Those have no such byte.
"""

import errno
import logging
import os
from typing import Final, NoReturn

from pydantic import Field

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ModuleOptions, named_by_samba
from lamina.vfs_modules.names import encode_name
from lamina.vfs_modules.operations import Operations
from lamina.vfs_modules.token import ImpersonationToken

log = logging.getLogger(__name__)

NO_ATTRIBUTES: Final = frozenset({errno.ENOTSUP, errno.EPERM, errno.ELOOP})
"""What the chain says of a kind of file, or of a file system, that keeps no such attributes."""

_TYPE: Final = ":$DATA"
_EMPTY: Final = b"\0"
_MAX_NAME: Final = 255  # bytes in the name of an attribute on Linux
_MOST_EXTENTS: Final = 15
# Where all attributes are streams: what Samba and other modules here keep for themselves.
_NEVER_STREAMS: Final = frozenset({"user.DOSATTRIB", "user.NTACL", "user.SAMBA_STREAMS", "user.SAMBA_PAI"})
# What a file system says of a value that it has no room for.
_TOO_LARGE: Final = frozenset({errno.E2BIG, errno.ERANGE, errno.EOVERFLOW, errno.EFBIG})


def fail(number: int, name: str) -> NoReturn:
    """Raise OSError about the stream or attribute `name`."""
    raise OSError(number, os.strerror(number), name)


class StreamsXattrOptions(ModuleOptions):
    """Options of `streams_xattr`; those that Samba has are called as there."""

    samba_names = named_by_samba(
        "streams_xattr",
        "prefix",
        "ext_prefix",
        "store_stream_type",
        max_xattrs_per_stream="max xattrs per stream",
        max_xattr_size="smbd max xattr size",
    )

    prefix: str = Field(
        default="user.DosStream.",
        pattern=r"^(user|trusted|security)\.",
        description='what the names of the attributes begin with; "user." makes all of them streams',
    )
    ext_prefix: str | None = Field(
        default=None,
        pattern=r"^(user|trusted|security)\..+$",
        description="the same for the rest of large streams; by default `prefix` with Ext before its last period",
    )
    store_stream_type: bool = Field(default=True, description="whether the names end with the type, :$DATA")
    max_xattrs_per_stream: int = Field(
        default=1, ge=1, le=_MOST_EXTENTS + 1, description="attributes that one stream may take"
    )
    max_xattr_size: int = Field(
        default=65_536, ge=2, le=1 << 24, description="bytes in one attribute (Samba: smbd max xattr size)"
    )


class StreamValues:
    """The streams of the files of one chain, in the attributes that `below` keeps."""

    def __init__(self, below: Operations, options: StreamsXattrOptions) -> None:
        self.below = below
        self._options = options
        prefix = options.prefix
        stem, dot = (prefix[:-1], ".") if prefix.endswith(".") else (prefix, "")
        self._more_prefix = options.ext_prefix or f"{stem}Ext{dot}"
        self._type = _TYPE if options.store_stream_type else ""
        self.prefixes = (prefix, self._more_prefix)
        self.capacity = options.max_xattr_size * options.max_xattrs_per_stream - 1
        self.spans = options.max_xattrs_per_stream > 1
        """Whether a value may be in several attributes, which others may be changing while they are read."""

    def _attribute(self, name: str, extent: int = 0) -> str:
        prefix = f"{self._more_prefix}{extent}." if extent else self._options.prefix
        attribute = f"{prefix}{name}{self._type}"
        if len(encode_name(attribute)) > _MAX_NAME:
            fail(errno.ENAMETOOLONG, name)
        return attribute

    def name_in(self, attribute: str) -> str | None:
        """The stream that an attribute is of, or None."""
        prefix = self._options.prefix
        if not attribute.startswith(prefix) or not attribute.endswith(self._type) or attribute in _NEVER_STREAMS:
            return None
        name = attribute[len(prefix) : len(attribute) - len(self._type)]
        return name or None

    def is_there(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> bool:
        """Whether the file has a stream of this name."""
        try:
            self._anchor(token, handle, name)
        except FileNotFoundError:
            return False
        return True

    def _anchor(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> bytes:
        try:
            return self.below.getxattr(token, handle, self._attribute(name))
        except OSError as error:
            if error.errno != errno.ENODATA and error.errno not in NO_ATTRIBUTES:
                raise
        fail(errno.ENOENT, name)

    def value(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> bytes:
        """The data of a stream; ENOENT where there is none."""
        anchor = self._anchor(token, handle, name)
        extents = anchor[-1] if anchor else 0
        if not 0 < extents <= _MOST_EXTENTS:
            return anchor[:-1]
        parts = [anchor[:-1]]
        for extent in range(1, extents + 1):
            try:
                parts.append(self.below.getxattr(token, handle, self._attribute(name, extent)))
            except OSError as error:
                if error.errno != errno.ENODATA:
                    raise
                break  # a write that did not come to its end
        return b"".join(parts)

    def store(self, token: ImpersonationToken, handle: VfsHandle, name: str, value: bytes | bytearray) -> None:
        """Store the data of a stream; EFBIG where it has no room.

        What goes beyond the first attribute is stored first, for that one says how much it is.
        """
        if len(value) > self.capacity:
            fail(errno.EFBIG, name)
        size = self._options.max_xattr_size
        rest = [value[at : at + size] for at in range(size - 1, len(value), size)]
        try:
            for extent, part in enumerate(rest, 1):
                self.below.setxattr(token, handle, self._attribute(name, extent), bytes(part))
            self.below.setxattr(token, handle, self._attribute(name), bytes(value[: size - 1]) + bytes((len(rest),)))
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            raise OSError(errno.EFBIG, "the file system keeps no stream of this size", name) from error
        if self._options.max_xattrs_per_stream > 1:
            self._remove_rest(token, handle, name, len(rest) + 1)

    def create(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Make an empty stream."""
        self.below.setxattr(token, handle, self._attribute(name), _EMPTY)

    def remove(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Remove a stream; ENOENT where there is none."""
        try:
            self.below.removexattr(token, handle, self._attribute(name))
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
            fail(errno.ENOENT, name)
        self._remove_rest(token, handle, name, 1)

    def _remove_rest(self, token: ImpersonationToken, handle: VfsHandle, name: str, first: int) -> None:
        for extent in range(first, _MOST_EXTENTS + 1):
            try:
                self.below.removexattr(token, handle, self._attribute(name, extent))
            except OSError as error:
                # They are stored without a gap. One that stays behind belongs to nobody, and is not lost data.
                if error.errno not in {errno.ENODATA, errno.ENAMETOOLONG}:
                    log.debug("a remainder of stream %r stays: %s", name, error.strerror)
                return
