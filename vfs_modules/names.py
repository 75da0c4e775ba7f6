"""Names between NT and POSIX: `str` with surrogates on one side, bytes on the other.

Nearly every name is plain UTF-8 and takes the fast path. Bytes that are not UTF-8 are U+DC80 to U+DCFF (PEP 383), as
everywhere in Python; any other lone surrogate, which a Windows client may well put into a name, is kept as the
three bytes that UTF-8 would give it (as Samba's and WTF-8's users do). What a directory holds always comes back to the
same bytes.
"""

import codecs
import errno
import os

_ERRORS = "lamina-names"


def _mend(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeEncodeError):
        return b"".join(map(_bytes_of, error.object[error.start : error.end])), error.end
    if isinstance(error, UnicodeDecodeError):
        return _character_at(error.object, error.start)
    raise error


def _bytes_of(surrogate: str) -> bytes:
    code = ord(surrogate)
    return bytes((code - 0xDC00,)) if 0xDC80 <= code <= 0xDCFF else surrogate.encode("utf-8", "surrogatepass")


def _character_at(raw: bytes, start: int) -> tuple[str, int]:
    if raw[start] == 0xED:
        try:
            character = raw[start : start + 3].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            character = ""
        # The bytes that spell an escape must not come back as the one byte that it stands for.
        if len(character) == 1 and not 0xDC80 <= ord(character) <= 0xDCFF:
            return character, start + 3
    return chr(0xDC00 + raw[start]), start + 1


codecs.register_error(_ERRORS, _mend)


def encode_name(name: str) -> bytes:
    """The bytes of a name or path for a system call. A NUL raises OSError(EINVAL): C would end the name there."""
    if "\0" in name:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
    try:
        return name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", _ERRORS)


def decode_name(raw: bytes) -> str:
    """The name that bytes from a directory or a link stand for; never fails."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("utf-8", _ERRORS)
