"""Access, creation and inheritance where descriptors are stored and alone decide (chain acl_xattr)."""

import os

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.context import NtContext
from lamina.ntfsa.information import query_security, set_security
from lamina.ntfsa.security.security_descriptor import (
    SE_DACL_AUTO_INHERITED,
    SE_DACL_PRESENT,
    SE_SELF_RELATIVE,
    Ace,
    Acl,
    SecurityDescriptor,
    pack_security_descriptor,
    parse_security_descriptor,
)
from lamina.ntfsa.security.sid import CREATOR_OWNER, EVERYONE, LOCAL_SYSTEM, OWNER_RIGHTS
from lamina.ntfsa.status import NtStatus as S
from lamina.vfs_modules.credentials import server_identity
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.stock.acl_xattr import AclXattrModule, AclXattrOptions
from lamina.vfs_modules.testing import make_token

ME = f"S-1-22-1-{os.geteuid()}"
DIRECTORY = c.FILE_DIRECTORY_FILE
INHERIT = 0x03
DACL = c.DACL_SECURITY_INFORMATION
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="run as root: other users cannot be impersonated otherwise")
as_any_owner = pytest.mark.skipif(
    os.geteuid() != 0, reason="run as root: the mode that follows a list shuts an ordinary owner out"
)


def module(ignore: bool = True) -> VfsModule:
    return AclXattrModule(AclXattrOptions(attribute="user.NTACL", ignore_system_acls=ignore))


def allow(mask, sid=EVERYONE, flags=0):
    return Ace(0, flags, mask, sid)


def deny(mask, sid=EVERYONE, flags=0):
    return Ace(1, flags, mask, sid)


def descriptor(*aces, owner=None, control=0):
    control |= SE_SELF_RELATIVE | SE_DACL_PRESENT
    return pack_security_descriptor(SecurityDescriptor(owner, None, Acl(aces), None, control))


def dacl_of(share, path):
    opened = share.open(path, desired_access=c.READ_CONTROL)
    found = parse_security_descriptor(query_security(share.context, opened, DACL, 65536).data)
    share.close(opened)
    return found


@pytest.fixture
def stored(make_share):
    """A share whose user is known by the SID of his uid, as he is to a server."""
    share = make_share(module())
    share.context = NtContext(make_token(user_sid=ME))
    return share


@pytest.fixture(autouse=True)
def own_identity():
    yield
    with server_identity():
        pass


def test_a_given_descriptor_is_kept_whole(stored):
    given = (deny(c.FILE_EXECUTE, "S-1-5-21-9-9-9-1"), allow(c.FILE_ALL_ACCESS))
    stored.make("file", security_descriptor=descriptor(*given))
    assert dacl_of(stored, "file").dacl.aces == given
    assert (stored.path / "file").stat().st_mode & 0o777 == 0o744


def test_the_null_list_admits_everybody_and_stays_null(stored):
    null = SecurityDescriptor(control=SE_SELF_RELATIVE | SE_DACL_PRESENT)
    stored.make("file", security_descriptor=pack_security_descriptor(null))
    assert dacl_of(stored, "file").dacl is None
    assert stored.status("file", desired_access=c.FILE_ALL_ACCESS) is S.SUCCESS


def test_an_empty_list_admits_nobody_but_to_what_an_owner_always_has(stored):
    stored.make("file", security_descriptor=descriptor())
    assert stored.status("file", desired_access=c.FILE_READ_DATA) is S.ACCESS_DENIED
    assert stored.status("file", desired_access=c.READ_CONTROL | c.WRITE_DAC) is S.SUCCESS


def test_owner_rights_take_the_place_of_what_an_owner_always_has(stored):
    stored.make("file", security_descriptor=descriptor(allow(c.READ_CONTROL, OWNER_RIGHTS)))
    assert stored.status("file", desired_access=c.READ_CONTROL) is S.SUCCESS
    assert stored.status("file", desired_access=c.WRITE_DAC) is S.ACCESS_DENIED


def test_the_directory_gives_what_a_file_denies(stored):
    stored.make("file", security_descriptor=descriptor(deny(c.DELETE | c.FILE_READ_ATTRIBUTES)))
    assert stored.status("file", desired_access=c.DELETE) is S.SUCCESS
    assert stored.status("file", desired_access=c.FILE_READ_ATTRIBUTES) is S.SUCCESS
    assert stored.open("file", desired_access=c.MAXIMUM_ALLOWED).granted_access & c.DELETE


def test_without_either_right_nothing_is_deleted(stored):
    most = c.FILE_ALL_ACCESS & ~(c.FILE_DELETE_CHILD | c.DELETE)
    stored.make("dir", options=DIRECTORY, security_descriptor=descriptor(allow(most)))
    stored.make("dir\\file", security_descriptor=descriptor(allow(most)))
    assert stored.status("dir\\file", desired_access=c.DELETE) is S.ACCESS_DENIED
    asked = {"desired_access": c.DELETE, "options": c.FILE_DELETE_ON_CLOSE}
    assert stored.status("dir\\file", c.FILE_OPEN_IF, **asked) is S.ACCESS_DENIED
    assert not stored.open("dir\\file", desired_access=c.MAXIMUM_ALLOWED).granted_access & c.DELETE


def test_a_replaced_file_must_let_itself_be_deleted(stored):
    most = c.FILE_ALL_ACCESS & ~(c.FILE_DELETE_CHILD | c.DELETE)
    stored.make("dir", options=DIRECTORY, security_descriptor=descriptor(allow(most)))
    stored.make("dir\\target", security_descriptor=descriptor(allow(most)))
    stored.make("dir\\source", security_descriptor=descriptor(allow(c.FILE_ALL_ACCESS)))
    with pytest.raises(Exception, match="ACCESS_DENIED"):
        stored.rename(stored.open("dir\\source"), "dir\\target", True)


def test_entries_are_inherited_and_marked_where_the_directory_inherits_too(stored):
    template = allow(c.GENERIC_ALL, CREATOR_OWNER, INHERIT | 0x08)
    given = descriptor(allow(c.FILE_ALL_ACCESS), template, control=SE_DACL_AUTO_INHERITED)
    stored.make("plain", options=DIRECTORY, security_descriptor=given)
    stored.make("plain\\file")
    assert dacl_of(stored, "plain\\file").dacl.aces == (allow(c.FILE_ALL_ACCESS, ME),)
    marked = stored.open("marked", c.FILE_CREATE, options=DIRECTORY)
    both = descriptor(allow(c.FILE_ALL_ACCESS), template, control=SE_DACL_AUTO_INHERITED | SE_DACL_AUTO_INHERITED >> 2)
    set_security(stored.context, marked, DACL, memoryview(both))
    stored.make("marked\\file")
    found = dacl_of(stored, "marked\\file")
    assert found.dacl.aces == (allow(c.FILE_ALL_ACCESS, ME, 0x10),)
    assert found.control & SE_DACL_AUTO_INHERITED


def test_beneath_a_list_that_passes_nothing_on_a_file_is_its_creators(stored):
    stored.make("dir", options=DIRECTORY, security_descriptor=descriptor(allow(c.FILE_ALL_ACCESS)))
    stored.make("dir\\file")
    assert {ace.sid for ace in dacl_of(stored, "dir\\file").dacl.aces} == {ME, LOCAL_SYSTEM}


def test_generic_rights_are_mapped_when_they_are_set(stored):
    opened = stored.open("file", c.FILE_CREATE)
    new = descriptor(allow(c.GENERIC_READ), allow(c.GENERIC_READ, flags=INHERIT | 0x08))
    set_security(stored.context, opened, DACL, memoryview(new))
    assert [ace.mask for ace in dacl_of(stored, "file").dacl.aces] == [c.FILE_GENERIC_READ, c.GENERIC_READ]


@as_any_owner
def test_where_the_kernel_is_asked_the_mode_follows(make_share):
    share = make_share(module(ignore=False))
    stranger = "S-1-5-21-9-9-9-1"
    share.make("file", security_descriptor=descriptor(allow(c.FILE_GENERIC_READ), allow(c.FILE_ALL_ACCESS, stranger)))
    assert (share.path / "file").stat().st_mode & 0o777 == 0o444
    assert [ace.sid for ace in dacl_of(share, "file").dacl.aces] == [EVERYONE, stranger]


@as_root
def test_a_descriptor_gives_more_than_the_mode(stored):
    stored.make("file", b"x", security_descriptor=descriptor(allow(c.FILE_ALL_ACCESS)))
    stored.make("dir", options=DIRECTORY, security_descriptor=descriptor(allow(c.FILE_ALL_ACCESS)))
    for name in ("file", "dir"):
        os.chmod(stored.path / name, 0o700)
    stored.context = NtContext(make_token(12001, user_sid="S-1-22-1-12001"))
    other = stored.open("file", desired_access=c.FILE_READ_DATA | c.FILE_WRITE_DATA)
    assert stored.read(other, 10) == b"x"
    assert stored.write(other, b"y") == 1
    stored.make("dir\\new")
    assert stored.names(stored.directory("dir")) == ["new"]
    assert stored.status("dir\\new", desired_access=c.FILE_ALL_ACCESS) is S.SUCCESS
    with server_identity():
        assert (stored.path / "dir" / "new").stat().st_uid == 12001


@as_root
def test_a_new_file_is_not_made_somebody_elses(stored, refused):
    stored.make("dir", options=DIRECTORY, security_descriptor=descriptor(allow(c.FILE_ALL_ACCESS)))
    stored.context = NtContext(make_token(12001, user_sid="S-1-22-1-12001"))
    given = descriptor(allow(c.FILE_ALL_ACCESS), owner="S-1-22-1-12002")
    asked = {"security_descriptor": given}
    assert stored.status("dir\\new", c.FILE_CREATE, **asked) is S.INVALID_OWNER
    assert stored.status("dir\\new") is S.OBJECT_NAME_NOT_FOUND


LABEL, RESOURCE, SCOPE, AUDIT = (Ace(kind, 0, 1, EVERYONE, b"data") for kind in (0x11, 0x12, 0x13, 0x02))
PARTS = {
    c.LABEL_SECURITY_INFORMATION: LABEL,
    c.ATTRIBUTE_SECURITY_INFORMATION: RESOURCE,
    c.SCOPE_SECURITY_INFORMATION: SCOPE,
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_the_sacl_is_asked_for_and_set_without_the_others(stored, part: int) -> None:
    whole = SecurityDescriptor(sacl=Acl((LABEL, RESOURCE, SCOPE, AUDIT)))
    privileged = c.FILE_ALL_ACCESS | c.ACCESS_SYSTEM_SECURITY
    open_ = stored.open("file", c.FILE_CREATE)
    open_.granted_access = privileged
    everything = c.SACL_SECURITY_INFORMATION
    set_security(stored.context, open_, everything, memoryview(pack_security_descriptor(whole)))

    def told(asked: int) -> tuple[Ace, ...]:
        found = parse_security_descriptor(query_security(stored.context, open_, asked, 65536).data).sacl
        return found.aces if found else ()

    assert told(everything) == (LABEL, RESOURCE, SCOPE, AUDIT)
    open_.granted_access = c.FILE_ALL_ACCESS
    assert told(part) == (PARTS[part],)
    open_.granted_access = privileged
    none = memoryview(pack_security_descriptor(SecurityDescriptor(sacl=Acl())))
    set_security(stored.context, open_, part, none)
    assert set(told(everything)) == {LABEL, RESOURCE, SCOPE, AUDIT} - {PARTS[part]}
