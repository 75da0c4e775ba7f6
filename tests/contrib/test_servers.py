"""Two Lamina servers of one store: what is done through one is seen through the other, and on the store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contrib.stores import Store
from tests.support.processes import ServerProcess
from tests.support.smbclient import SmbClient, installed

pytestmark = pytest.mark.skipif(not installed(), reason="smbclient is not installed: apt install smbclient")


@pytest.fixture
def other(store: Store, top: str, tmp_path: Path) -> Iterator[ServerProcess]:
    """A second server, as another machine would be."""
    with store.serving({"share": store.folder(top)}, tmp_path / "other") as running:
        yield running


def test_each_sees_what_is_done_through_the_other(
    store: Store, server: ServerProcess, other: ServerProcess, top: str, place: str, tmp_path: Path
) -> None:
    first, second = (SmbClient(one, directory=place) for one in (server, other))
    for turn, (here, there) in enumerate([(first, second), (second, first)] * 2):
        (tmp_path / "sent").write_bytes(f"turn {turn}".encode() * 10_000)
        here.do(f"mkdir folder{turn}", f"put sent folder{turn}\\file", "put sent same", local=tmp_path).check()
        there.do(f"get folder{turn}\\file a", "get same b", f"rename folder{turn} seen{turn}", local=tmp_path).check()
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "sent").read_bytes()
        here.do(f"del seen{turn}\\file", f"rmdir seen{turn}").check()
        assert "seen" not in there.do("ls").check()
    assert store.view.names(f"{top}/{place}") == ["same"]


def test_attributes_and_streams_are_the_stores(
    server: ServerProcess, other: ServerProcess, place: str, tmp_path: Path
) -> None:
    first, second = (SmbClient(one, directory=place) for one in (server, other))
    (tmp_path / "sent").write_bytes(b"content")
    first.do("put sent file", "put sent file:stream", "setmode file +h", local=tmp_path).check()
    output = second.do("get file:stream back", "allinfo file", local=tmp_path).check()
    assert (tmp_path / "back").read_bytes() == b"content"
    assert "attributes: HA" in output
