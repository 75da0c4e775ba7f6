"""What the module does."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import smbclient
from lamina import Server
from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.loader import load_module
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.testing import local_chain, make_token

from lamina_deny_names import (
    DenyNamesModule,
    DenyNamesModuleOptions,
)

CREATE = OpenHow(Access.READ_WRITE, create=True)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    """The module over a folder."""
    options = DenyNamesModuleOptions(patterns=("*.exe",))
    chain = local_chain(tmp_path, DenyNamesModule(options))
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


@pytest.mark.parametrize("present", ["hidden", "readable"])
def test_what_is_there_already_is_hidden_unless_it_is_to_be_read(tmp_path: Path, present: str) -> None:
    (tmp_path / "old.exe").touch()
    (tmp_path / "tools.exe").mkdir()
    (tmp_path / "tools.exe" / "inside").touch()
    options = DenyNamesModuleOptions.model_validate({"patterns": ["*.exe"], "present": present})
    chain, token = local_chain(tmp_path, DenyNamesModule(options)), make_token()
    root = chain.open_root(token)
    listing = chain.open(token, root, "", OpenHow(Access.READ, directory=True))
    seen = {entry.name for entry in chain.readdir(token, listing)}
    if present == "readable":
        assert seen == {"old.exe", "tools.exe"}
        chain.close(token, chain.open(token, root, "tools.exe/inside", OpenHow(Access.READ)))
    else:
        assert seen == set()
        for path in ("old.exe", "OLD.EXE", "tools.exe/inside"):
            with pytest.raises(FileNotFoundError):
                chain.stat(token, root, path)
            with pytest.raises(FileNotFoundError):
                chain.unlink(token, root, path)
    chain.disconnect()


def test_a_client_is_told_so(lamina_server_factory: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "old.exe").touch()
    denying = DenyNamesModule(DenyNamesModuleOptions(patterns=("*.exe",)))
    server = lamina_server_factory({"data": tmp_path}, chain=[denying, "dos_attributes", "posix"])
    user = {"username": server.username, "password": server.password, "port": server.port}
    assert smbclient.listdir(r"\\127.0.0.1\data", **user) == []
    with pytest.raises(OSError, match="STATUS_ACCESS_DENIED"):
        smbclient.open_file(r"\\127.0.0.1\data\new.exe", mode="w", **user)
    smbclient.reset_connection_cache()


def test_shares_find_the_module_by_its_name() -> None:
    assert load_module("deny_names") is DenyNamesModule


def test_a_server_takes_it(lamina_server_factory: Callable[..., Server]) -> None:
    server = lamina_server_factory(chain=["deny_names", "streams_xattr", "dos_attributes", "posix"])
    assert server.port
