"""What is declared of libgfapi is what its headers say, and errors are those of the contract."""

import errno
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina_glusterfs.binding import FLOCK, FUNCTIONS, STAT_FORMS, STATVFS, declared, error_of, file_stat, time_bytes

HEADERS = Path("/usr/include/glusterfs/api/glfs-handles.h")
INCLUDES = """
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <glusterfs/api/glfs.h>
#include <glusterfs/api/glfs-handles.h>
"""
FIELDS = {
    "stat": tuple(
        f"st_{name}" for name in ("dev", "ino", "nlink", "mode", "uid", "gid", "size", "blocks", "atim", "mtim")
    ),
    "dirent": ("d_ino", "d_off", "d_reclen", "d_type", "d_name"),
    "statvfs": ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree"),
    "flock": ("l_type", "l_whence", "l_start", "l_len", "l_pid"),
}
NUMBERS = {
    "GFAPI_HANDLE_LENGTH": 16,
    "GFAPI_SET_ATTR_MODE": 0x1,
    "GFAPI_SET_ATTR_UID": 0x2,
    "GFAPI_SET_ATTR_GID": 0x4,
    "GFAPI_SET_ATTR_ATIME": 0x10,
    "GFAPI_SET_ATTR_MTIME": 0x20,
    "GLFS_EVENT_INODE_INVALIDATE": 1,
    "GLFS_UPCALL_INODE_INVALIDATE": 1,
    "GFAPI_UP_RENAME": 0x80,
    "GFAPI_XREADDIRP_STAT": 0x1,
    "GFAPI_XREADDIRP_HANDLE": 0x2,
    "SEEK_DATA": 3,
    "SEEK_HOLE": 4,
}


@pytest.fixture(scope="module")
def compiler() -> str:
    found = shutil.which("gcc") or shutil.which("cc")
    if not found or not HEADERS.exists():
        pytest.skip("gcc and the headers of GlusterFS are not installed (Debian: apt install gcc libglusterfs-dev)")
    return found


def compiled(compiler: str, folder: Path, text: str, *options: str) -> "subprocess.CompletedProcess[str]":
    source = folder / "test.c"
    source.write_text(INCLUDES + text)
    command = [
        compiler,
        "-D_FILE_OFFSET_BITS=64",
        "-Wall",
        "-Werror",
        "-o",
        str(folder / "test"),
        *options,
        str(source),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_functions_are_declared_as_the_headers_have_them(compiler: str, tmp_path: Path) -> None:
    # Two declarations of one function must agree, or it does not compile. One kind is another number in C.
    ours = FUNCTIONS.replace("int glfs_upcall_get_reason", "glfs_upcall_reason_t glfs_upcall_get_reason")
    done = compiled(compiler, tmp_path, ours, "-fsyntax-only")
    assert done.returncode == 0, done.stderr
    wrong = ours.replace("int glfs_closedir(glfs_fd_t *fd)", "int glfs_closedir(glfs_object_t *fd)")
    assert wrong != ours
    assert compiled(compiler, tmp_path, wrong, "-fsyntax-only").returncode != 0


@pytest.fixture(scope="module")
def layout(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    lines = [f'printf("%s %zu\\n", "{kind}", sizeof(struct {kind}));' for kind in FIELDS]
    lines += [
        f'printf("%s %zu\\n", "{kind}.{field}", offsetof(struct {kind}, {field}));'
        for kind, fields in FIELDS.items()
        for field in fields
    ]
    lines += [f'printf("%s %zu\\n", "{name}", (size_t) {name});' for name in NUMBERS]
    folder = tmp_path_factory.mktemp("layout")
    done = compiled(compiler, folder, "int main(void) { " + "\n".join(lines) + " return 0; }")
    assert done.returncode == 0, done.stderr
    said = subprocess.run([str(folder / "test")], capture_output=True, text=True, check=True).stdout
    yield {name: int(number) for name, number in map(str.split, said.splitlines())}


def test_numbers_are_those_of_the_headers(layout: dict[str, int]) -> None:
    assert {name: layout[name] for name in NUMBERS} == NUMBERS


def test_structures_are_laid_out_as_the_machine_has_them(layout: dict[str, int]) -> None:
    ffi = declared()
    for kind in FIELDS:
        assert ffi.sizeof(f"struct {kind}") >= layout[kind], kind
    for field in FIELDS["dirent"]:
        assert ffi.offsetof("struct dirent", field) == layout[f"dirent.{field}"]
    form = STAT_FORMS[platform.machine()]
    raw = bytearray(layout["stat"])
    written = {}
    for number, field in enumerate(FIELDS["stat"], 1):
        at = layout[f"stat.{field}"]
        raw[at : at + 4] = number.to_bytes(4, "little")
        written[field] = number
    found = file_stat(form, raw)
    assert (found.dev, found.ino, found.nlink, found.mode) == tuple(
        written[name] for name in ("st_dev", "st_ino", "st_nlink", "st_mode")
    )
    assert (found.uid, found.gid, found.size, found.allocated) == (
        *(written[name] for name in ("st_uid", "st_gid", "st_size")),
        512 * written["st_blocks"],
    )
    assert (found.atime_ns, found.mtime_ns) == (written["st_atim"] * 10**9, written["st_mtim"] * 10**9)
    places = {"st_mode": form.mode_at, "st_uid": form.uid_at, "st_gid": form.gid_at}
    places |= {"st_atim": form.atime_at, "st_mtim": form.mtime_at}
    assert places == {field: layout[f"stat.{field}"] for field in places}


def test_what_is_told_of_a_volume_and_asked_of_a_lock_is_laid_out_as_the_machine_has_it(layout: dict[str, int]) -> None:
    assert STATVFS.size == layout["statvfs.f_ffree"] + 8
    raw = FLOCK.pack(1, 2, 3, 4, 5)
    for number, field in enumerate(FIELDS["flock"], 1):
        assert raw[layout[f"flock.{field}"]] == number


def test_forms_of_all_machines_tell_a_status_of_the_same_size() -> None:
    assert {form.unpack.size for form in STAT_FORMS.values()} == {120}


@pytest.mark.parametrize(
    ("library", "contract"),
    [
        (errno.ENOENT, errno.ENOENT),
        (errno.EBADFD, errno.EBADF),
        (errno.EREMOTE, errno.ENOTCONN),
        (errno.ECONNREFUSED, errno.ENOTCONN),
        (0, errno.EIO),
    ],
)
def test_errors_are_those_of_the_contract(library: int, contract: int) -> None:
    assert error_of(library).errno == contract
    assert error_of(library, b"path").filename == b"path"


def test_times_before_1970_have_nanoseconds_after_a_second() -> None:
    assert time_bytes(-1) == (-1).to_bytes(8, "little", signed=True) + (999_999_999).to_bytes(8, "little")
