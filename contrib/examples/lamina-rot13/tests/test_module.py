"""What the module does."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import smbclient
from hypothesis import given
from hypothesis import strategies as st
from lamina import Server
from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.loader import load_module
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.testing import local_chain, make_token

from lamina_rot13 import Rot13Module
from lamina_rot13.module import TABLE

TOKEN = make_token()
CREATE = OpenHow(Access.READ_WRITE, create=True)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    """The module over a folder."""
    chain = local_chain(tmp_path, Rot13Module())
    yield chain
    chain.disconnect()


def write(chain: Chain, name: str, data: bytes | bytearray, offset: int = 0) -> None:
    root = chain.open_root(TOKEN)
    handle = chain.open(TOKEN, root, name, CREATE)
    assert chain.pwrite(TOKEN, handle, memoryview(data), offset) == len(data)
    chain.close(TOKEN, handle)
    chain.close(TOKEN, root)


def read(chain: Chain, name: str, length: int = 100, offset: int = 0) -> bytes:
    root = chain.open_root(TOKEN)
    handle = chain.open(TOKEN, root, name, OpenHow(Access.READ))
    buffer = memoryview(bytearray(length))
    count = chain.pread(TOKEN, handle, buffer, offset)
    chain.close(TOKEN, handle)
    chain.close(TOKEN, root)
    return bytes(buffer[:count])


@given(st.binary())
def test_rotated_twice_it_is_what_it_was(data: bytes) -> None:
    assert data.translate(TABLE).translate(TABLE) == data


def test_what_is_written_is_stored_rotated_and_read_as_it_was(chain: Chain, tmp_path: Path) -> None:
    write(chain, "letter", b"Dear Ada, 42!")
    assert (tmp_path / "letter").read_bytes() == b"Qrne Nqn, 42!"
    assert read(chain, "letter") == b"Dear Ada, 42!"
    assert read(chain, "letter", 3, 5) == b"Ada"


def test_the_buffer_that_is_written_stays_as_it_is(chain: Chain) -> None:
    data = bytearray(b"abc")
    write(chain, "letter", data)
    assert data == b"abc"


def test_a_hole_is_zeros(chain: Chain) -> None:
    write(chain, "letter", b"end", 5)
    assert read(chain, "letter") == bytes(5) + b"end"


def test_a_client_sees_nothing_of_it(lamina_server_factory: Callable[..., Server], tmp_path: Path) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    server = lamina_server_factory({"data": folder}, chain=["rot13", "streams_xattr", "dos_attributes", "posix"])
    user = {"username": server.username, "password": server.password, "port": server.port}
    with smbclient.open_file(r"\\127.0.0.1\data\a.txt", mode="w", **user) as file:
        file.write("hello")
    with smbclient.open_file(r"\\127.0.0.1\data\a.txt", **user) as file:
        assert file.read() == "hello"
    smbclient.reset_connection_cache()
    assert (folder / "a.txt").read_text() == "uryyb"


def test_shares_find_the_module_by_its_name() -> None:
    assert load_module("rot13") is Rot13Module
