"""Characters that are written otherwise for clients than they are stored: names in both directions, and on the wire."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydantic import ValidationError

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.changes import ChangeKind, ChangeQuery
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.stock.catia import MAC, CatiaModule, CatiaOptions, completed, parse_mappings
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.testing import local_chain, make_token

TOKEN = make_token()
CREATE = OpenHow(Access.READ_WRITE, create=True)
MAPPED = "".join(MAC) + "".join(MAC.values())
NAMES = some.text(some.sampled_from(MAPPED + "abc. \u00e4"), min_size=1, max_size=20)


def table_of(**options: str) -> dict[str, str]:
    return parse_mappings(CatiaOptions(**options).mappings)


def test_without_options_the_characters_of_macs_are_mapped() -> None:
    mappings = table_of()
    assert mappings[":"] == "\uf022"
    assert mappings["|"] == "\uf027"
    assert mappings["\x01"] == "\uf001"


def test_mappings_are_written_as_for_samba() -> None:
    assert table_of(mappings="0x22:0xa8, 0x2a:0xa4") == {'"': "\u00a8", "*": "\u00a4"}
    # The comprehensive example of Samba's manual has a slash in it, which no name does.
    assert "/" not in table_of(mappings="0x22:0xa8,0x2f:0xf8,0x7c:0xa6")


@pytest.mark.parametrize(
    "mappings",
    ["0x22", "22:a8", "0x22:0x110000", "0x00:0xa8", "0x22:0xa8,0x22:0xa9", "0x22:0xa8,0x2a:0xa8", "0x2e:0xa8"],
)
def test_mappings_that_cannot_work_are_refused(mappings: str) -> None:
    with pytest.raises(ValidationError):
        table_of(mappings=mappings)


@given(NAMES)
def test_every_name_comes_back_as_it_went(name: str) -> None:
    whole = completed(MAC)
    shown = name.translate(str.maketrans(whole))
    assert shown.translate(str.maketrans({b: a for a, b in whole.items()})) == name


def test_a_mapping_that_ends_where_another_begins_is_completed_to_a_circle() -> None:
    assert completed({"a": "b", "b": "c"}) == {"a": "b", "b": "c", "c": "a"}


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return local_chain(tmp_path, CatiaModule(CatiaOptions(mappings="0x3a:0xf7,0x2a:0xa4")), StreamsXattrModule())


def test_all_operations_on_names_map_them(chain: Chain, tmp_path: Path) -> None:
    root = chain.open_root(TOKEN)
    chain.mkdir(TOKEN, root, "a\u00f7b", 0o755)
    file = chain.open(TOKEN, root, "a\u00f7b/c\u00a4", CREATE)
    chain.link(TOKEN, file, root, "l\u00f7")
    chain.close(TOKEN, file)
    chain.symlink(TOKEN, "a\u00f7b/c\u00a4", root, "s\u00f7")
    assert sorted(os.listdir(tmp_path)) == ["a:b", "l:", "s:"]
    assert os.listdir(tmp_path / "a:b") == ["c*"]
    assert os.readlink(tmp_path / "s:") == "a:b/c*"
    assert chain.readlink(TOKEN, root, "s\u00f7") == "a\u00f7b/c\u00a4"
    chain.rename(TOKEN, root, "a\u00f7b/c\u00a4", root, "d\u00f7", False)
    assert {entry.name for entry in chain.readdir(TOKEN, root)} == {"a\u00f7b", "l\u00f7", "s\u00f7", "d\u00f7"}
    assert chain.stat(TOKEN, root, "d\u00f7").nlink == 2
    chain.unlink(TOKEN, root, "d\u00f7")
    chain.rmdir(TOKEN, root, "a\u00f7b")
    assert sorted(os.listdir(tmp_path)) == ["l:", "s:"]


def test_names_of_streams_are_mapped(chain: Chain, tmp_path: Path) -> None:
    root = chain.open_root(TOKEN)
    file = chain.open(TOKEN, root, "file", CREATE)
    chain.close(TOKEN, chain.open_stream(TOKEN, file, "a\u00f7b", CREATE))
    assert "user.DosStream.a:b:$DATA" in os.listxattr(tmp_path / "file")
    assert [entry.name for entry in chain.list_streams(TOKEN, file)] == ["a\u00f7b"]
    chain.rename_stream(TOKEN, file, "a\u00f7b", "c\u00f7", False)
    assert [entry.name for entry in chain.list_streams(TOKEN, file)] == ["c\u00f7"]
    chain.remove_stream(TOKEN, file, "c\u00f7")
    assert chain.list_streams(TOKEN, file) == []


def test_changes_are_told_under_the_names_that_clients_see(chain: Chain, tmp_path: Path) -> None:
    root = chain.open_root(TOKEN)
    names = chain.watch(TOKEN, root)
    changes = chain.watch_changes(
        TOKEN, root, ChangeQuery(False, False, lambda: None, lambda path: path == "hidden\u00f7")
    )
    for name in ("hidden:", "seen:"):
        (tmp_path / name).touch()
    assert {event.name for event in names.poll()} >= {"seen\u00f7"}
    assert [(change.kind, change.path) for change in changes.poll()] == [(ChangeKind.ADDED, "seen\u00f7")]
    names.close()
    changes.close()
