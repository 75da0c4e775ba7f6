"""Answers about one file (MS-FSCC 2.4 File Information Classes)."""

from collections.abc import Iterable
from struct import Struct
from typing import Final, NamedTuple

from lamina.ntfsa.fscc.fields import UINT32, UINT64, encode_name

_BASIC: Final = Struct("<4QI4x")
_STANDARD: Final = Struct("<QQIBB2x")
_NETWORK_OPEN: Final = Struct("<6QI4x")
_ALL: Final = Struct("<4QI4x QQIBB2x QIIQIII")
_ATTRIBUTE_TAG: Final = Struct("<II")
_STREAM: Final = Struct("<IIQQ")
_COMPRESSION: Final = Struct("<QHBBB3x")
_STANDARD_LINK: Final = Struct("<IIBB2x")
_FILE_ID: Final = Struct("<Q16s")


class NetworkOpenInformation(NamedTuple):
    """MS-FSCC 2.4.29 FileNetworkOpenInformation: what CREATE and CLOSE answer too. Times are FILETIME, sizes bytes."""

    creation_time: int
    last_access_time: int
    last_write_time: int
    change_time: int
    allocation_size: int
    end_of_file: int
    file_attributes: int


class AllInformation(NamedTuple):
    """Everything that FileAllInformation (MS-FSCC 2.4.2) says; the smaller classes are parts of it."""

    network_open: NetworkOpenInformation
    number_of_links: int
    delete_pending: bool
    directory: bool
    index_number: int
    ea_size: int
    access_flags: int
    position: int
    mode: int
    alignment: int
    name: str


class StreamEntry(NamedTuple):
    """One stream: its whole name (":name:$DATA", "::$DATA" for the file's own data) and its sizes in bytes."""

    name: str
    size: int
    allocation_size: int


def pack_basic(creation: int, access: int, write: int, change: int, attributes: int) -> bytes:
    """MS-FSCC 2.4.7 FileBasicInformation."""
    return _BASIC.pack(creation, access, write, change, attributes)


def pack_standard(allocation: int, end_of_file: int, links: int, delete_pending: bool, directory: bool) -> bytes:
    """MS-FSCC 2.4.47 FileStandardInformation."""
    return _STANDARD.pack(allocation, end_of_file, links, delete_pending, directory)


def pack_network_open(information: NetworkOpenInformation) -> bytes:
    """MS-FSCC 2.4.29 FileNetworkOpenInformation."""
    return _NETWORK_OPEN.pack(*information)


def pack_all(information: AllInformation) -> bytes:
    """MS-FSCC 2.4.2 FileAllInformation."""
    times = information.network_open
    name = encode_name(information.name)
    fixed = _ALL.pack(
        *times[:4],
        times.file_attributes,
        times.allocation_size,
        times.end_of_file,
        information.number_of_links,
        information.delete_pending,
        information.directory,
        information.index_number,
        information.ea_size,
        information.access_flags,
        information.position,
        information.mode,
        information.alignment,
        len(name),
    )
    return fixed + name


def pack_name(name: str) -> bytes:
    """MS-FSCC 2.1.7 FILE_NAME_INFORMATION: FileName-, FileNormalizedName- and FileAlternateNameInformation."""
    encoded = encode_name(name)
    return UINT32.pack(len(encoded)) + encoded


def pack_uint32(value: int) -> bytes:
    """The classes of one 32-bit number: FileEa-, FileAccess-, FileMode-, FileAlignmentInformation."""
    return UINT32.pack(value)


def pack_uint64(value: int) -> bytes:
    """The classes of one 64-bit number: FileInternal-, FilePositionInformation."""
    return UINT64.pack(value)


def pack_attribute_tag(attributes: int, reparse_tag: int) -> bytes:
    """MS-FSCC 2.4.6 FileAttributeTagInformation."""
    return _ATTRIBUTE_TAG.pack(attributes, reparse_tag)


def pack_compression(compressed_size: int, compression_format: int = 0) -> bytes:
    """MS-FSCC 2.4.9 FileCompressionInformation; format 0 is not compressed."""
    return _COMPRESSION.pack(compressed_size, compression_format, 0, 0, 0)


def pack_standard_link(accessible: int, total: int, delete_pending: bool, directory: bool) -> bytes:
    """FileStandardLinkInformation (MS-FSCC 2.4.48): names that can be opened, names in all."""
    return _STANDARD_LINK.pack(accessible, total, delete_pending, directory)


def pack_file_id(volume_serial: int, file_id: int) -> bytes:
    """MS-FSCC 2.4.26 FileIdInformation; the 128-bit identifier is the 64-bit one extended by zeros."""
    return _FILE_ID.pack(volume_serial, file_id.to_bytes(16, "little"))


def pack_streams(streams: Iterable[StreamEntry]) -> bytes:
    """MS-FSCC 2.4.49 FileStreamInformation; empty without streams (a directory)."""
    packed = bytearray()
    last = 0
    for stream in streams:
        packed += bytes(-len(packed) % 8)
        name = encode_name(stream.name)
        last = len(packed)
        following = (_STREAM.size + len(name) + 7) & ~7
        packed += _STREAM.pack(following, len(name), stream.size, stream.allocation_size) + name
    if packed:
        UINT32.pack_into(packed, last, 0)
    return bytes(packed)


_PIPE: Final = Struct("<II")
_PIPE_LOCAL: Final = Struct("<10I")


def pack_pipe(read_mode: int = 1, completion_mode: int = 0) -> bytes:
    """MS-FSCC 2.4.35 FilePipeInformation; message mode, queued operation by default."""
    return _PIPE.pack(read_mode, completion_mode)


def pack_pipe_local(read_available: int, quota: int = 4096) -> bytes:
    """MS-FSCC 2.4.36 FilePipeLocalInformation of the server's end of a connected message-mode duplex pipe."""
    message_mode, duplex, connected, server_end = 1, 2, 3, 1
    unlimited = 0xFFFFFFFF
    return _PIPE_LOCAL.pack(
        message_mode, duplex, unlimited, 1, quota, read_available, quota, quota, connected, server_end
    )
