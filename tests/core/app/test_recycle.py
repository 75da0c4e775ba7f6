"""`lamina recycle`: what is in the bins, putting it back, and deleting it for good."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lamina.vfs_modules.stock.recycle import RecycleModule
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.hand import Hand

Command = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A share's folder with two files that "ada" and "bob" have deleted."""
    folder = tmp_path / "data"
    folder.mkdir()
    chain = local_chain(folder, RecycleModule())
    for user in ("ada", "bob"):
        token = make_token(user_name=user)
        hand = Hand(chain, token)
        hand.mkdir(user)
        hand.make(f"{user}/file", user.encode())
        chain.unlink(token, hand.root, f"{user}/file")
        hand.close()
    chain.disconnect()
    return folder


@pytest.fixture
def recycle(lamina: Command, folder: Path, tmp_path: Path) -> Command:
    """Runs `lamina recycle ARGUMENTS…` with the configuration of that share."""
    config = tmp_path / "lamina.toml"
    chain = 'chain = ["audit", "recycle", "dos_attributes", "posix"]'
    audit = f'[share.data.audit]\nfile = "{tmp_path}/audit.log"'
    config.write_text(f'[share.data]\npath = "data"\n{chain}\n{audit}\n[share.plain]\npath = "data"\n')
    return lambda *arguments: lamina("recycle", *arguments, "-c", config)


def test_deleted_files_are_listed(recycle: Command, tmp_path: Path) -> None:
    lines = recycle("list", "data").stdout.splitlines()
    assert len(lines) == 2
    assert "ada" in lines[0]
    assert lines[0].endswith("ada/file → .recycle/ada/ada/file")
    (found,) = map(json.loads, recycle("list", "data", "--user", "bob", "--json").stdout.splitlines())
    assert (found["was"], found["user"], found["size"]) == ("bob/file", "bob", 3)
    assert not (tmp_path / "audit.log").exists(), "what stands above takes no part"


def test_a_file_is_restored(recycle: Command, folder: Path) -> None:
    done = recycle("restore", "data", ".recycle/ada/ada/file")
    assert (done.returncode, done.stdout) == (0, "restored ada/file\n")
    assert (folder / "ada" / "file").read_bytes() == b"ada"
    (folder / "bob" / "file").write_bytes(b"new")
    done = recycle("restore", "data", ".recycle/bob/bob/file")
    assert done.returncode == 1
    assert "bob/file is there already; --to PATH" in done.stderr
    assert recycle("restore", "data", ".recycle/bob/bob/file", "--to", "bob/old").stdout == "restored bob/old\n"
    assert (folder / "bob" / "old").read_bytes() == b"bob"


def test_files_are_purged(recycle: Command, folder: Path) -> None:
    assert recycle("purge", "data", "--older-than", "1").stdout == "deleted 0 files, 0 bytes\n"
    assert recycle("purge", "data", "--all", "--user", "ada").stdout == "deleted 1 files, 3 bytes\n"
    assert not (folder / ".recycle" / "ada" / "ada").exists()
    assert (folder / ".recycle" / "bob" / "bob" / "file").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "nowhere"), "there is no share 'nowhere'"),
        (("list", "plain"), "there is no module recycle in its chain"),
        (("restore", "data", "missing"), "there is no missing in the bins"),
        (("restore", "data", ".recycle/ada/ada/file", "--to", "../x"), "where to?"),
        (("purge", "data"), "which? --older-than DAYS, or --all"),
    ],
)
def test_mistakes_are_answered_in_words(recycle: Command, arguments: tuple[str, ...], message: str) -> None:
    done = recycle(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
