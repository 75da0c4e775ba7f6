"""Names: from an NT path to components, case folding, and names that only one of the two worlds can hold.

An NT path is relative to the share, with "\\\\" between components and perhaps a stream after the last one
(MS-FSCC 2.1.5 Pathname). No name can hold "/", so it is taken for a separator too: clients made for POSIX send it, and
smbd takes it. Names on disk may hold what NT reserves; such characters are shown to clients at
U+F000 + code, as Services for Unix and macOS do, and come back as they were. Names are `str`; a code unit that is no
character (a lone surrogate) stands for itself, bytes on disk that are not UTF-8 are U+DC80 to U+DCFF (PEP 383).
"""

import re
from functools import cache, lru_cache
from typing import Final, NamedTuple

from lamina.ntfsa.status import NtStatus, NtStatusError

MAX_COMPONENT: Final = 255
"""UTF-16 code units in a component or stream name (MS-FSCC 2.1.5.2, 2.1.5.3)."""

MAX_PATH: Final = 32_760
"""UTF-16 code units in a whole path."""

DATA_STREAM: Final = "$DATA"
DIRECTORY_STREAM: Final = "$INDEX_ALLOCATION"

_CACHED_PATH: Final = 260

# MS-FSCC 2.1.5.2 Filename: what no component may hold. A whole path is searched at once: a colon is dealt with before.
_ILLEGAL = re.compile(r'["*/:<>?|\x00-\x1f]').search
_ILLEGAL_IN_STREAM = re.compile(r"[/\\:\x00]").search


class NtPath(NamedTuple):
    """A parsed path. `components` is empty for the root.

    `stream` is the name of an alternate data stream, "" for the file itself. `stream_type` is "" where the client
    named no type, else DATA_STREAM or DIRECTORY_STREAM. `trailing_separator`: the path ended in "\\\\", which only a
    directory may (MS-FSA 2.1.5.1).
    """

    components: tuple[str, ...]
    stream: str = ""
    stream_type: str = ""
    trailing_separator: bool = False


ROOT: Final = NtPath(())
"""The share's root directory."""


def utf16_length(name: str) -> int:
    """Code units of `name` in UTF-16, which is what NT counts."""
    return len(name) if name.isascii() else len(name) + sum(character > "\uffff" for character in name)


def parse_path(path: str) -> NtPath:
    """Split and check an NT path relative to the share.

    A ".." takes back the component before it, whatever that is, as in smbd (clients are not to send it: MS-FSCC
    2.1.5.1). Raises NtStatusError: INVALID_PARAMETER for a leading separator (MS-SMB2 3.3.5.9), OBJECT_PATH_SYNTAX_BAD
    for a ".." that leads out of the share, OBJECT_NAME_INVALID for everything else that no file can be called.
    """
    return _parse_cached(path) if len(path) <= _CACHED_PATH else _parse(path)


def _parse(path: str) -> NtPath:
    if not path:
        return ROOT
    path = path.replace("/", "\\")
    if path[0] == "\\":
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a path must not begin with a separator")
    if len(path) > MAX_PATH:
        raise _invalid(path[:_CACHED_PATH])
    names, stream, stream_type = _split_stream(path)
    if _ILLEGAL(names):
        raise _invalid(path)
    trailing = names.endswith("\\")
    if trailing and (stream or stream_type):
        raise _invalid(path)
    components = tuple((names[:-1] if trailing else names).split("\\")) if names else ()
    if ".." in components:
        components = _without_parents(components)
    for component in components:
        _check_component(component)
    return NtPath(components, stream, stream_type, trailing)


def _without_parents(components: tuple[str, ...]) -> tuple[str, ...]:
    kept: list[str] = []
    for component in components:
        if component != "..":
            kept.append(component)
        elif kept:
            _check_component(kept.pop())
        else:
            raise NtStatusError(NtStatus.OBJECT_PATH_SYNTAX_BAD, "a path that leads out of the share")
    return tuple(kept)


_parse_cached = lru_cache(maxsize=4096)(_parse)


def check_name(name: str) -> str:
    """Check one component that a client gives (a new name, a link): the name itself, or OBJECT_NAME_INVALID."""
    if "\\" in name or _ILLEGAL(name):
        raise _invalid(name)
    _check_component(name)
    return name


def _check_component(component: str) -> None:
    if component in {"", "."}:
        raise _invalid(component)
    if component == "..":
        raise NtStatusError(NtStatus.OBJECT_PATH_SYNTAX_BAD)
    # Half of the limit in characters can never be too long, whatever they are.
    if len(component) > MAX_COMPONENT // 2 and utf16_length(component) > MAX_COMPONENT:
        raise _invalid(component)


def _split_stream(path: str) -> tuple[str, str, str]:
    names, colon, rest = path.partition(":")
    return (names, *parse_stream(rest)) if colon else (path, "", "")


def parse_stream(text: str) -> tuple[str, str]:
    """Name and type of "stream", "stream:$DATA" or ":$DATA" (MS-FSCC 2.1.5.3 Streamname, 2.1.5.4 Streamtype).

    The type is case-insensitive. The default name of a directory's stream ("$I30") comes back as "". Raises
    OBJECT_NAME_INVALID.
    """
    stream, colon, given_type = text.partition(":")
    stream_type = given_type.upper()
    if not colon:
        stream_type = ""
    elif stream_type not in {DATA_STREAM, DIRECTORY_STREAM}:
        raise _invalid(text)
    if not stream and not colon:
        raise _invalid(text)
    if _ILLEGAL_IN_STREAM(stream) or utf16_length(stream) > MAX_COMPONENT:
        raise _invalid(text)
    if stream_type == DIRECTORY_STREAM:
        if stream.upper() not in {"", "$I30"}:
            raise _invalid(text)
        stream = ""
    return stream, stream_type


def join_path(components: tuple[str, ...], stream: str = "") -> str:
    """The NT path of `components`, with ":stream" where one is given."""
    path = "\\".join(components)
    return f"{path}:{stream}" if stream else path


def _invalid(name: str) -> NtStatusError:
    return NtStatusError(NtStatus.OBJECT_NAME_INVALID, f"not a valid name: {name!r}")


# --- Case ----------------------------------------------------------------------------------------------------------

_FINAL_SIGMA: Final = 0x03C2


@cache
def _upcase_table() -> dict[int, str]:
    # As the table that NTFS stores: code unit by code unit, only pairs of letters that are each other's other case, so
    # that no letter outside ASCII becomes an ASCII one; final sigma is the one exception that files depend on.
    table = {}
    for code in range(0x80, 0x10000):
        upper = chr(code).upper()
        if len(upper) == 1 and 0x80 <= ord(upper) < 0x10000 and ord(upper) != code and upper.lower() == chr(code):
            table[code] = upper
    table[_FINAL_SIGMA] = "\u03a3"
    table.update({code: chr(code).upper() for code in range(ord("a"), ord("z") + 1)})
    return table


def name_of_file(path: str) -> str:
    """What the file of an NT path is called, whatever the case and the stream."""
    return fold(path.partition(":")[0])


def fold(name: str) -> str:
    """The form of `name` that is equal for names that differ only in case, one code unit for each."""
    return name.upper() if name.isascii() else name.translate(_upcase_table())


# --- Names on disk and names shown ---------------------------------------------------------------------------------

_PRIVATE: Final = 0xF000
_RESERVED: Final = '"*:<>?\\|' + "".join(map(chr, range(1, 32)))
_SHOWN: Final = {ord(character): chr(_PRIVATE + ord(character)) for character in _RESERVED}
_STORED: Final = {_PRIVATE + ord(character): character for character in _RESERVED}

_needs_showing = re.compile(f"[{re.escape(_RESERVED)}\ud800-\udfff]").search
_needs_storing = re.compile(f"[{''.join(map(chr, _STORED))}\ud800-\udfff]").search
# The three bytes of a lone surrogate written as UTF-8 would write it, each escaped; those of U+DC80 to U+DCFF stay.
_escaped_surrogate = re.compile("\udced[\udca0-\udcb1\udcb4-\udcbf][\udc80-\udcbf]").sub
_lone_surrogate = re.compile("[\ud800-\udc7f\udd00-\udfff]").sub


def present(stored: str) -> str:
    """How a name on disk is shown to NT clients: itself, but for what NT reserves (see the module)."""
    if not _needs_showing(stored):
        return stored
    return _escaped_surrogate(_unescape, stored.translate(_SHOWN))


def to_posix(component: str) -> str:
    """The name on disk that a client's (checked) component means when no directory index knows better."""
    if not _needs_storing(component):
        return component
    return _lone_surrogate(_escape, component.translate(_STORED))


def _unescape(match: "re.Match[str]") -> str:
    return match[0].encode("utf-8", "surrogateescape").decode("utf-8", "surrogatepass")


def _escape(match: "re.Match[str]") -> str:
    return match[0].encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
