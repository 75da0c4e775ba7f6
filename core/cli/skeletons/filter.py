"""A module that stands above others: it refuses names that match a pattern."""

from typing import Final

MODULE: Final = '''\
"""Refuses new names that match a pattern. Begin here: change what this does."""

from errno import EACCES
from fnmatch import fnmatchcase
from typing import ClassVar

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ModuleOptions, VfsModule
from lamina.vfs_modules.operations import OpenHow
from lamina.vfs_modules.token import ImpersonationToken
from pydantic import Field


class @Class@Options(ModuleOptions):
    """What the administrator may say in [share.NAME.@name@]."""

    patterns: tuple[str, ...] = Field(default=(), description="names that nothing may be given, such as *.exe")


class @Class@(VfsModule):
    """Refuses new names that match a pattern."""

    Options = @Class@Options
    name: ClassVar[str] = "@name@"
    api_version: ClassVar[tuple[int, int]] = @api@
    before: ClassVar[tuple[str, ...]] = ("streams", "security", "dos_attributes")

    options: @Class@Options

    def _check(self, path: str) -> None:
        name = path.rpartition("/")[2].lower()
        if any(fnmatchcase(name, pattern.lower()) for pattern in self.options.patterns):
            raise PermissionError(EACCES, "a name that is not wanted here", path)

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Make no file under such a name."""
        if how.create:
            self._check(path)
        return self.next.open(token, directory, path, how)

    def mkdir(self, token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> None:
        """Make no folder under such a name."""
        self._check(path)
        self.next.mkdir(token, directory, path, mode)

    def rename(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
        replace: bool,
    ) -> None:
        """Give nothing such a name."""
        self._check(target)
        self.next.rename(token, source_directory, source, target_directory, target, replace)

    def link(self, token: ImpersonationToken, handle: VfsHandle, directory: VfsHandle, path: str) -> None:
        """Give no file such a name beside its own."""
        self._check(path)
        self.next.link(token, handle, directory, path)

    def symlink(self, token: ImpersonationToken, target: str, directory: VfsHandle, path: str) -> None:
        """Make no link under such a name."""
        self._check(path)
        self.next.symlink(token, target, directory, path)
'''

TESTS: Final = '''\
"""What the module does."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lamina import Server
from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.loader import load_module
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.testing import local_chain, make_token

from @package@ import (
    @Class@,
    @Class@Options,
)

CREATE = OpenHow(Access.READ_WRITE, create=True)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    """The module over a folder."""
    options = @Class@Options(patterns=("*.exe",))
    chain = local_chain(tmp_path, @Class@(options))
    yield chain
    chain.disconnect()


def test_such_a_file_cannot_be_made(chain: Chain, tmp_path: Path) -> None:
    token = make_token()
    root = chain.open_root(token)
    chain.close(token, chain.open(token, root, "letter.txt", CREATE))
    with pytest.raises(PermissionError):
        chain.open(token, root, "Setup.EXE", CREATE)
    with pytest.raises(PermissionError):
        chain.rename(token, root, "letter.txt", root, "letter.exe", False)
    chain.close(token, root)
    assert [entry.name for entry in tmp_path.iterdir()] == ["letter.txt"]


def test_shares_find_the_module_by_its_name() -> None:
    assert load_module("@name@") is @Class@


def test_a_server_takes_it(lamina_server_factory: Callable[..., Server]) -> None:
    server = lamina_server_factory(chain=["@name@", "streams_xattr", "dos_attributes", "posix"])
    assert server.port
'''

FILES: Final = {"src/@package@/module.py": MODULE, "tests/test_module.py": TESTS}
"""The files by their paths."""

WORDS: Final = {
    "@kind@": "module",
    "@does@": "It refuses new names that match a pattern.",
    "@chain@": '"@name@", "streams_xattr", "dos_attributes", "posix"',
    "@option@": 'patterns = ["*.exe", "*.scr"]',
    "@options@": "| `patterns` | none | names that nothing may be given, whatever their case |",
}
"""What is said of it in the files around it."""
