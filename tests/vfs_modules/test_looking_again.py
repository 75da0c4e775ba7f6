"""A file is looked at each time; what is seen is the same object only while it is the same. Paths through folders."""

import os
import threading
from pathlib import Path

import pytest

from lamina.vfs_modules import syscalls
from lamina.vfs_modules.operations import FileStat
from lamina.vfs_modules.token import SERVER_TOKEN


def _look(path: Path) -> FileStat:
    descriptor = os.open(path, os.O_PATH)
    try:
        return syscalls.fstatx(descriptor)
    finally:
        os.close(descriptor)


def test_a_status_that_has_not_changed_is_the_same_object(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert _look(path) is _look(path)


def test_each_change_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    for number in range(5):
        path.write_bytes(bytes(number))
        assert _look(path).size == number
        os.utime(path, ns=(number, number))
        assert (_look(path).atime_ns, _look(path).mtime_ns) == (number, number)
        path.chmod(0o600 + number)
        assert _look(path).mode & 0o777 == 0o600 + number
        os.link(path, tmp_path / f"link{number}")
        assert _look(path).nlink == number + 2


def test_files_are_not_mixed_up(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(1200)]
    for number, path in enumerate(paths):
        path.touch()
        os.truncate(path, number)
    for _ in range(2):
        assert [_look(path).size for path in paths] == list(range(1200))


def test_threads_look_at_the_same_time(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(4)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes(number))
    wrong: list[int] = []

    def look(number: int) -> None:
        wrong.extend(number for _ in range(300) if _look(paths[number]).size != number)

    threads = [threading.Thread(target=look, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("folder", ["real", "link", "upper/real"])
def test_a_name_in_a_folder_is_found_and_removed(folder: str, tmp_path: Path) -> None:
    for made in ("real", "upper/real"):
        (tmp_path / made).mkdir(parents=True)
        (tmp_path / made / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("real")
    root = os.open(tmp_path, os.O_PATH)
    try:
        assert syscalls.statat(SERVER_TOKEN, root, f"{folder}/file").size == 3
        syscalls.unlinkat(SERVER_TOKEN, root, f"{folder}/file")
    finally:
        os.close(root)
    assert not (tmp_path / folder / "file").exists()


@pytest.mark.parametrize(
    ("folder", "error"),
    [("file", NotADirectoryError), ("missing", FileNotFoundError), ("out", OSError), ("..", OSError)],
)
def test_nothing_is_removed_through_what_is_no_folder_of_the_share(
    folder: str, error: type[OSError], tmp_path: Path
) -> None:
    share, outside = tmp_path / "share", tmp_path / "outside"
    share.mkdir()
    outside.mkdir()
    (outside / "kept").touch()
    (tmp_path / "kept").touch()
    (share / "file").touch()
    (share / "out").symlink_to(outside)
    root = os.open(share, os.O_PATH)
    try:
        with pytest.raises(error):
            syscalls.unlinkat(SERVER_TOKEN, root, f"{folder}/kept")
    finally:
        os.close(root)
    assert (outside / "kept").exists()
    assert (tmp_path / "kept").exists()
