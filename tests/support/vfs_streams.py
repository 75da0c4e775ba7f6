"""One file of a chain and its named streams, for the tests of the modules that keep them."""

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.testing import make_token

TOKEN = make_token()
READ = OpenHow(Access.READ)
WRITE = OpenHow(Access.READ_WRITE, create=True)


class Streams:
    """One file of a chain, and its streams."""

    def __init__(self, chain: Chain, path: str = "file") -> None:
        self.chain = chain
        self.root = chain.open_root(TOKEN)
        self.file = chain.open(TOKEN, self.root, path, OpenHow(Access.READ, create=True))

    def write(self, name: str, data: bytes, offset: int = 0) -> None:
        stream = self.chain.open_stream(TOKEN, self.file, name, WRITE)
        try:
            self.chain.pwrite(TOKEN, stream, memoryview(data), offset)
        finally:
            self.chain.close(TOKEN, stream)

    def truncate(self, name: str, size: int) -> None:
        stream = self.chain.open_stream(TOKEN, self.file, name, WRITE)
        try:
            self.chain.ftruncate(TOKEN, stream, size)
        finally:
            self.chain.close(TOKEN, stream)

    def read(self, name: str) -> bytes:
        stream = self.chain.open_stream(TOKEN, self.file, name, READ)
        buffer = bytearray(1 << 17)
        count = self.chain.pread(TOKEN, stream, memoryview(buffer), 0)
        assert self.chain.fstat(TOKEN, stream).size == count
        self.chain.close(TOKEN, stream)
        return bytes(buffer[:count])

    def sizes(self) -> dict[str, int]:
        return {entry.name: entry.size for entry in self.chain.list_streams(TOKEN, self.file)}

    def close(self) -> None:
        self.chain.close(TOKEN, self.file)
        self.chain.close(TOKEN, self.root)
        self.chain.disconnect()
