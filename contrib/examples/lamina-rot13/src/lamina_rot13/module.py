"""Stores what clients write rotated by 13 letters, and gives it back as it was: content rewritten on the fly.

No secrecy: it shows how a filter changes what files hold. The length stays, so that offsets, sizes, holes and locks
mean the same above and below; whoever looks into the folder beside the server sees what is stored.
"""

from typing import ClassVar

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.token import ImpersonationToken

_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
_ROTATED = _LETTERS[13:] + _LETTERS[:13]
TABLE = bytes.maketrans(_LETTERS + _LETTERS.upper(), _ROTATED + _ROTATED.upper())
"""Each byte rotated; twice is what it was, and a byte of a hole (0) stays what it is."""


class Rot13Module(VfsModule):
    """Stores content rotated by 13 letters."""

    name: ClassVar[str] = "rot13"
    api_version: ClassVar[tuple[int, int]] = (1, 0)

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        """Read what is stored, and rotate it."""
        count = self.next.pread(token, handle, buffer, offset)
        buffer[:count] = bytes(buffer[:count]).translate(TABLE)
        return count

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        """Store it rotated; the client's own buffer is left as it is."""
        return self.next.pwrite(token, handle, memoryview(bytes(data).translate(TABLE)), offset)
