"""Querying information about an open file (MS-FSA 2.1.5.12, MS-SMB2 3.3.5.20.1)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from lamina.ntfsa import constants as c
from lamina.ntfsa.context import NtContext
from lamina.ntfsa.errors import nt_error
from lamina.ntfsa.extensions import module_query
from lamina.ntfsa.file_state import allocation_size, end_of_file, hides, information_of, network_open, state_of
from lamina.ntfsa.fscc import file_information as fi
from lamina.ntfsa.fscc.extended_attributes import full_ea_size
from lamina.ntfsa.fscc.fields import FILE_MINIMUM, check_room
from lamina.ntfsa.fscc.posix_information import pack_posix_information
from lamina.ntfsa.metadata.query_ea import attributes_of, query_full_ea
from lamina.ntfsa.metadata.reparse import data_of
from lamina.ntfsa.naming.short_name_query import short_name_of
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.posix.posix_extensions import posix_information
from lamina.ntfsa.result import Information, fitted
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.streams.stream_opens import key_of_file
from lamina.vfs_modules.extensions import ClientTrait, InfoType

if TYPE_CHECKING:
    from lamina.vfs_modules.operations import DosAttributes, FileStat

_BYTE_ALIGNED: Final = 0
_SUCCESS: Final = NtStatus.SUCCESS
_NETWORK_OPEN: Final = c.FILE_NETWORK_OPEN_INFORMATION
_ROOM: Final = FILE_MINIMUM[_NETWORK_OPEN]
# What Windows asks of every file that it opens: this costs half of calling the class.
_new = tuple.__new__


class _Query:
    """One query: what is looked at once, if it is needed, and told in parts."""

    __slots__ = ("_state", "context", "open")

    def __init__(self, context: NtContext, open_: NtOpen) -> None:
        self.context = context
        self.open = open_
        self._state: tuple[FileStat, DosAttributes] | None = None

    def _look(self) -> "tuple[FileStat, DosAttributes]":
        state = self._state
        if state is None:
            state = self._state = state_of(self.context.token, self.open)
        return state

    @property
    def stat(self) -> "FileStat":
        """The file's status."""
        return self._look()[0]

    @property
    def information(self) -> fi.NetworkOpenInformation:
        """What is told of every file."""
        stat, dos = self._look()
        return network_open(stat, dos, hides(self.open), self.open.reserved)

    def delete_pending(self) -> bool:
        registry, key = self.open.volume.registry, self.open.file_key
        pending = registry.read(key).delete_pending
        return pending or (bool(key[2]) and registry.read(key_of_file(key)).delete_pending)

    def links(self) -> int:
        # A file whose deletion is pending counts as having one name less (MS-FSA 2.1.5.12.27).
        links = 1 if self.open.is_directory else self.stat.nlink
        return links - 1 if self.delete_pending() and links else links

    def ea_size(self) -> int:
        return full_ea_size(attributes_of(self.context, self.open))


def _basic(query: _Query) -> bytes:
    information = query.information
    return fi.pack_basic(*information[:4], information.file_attributes)


def _standard(query: _Query) -> bytes:
    information = query.information
    return fi.pack_standard(
        information.allocation_size,
        information.end_of_file,
        query.links(),
        query.delete_pending(),
        query.open.is_directory,
    )


def _all(query: _Query) -> bytes:
    open_ = query.open
    return fi.pack_all(
        fi.AllInformation(
            network_open=query.information,
            number_of_links=query.links(),
            delete_pending=query.delete_pending(),
            directory=open_.is_directory,
            index_number=open_.file_id,
            ea_size=query.ea_size(),
            access_flags=open_.granted_access,
            position=open_.position,
            mode=open_.mode,
            alignment=_BYTE_ALIGNED,
            name=_full_name(open_),
        )
    )


def _attribute_tag(query: _Query) -> bytes:
    attributes, open_ = query.information.file_attributes, query.open
    tag = 0
    if attributes & c.FILE_ATTRIBUTE_REPARSE_POINT:
        found = data_of(open_.volume, query.context.token, open_.handle, open_.vfs_path, query.stat)
        tag = found.tag if found is not None else 0
    return fi.pack_attribute_tag(attributes, tag)


def _full_name(open_: NtOpen) -> str:
    return "\\" + open_.path


def _streams(query: _Query) -> bytes:
    """MS-FSA 2.1.5.12.26 FileStreamInformation: those of the file, through whichever stream it is asked."""
    open_, token = query.open, query.context.token
    streams = []
    if not open_.handle.is_directory:
        stat = open_.volume.chain.fstat(token, open_.handle)
        streams.append(fi.StreamEntry("::$DATA", end_of_file(stat), allocation_size(stat)))
    if open_.volume.has_streams:
        found = open_.volume.chain.list_streams(token, open_.handle)
        hides_empty = ClientTrait.EMPTY_STREAMS_VANISH in query.context.client.traits
        streams += [
            fi.StreamEntry(f":{name}:$DATA", size, allocated)
            for name, size, allocated in found
            # A stored name that no client could say is not told.
            if ":" not in name and (size or not hides_empty)
        ]
    return fi.pack_streams(streams)


def _alternate_name(query: _Query) -> bytes:
    # Where there is no short name the name itself at least opens the file; smbclient's allinfo gives up without one.
    if not query.open.path:
        raise NtStatusError(NtStatus.OBJECT_NAME_NOT_FOUND, "the root has no name")
    return fi.pack_name(short_name_of(query.context.token, query.open) or query.open.name)


def _posix(query: _Query) -> bytes:
    if not query.open.posix:
        raise NtStatusError(NtStatus.INVALID_INFO_CLASS, "for opens with the POSIX create context")
    return pack_posix_information(posix_information(query.context.token, query.open))


class _Class(NamedTuple):
    answer: Callable[[_Query], bytes]
    access: int = 0


CLASSES: Final = {
    c.FILE_BASIC_INFORMATION: _Class(_basic, c.FILE_READ_ATTRIBUTES),
    c.FILE_STANDARD_INFORMATION: _Class(_standard),
    c.FILE_INTERNAL_INFORMATION: _Class(lambda query: fi.pack_uint64(query.open.file_id)),
    c.FILE_EA_INFORMATION: _Class(lambda query: fi.pack_uint32(query.ea_size())),
    c.FILE_ACCESS_INFORMATION: _Class(lambda query: fi.pack_uint32(query.open.granted_access)),
    c.FILE_NAME_INFORMATION: _Class(lambda query: fi.pack_name(_full_name(query.open))),
    c.FILE_NORMALIZED_NAME_INFORMATION: _Class(lambda query: fi.pack_name(query.open.path)),
    c.FILE_ALTERNATE_NAME_INFORMATION: _Class(_alternate_name),
    c.FILE_POSITION_INFORMATION: _Class(lambda query: fi.pack_uint64(query.open.position)),
    c.FILE_MODE_INFORMATION: _Class(lambda query: fi.pack_uint32(query.open.mode)),
    c.FILE_ALIGNMENT_INFORMATION: _Class(lambda query: fi.pack_uint32(_BYTE_ALIGNED)),
    c.FILE_ALL_INFORMATION: _Class(_all, c.FILE_READ_ATTRIBUTES),
    c.FILE_STREAM_INFORMATION: _Class(_streams),
    c.FILE_COMPRESSION_INFORMATION: _Class(lambda query: fi.pack_compression(query.information.end_of_file)),
    c.FILE_NETWORK_OPEN_INFORMATION: _Class(
        lambda query: fi.pack_network_open(query.information), c.FILE_READ_ATTRIBUTES
    ),
    c.FILE_ATTRIBUTE_TAG_INFORMATION: _Class(_attribute_tag, c.FILE_READ_ATTRIBUTES),
    c.FILE_STANDARD_LINK_INFORMATION: _Class(
        lambda query: fi.pack_standard_link(
            query.links(), query.stat.nlink, query.delete_pending(), query.open.is_directory
        )
    ),
    c.FILE_ID_INFORMATION: _Class(lambda query: fi.pack_file_id(query.open.volume.serial, query.open.file_id)),
    c.FILE_POSIX_INFORMATION: _Class(_posix, c.FILE_READ_ATTRIBUTES),
}


def query_file(  # the fields of one request (MS-SMB2 2.2.37)
    context: NtContext,
    open_: NtOpen,
    info_class: int,
    max_length: int,
    input_: bytes = b"",
    flags: int = c.SL_RESTART_SCAN,
    index: int = 0,
) -> Information:
    """Answer a query about a file.

    For extended attributes `input_` holds FILE_GET_EA_INFORMATION, or `flags` (SL_*) and `index` say where to begin.

    Raises INVALID_INFO_CLASS, INFO_LENGTH_MISMATCH, ACCESS_DENIED, NO_EAS_ON_FILE and what the class has of its own.
    """
    try:
        if info_class == _NETWORK_OPEN and max_length >= _ROOM and open_.granted_access & c.FILE_READ_ATTRIBUTES:
            return _new(Information, (_SUCCESS, fi.pack_network_open(information_of(context.token, open_))))
        return _query_file(context, open_, info_class, max_length, input_, flags, index)
    except OSError as error:
        raise nt_error(error) from error


def _query_file(  # as `query_file`
    context: NtContext, open_: NtOpen, info_class: int, max_length: int, input_: bytes, flags: int, index: int
) -> Information:
    if info_class == c.FILE_FULL_EA_INFORMATION:
        return query_full_ea(context, open_, max_length, input_, flags, index)
    known = CLASSES.get(info_class)
    if known is None:
        return module_query(context, open_, InfoType.FILE, info_class, max_length)
    check_room(FILE_MINIMUM, info_class, max_length)
    if known.access & ~open_.granted_access:
        raise NtStatusError(NtStatus.ACCESS_DENIED)
    return fitted(known.answer(_Query(context, open_)), max_length)
