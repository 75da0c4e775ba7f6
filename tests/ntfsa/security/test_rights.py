"""Every operation that takes a right is refused without it and not with it alone: one table, from MS-FSA 2.1.5.

Each row names the rights of which the open needs one, by handle. That rights on paths are asked too (the directory of a
new name, the target that is replaced, the file itself at its open) is the second half.
"""

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.content import data
from lamina.ntfsa.fsctl.fs_control import CODES, fs_control
from lamina.ntfsa.information import query_file, query_security, set_file, set_security
from lamina.ntfsa.listing.directory import query_directory
from lamina.ntfsa.locks.lock import LockElement, lock
from lamina.ntfsa.notify.change_notify import change_notify
from lamina.ntfsa.security.security_descriptor import Ace, Acl, SecurityDescriptor, pack_security_descriptor
from lamina.ntfsa.security.sid import EVERYONE
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.status import NtStatusError
from lamina.vfs_modules.stock.acl_xattr import AclXattrModule, AclXattrOptions
from lamina.vfs_modules.testing import make_token
from tests.ntfsa.conftest import Share, basic, new_name

EVERY_RIGHT = c.FILE_ALL_ACCESS | c.ACCESS_SYSTEM_SECURITY
DESCRIPTOR = SecurityDescriptor(
    "S-1-22-1-0", "S-1-22-2-0", Acl((Ace(0, 0, c.FILE_ALL_ACCESS, EVERYONE),)), Acl((Ace(2, 0x40, 1, EVERYONE),))
)


class Row(NamedTuple):
    """An operation, and the rights of which it needs any one."""

    name: str
    rights: int
    call: Callable[[Share, Any], object]
    directory: bool = False


def query(info_class: int) -> Callable[[Share, Any], object]:
    return lambda share, open_: query_file(share.context, open_, info_class, 65536)


def put(info_class: int, value: bytes) -> Callable[[Share, Any], object]:
    return lambda share, open_: set_file(share.context, open_, info_class, memoryview(value))


def security(part: int) -> Callable[[Share, Any], object]:
    return lambda share, open_: query_security(share.context, open_, part, 65536)


def put_security(part: int) -> Callable[[Share, Any], object]:
    packed = pack_security_descriptor(DESCRIPTOR)
    return lambda share, open_: set_security(share.context, open_, part, memoryview(packed))


def control(code: int, value: bytes = b"") -> Callable[[Share, Any], object]:
    return lambda share, open_: fs_control(share.context, open_, code, memoryview(value), 65536)


def locked(flags: int) -> Callable[[Share, Any], object]:
    return lambda share, open_: lock(share.context, open_, [LockElement(0, 1, flags | 0x10)])


WRITES = c.FILE_WRITE_DATA | c.FILE_APPEND_DATA
ATTRIBUTES = c.FILE_READ_ATTRIBUTES
EA = struct.pack("<IBBH", 0, 0, 1, 1) + b"A\0x"
REPARSE = (
    struct.pack("<IHH", 0xA000000C, 20, 0) + struct.pack("<HHHHI", 0, 2, 2, 2, 1) + "xx".encode("utf-16-le") + bytes(4)
)

ROWS = [
    Row("read", c.FILE_READ_DATA | c.FILE_EXECUTE, lambda s, o: s.read(o, 1)),
    Row("write", WRITES, lambda s, o: s.write(o, b"x")),
    Row("flush", WRITES, lambda s, o: data.flush(s.context, o)),
    Row("shared lock", c.FILE_READ_DATA | c.FILE_WRITE_DATA, locked(1)),
    Row("exclusive lock", c.FILE_READ_DATA | c.FILE_WRITE_DATA, locked(2)),
    Row("list", c.FILE_LIST_DIRECTORY, lambda s, o: query_directory(s.context, o, 12, "*", 0, 0, 65536), True),
    Row("query basic", ATTRIBUTES, query(c.FILE_BASIC_INFORMATION)),
    Row("query all", ATTRIBUTES, query(c.FILE_ALL_INFORMATION)),
    Row("query network open", ATTRIBUTES, query(c.FILE_NETWORK_OPEN_INFORMATION)),
    Row("query attribute tag", ATTRIBUTES, query(c.FILE_ATTRIBUTE_TAG_INFORMATION)),
    Row("query full ea", c.FILE_READ_EA, query(c.FILE_FULL_EA_INFORMATION)),
    Row("set basic", c.FILE_WRITE_ATTRIBUTES, put(c.FILE_BASIC_INFORMATION, basic(attributes=0x20))),
    Row("set end of file", c.FILE_WRITE_DATA, put(c.FILE_END_OF_FILE_INFORMATION, bytes(8))),
    Row("set allocation", c.FILE_WRITE_DATA, put(c.FILE_ALLOCATION_INFORMATION, bytes(8))),
    Row("set full ea", c.FILE_WRITE_EA, put(c.FILE_FULL_EA_INFORMATION, EA)),
    Row("dispose", c.DELETE, put(c.FILE_DISPOSITION_INFORMATION, b"\1")),
    Row("dispose ex", c.DELETE, put(c.FILE_DISPOSITION_INFORMATION_EX, struct.pack("<I", 1))),
    Row("rename", c.DELETE, put(c.FILE_RENAME_INFORMATION, new_name("other", 0))),
    Row("rename ex", c.DELETE, put(c.FILE_RENAME_INFORMATION_EX, new_name("other", 0))),
    Row("rename a folder", c.DELETE, put(c.FILE_RENAME_INFORMATION, new_name("other", 0)), True),
    Row("query owner", c.READ_CONTROL, security(c.OWNER_SECURITY_INFORMATION)),
    Row("query group", c.READ_CONTROL, security(c.GROUP_SECURITY_INFORMATION)),
    Row("query dacl", c.READ_CONTROL, security(c.DACL_SECURITY_INFORMATION)),
    Row("query label", c.READ_CONTROL, security(c.LABEL_SECURITY_INFORMATION)),
    Row("query attributes", c.READ_CONTROL, security(c.ATTRIBUTE_SECURITY_INFORMATION)),
    Row("query scope", c.READ_CONTROL, security(c.SCOPE_SECURITY_INFORMATION)),
    Row("query sacl", c.ACCESS_SYSTEM_SECURITY, security(c.SACL_SECURITY_INFORMATION)),
    Row("set owner", c.WRITE_OWNER, put_security(c.OWNER_SECURITY_INFORMATION)),
    Row("set group", c.WRITE_OWNER, put_security(c.GROUP_SECURITY_INFORMATION)),
    Row("set label", c.WRITE_OWNER, put_security(c.LABEL_SECURITY_INFORMATION)),
    Row("set dacl", c.WRITE_DAC, put_security(c.DACL_SECURITY_INFORMATION)),
    Row("set attributes", c.WRITE_DAC, put_security(c.ATTRIBUTE_SECURITY_INFORMATION)),
    Row("set sacl", c.ACCESS_SYSTEM_SECURITY, put_security(c.SACL_SECURITY_INFORMATION)),
    Row("set scope", c.ACCESS_SYSTEM_SECURITY, put_security(c.SCOPE_SECURITY_INFORMATION)),
    Row("set sparse", WRITES | c.FILE_WRITE_ATTRIBUTES, control(c.FSCTL_SET_SPARSE)),
    Row("set zero data", c.FILE_WRITE_DATA, control(c.FSCTL_SET_ZERO_DATA, struct.pack("<qq", 0, 1))),
    Row("query ranges", c.FILE_READ_DATA, control(c.FSCTL_QUERY_ALLOCATED_RANGES, struct.pack("<qq", 0, 1))),
    Row("trim", c.FILE_WRITE_DATA, control(c.FSCTL_FILE_LEVEL_TRIM, struct.pack("<IIQQ", 0, 1, 0, 1))),
    Row("set compression", c.FILE_WRITE_DATA, control(c.FSCTL_SET_COMPRESSION, bytes(2))),
    Row("set reparse point", c.FILE_WRITE_DATA | c.FILE_WRITE_ATTRIBUTES, control(c.FSCTL_SET_REPARSE_POINT, REPARSE)),
    Row(
        "delete reparse point",
        c.FILE_WRITE_DATA | c.FILE_WRITE_ATTRIBUTES,
        control(c.FSCTL_DELETE_REPARSE_POINT, struct.pack("<IHH", 0xA000000C, 0, 0)),
    ),
]
"""What takes a right."""

RIGHTLESS = {
    c.FSCTL_CREATE_OR_GET_OBJECT_ID,
    c.FSCTL_GET_OBJECT_ID,
    c.FSCTL_GET_COMPRESSION,
    c.FSCTL_GET_INTEGRITY_INFORMATION,
    c.FSCTL_GET_REPARSE_POINT,
    c.FSCTL_IS_PATHNAME_VALID,
}
"""Control codes that MS-FSA lets every open use."""

TESTED_ELSEWHERE = {
    c.FSCTL_SET_OBJECT_ID,
    c.FSCTL_SET_OBJECT_ID_EXTENDED,
    c.FSCTL_DELETE_OBJECT_ID,
    c.FSCTL_SET_INTEGRITY_INFORMATION,
    c.FSCTL_OFFLOAD_READ,
    c.FSCTL_OFFLOAD_WRITE,
    c.FSCTL_QUERY_FILE_REGIONS,
}
"""Control codes whose rights (a privilege, for object ids) their own tests try."""


@pytest.fixture
def stored(make_share) -> Share:
    """A share that keeps descriptors, which alone decide."""
    options = AclXattrOptions(attribute="user.NTACL", ignore_system_acls=True)
    return make_share(AclXattrModule(options))


def attempt(share: Share, row: Row, granted: int) -> S:
    options = c.FILE_DIRECTORY_FILE if row.directory else 0
    open_ = share.open("subject", c.FILE_CREATE, options=options)
    if not row.directory:
        share.write(open_, b"content")
    open_.granted_access = granted
    try:
        row.call(share, open_)
    except NtStatusError as error:
        return error.status
    finally:
        share.close(open_)
    return S.SUCCESS


def bits(mask: int) -> list[int]:
    return [1 << position for position in range(32) if mask >> position & 1]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_an_operation_is_refused_without_its_right(stored: Share, row: Row) -> None:
    assert attempt(stored, row, EVERY_RIGHT & ~row.rights) is S.ACCESS_DENIED


@pytest.mark.parametrize(("row", "right"), [(row, right) for row in ROWS for right in bits(row.rights)])
def test_each_of_its_rights_is_enough(stored: Share, row: Row, right: int) -> None:
    assert attempt(stored, row, right) is not S.ACCESS_DENIED


def test_waiting_for_changes_takes_the_right_to_list(stored: Share) -> None:
    folder = stored.open("folder", c.FILE_CREATE, options=c.FILE_DIRECTORY_FILE)
    folder.granted_access = EVERY_RIGHT & ~c.FILE_LIST_DIRECTORY
    with pytest.raises(NtStatusError) as caught:
        change_notify(stored.context, folder, 0xFFF, False, 1000)
    assert caught.value.status is S.ACCESS_DENIED


def test_every_control_code_is_accounted_for() -> None:
    tested = {code for code in CODES if any(_code_of(row) == code for row in ROWS)}
    assert set(CODES) == tested | RIGHTLESS | TESTED_ELSEWHERE


def _code_of(row: Row) -> object:
    closure = row.call.__closure__ or ()
    return next((cell.cell_contents for cell in closure if isinstance(cell.cell_contents, int)), None)


# -- by path -------------------------------------------------------------------------------------------------------


def protect(share: Share, path: str, mask: int, directory: bool = False) -> None:
    """Something that everybody has `mask` to, of somebody else's."""
    packed = pack_security_descriptor(SecurityDescriptor("S-1-5-18", None, Acl((Ace(0, 0, mask, EVERYONE),))))
    options = c.FILE_DIRECTORY_FILE if directory else 0
    opened = share.open(path, c.FILE_CREATE, options=options, security_descriptor=packed)
    share.close(opened)


@pytest.fixture
def user(stored: Share) -> Share:
    """The same share as somebody without any privilege sees it; the server's own rights have made what is in it."""
    stored.context = stored.context.__class__(make_token(0, 0))
    everybody = pack_security_descriptor(SecurityDescriptor("S-1-5-18", None, Acl((Ace(0, 0, EVERY_RIGHT, EVERYONE),))))
    stored.chain.set_security(stored.context.token, stored.volume.root, everybody)
    return stored


RIGHTS = [1 << position for position in (0, 1, 2, 3, 4, 5, 7, 8, 16, 17, 18, 19, 20)]


@pytest.mark.parametrize("right", RIGHTS, ids=hex)
@pytest.mark.parametrize("directory", [False, True], ids=["file", "folder"])
def test_an_open_gets_what_the_list_gives_and_nothing_else(user: Share, right: int, directory: bool) -> None:
    # What the folder gives, to delete and to look at attributes, is left out.
    protect(user, "outer", c.FILE_ALL_ACCESS & ~(c.FILE_DELETE_CHILD | c.FILE_LIST_DIRECTORY), directory=True)
    protect(user, "outer\\has", right, directory)
    protect(user, "outer\\lacks", c.FILE_ALL_ACCESS & ~right, directory)
    assert user.status("outer\\has", desired_access=right) is S.SUCCESS
    assert user.status("outer\\lacks", desired_access=right) is S.ACCESS_DENIED


@pytest.mark.parametrize(
    ("needed", "options", "how"),
    [
        (c.FILE_ADD_FILE, 0, c.FILE_CREATE),
        (c.FILE_ADD_FILE, 0, c.FILE_OPEN_IF),
        (c.FILE_ADD_FILE, 0, c.FILE_SUPERSEDE),
        (c.FILE_ADD_SUBDIRECTORY, c.FILE_DIRECTORY_FILE, c.FILE_CREATE),
    ],
)
def test_making_takes_a_right_of_the_folder(user: Share, needed: int, options: int, how: int) -> None:
    protect(user, "has", needed | c.FILE_TRAVERSE, directory=True)
    protect(user, "lacks", c.FILE_ALL_ACCESS & ~needed, directory=True)
    assert user.status("has\\new", how, options=options) is S.SUCCESS
    assert user.status("lacks\\new", how, options=options) is S.ACCESS_DENIED


@pytest.mark.parametrize("info_class", [c.FILE_RENAME_INFORMATION, c.FILE_LINK_INFORMATION])
def test_a_new_name_takes_a_right_of_its_folder(user: Share, info_class: int) -> None:
    protect(user, "lacks", c.FILE_ALL_ACCESS & ~c.FILE_ADD_FILE, directory=True)
    protect(user, "has", c.FILE_ADD_FILE | c.FILE_TRAVERSE, directory=True)
    protect(user, "file", c.FILE_ALL_ACCESS)
    opened = user.open("file")
    with pytest.raises(NtStatusError) as caught:
        user.set(opened, info_class, new_name("lacks\\name", 0))
    assert caught.value.status is S.ACCESS_DENIED
    user.set(opened, info_class, new_name("has\\name", 0))


@pytest.mark.parametrize("info_class", [c.FILE_RENAME_INFORMATION, c.FILE_LINK_INFORMATION])
def test_replacing_takes_the_right_to_delete_what_goes(user: Share, info_class: int) -> None:
    protect(user, "folder", c.FILE_ALL_ACCESS & ~c.FILE_DELETE_CHILD, directory=True)
    protect(user, "folder\\guarded", c.FILE_ALL_ACCESS & ~c.DELETE)
    protect(user, "folder\\free", c.DELETE)
    protect(user, "folder\\file", c.FILE_ALL_ACCESS)
    opened = user.open("folder\\file")
    with pytest.raises(NtStatusError) as caught:
        user.set(opened, info_class, new_name("folder\\guarded", 1))
    assert caught.value.status is S.ACCESS_DENIED
    user.set(opened, info_class, new_name("folder\\free", 1))


@pytest.mark.parametrize("how", [c.FILE_OVERWRITE, c.FILE_OVERWRITE_IF, c.FILE_SUPERSEDE])
def test_overwriting_takes_the_right_to_write(user: Share, how: int) -> None:
    protect(user, "has", c.FILE_ALL_ACCESS)
    protect(user, "lacks", c.FILE_ALL_ACCESS & ~c.FILE_WRITE_DATA)
    assert user.status("has", how, desired_access=c.FILE_READ_DATA) is S.SUCCESS
    assert user.status("lacks", how, desired_access=c.FILE_READ_DATA) is S.ACCESS_DENIED


def test_delete_on_close_takes_the_right_to_delete(user: Share) -> None:
    protect(user, "folder", c.FILE_ALL_ACCESS & ~c.FILE_DELETE_CHILD, directory=True)
    protect(user, "folder\\guarded", c.FILE_ALL_ACCESS & ~c.DELETE)
    asked = {"options": c.FILE_DELETE_ON_CLOSE, "desired_access": c.DELETE}
    assert user.status("folder\\guarded", **asked) is S.ACCESS_DENIED


def test_the_folder_gives_the_right_to_delete(user: Share) -> None:
    protect(user, "folder", c.FILE_DELETE_CHILD | c.FILE_TRAVERSE | c.FILE_ADD_FILE, directory=True)
    protect(user, "folder\\guarded", c.FILE_READ_DATA)
    assert user.status("folder\\guarded", desired_access=c.DELETE) is S.SUCCESS
