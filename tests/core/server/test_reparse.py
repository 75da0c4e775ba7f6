"""Paths that meet a symbolic link (MS-SMB2 2.2.2.2.1 Symbolic Link Error Response, 3.3.5.9)."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.core.plan import ShareSpec
from lamina.core.wire.error import SymbolicLinkError, decode_error_contexts, decode_symbolic_link_error
from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.reparse import (
    SymbolicLink,
    pack_reparse_data,
    pack_symbolic_link,
    parse_reparse_data,
    parse_symbolic_link,
)
from lamina.ntfsa.status import NtStatus
from tests.support.served import GENERIC_ALL, Served
from tests.support.wire_client import StatusError, WireClient

LINK = SymbolicLink("folder\\deep", "folder\\deep", True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file in a folder, and a link on the way to it."""
    folder = tmp_path / "links"
    (folder / "folder" / "deep").mkdir(parents=True)
    (folder / "folder" / "deep" / "file").write_text("x")
    os.symlink("folder/deep", folder / "link")
    return folder


@pytest.fixture
def strict(serve: Callable[..., Served], folder: Path) -> Served:
    return serve(shares={"data": ShareSpec(folder, follow_symlinks=False)})


def stopped_on(client: WireClient, path: str) -> SymbolicLinkError:
    with pytest.raises(StatusError) as caught:
        client.create(path)
    assert caught.value.status == NtStatus.STOPPED_ON_SYMLINK
    error = caught.value.response.error()
    data = error.data
    if client.dialect == 0x311:
        contexts = decode_error_contexts(memoryview(error.data), error.context_count)
        assert [context.error_id for context in contexts] == [0]
        data = contexts[0].data
    return decode_symbolic_link_error(memoryview(data))


@pytest.mark.parametrize("dialect", [0x202, 0x302, 0x311], ids=hex)
def test_the_client_is_told_where_a_link_leads(strict: Served, dialect: int) -> None:
    client = strict.connected(dialect)
    assert stopped_on(client, "link\\file") == SymbolicLinkError(len("\\file") * 2, *LINK)
    assert stopped_on(client, "link") == SymbolicLinkError(0, *LINK)
    client.create("folder\\deep\\file")


def test_the_link_itself_can_be_asked_and_removed(strict: Served, folder: Path) -> None:
    client = strict.connected()
    options = c.FILE_OPEN_REPARSE_POINT
    link = client.create("link", options=options)
    assert link.response.file_attributes & c.FILE_ATTRIBUTE_REPARSE_POINT
    data = client.ioctl(c.FSCTL_GET_REPARSE_POINT, file=link).output
    assert parse_symbolic_link(parse_reparse_data(data).data) == LINK
    client.close(link)
    client.close(client.create("link", access=c.DELETE, options=options | c.FILE_DELETE_ON_CLOSE))
    assert not (folder / "link").is_symlink()
    assert (folder / "folder" / "deep" / "file").exists()


def test_a_client_makes_a_link(served: Served) -> None:
    client = served.connected()
    options = c.FILE_OPEN_REPARSE_POINT
    made = client.create("made", access=GENERIC_ALL, disposition=c.FILE_CREATE, options=options)
    client.ioctl(c.FSCTL_SET_REPARSE_POINT, pack_reparse_data(pack_symbolic_link(LINK)), made)
    client.close(made)
    assert os.readlink(served.folder / "made") == "folder/deep"


def test_links_are_followed_unless_that_is_turned_off(serve: Callable[..., Served], folder: Path) -> None:
    client = serve(shares={"data": folder}).connected()
    assert client.read(client.create("link\\file"), 10) == b"x"
