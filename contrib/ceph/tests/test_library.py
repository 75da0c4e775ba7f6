"""What is told to the library is what its headers say: the layouts are compared by a C compiler."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from lamina_ceph import library
from lamina_ceph.library import PROTOTYPES, STATX, Statx

HEADER = Path("/usr/include/cephfs/libcephfs.h")

LAYOUTS = {
    "Statx": ("struct ceph_statx", {name: f"stx_{name}" for name, *_ in Statx._fields_}),
    "Dirent": (
        "struct dirent",
        {"ino": "d_ino", "offset": "d_off", "length": "d_reclen", "kind": "d_type", "name": "d_name"},
    ),
    "Statvfs": (
        "struct statvfs",
        {name: f"f_{name}" for name in ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "namemax")},
    ),
    "Flock": (
        "struct flock",
        {"kind": "l_type", "whence": "l_whence", "start": "l_start", "length": "l_len", "pid": "l_pid"},
    ),
    "Vinode": ("vinodeno_t", {"ino": "ino", "snapshot": "snapid"}),
    "Timespec": ("struct timespec", {"seconds": "tv_sec", "nanoseconds": "tv_nsec"}),
}
CONSTANTS = {
    "WANT": "(CEPH_STATX_BASIC_STATS | CEPH_STATX_BTIME)",
    "NOFOLLOW": "AT_SYMLINK_NOFOLLOW",
    "KEEP_SIZE": "FALLOC_FL_KEEP_SIZE",
    "PUNCH_HOLE": "FALLOC_FL_PUNCH_HOLE",
    "RECLAIM_RESET": "CEPH_RECLAIM_RESET",
    "SET_MODE": "CEPH_SETATTR_MODE",
    "SET_UID": "CEPH_SETATTR_UID",
    "SET_GID": "CEPH_SETATTR_GID",
    "SET_MTIME": "CEPH_SETATTR_MTIME",
    "SET_ATIME": "CEPH_SETATTR_ATIME",
    "SET_SIZE": "CEPH_SETATTR_SIZE",
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Sizes, offsets and constants by what they are called here, as a C compiler has them."""
    if not HEADER.exists() or shutil.which("gcc") is None:
        pytest.skip("needs gcc and libcephfs-dev: apt-get install gcc libcephfs-dev")
    lines = [f'printf("{name} %llu\\n", (unsigned long long)({theirs}));' for name, theirs in CONSTANTS.items()]
    for ours, (theirs, fields) in LAYOUTS.items():
        lines.append(f'printf("{ours} %zu\\n", sizeof({theirs}));')
        lines += [f'printf("{ours}.{one} %zu\\n", offsetof({theirs}, {other}));' for one, other in fields.items()]
    folder = tmp_path_factory.mktemp("layout")
    headers = ("dirent.h", "fcntl.h", "stddef.h", "stdio.h", "sys/statvfs.h", "cephfs/libcephfs.h")
    source = "".join(f"#include <{header}>\n" for header in headers) + f"int main(void) {{ {' '.join(lines)} }}\n"
    (folder / "layout.c").write_text(f"#define _GNU_SOURCE\n#define _FILE_OFFSET_BITS 64\n{source}")
    subprocess.run(["gcc", "-o", folder / "layout", folder / "layout.c"], check=True, capture_output=True)
    printed = subprocess.run([folder / "layout"], check=True, capture_output=True, text=True).stdout
    return {name: int(value) for name, value in (line.split() for line in printed.splitlines())}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_structure_is_laid_out_as_the_header_has_it(name: str, compiled: dict[str, int]) -> None:
    ours = getattr(library, name)
    assert ctypes.sizeof(ours) == compiled[name]
    for field in LAYOUTS[name][1]:
        assert getattr(ours, field).offset == compiled[f"{name}.{field}"], field


def test_constants_are_those_of_the_header(compiled: dict[str, int]) -> None:
    assert {name: getattr(library, name) for name in CONSTANTS} == {name: compiled[name] for name in CONSTANTS}


def test_a_stat_is_read_as_numbers_in_the_order_of_its_fields() -> None:
    raw = Statx(mask=1, nlink=2, uid=3, gid=4, mode=5, ino=6, size=7, blocks=8, dev=9, version=10)
    raw.btime.nanoseconds = 11
    assert STATX.size == ctypes.sizeof(Statx)
    numbers = STATX.unpack(raw)
    assert (numbers[0], *numbers[2:10], numbers[-1], numbers[-2]) == (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)


def test_every_function_is_there_with_as_many_arguments_as_the_header_has(compiled: dict[str, int]) -> None:
    header = HEADER.read_text()
    loaded = library.library()
    for name, (_, *arguments) in PROTOTYPES.items():
        assert getattr(loaded, name).argtypes == arguments
        declared = header.split(f"{name}(", 1)[1].split(");", 1)[0]
        assert len(declared.split(",")) == len(arguments), name
