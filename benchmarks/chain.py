"""`python -m benchmarks.chain`: what modules of a chain cost a 4 KiB read, in the process, in nanoseconds.

Each line is the least of many rounds: a chain over `posix` and a file in memory, read through the chain's function.
"""

import tempfile
import timeit

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.stock.transparent import TransparentModule
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.token import ImpersonationToken

_READS, _ROUNDS = 20_000, 25


class ReadHook(VfsModule):
    """A module that has a read of its own, which passes it on."""

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        return self.next.pread(token, handle, buffer, offset)


def time_of_read(chain: Chain) -> float:
    """Nanoseconds of one `pread` of 4 KiB."""
    token, buffer = make_token(), memoryview(bytearray(4096))
    handle = chain.open(token, chain.open_root(token), "file", OpenHow(Access.READ_WRITE, create=True))
    chain.pwrite(token, handle, buffer, 0)
    read = chain.files.pread
    return min(timeit.repeat(lambda: read(token, handle, buffer, 0), number=_READS, repeat=_ROUNDS)) / _READS * 1e9


def main() -> None:
    """Measure and print."""
    cases = {
        "no module": [],
        "ten that pass everything": [TransparentModule() for _ in range(10)],
        "ten that each hook pread": [ReadHook() for _ in range(10)],
    }
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        for title, modules in cases.items():
            print(f"{title:<28} {time_of_read(local_chain(folder, *modules)):7.0f} ns")


if __name__ == "__main__":
    main()
