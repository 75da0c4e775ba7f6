"""`lamina replay`: what a real client does is recorded, and played to chains."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import lamina
from lamina.core.plan import ModuleSpec
from tests.core.app.test_live_chains import Client

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """What a client did in a share, with an empty folder at the beginning."""
    (tmp_path / "data").mkdir()
    file = tmp_path / "day.jsonl"
    chain = (
        ModuleSpec("record", {"file": str(file), "data": "full"}), "streams_xattr", "dos_attributes", "posix"
    )  # fmt: skip
    with lamina.Server({"data": tmp_path / "data"}, chain=chain) as server:
        client = Client(server)
        with client.open("wb") as opened:
            opened.write(b"some content")
        assert client.read() == b"some conte"
        client.close()
    return file


def test_a_clients_day_is_the_same_for_the_same_chain(lamina: Run, recording: Path) -> None:
    done = lamina("replay", recording, "--chain", "streams_xattr,dos_attributes,posix")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(" calls: no differences\n")


def test_a_clients_day_is_told_where_a_chain_does_otherwise(lamina: Run, recording: Path) -> None:
    done = lamina("replay", recording, "--chain", "readonly,streams_xattr,dos_attributes,posix", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["differences"][0]["operation"] == "open"
    assert told["differences"][0]["found"] == "EROFS"
    assert told["skipped"] > 0


def test_a_share_is_played_to_with_its_options_and_not_touched(lamina: Run, recording: Path, tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    config = tmp_path / "lamina.toml"
    config.write_text(
        '[server]\nlisten = ["127.0.0.1:0"]\naccounts = "accounts.db"\n[share.data]\npath = "served"\n'
        'chain = ["worm", "streams_xattr", "dos_attributes", "posix"]\n'
    )
    accounts = ("--accounts", tmp_path / "accounts.db", "--uid", os.geteuid(), "--gid", os.getegid())
    lamina("user", "add", "ada", "--password-stdin", *accounts, stdin="engine\n")
    done = lamina("replay", recording, "data", "-c", config)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((tmp_path / "served").iterdir()) == []
    other = lamina("replay", recording, "music", "-c", config)
    assert (other.returncode, other.stderr) == (2, f"lamina: there is no share 'music' in {config}; there are: data\n")


def test_a_folder_can_be_given(lamina: Run, recording: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    assert lamina("replay", recording, "--chain", "dos_attributes,posix", "--folder", tmp_path / "copy").returncode == 0
    assert (tmp_path / "copy/file").read_bytes() == b"some content"


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root: it is done as the users that were recorded")
def test_root_can_play_as_the_users_that_were_recorded(lamina: Run, recording: Path) -> None:
    done = lamina("replay", recording, "--chain", "streams_xattr,dos_attributes,posix", "--as-recorded")
    assert (done.returncode, done.stdout.splitlines()[-1].endswith(": no differences")) == (0, True), done.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["FILE"], "name a share or a chain"),
        (["FILE", "data", "--chain", "posix"], "name a share or a chain"),
        (["/nowhere.jsonl", "--chain", "memory"], "No such file"),
        (["FILE", "--chain", "memori"], "did you mean 'memory'?"),
        (["FILE", "--chain", "recycle"], "must be a backend"),
    ],
)
def test_what_cannot_be_played_is_answered_in_words(
    lamina: Run, recording: Path, arguments: list[str], complaint: str
) -> None:
    done = lamina("replay", *(recording if word == "FILE" else word for word in arguments))
    assert done.returncode == 2
    assert complaint in done.stderr


def test_a_recording_that_is_not_whole_says_so(lamina: Run, recording: Path) -> None:
    recording.write_bytes(recording.read_bytes()[:-20])
    done = lamina("replay", recording, "--chain", "streams_xattr,dos_attributes,posix")
    assert done.returncode == 0
    assert "(the recording is not whole: cut off)" in done.stdout
