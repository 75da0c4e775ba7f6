"""A request in words: its command, and of what it asks the part that a person wants to know. For traces.

The numbers have the names of MS-SMB2 2.2 and MS-FSCC 2.3, 2.4 and 2.5, as `constants` has them.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from lamina.core.request import Request
from lamina.core.wire.change_notify import decode_change_notify_request
from lamina.core.wire.constants import Command
from lamina.core.wire.create import decode_create_request
from lamina.core.wire.errors import WireError
from lamina.core.wire.ioctl import decode_ioctl_request
from lamina.core.wire.lock import decode_lock_request
from lamina.core.wire.query_directory import decode_query_directory_request
from lamina.core.wire.query_info import decode_query_info_request
from lamina.core.wire.read import decode_read_request
from lamina.core.wire.set_info import decode_set_info_request
from lamina.core.wire.write import decode_write_request
from lamina.ntfsa import constants

_INFO_FILE, _INFO_FILESYSTEM, _INFO_SECURITY, _INFO_QUOTA = 1, 2, 3, 4
_DISPOSITIONS: Final = ("supersede", "open", "create", "open_if", "overwrite", "overwrite_if")


def _by_number(names: Mapping[str, Any]) -> Mapping[int, str]:
    return MappingProxyType({number: name for name, number in names.items()})


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


_NUMBERS: Final = {name: value for name, value in vars(constants).items() if isinstance(value, int)}
_CONTROLS: Final = _by_number({name: value for name, value in _NUMBERS.items() if name.startswith("FSCTL_")})
_CLASSES: Final = {_camel(name): value for name, value in _NUMBERS.items() if re.match(r"FILE_.*_INFORMATION", name)}
_FILE_CLASSES: Final = _by_number({name: value for name, value in _CLASSES.items() if not name.startswith("FileFs")})
_FILESYSTEM_CLASSES: Final = _by_number({name: value for name, value in _CLASSES.items() if name.startswith("FileFs")})


def command_name(request: Request) -> str:
    """The name of the command (MS-SMB2 2.2.1)."""
    number = request.header.command
    return Command(number).name if number in Command.__members__.values() else f"{number:#06x}"


def described(request: Request) -> Mapping[str, Any]:
    """What a request asks for; nothing where that is malformed, or of no interest."""
    describe = _OF_COMMANDS.get(request.header.command)
    try:
        return describe(request.message) if describe is not None else {}
    except WireError:
        return {}


def _create(message: memoryview) -> dict[str, Any]:
    asked = decode_create_request(message)
    disposition = asked.create_disposition
    known = disposition < len(_DISPOSITIONS)
    return {
        "name": asked.name.replace("\\", "/"),
        "disposition": _DISPOSITIONS[disposition] if known else disposition,
        "access": f"{asked.desired_access:#x}",
        "options": f"{asked.create_options:#x}",
    }


def _read(message: memoryview) -> dict[str, Any]:
    asked = decode_read_request(message)
    return {"offset": asked.offset, "length": asked.length}


def _write(message: memoryview) -> dict[str, Any]:
    asked = decode_write_request(message)
    return {"offset": asked.offset, "length": len(asked.data)}


def _query_directory(message: memoryview) -> dict[str, Any]:
    asked = decode_query_directory_request(message)
    return {"class": _FILE_CLASSES.get(asked.info_class, asked.info_class), "pattern": asked.pattern}


def _query_info(message: memoryview) -> dict[str, Any]:
    asked = decode_query_info_request(message)
    return {"class": _class_name(asked.info_type, asked.info_class)}


def _set_info(message: memoryview) -> dict[str, Any]:
    asked = decode_set_info_request(message)
    return {"class": _class_name(asked.info_type, asked.info_class)}


def _class_name(info_type: int, info_class: int) -> str | int:
    if info_type == _INFO_SECURITY:
        return "Security"
    if info_type == _INFO_QUOTA:
        return "Quota"
    names = _FILE_CLASSES if info_type == _INFO_FILE else _FILESYSTEM_CLASSES
    return names.get(info_class, info_class)


def _ioctl(message: memoryview) -> dict[str, Any]:
    asked = decode_ioctl_request(message)
    return {"code": _CONTROLS.get(asked.control_code, f"{asked.control_code:#010x}")}


def _lock(message: memoryview) -> dict[str, Any]:
    return {"ranges": len(decode_lock_request(message).locks)}


def _change_notify(message: memoryview) -> dict[str, Any]:
    return {"filter": f"{decode_change_notify_request(message).completion_filter:#x}"}


_OF_COMMANDS: Final[Mapping[int, Callable[[memoryview], dict[str, Any]]]] = MappingProxyType(
    {
        Command.CREATE: _create,
        Command.READ: _read,
        Command.WRITE: _write,
        Command.QUERY_DIRECTORY: _query_directory,
        Command.QUERY_INFO: _query_info,
        Command.SET_INFO: _set_info,
        Command.IOCTL: _ioctl,
        Command.LOCK: _lock,
        Command.CHANGE_NOTIFY: _change_notify,
    }
)
