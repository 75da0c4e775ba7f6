"""Extended attributes: in what order they are told, which must be known, and how much there may be."""

import os
import struct

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.extended_attributes import FILE_NEED_EA, ExtendedAttribute, pack_full_ea, parse_full_ea
from lamina.ntfsa.information import query_file
from lamina.ntfsa.status import NtStatus as S
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.stock.memory import MemoryBackend

RESTART, SINGLE, INDEX = c.SL_RESTART_SCAN, c.SL_RETURN_SINGLE_ENTRY, c.SL_INDEX_SPECIFIED


def packed(*attributes):
    return pack_full_ea([ExtendedAttribute(*one) for one in attributes], 1 << 20)[0]


def get(*names):
    """FILE_GET_EA_INFORMATION."""
    entries = []
    for index, name in enumerate(names):
        entry = struct.pack("<IB", 0, len(name)) + name.encode() + b"\0"
        padded = entry + bytes(-len(entry) % 4)
        entries.append(entry if index == len(names) - 1 else struct.pack("<I", len(padded)) + padded[4:])
    return b"".join(entries)


def query(share, opened, flags=0, index=0, room=65536, input_=b""):
    status, data = query_file(share.context, opened, c.FILE_FULL_EA_INFORMATION, room, input_, flags, index)
    return status, [(one.name, one.value, one.flags) for one in parse_full_ea(data)]


def names(answer):
    return [one[0] for one in answer[1]]


@pytest.fixture
def opened(make_share):
    """A file with four attributes, whose order a backend in memory keeps."""
    made = make_share(MemoryBackend())
    file = made.open("file", c.FILE_CREATE)
    made.set(
        file, c.FILE_FULL_EA_INFORMATION, packed(*((name, name.encode() * 10) for name in ("A1", "B2", "C3", "D4")))
    )
    return made, file


def test_one_query_after_the_other(opened, refused):
    share, file = opened
    assert names(query(share, file, SINGLE)) == ["A1"]
    assert names(query(share, file, SINGLE)) == ["B2"]
    assert names(query(share, file)) == ["C3", "D4"]
    refused(S.NO_MORE_EAS, query, share, file)
    assert names(query(share, file, RESTART | SINGLE)) == ["A1"]
    assert query(share, file, RESTART)[0] is S.SUCCESS


def test_what_has_no_room_comes_the_next_time(opened, refused):
    share, file = opened
    status, found = query(share, file, RESTART, room=70)
    assert (status, len(found)) == (S.BUFFER_OVERFLOW, 2)
    assert query(share, file)[0] is S.SUCCESS
    refused(S.BUFFER_TOO_SMALL, query, share, file, RESTART, room=20)
    assert query(share, file, RESTART | SINGLE, room=40)[0] is S.SUCCESS


def test_from_a_number_on(opened, refused):
    share, file = opened
    assert names(query(share, file, INDEX, 3)) == ["C3", "D4"]
    assert names(query(share, file, INDEX | SINGLE, 2)) == ["B2"]
    assert names(query(share, file)) == ["C3", "D4"]
    refused(S.NO_MORE_EAS, query, share, file, INDEX, 5)
    for index in (0, 6, 0xFFFFFFFF):
        refused(S.NONEXISTENT_EA_ENTRY, query, share, file, INDEX, index)


def test_by_name(opened, refused):
    share, file = opened
    assert query(share, file, input_=get("c3", "none", "A1")) == (
        S.SUCCESS,
        [("C3", b"C3" * 10, 0), ("none", b"", 0), ("A1", b"A1" * 10, 0)],
    )
    assert query(share, file, room=40, input_=get("B2", "A1"))[0] is S.BUFFER_OVERFLOW
    refused(S.BUFFER_TOO_SMALL, query, share, file, room=10, input_=get("B2"))
    refused(S.INVALID_EA_NAME, query, share, file, input_=get("a*b"))
    refused(S.EA_LIST_INCONSISTENT, query, share, file, input_=get("abc")[:-2])


def test_a_file_without_any(share, refused):
    refused(S.NO_EAS_ON_FILE, query, share, share.open("file", c.FILE_CREATE))
    reader = share.open("file", desired_access=c.FILE_READ_DATA)
    refused(S.ACCESS_DENIED, query, share, reader)


def test_attributes_that_must_be_known(share, refused):
    attributes = packed(("Plain", b"1"), ("Needed", b"2", FILE_NEED_EA))
    file = share.open("file", c.FILE_CREATE, extended_attributes=attributes)
    assert sorted(query(share, file)[1]) == [("Needed", b"2", FILE_NEED_EA), ("Plain", b"1", 0)]
    ignorant = {"options": c.FILE_NO_EA_KNOWLEDGE}
    for disposition in (c.FILE_OPEN, c.FILE_OVERWRITE):
        assert share.status("file", disposition, **ignorant) is S.ACCESS_DENIED
    assert share.status("file") is S.SUCCESS
    share.set(file, c.FILE_FULL_EA_INFORMATION, packed(("NEEDED", b"3")))
    assert share.status("file", **ignorant) is S.SUCCESS
    share.set(file, c.FILE_FULL_EA_INFORMATION, packed(("needed", b"3", FILE_NEED_EA)))
    assert share.status("file", **ignorant) is S.ACCESS_DENIED
    share.set(file, c.FILE_FULL_EA_INFORMATION, packed(("needed", b"")))
    assert share.status("file", **ignorant) is S.SUCCESS
    assert sorted(os.listxattr(share.path / "file")) == ["user.DOSATTRIB", "user.Plain"]


def test_who_makes_what_must_be_known_knows_it(share):
    attributes = packed(("Needed", b"2", FILE_NEED_EA))
    options = c.FILE_NO_EA_KNOWLEDGE
    assert share.status("file", c.FILE_CREATE, extended_attributes=attributes, options=options) is S.ACCESS_DENIED
    assert not (share.path / "file").exists()
    assert share.status("file", c.FILE_CREATE, extended_attributes=packed(("a", b"b")), options=options) is S.SUCCESS


def test_how_much_there_may_be(opened, refused):
    share, file = opened
    set_ = c.FILE_FULL_EA_INFORMATION
    refused(S.EA_TOO_LARGE, share.set, file, set_, packed(("Big", bytes(65535))))
    share.set(file, set_, packed(("Big", b"x" * 65000)))
    refused(S.EA_TOO_LARGE, share.set, file, set_, packed(("Another", bytes(1000))))
    share.set(file, set_, packed(("big", b""), ("Another", b"x" * 1000)))
    assert len(names(query(share, file, RESTART))) == 5


def test_what_the_file_system_has_no_room_for(share, refused):
    file = share.open("file", c.FILE_CREATE)
    limit = next((size for size in (5000, 30000, 60000) if not _fits(share.path / "file", size)), 0)
    if limit:
        refused(S.EA_TOO_LARGE, share.set, file, c.FILE_FULL_EA_INFORMATION, packed(("Big", bytes(limit))))


def _fits(path, size):
    try:
        os.setxattr(path, "user.probe", bytes(size))
    except OSError:
        return False
    os.removexattr(path, "user.probe")
    return True


@pytest.mark.parametrize("name", ["DOSATTRIB", "NTACL", "SmbReparse", "lamina.need_ea", "DosStream.x:$DATA", "samba.x"])
def test_what_the_server_keeps_is_no_clients(share, refused, name):
    file = share.open("file", c.FILE_CREATE)
    before = sorted(os.listxattr(share.path / "file"))
    data = packed(("innocent", b"x"), (name.replace(":", "."), b"x"))
    refused(S.ACCESS_DENIED, share.set, file, c.FILE_FULL_EA_INFORMATION, data)
    assert sorted(os.listxattr(share.path / "file")) == before
    os.setxattr(share.path / "file", f"user.{name}", b"x")
    refused(S.NO_EAS_ON_FILE, query, share, file)


def test_what_nt_cannot_tell_is_passed_over(make_share):
    class Large(VfsModule):
        """Attributes that only some file systems can hold."""

        def listxattr(self, token, handle):
            return ["user.small", "user.large", "user." + "n" * 256]

        def getxattr(self, token, handle, name):
            return b"x" * (65536 if name == "user.large" else 3)

    share = make_share(Large(), MemoryBackend())
    assert query(share, share.open("file", c.FILE_CREATE))[1] == [("small", b"xxx", 0)]


def test_a_name_of_any_bytes_is_kept_and_told(make_share):
    share = make_share()
    file = share.open("file", c.FILE_CREATE)
    given = [(raw.decode("utf-8", "surrogateescape"), b"x", 0) for raw in (b"\xff", b"\xed\xa0\x80", b"\xed\xb2\x80")]
    share.set(file, c.FILE_FULL_EA_INFORMATION, packed(*given))
    assert sorted(query(share, file)[1]) == sorted(given)
    share.set(file, c.FILE_FULL_EA_INFORMATION, packed(*((name, b"", 0) for name, _, _ in given)))
    assert share.query(file, c.FILE_EA_INFORMATION) == bytes(4)


def test_a_list_longer_than_a_file_may_have_is_refused(make_share, refused):
    share = make_share(MemoryBackend())
    file = share.open("file", c.FILE_CREATE)
    refused(S.EA_TOO_LARGE, share.set, file, c.FILE_FULL_EA_INFORMATION, packed(*[("A", b"x")] * 6000))
    refused(S.EA_TOO_LARGE, query, share, file, input_=get(*["A"] * 9000))
