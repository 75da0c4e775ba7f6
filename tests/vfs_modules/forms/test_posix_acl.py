"""POSIX ACLs as Linux keeps them: what setfacl writes, round trips, and what is malformed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.vfs_modules.forms import posix_acl
from lamina.vfs_modules.forms.posix_acl import GROUP, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, PosixAclEntry

NAMED = st.builds(PosixAclEntry, st.sampled_from([USER, GROUP]), st.integers(0, 7), st.integers(0, 2**32 - 2))


def test_what_setfacl_writes_is_read_and_written_back(tmp_path: Path) -> None:
    if not shutil.which("setfacl"):
        pytest.skip("needs setfacl; install Debian's acl")
    file = tmp_path / "file"
    file.write_text("x")
    os.chmod(file, 0o640)
    command = ["setfacl", "-m", "g:7:r,u:1000:rw", str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this file system has no POSIX ACLs: {done.stderr}")
    value = os.getxattr(file, posix_acl.ACCESS)
    entries = posix_acl.parse(value)
    assert entries == (
        PosixAclEntry(USER_OBJ, 6),
        PosixAclEntry(USER, 6, 1000),
        PosixAclEntry(GROUP_OBJ, 4),
        PosixAclEntry(GROUP, 4, 7),
        PosixAclEntry(MASK, 6),
        PosixAclEntry(OTHER, 0),
    )
    assert posix_acl.pack(reversed(entries)) == value


def test_a_mode_is_three_entries() -> None:
    assert [entry.permissions for entry in posix_acl.of_mode(0o100754)] == [7, 5, 4]


@pytest.mark.parametrize(
    "value",
    [b"", b"\2\0\0", b"\1\0\0\0", b"\2\0\0\0" + bytes(7), b"\2\0\0\0" + bytes(8), b"\2\0\0\0\1\0\x08\0" + bytes(4)],
)
def test_malformed_values_are_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="POSIX ACL"):
        posix_acl.parse(value)


@given(st.lists(NAMED, max_size=20))
def test_every_list_comes_back(entries: list[PosixAclEntry]) -> None:
    everything = [*posix_acl.of_mode(0o750), *entries]
    assert sorted(posix_acl.parse(posix_acl.pack(everything))) == sorted(everything)


@given(st.binary(max_size=100))
def test_no_input_makes_anything_but_a_value_error(value: bytes) -> None:
    try:
        entries = posix_acl.parse(value)
    except ValueError:
        return
    assert posix_acl.parse(posix_acl.pack(entries)) is not None
