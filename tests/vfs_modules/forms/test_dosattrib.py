"""Samba's on-disk form: vectors of every version, then real files of a real smbd, both ways."""

import itertools
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.vfs_modules.forms.dosattrib import NOTHING, ChangeTime, decode, encode, read
from lamina.vfs_modules.operations import Access, DosAttributes, OpenHow, Times
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.testing import local_chain, make_token
from tests.support.processes import Folder, Layout, ServerProcess, User, serving

CREATION = 132_223_104_000_000_000  # 2020-01-01 as a FILETIME
CREATION_NS = 1_577_836_800_000_000_000

V1 = b"0x22\0\0" + struct.pack("<HH2xIIQQQQ", 1, 1, 0x22, 9, 8, 7, CREATION, 6)
V2 = b"0x22\0\0" + struct.pack("<HH2xIIIQQQQQ", 2, 2, 1, 0x22, 9, 8, 7, CREATION, 6, 5) + b"\0"
V3 = b"0x22\0\0" + struct.pack("<HH2xIIIQQQQ", 3, 3, 0x11, 0x22, 9, 8, 7, CREATION, 6)
V4 = b"\0\0" + struct.pack("<HH2xIIQQ", 4, 4, 0x51, 0x22, 4444, CREATION)
V5 = b"\0\0" + struct.pack("<HH2xIIQ", 5, 5, 0x11, 0x22, CREATION)


@pytest.mark.parametrize("value", [V1, V2, V3, V4, V5], ids=["1", "2", "3", "4", "5"])
def test_every_version_is_read(value: bytes) -> None:
    stored = decode(value)
    assert (stored.attributes, stored.creation_ns, None) == read(value) == (0x22, CREATION_NS, None)


def test_the_text_alone_is_read() -> None:
    assert decode(b"0x27") == decode(b"0x27\0") == NOTHING._replace(attributes=0x27)


@pytest.mark.parametrize("attributes", [0x2, 0x22, 0x822])
def test_attributes_without_a_creation_time_are_read_alike(attributes: int) -> None:
    value = encode(attributes, None)
    assert read(value) == (attributes, None, None)
    assert decode(value)[:2] == (attributes, None)


def test_what_is_not_valid_is_not_there() -> None:
    value = b"0x0\0" + struct.pack("<HH", 3, 3) + struct.pack("<IIIQQQQ", 0, 0x22, 0, 0, 0, CREATION, 0)
    assert decode(value)[:2] == (None, None)
    value = b"\0\0" + struct.pack("<HH2xIIQ", 5, 5, 0x11, 0x22, 0)
    assert decode(value).creation_ns is None


@pytest.mark.parametrize(
    "value", [b"", b"\0", b"zz\0", V3[:-1], V3[:9], b"\0\0" + bytes(40), V4[:2] + b"\x09" + V4[3:]]
)
def test_malformed_values_are_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(value)


@given(
    st.binary(max_size=80)
    | st.tuples(st.sampled_from([V1, V2, V3, V4, V5]), st.integers(0, 70), st.binary(max_size=4)).map(
        lambda item: item[0][: item[1]] + item[2] + item[0][item[1] + len(item[2]) :]
    )
)
def test_no_input_makes_anything_but_a_value_error(value: bytes) -> None:
    try:
        stored = decode(value)
    except ValueError:
        return
    assert read(value) == (stored.attributes, stored.creation_ns, stored.change)


def test_new_values_are_version_3() -> None:
    value = encode(0x22, CREATION_NS)
    assert value == b"0x22\0\0" + struct.pack("<HH2xIIIQQQQ", 3, 3, 0x11, 0x22, 0, 0, 0, CREATION, 0)


@pytest.mark.parametrize("value", [V3, V4, V5], ids=["3", "4", "5"])
def test_a_rewritten_value_keeps_its_version_and_other_fields(value: bytes) -> None:
    stored = decode(value)
    assert encode(0x22, None, stored) == value
    again = decode(encode(0x01, 100, stored))
    assert (again.attributes, again.creation_ns, again.version) == (1, 100, stored.version)
    if stored.version == 4:
        assert again.fields[2] == 4444  # the time that the file was made, which only Samba uses


def test_old_versions_become_version_3_with_their_creation_time() -> None:
    assert decode(encode(0x01, None, decode(V1)))[:3] == (1, CREATION_NS, 3)


@pytest.mark.parametrize("previous", [b"", V1, V2, V3, V4, V5], ids=["none", "1", "2", "3", "4", "5"])
def test_a_change_time_has_its_field_and_flag_in_version_3(previous: bytes) -> None:
    stored = decode(previous) if previous else NOTHING
    change = ChangeTime(CREATION_NS + 700, 10**18)
    value = encode(0x22, CREATION_NS, stored, change)
    assert read(value) == (0x22, CREATION_NS, change)
    _, valid, _, _, _, _, creation, changed = struct.unpack("<HxxIIIQQQQ", value[8:])
    assert (valid & ~0x0A, creation, changed) == (0x31, CREATION, CREATION + 7)
    # Without one, the next value says nothing of it.
    assert read(encode(0x20, None, decode(value))) == (0x20, CREATION_NS, None)


def test_a_change_time_without_what_it_depends_on_does_not_count() -> None:
    theirs = b"0x22\0\0" + struct.pack("<HH2xIIIQQQQ", 3, 3, 0x35, 0x22, 0, 4096, 0, CREATION, CREATION)
    assert read(theirs)[2] is None  # somebody's true size
    nothing = b"0x22\0\0" + struct.pack("<HH2xIIIQQQQ", 3, 3, 0x31, 0x22, 0, 4096, 0, CREATION, 0)
    assert read(nothing)[2] is None


@given(st.integers(0, 10**19), st.integers(-(10**10), 10**10))
def test_a_change_time_counts_until_the_status_changes(until: int, later: int) -> None:
    assert ChangeTime(1, until).counts(until + later) == (-1_000_000_000 <= later <= 0)


@pytest.mark.parametrize("step", [0, 1, 50_000, 2_000_000, 10_000_000_000])
@pytest.mark.parametrize("start", [10**9, 10**18, 4 * 10**18])
def test_a_change_time_is_kept_whatever_the_clock_of_the_file_system(start: int, step: int) -> None:
    ticks = itertools.count(start, step)
    chain, token = local_chain(".", DosAttributesModule(), MemoryBackend(clock=lambda: next(ticks))), make_token()
    root = chain.open_root(token)
    handle = chain.open(token, root, "file", OpenHow(Access.READ, create=True))
    chain.set_times(token, handle, Times(change_ns=CREATION_NS))
    kept = chain.get_dos_attributes(token, handle, chain.fstat(token, handle)).change_ns
    # A clock that goes on by ten seconds while a value is stored is none to rely on.
    assert kept == (CREATION_NS if step < 10_000_000_000 else None)
    for opened in (handle, root):
        chain.close(token, opened)
    chain.disconnect()


def test_times_that_cannot_be_kept_are_clamped() -> None:
    for ns in (-(10**30), 10**30):
        assert decode(encode(0, ns)).creation_ns is not None


def test_a_malformed_value_is_served_as_none_and_replaced(tmp_path: Path) -> None:
    chain, token = local_chain(tmp_path), make_token()
    root = chain.open_root(token)
    handle = chain.open(token, root, "file", OpenHow(Access.READ, create=True))
    chain.setxattr(token, handle, "user.DOSATTRIB", b"rubbish")
    status = chain.fstat(token, handle)
    assert chain.get_dos_attributes(token, handle, status) == (0, status.btime_ns, None)
    assert [entry.dos for entry in chain.readdir(token, root, True)] == [(0, status.btime_ns, None)]
    chain.set_dos_attributes(token, handle, DosAttributes(2, None))
    assert chain.get_dos_attributes(token, handle, status).attributes == 2
    chain.close(token, handle)
    chain.close(token, root)
    chain.disconnect()


# A real smbd.


class Samba:
    """A share of smbd; calling it runs commands in one smbclient."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.share = server.folder()

    def __call__(self, commands: str) -> str:
        user = self._server.user
        arguments = [
            "smbclient",
            "//127.0.0.1/share",
            "-p",
            str(self._server.port),
            "-U",
            f"{user.name}%{user.password}",
        ]
        done = subprocess.run([*arguments, "-c", commands], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def samba(tmp_path: Path) -> Iterator[Samba]:
    if not shutil.which("smbd") or not shutil.which("smbclient"):
        pytest.skip("needs smbd and smbclient; install Debian's samba and smbclient")
    if os.geteuid() != 0:
        pytest.skip("smbd is run as root here; run the tests as root")
    (tmp_path / "share").mkdir()
    folder = Folder(str(tmp_path / "share"), settings={"vfs objects": ""})
    with serving(Layout({"share": folder}, [User("root", "secret")]), tmp_path / "state", "smbd") as server:
        yield Samba(server)


def test_what_smbd_stored_is_read_and_the_other_way_round(samba: Samba) -> None:
    (samba.share / "theirs").write_text("x")
    (samba.share / "ours").write_text("x")
    samba("setmode theirs +h; setmode theirs +s; setmode theirs +r; mkdir folder; setmode folder +h")
    raw = os.getxattr(samba.share / "theirs", "user.DOSATTRIB")
    chain, token = local_chain(samba.share), make_token()
    root = chain.open_root(token)
    found = {entry.name: entry.dos for entry in chain.readdir(token, root, True)}
    assert found["theirs"] is not None
    assert found["theirs"].attributes & 0x7 == 0x7
    assert found["folder"] is not None
    assert found["folder"].attributes == 0x02
    assert found["theirs"].creation_ns is not None

    theirs = chain.open(token, root, "theirs", OpenHow())
    chain.set_dos_attributes(token, theirs, found["theirs"])
    assert os.getxattr(samba.share / "theirs", "user.DOSATTRIB") == raw

    ours = chain.open(token, root, "ours", OpenHow())
    chain.set_dos_attributes(token, ours, DosAttributes(0x26, CREATION_NS))
    listing = samba("ls ours; allinfo ours")
    assert "HSA" in listing.replace("AHS", "HSA")
    assert "2020" in listing.split("create_time:")[1].splitlines()[0]

    # It does not know of a change time that was set, reads the rest, and drops it where it changes the file.
    chain.set_times(token, ours, Times(change_ns=CREATION_NS))
    assert chain.get_dos_attributes(token, ours, chain.fstat(token, ours)) == (0x26, CREATION_NS, CREATION_NS)
    assert samba("ls ours; allinfo ours").split("create_time:")[1].splitlines()[0] in listing
    samba("setmode ours -h")
    assert chain.get_dos_attributes(token, ours, chain.fstat(token, ours)) == (0x24, CREATION_NS, None)
    for handle in (theirs, ours, root):
        chain.close(token, handle)
    chain.disconnect()
