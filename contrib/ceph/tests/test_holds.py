"""All that the library is made to hold - inodes, file handles, listings - is let go, whatever comes of an operation."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.testing import make_token

from lamina_ceph import mount
from lamina_ceph.library import library

TOKEN, OTHER = make_token(0, 0), make_token(61001, 61001)
READ = OpenHow(Access.READ)
MAKE = OpenHow(Access.READ_WRITE, create=True)
NEW = OpenHow(Access.READ, create=True, exclusive=True)

HOLD = ("lookup", "create", "mkdir", "symlink", "lookup_vino")


class Counting:
    """The library, which counts calls that have succeeded."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        function = getattr(library(), name)

        def call(*arguments: Any) -> Any:
            result = function(*arguments)
            self.calls[name.removeprefix("ceph_ll_")] += not isinstance(result, int) or result >= 0
            return result

        return call


def test_everything_is_let_go(connect: Callable[..., Chain], monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting()
    monkeypatch.setattr(mount, "library", lambda: counting)
    chain = connect()
    counting.calls.clear()
    root = chain.open_root(TOKEN)
    _make(chain, root)
    _fail(chain, root)
    _look(chain, root)
    _remove(chain, root)
    chain.close(TOKEN, root)
    calls = counting.calls
    assert sum(calls[name] for name in HOLD) == calls["put"] > 20
    assert calls["open"] + calls["create"] == calls["close"] == 3
    assert calls["opendir"] == calls["releasedir"] == 3


def _make(chain: Chain, root: VfsHandle) -> None:
    chain.mkdir(TOKEN, root, "folder", 0o755)
    chain.symlink(TOKEN, "folder/file", root, "link")
    written = chain.open(TOKEN, root, "link", MAKE)
    chain.pwrite(TOKEN, written, memoryview(b"data"), 0)
    path = chain.open(TOKEN, root, "folder/file", OpenHow(create=True))
    chain.link(TOKEN, path, root, "folder/second")
    for each in (written, path):
        chain.close(TOKEN, each)


def _fail(chain: Chain, root: VfsHandle) -> None:
    failing: tuple[Callable[[], object], ...] = (
        lambda: chain.open(TOKEN, root, "folder/file", NEW),
        lambda: chain.open(TOKEN, root, "folder/file/beneath", MAKE),
        lambda: chain.open(TOKEN, root, "folder/file", OpenHow(directory=True)),
        lambda: chain.open(TOKEN, root, "link", OpenHow(Access.READ, follow=False)),
        lambda: chain.open(OTHER, root, "folder/new", MAKE),
        lambda: chain.open(TOKEN, root, "folder", MAKE),
        lambda: chain.stat(TOKEN, root, "nothing/beneath"),
        lambda: chain.readlink(TOKEN, root, "folder"),
        lambda: chain.rename(TOKEN, root, "folder/file", root, "link", False),
        lambda: chain.unlink(TOKEN, root, "folder"),
        lambda: chain.rmdir(TOKEN, root, "folder"),
        lambda: chain.mkdir(TOKEN, root, "folder", 0o755),
    )
    for function in failing:
        with suppress(OSError):
            function()
            pytest.fail("it was to fail")


def _look(chain: Chain, root: VfsHandle) -> None:
    chain.stat(TOKEN, root, "link", True)
    chain.stat(TOKEN, root, "")
    chain.readlink(TOKEN, root, "link")
    folder = chain.open(TOKEN, root, "folder", READ)
    assert len(list(chain.readdir(TOKEN, folder, True))) == 2
    next(iter(chain.readdir(TOKEN, folder)))
    backend = chain.modules[-1]
    file = chain.open(TOKEN, root, "folder/file", READ)
    again = backend.durable_open(TOKEN, root, backend.durable_cookie(TOKEN, file), READ)
    for each in (folder, file, again):
        chain.close(TOKEN, each)


def _remove(chain: Chain, root: VfsHandle) -> None:
    chain.rename(TOKEN, root, "folder/file", root, "moved", False)
    for path in ("moved", "folder/second", "link"):
        chain.unlink(TOKEN, root, path)
    chain.rmdir(TOKEN, root, "folder")
