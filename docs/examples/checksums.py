"""Tells a vendor's client the checksum of a file, with a control code and a create context of the vendor's own."""

import hashlib
from errno import EISDIR

from lamina.vfs_modules.extensions import InfoType, control, create_context, query_information, set_information
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Access, OpenHow

FSCTL_CHECKSUM = 0x00366000  # device 0x36, access FILE_READ_ACCESS: the open must be allowed to read


class Checksums(VfsModule):
    name = "checksums"

    def _digest(self, token, opened):
        if opened.handle.is_directory:
            raise IsADirectoryError(EISDIR, "a directory has no checksum", opened.path)
        root = self.next.open_root(token)
        file = self.next.open(token, root, opened.path, OpenHow(Access.READ))
        try:
            digest, buffer, offset = hashlib.sha256(), memoryview(bytearray(65536)), 0
            while count := self.next.pread(token, file, buffer, offset):
                digest.update(buffer[:count])
                offset += count
            return digest.digest()
        finally:
            self.next.close(token, file)
            self.next.close(token, root)

    @control(FSCTL_CHECKSUM)
    def checksum(self, token, opened, data, room):
        return self._digest(token, opened)

    @create_context(b"CkSm")
    def checksum_at_open(self, token, opened, data, client):
        return self._digest(token, opened) if bytes(data) == b"sha256" else None

    @query_information(InfoType.FILE, 0xF0)
    def label(self, token, opened, room):
        return self.next.getxattr(token, opened.handle, "user.label")

    @set_information(InfoType.FILE, 0xF0)
    def set_label(self, token, opened, data):
        self.next.setxattr(token, opened.handle, "user.label", bytes(data[:64]))
