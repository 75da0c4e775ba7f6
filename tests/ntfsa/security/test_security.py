"""Security descriptors of open files, and access checks for several users."""

import os

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.context import NtContext
from lamina.ntfsa.information import query_security, set_security
from lamina.ntfsa.security.security_descriptor import (
    SE_DACL_PRESENT,
    SE_SELF_RELATIVE,
    Ace,
    Acl,
    SecurityDescriptor,
    pack_security_descriptor,
    parse_security_descriptor,
)
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.status import NtStatusError
from lamina.vfs_modules.credentials import server_identity
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.testing import make_token

EVERYONE = "S-1-1-0"
ALL_PARTS = c.OWNER_SECURITY_INFORMATION | c.GROUP_SECURITY_INFORMATION | c.DACL_SECURITY_INFORMATION
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="run as root: other users cannot be impersonated otherwise")
as_any_owner = pytest.mark.skipif(
    os.geteuid() != 0, reason="run as root: the mode that follows a list shuts an ordinary owner out"
)


class Keeping(VfsModule):
    """Keeps descriptors, in memory."""

    name = "keeping"

    def __init__(self, options=None):
        super().__init__(options)
        self.kept = {}

    def capabilities(self, below):
        return below | Capability.SECURITY

    def get_security(self, token, handle, stat):
        return self.kept.get(stat.ino)

    def set_security(self, token, handle, descriptor):
        self.kept[self.next.fstat(token, handle).ino] = descriptor


def descriptor(*aces, owner=None):
    return pack_security_descriptor(
        SecurityDescriptor(owner, None, Acl(tuple(aces)), None, SE_SELF_RELATIVE | SE_DACL_PRESENT)
    )


def allow(mask, sid=EVERYONE, flags=0):
    return Ace(0, flags, mask, sid)


def test_a_made_descriptor_says_the_mode(share):
    share.make("file")
    os.chmod(share.path / "file", 0o640)
    found = query_security(share.context, share.open("file"), ALL_PARTS, 4096)
    parsed = parse_security_descriptor(found.data)
    assert parsed.owner == f"S-1-22-1-{os.geteuid()}"
    assert parsed.dacl is not None
    everyone = [ace for ace in parsed.dacl.aces if ace.sid == EVERYONE and ace.type == 0]
    assert not any(ace.mask & c.FILE_READ_DATA for ace in everyone)


def test_only_the_parts_asked_for_and_their_size(share):
    opened = share.open("file", c.FILE_CREATE)
    found = query_security(share.context, opened, c.OWNER_SECURITY_INFORMATION, 4096)
    parsed = parse_security_descriptor(found.data)
    assert parsed.group is None
    assert parsed.dacl is None
    with pytest.raises(NtStatusError) as caught:
        query_security(share.context, opened, c.OWNER_SECURITY_INFORMATION, 0)
    assert caught.value.status is S.BUFFER_TOO_SMALL
    assert caught.value.data == len(found.data).to_bytes(4, "little")


def test_rights_are_needed(share, refused):
    share.make("file")
    looks = share.open("file", desired_access=c.FILE_READ_ATTRIBUTES)
    refused(S.ACCESS_DENIED, query_security, share.context, looks, ALL_PARTS, 4096)
    new = memoryview(descriptor(allow(c.FILE_ALL_ACCESS)))
    refused(S.ACCESS_DENIED, set_security, share.context, looks, c.DACL_SECURITY_INFORMATION, new)
    refused(S.ACCESS_DENIED, query_security, share.context, share.open("file"), c.SACL_SECURITY_INFORMATION, 4096)


def test_a_set_list_becomes_the_mode(share):
    opened = share.open("file", c.FILE_CREATE)
    new = memoryview(descriptor(allow(c.FILE_GENERIC_READ)))
    set_security(share.context, opened, c.DACL_SECURITY_INFORMATION, new)
    assert (share.path / "file").stat().st_mode & 0o777 == 0o444


def test_a_descriptor_at_creation(share):
    share.make("file", security_descriptor=descriptor(allow(c.FILE_GENERIC_READ | c.FILE_GENERIC_WRITE)))
    assert (share.path / "file").stat().st_mode & 0o777 == 0o666


def test_stored_descriptors_decide(make_share, refused):
    share = make_share(Keeping())
    share.make("file", b"x", security_descriptor=descriptor(allow(c.FILE_READ_ATTRIBUTES | c.FILE_READ_DATA)))
    assert share.status("file", desired_access=c.FILE_READ_DATA) is S.SUCCESS
    assert share.status("file", desired_access=c.FILE_WRITE_DATA) is S.ACCESS_DENIED
    assert share.status("file", c.FILE_OVERWRITE, desired_access=c.FILE_READ_DATA) is S.ACCESS_DENIED
    most = share.open("file", desired_access=c.MAXIMUM_ALLOWED)
    assert most.granted_access & c.FILE_READ_DATA
    assert not most.granted_access & c.FILE_WRITE_DATA


@as_any_owner
def test_stored_descriptors_are_inherited_and_guard_creation(make_share):
    share = make_share(Keeping())
    inherit = 0x03
    share.make(
        "dir",
        options=c.FILE_DIRECTORY_FILE,
        security_descriptor=descriptor(allow(c.FILE_GENERIC_READ | c.FILE_ADD_FILE, flags=inherit)),
    )
    assert share.status("dir\\sub", c.FILE_CREATE, options=c.FILE_DIRECTORY_FILE) is S.ACCESS_DENIED
    share.make("dir\\file")
    found = query_security(share.context, share.open("dir\\file", desired_access=c.READ_CONTROL), ALL_PARTS, 4096)
    parsed = parse_security_descriptor(found.data)
    assert parsed.dacl is not None
    assert [(ace.sid, ace.mask) for ace in parsed.dacl.aces] == [(EVERYONE, c.FILE_GENERIC_READ | c.FILE_ADD_FILE)]


def as_server(call, *args):
    """What the test does itself, while the thread still acts for a client."""
    with server_identity():
        return call(*args)


@pytest.fixture(autouse=True)
def own_identity():
    yield
    with server_identity():
        pass


@as_root
def test_one_users_file_is_not_anothers(share):
    os.chmod(share.path, 0o777)
    share.context = NtContext(make_token(1001))
    share.make("file", b"secret")
    as_server(os.chmod, share.path / "file", 0o600)
    assert as_server(os.stat, share.path / "file").st_uid == 1001
    share.context = NtContext(make_token(1002))
    assert share.status("file", desired_access=c.FILE_READ_DATA) is S.ACCESS_DENIED
    assert share.status("file", c.FILE_OVERWRITE_IF) is S.ACCESS_DENIED
    assert share.status("file", desired_access=c.FILE_READ_ATTRIBUTES) is S.SUCCESS
    # Whoever may write to the directory may delete what is in it.
    assert share.status("file", desired_access=c.DELETE) is S.SUCCESS
    as_server(os.chmod, share.path, 0o1777)
    assert share.status("file", desired_access=c.DELETE) is S.ACCESS_DENIED
    as_server(os.chmod, share.path, 0o755)
    assert share.status("new", c.FILE_CREATE) is S.ACCESS_DENIED


@as_root
def test_ownership_is_not_given_away(share, refused):
    os.chmod(share.path, 0o777)
    share.context = NtContext(make_token(1001))
    opened = share.open("file", c.FILE_CREATE)
    new = memoryview(descriptor(owner="S-1-22-1-1002"))
    refused(S.INVALID_OWNER, set_security, share.context, opened, c.OWNER_SECURITY_INFORMATION, new)
