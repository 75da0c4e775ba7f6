"""`shadow_copy`: snapshots are seen, and nothing in them changes."""

import os
import struct
import subprocess
import time
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.vfs_modules import snapshots
from lamina.vfs_modules.extensions import OpenedFile
from lamina.vfs_modules.module import ModuleError
from lamina.vfs_modules.operations import OPERATIONS, Access, Capability, OpenHow, Times
from lamina.vfs_modules.snapshots import Snapshot, SnapshotProvider
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.stock.shadow_copy import FSCTL_SRV_ENUMERATE_SNAPSHOTS, ShadowCopyModule, ShadowCopyOptions
from lamina.vfs_modules.stock.snapshotting.options import Names, label_of
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.syscalls.btrfs import subvolume, subvolumes_beneath
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.hand import Hand
from lamina.vfs_modules.token import SERVER_TOKEN
from tests.support.loop_filesystem import WHY_NOT, btrfs

TOKEN = make_token()
FIRST, SECOND = "@GMT-2026.11.20-08.30.00", "@GMT-2026.11.21-08.30.00"
READ, WRITE = OpenHow(Access.READ), OpenHow(Access.READ_WRITE)


def hand_over(names: tuple[str, ...] = (FIRST, SECOND), **options) -> Hand:
    """A share with a file, and snapshots with what it was."""
    backend = MemoryBackend()
    module = ShadowCopyModule(ShadowCopyOptions(**options))
    chain = local_chain("/nowhere", module, backend)
    below = Hand(chain, SERVER_TOKEN)
    root = backend.open_root(SERVER_TOKEN)
    for path in (".snapshots", *(f".snapshots/{name}" for name in names)):
        backend.mkdir(SERVER_TOKEN, root, path, 0o755)
    for name in names:
        backend.mkdir(SERVER_TOKEN, root, f".snapshots/{name}/folder", 0o755)
        how = OpenHow(Access.READ_WRITE, create=True)
        handle = backend.open(SERVER_TOKEN, root, f".snapshots/{name}/folder/file", how)
        backend.pwrite(SERVER_TOKEN, handle, memoryview(name.encode()), 0)
    below.mkdir("folder")
    below.make("folder/file", b"now")
    return Hand(chain, TOKEN)


def content(hand: Hand, path: str) -> bytes:
    return hand.read(hand.open(path, READ), 100)


def enumerate_(hand: Hand, room: int = 65536) -> tuple[tuple[int, int, int], list[str]]:
    opened = OpenedFile(hand.root, "", "", 1)
    answer = hand.chain.extensions.controls[FSCTL_SRV_ENUMERATE_SNAPSHOTS].call(TOKEN, opened, b"", room)
    assert len(answer) <= room
    return struct.unpack_from("<III", answer), [text for text in answer[12:].decode("utf-16-le").split("\0") if text]


@pytest.mark.parametrize("path", ["{}/folder/file", "folder/{}/file", "folder/file/{}"])
def test_the_token_may_stand_anywhere(path: str) -> None:
    hand = hand_over()
    for label in (FIRST, SECOND):
        assert content(hand, path.format(label)) == label.encode()
        assert hand.chain.stat(TOKEN, hand.root, path.format(label)).size == len(label)
    assert content(hand, "folder/file") == b"now"


def test_what_is_opened_beneath_a_snapshot_is_of_it() -> None:
    hand = hand_over()
    folder = hand.open(f"{FIRST}/folder")
    assert hand.read(hand.open("file", READ, folder), 100) == FIRST.encode()
    with pytest.raises(OSError, match="Read-only"):
        hand.open("new", OpenHow(Access.READ, create=True), folder)
    assert hand.names(FIRST) == {"folder"}


def test_times_are_listed_from_the_newest_on() -> None:
    hand = hand_over(("nothing", FIRST, SECOND))
    assert enumerate_(hand) == ((2, 2, 102), [SECOND, FIRST])
    assert enumerate_(hand, 16) == ((2, 0, 102), [])
    with pytest.raises(OSError):
        enumerate_(hand, 15)
    assert enumerate_(hand_over(()))[0] == (0, 0, 2)


def test_names_are_read_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    hand = hand_over(("daily-2026-11-20_0830",), format="daily-%Y-%m-%d_%H%M")
    assert enumerate_(hand)[1] == [FIRST]
    monkeypatch.setenv("TZ", "Etc/GMT-2")
    time.tzset()
    try:
        hand = hand_over(("2026-11-20_1030",), format="%Y-%m-%d_%H%M", localtime=True)
        assert enumerate_(hand)[1] == [FIRST]
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


def test_a_snapshot_that_is_made_later_is_found_and_one_that_is_not_there_is_not() -> None:
    hand = hand_over((FIRST,))
    with pytest.raises(FileNotFoundError):
        hand.open(f"{SECOND}/folder")
    backend = hand.chain.modules[-1]
    backend.mkdir(SERVER_TOKEN, backend.open_root(SERVER_TOKEN), f".snapshots/{SECOND}", 0o755)
    assert hand.open(SECOND).is_directory


@pytest.mark.parametrize("base", [FIRST, f".snapshots/{FIRST}"])
def test_nothing_in_a_snapshot_changes(base: str) -> None:
    hand = hand_over()
    chain, root = hand.chain, hand.root
    old, new = hand.open(f"{base}/folder/file", READ), hand.open("folder/file", OpenHow(Access.READ_WRITE))
    attempts = {
        "write": lambda: chain.pwrite(TOKEN, hand.open(f"{base}/folder/file", WRITE), memoryview(b"x"), 0),
        "create anew": lambda: hand.open(f"{base}/folder/file", OpenHow(Access.READ, create=True, exclusive=True)),
        "create": lambda: hand.open(f"{base}/new", OpenHow(Access.READ, create=True)),
        "mkdir": lambda: hand.mkdir(f"{base}/new"),
        "unlink": lambda: chain.unlink(TOKEN, root, f"{base}/folder/file"),
        "rmdir": lambda: chain.rmdir(TOKEN, root, f"{base}/folder"),
        "rename from": lambda: hand.rename(f"{base}/folder/file", "moved"),
        "rename to": lambda: hand.rename("folder/file", f"{base}/folder/file", replace=True),
        "link from": lambda: chain.link(TOKEN, old, root, "second"),
        "link to": lambda: chain.link(TOKEN, new, root, f"{base}/second"),
        "pwrite": lambda: chain.pwrite(TOKEN, old, memoryview(b"x"), 0),
        "ftruncate": lambda: chain.ftruncate(TOKEN, old, 0),
        "set_times": lambda: chain.set_times(TOKEN, old, Times(1, 1)),
        "setxattr": lambda: chain.setxattr(TOKEN, old, "user.a", b""),
        "copy_range": lambda: chain.copy_range(TOKEN, new, 0, old, 0, 1),
        "open_stream": lambda: chain.open_stream(TOKEN, old, "s", OpenHow(Access.READ, create=True)),
    }
    for name, attempt in attempts.items():
        with pytest.raises(OSError, match=os.strerror(30)):
            attempt()
            pytest.fail(name)
    assert hand.read(old, 100) == FIRST.encode()


def test_what_reads_is_not_in_its_way() -> None:
    backend = MemoryBackend()
    chain = local_chain("/nowhere", ShadowCopyModule(), backend)
    for name in ("pread", "fstat", "close", "readdir"):
        assert name in OPERATIONS
        assert getattr(chain, name) == getattr(backend, name)
    assert Capability.SNAPSHOTS in chain.capabilities


# How names tell times.


@pytest.mark.parametrize(
    ("options", "name", "when"),
    [
        ({}, FIRST, 1763627400 + 31536000),
        ({"format": "%s", "sscanf": False}, "1000", None),
        ({"format": "snap_%lu", "sscanf": True}, "snap_1000", 1000),
        ({"format": "snap_%lu", "sscanf": True}, "snap_1000x", None),
        ({"format": "%Y", "snapprefix": "(daily|weekly)", "delimiter": "-"}, "daily-1971", 31536000),
        ({"format": "%Y", "snapprefix": "(daily|weekly)", "delimiter": "-"}, "hourly-1971", None),
        ({"format": "%Y", "snapprefix": "[a-z-]+", "delimiter": "-"}, "my-own-1971", 31536000),
        ({"format": "%Y", "snapprefix": "x"}, "x_GMT1971", 31536000),
        ({"format": "%Y%z"}, "1971+0100", 31536000 - 3600),
    ],
)
def test_names_tell_times_in_many_ways(options: dict, name: str, when: int | None) -> None:
    assert Names(ShadowCopyOptions(**options)).when(name) == when


@given(st.text(max_size=30), st.integers())
def test_any_name_tells_a_time_or_none(name: str, number: int) -> None:
    for options in ({}, {"format": "%lu", "sscanf": True}, {"format": "%Y", "snapprefix": ".*", "delimiter": "x"}):
        when = Names(ShadowCopyOptions(**options)).when(name)
        assert when is None or (label_of(when) or "@GMT-").startswith("@GMT-")
    label_of(number)


@pytest.mark.parametrize(
    "options",
    [
        {"snapprefix": "("},
        {"snapsharepath": "../x"},
        {"snapsharepath": "x", "basedir": "/x"},
        {"sscanf": True},
        {"mountpoint": "relative"},
        {"sort": "up"},
    ],
)
def test_what_makes_no_sense_is_refused(options: dict) -> None:
    with pytest.raises(ValueError):
        ShadowCopyOptions(**options)


@pytest.mark.parametrize(("sort", "labels"), [("asc", [FIRST, SECOND]), ("desc", [SECOND, FIRST])])
def test_clients_are_told_in_the_order_that_is_asked_for(sort: str, labels: list[str]) -> None:
    assert enumerate_(hand_over(sort=sort))[1] == labels


def test_options_of_samba_are_understood() -> None:
    given = {"shadow:snapdir": "old", "shadow:sort": "asc", "shadow:snapprefix": "x", "shadow:sscanf": False}
    assert ShadowCopyOptions(**given).snapdir == "old"


def test_files_in_snapshots_may_have_other_ids() -> None:
    for fixes in (False, True):
        hand = hand_over(fixinodes=fixes)
        old = hand.chain.stat(TOKEN, hand.root, f"{FIRST}/folder/file").ino
        handle = hand.open(f"{FIRST}/folder/file", READ)
        assert hand.chain.fstat(TOKEN, handle).ino == old
        below = hand.chain.modules[-1]
        real = below.stat(TOKEN, below.open_root(TOKEN), f".snapshots/{FIRST}/folder/file").ino
        assert (old != real) is fixes
        listing = hand.chain.readdir(TOKEN, hand.open(f"{FIRST}/folder", OpenHow(Access.READ, directory=True)), True)
        assert [entry.stat.ino for entry in listing if entry.stat] in ([old], [])


# Elsewhere than beneath the share.


def elsewhere(tmp_path: Path, **options: object) -> Hand:
    """A share in home/share, and snapshots of home in backup."""
    share, old = tmp_path / "home/share", tmp_path / "backup" / FIRST / "share"
    for folder, data in ((share, b"now"), (old, b"as it was")):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(data)
        (folder / "file").chmod(0o644)
    chosen = {"snapdir": str(tmp_path / "backup"), "basedir": str(tmp_path / "home"), **options}
    return Hand(
        local_chain(
            share,
            ShadowCopyModule(ShadowCopyOptions(**chosen)),
            StreamsXattrModule(),
            DosAttributesModule(),
            PosixBackend(),
        ),
        TOKEN,
    )


@pytest.mark.parametrize(
    "options", [{}, {"basedir": "", "snapsharepath": "share"}, {"mountpoint": "auto"}, {"localtime": False}]
)
def test_snapshots_may_be_anywhere(tmp_path: Path, options: dict) -> None:
    hand = elsewhere(tmp_path, **options)
    assert enumerate_(hand)[1] == [FIRST]
    assert content(hand, f"{FIRST}/file") == b"as it was"
    assert content(hand, "file") == b"now"
    assert hand.names(FIRST) == {"file"}
    assert not hand.chain.stat(TOKEN, hand.root, f"{FIRST}/file").mode & 0o100
    with pytest.raises(OSError, match="Read-only"):
        hand.open(f"{FIRST}/new", OpenHow(Access.READ, create=True))
    old = hand.open(f"{FIRST}/file", WRITE)
    with pytest.raises(OSError, match="Read-only"):
        hand.chain.pwrite(TOKEN, old, memoryview(b"x"), 0)
    hand.close()
    hand.chain.disconnect()


def test_a_mountpoint_may_be_given(tmp_path: Path) -> None:
    hand = elsewhere(tmp_path, snapdir="backup", mountpoint=str(tmp_path), basedir=str(tmp_path / "home"))
    assert content(hand, f"{FIRST}/file") == b"as it was"


def test_no_link_leads_out_of_a_snapshot_that_is_elsewhere(tmp_path: Path) -> None:
    hand = elsewhere(tmp_path)
    (tmp_path / "secret").write_bytes(b"secret")
    for name, target in (("out", "../../../secret"), ("root", "/etc/passwd")):
        (tmp_path / "backup" / FIRST / "share" / name).symlink_to(target)
        with pytest.raises(OSError):
            content(hand, f"{FIRST}/{name}")
    with pytest.raises(OSError):
        content(hand, f"{FIRST}/../../../secret")


def test_a_share_that_is_no_folder_has_none_elsewhere() -> None:
    with pytest.raises(OSError, match="a share that is a folder"):
        local_chain("/", ShadowCopyModule(ShadowCopyOptions(snapdir="/backup")), MemoryBackend())


# Providers.


class Catalogue(SnapshotProvider):
    """Knows one snapshot, in a folder that has no time in its name."""

    def __init__(self, folder: str = "attic") -> None:
        self.folder = folder
        self.ended = False

    def snapshots(self) -> list[Snapshot]:
        return [Snapshot(0, self.folder), Snapshot(1 << 60, "never")]

    def disconnect(self) -> None:
        self.ended = True


def test_others_may_know_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    provider, backend = Catalogue(), MemoryBackend()
    hand = Hand(local_chain("/nowhere", ShadowCopyModule(provider=provider), backend), SERVER_TOKEN)
    hand.mkdir("attic")
    hand.make("attic/file", b"old")
    label = "@GMT-1970.01.01-00.00.00"
    assert enumerate_(hand)[1] == [label]
    assert content(hand, f"{label}/file") == b"old"
    with pytest.raises(FileNotFoundError):
        content(hand, f"{FIRST}/file")
    hand.chain.disconnect()
    assert provider.ended


def test_a_provider_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("catalogue", f"{__name__}:Catalogue", snapshots.GROUP)
    broken = EntryPoint("broken", "builtins:dict", snapshots.GROUP)
    found = {"catalogue": [point], "broken": [broken]}
    monkeypatch.setattr(
        snapshots, "entry_points", lambda group, name=None: found.get(name, []) if name else [point, broken]
    )
    monkeypatch.setattr(EntryPoint, "load", lambda self: dict if self.name == "broken" else Catalogue)
    module = ShadowCopyModule(ShadowCopyOptions(provider="catalogue", provider_options={"folder": "loft"}))
    hand = Hand(local_chain("/nowhere", module, MemoryBackend()), SERVER_TOKEN)
    hand.mkdir("loft")
    assert hand.open("@GMT-1970.01.01-00.00.00").is_directory
    with pytest.raises(ModuleError, match="broken, catalogue"):
        ShadowCopyModule(ShadowCopyOptions(provider="zfs"))
    with pytest.raises(ModuleError, match="no SnapshotProvider"):
        ShadowCopyModule(ShadowCopyOptions(provider="broken"))


# Btrfs.


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with btrfs(tmp_path_factory.mktemp("shadow") / "mounted") as mounted:
        if mounted is None:
            pytest.skip(WHY_NOT)
        yield mounted


def run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def otime_of(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY)
    try:
        return subvolume(fd).otime_ns // 1_000_000_000
    finally:
        os.close(fd)


def test_btrfs_knows_its_snapshots_whatever_they_are_called(volume: Path) -> None:
    home = volume / "home"
    run("btrfs", "subvolume", "create", home)
    (home / "share").mkdir()
    (home / "share/file").write_bytes(b"as it was")
    run("btrfs", "subvolume", "create", home / ".old")
    (home / ".old/17").mkdir()
    run("btrfs", "subvolume", "snapshot", "-r", home, home / ".old/17/snapshot")
    run("btrfs", "subvolume", "create", home / ".old/unrelated")
    (home / "share/file").write_bytes(b"as it is")
    made = otime_of(home / ".old/17/snapshot")
    assert abs(made - time.time()) < 3600

    options = ShadowCopyOptions(provider="btrfs", snapdir=str(home / ".old"))
    for share, path in ((home / "share", "file"), (home, "share/file")):
        hand = Hand(local_chain(share, ShadowCopyModule(options)), TOKEN)
        assert enumerate_(hand)[1] == [label_of(made)]
        assert content(hand, f"{label_of(made)}/{path}") == b"as it was"
        assert content(hand, path) == b"as it is"
        with pytest.raises(OSError, match="Read-only"):
            hand.open(f"{label_of(made)}/{path}x", OpenHow(Access.READ, create=True))
        hand.close()
        hand.chain.disconnect()

    within = ShadowCopyOptions(provider="btrfs", snapdir=".old")
    hand = Hand(local_chain(home, ShadowCopyModule(within)), TOKEN)
    assert content(hand, f"{label_of(made)}/share/file") == b"as it was"
    hand.close()
    hand.chain.disconnect()


def test_btrfs_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not on Btrfs"):
        local_chain("/dev/shm", ShadowCopyModule(ShadowCopyOptions(provider="btrfs")))


def test_more_snapshots_than_one_answer_holds(volume: Path) -> None:
    many = volume / "many"
    run("btrfs", "subvolume", "create", many)
    (many / "old").mkdir()
    for number in range(0, 260, 20):
        names = [str(many / f"old/{each}") for each in range(number, number + 20)]
        run("sh", "-c", "for name; do btrfs -q subvolume snapshot -r $0 $name; done", many, *names)
    fd = os.open(many / "old", os.O_RDONLY)
    try:
        assert sorted(subvolumes_beneath(fd), key=int) == [str(number) for number in range(260)]
    finally:
        os.close(fd)
