"""What the checks of the conformance suite are written with: their registration, and a hand that does things.

The checks themselves stand in `suite` and in the modules that it names.
"""

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, Capability, OpenHow
from lamina.vfs_modules.token import ImpersonationToken

Check = Callable[[Chain, ImpersonationToken], None]

NEEDS: dict[Check, Capability] = {}
"""All checks with the capabilities that they are about, in the order in which they were declared."""

_NOTHING = Capability(0)

SECOND = 1_000_000_000
MOMENT = 1_234_567_890 * SECOND + 123_456_700
"""A time that every file system can keep: whole units of 100 ns."""

PATH = OpenHow()
READ = OpenHow(Access.READ)
READ_WRITE = OpenHow(Access.READ_WRITE)
CREATE = OpenHow(Access.READ_WRITE, create=True, exclusive=True)
LIST = OpenHow(Access.READ, directory=True)


def check(needs: Capability = _NOTHING) -> Callable[[Check], Check]:
    """Enter a function among the checks; without `needs` it holds for everybody."""

    def enter(function: Check) -> Check:
        NEEDS[function] = needs
        return function

    return enter


@contextmanager
def fails_with(*numbers: int) -> Iterator[None]:
    """Expect an OSError with one of these error numbers."""
    got = 0
    try:
        yield
    except OSError as error:
        got = error.errno or 0
    assert got in numbers, f"expected {_called(numbers)}, got {errno.errorcode.get(got, 'no error')}"


@contextmanager
def refused() -> Iterator[None]:
    """Expect an OSError, whichever."""
    try:
        yield
    except OSError:
        return
    raise AssertionError("expected an error, got none")


@contextmanager
def may_fail_with(*numbers: int) -> Iterator[None]:
    """Expect no error, or an OSError with one of these error numbers."""
    try:
        yield
    except OSError as error:
        got = error.errno or 0
        assert got in numbers, f"expected {_called(numbers)}, got {_called((got,))}"


def _called(numbers: Sequence[int]) -> str:
    return " or ".join(errno.errorcode.get(number, str(number)) for number in numbers)


class Hand:
    """A chain and a token together, so that a check reads as what it checks; closes what was opened."""

    def __init__(self, chain: Chain, token: ImpersonationToken) -> None:
        self.chain, self.token = chain, token
        self._opened: list[VfsHandle] = []
        self.root = self.keep(chain.open_root(token))

    def keep(self, handle: VfsHandle) -> VfsHandle:
        """Close it at the end."""
        self._opened.append(handle)
        return handle

    def open(self, path: str, how: OpenHow = PATH, directory: VfsHandle | None = None) -> VfsHandle:
        """Open beneath the root, or another directory."""
        return self.keep(self.chain.open(self.token, directory or self.root, path, how))

    def make(self, path: str, data: bytes = b"") -> VfsHandle:
        """Make a file that holds `data`."""
        handle = self.open(path, CREATE)
        if data:
            assert self.chain.pwrite(self.token, handle, memoryview(data), 0) == len(data)
        return handle

    def mkdir(self, path: str) -> None:
        """Make a directory."""
        self.chain.mkdir(self.token, self.root, path, 0o755)

    def read(self, handle: VfsHandle, length: int, offset: int = 0) -> bytes:
        """What can be read."""
        buffer = bytearray(length)
        return bytes(buffer[: self.chain.pread(self.token, handle, memoryview(buffer), offset)])

    def names(self, path: str = "") -> set[str]:
        """The names in a directory."""
        return {entry.name for entry in self.chain.readdir(self.token, self.open(path, LIST))}

    def rename(self, source: str, target: str, replace: bool = False) -> None:
        """Rename beneath the root."""
        self.chain.rename(self.token, self.root, source, self.root, target, replace)

    def give_back(self, handle: VfsHandle) -> None:
        """Close one handle now."""
        self._opened.remove(handle)
        self.chain.close(self.token, handle)

    def close(self) -> None:
        """Close everything, what is in a file before the file."""
        for handle in reversed(self._opened):
            self.chain.close(self.token, handle)


@contextmanager
def hand_of(chain: Chain, token: ImpersonationToken) -> Iterator[Hand]:
    """A hand that closes what it opened, at the end."""
    hand = Hand(chain, token)
    try:
        yield hand
    finally:
        hand.close()
