"""Reading accounts in Samba's smbpasswd(5) form, which is also what `pdbedit -Lw` prints.

A pure parser: `name:uid:LM hash:NT hash:[flags]:LCT-…:` by line. The LM hash is ignored: nobody may log on with it.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_LINE: Final = re.compile(r"([^:]+):(\d+):[^:]{32}:([^:]{32}):\[([A-Z ]*)\]")
_HASH: Final = re.compile(r"[0-9A-Fa-f]{32}")
_MACHINE_FLAGS: Final = frozenset("WSI")
NO_UID: Final = 0xFFFFFFFF
"""What pdbedit prints for an account whose uid the system does not know."""


class ImportedAccount(NamedTuple):
    """One account of the file. `uid` is None if the file does not know it."""

    name: str
    uid: int | None
    nt_hash: bytes
    disabled: bool


class SkippedLine(NamedTuple):
    """A line that gives no account, by its number from 1, and why."""

    line: int
    name: str
    reason: str


def parse_smbpasswd(text: str) -> Iterator[ImportedAccount | SkippedLine]:
    """The accounts of `text`, and the lines that are none; comments and empty lines are passed over in silence."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield _parse_line(number, line)


def _parse_line(number: int, line: str) -> ImportedAccount | SkippedLine:
    match = _LINE.match(line)
    if match is None:
        return SkippedLine(number, line.partition(":")[0], "not a line of an smbpasswd file")
    name, uid, nt_hash, flags = match.groups()
    if _MACHINE_FLAGS.intersection(flags) or name.endswith("$"):
        return SkippedLine(number, name, "a machine's account")
    if not _HASH.fullmatch(nt_hash):
        return SkippedLine(number, name, "it has no password")
    known_uid = int(uid) if int(uid) < NO_UID else None
    return ImportedAccount(name, known_uid, bytes.fromhex(nt_hash), "D" in flags)
