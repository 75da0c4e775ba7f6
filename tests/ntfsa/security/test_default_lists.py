"""What a new file gets that is given no list and inherits none, by what the administrator wants of `acl_xattr`."""

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.information import query_security, set_security
from lamina.ntfsa.security.default_lists import default_list
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
from lamina.ntfsa.security.sid import EVERYONE, LOCAL_SYSTEM
from lamina.ntfsa.volume import VolumeSettings
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.stock.acl_xattr import AclXattrModule, AclXattrOptions

OWNER, GROUP = "S-1-22-1-7", "S-1-22-2-8"
FULL, READ, WRITE, EXECUTE = c.FILE_ALL_ACCESS, c.FILE_GENERIC_READ, c.FILE_GENERIC_WRITE, c.FILE_GENERIC_EXECUTE
BY_MODE, EVERYONES = Capability.DEFAULT_LIST_OF_MODE, Capability.DEFAULT_LIST_FOR_EVERYONE


@pytest.mark.parametrize(
    ("style", "mode", "entries"),
    [
        (Capability(0), 0o777, [(OWNER, FULL), (LOCAL_SYSTEM, FULL)]),
        (EVERYONES, 0o700, [(EVERYONE, FULL)]),
        (
            BY_MODE,
            0o777,
            [(OWNER, FULL), (GROUP, READ | WRITE | EXECUTE), (EVERYONE, READ | WRITE | EXECUTE), (LOCAL_SYSTEM, FULL)],
        ),
        (BY_MODE, 0o640, [(OWNER, FULL), (GROUP, READ), (LOCAL_SYSTEM, FULL)]),
        (BY_MODE, 0o501, [(OWNER, READ | EXECUTE), (EVERYONE, EXECUTE), (LOCAL_SYSTEM, FULL)]),
    ],
)
def test_the_list(style: Capability, mode: int, entries: list[tuple[str, int]]) -> None:
    assert default_list(style, OWNER, GROUP, mode) == Acl(tuple(Ace(0, 0, mask, sid) for sid, mask in entries))


def put(share, opened, *aces, control=0):
    packed = pack_security_descriptor(
        SecurityDescriptor(None, None, Acl(aces), None, SE_SELF_RELATIVE | SE_DACL_PRESENT | control)
    )
    set_security(share.context, opened, c.DACL_SECURITY_INFORMATION, memoryview(packed))


def got(share, opened):
    parts = c.DACL_SECURITY_INFORMATION | c.OWNER_SECURITY_INFORMATION | c.GROUP_SECURITY_INFORMATION
    return parse_security_descriptor(query_security(share.context, opened, parts, 65536).data)


@pytest.mark.parametrize(("style", "count"), [("windows", 2), ("posix", 4), ("everyone", 1)])
def test_a_file_that_inherits_nothing(make_share, style, count):
    options = AclXattrOptions(ignore_system_acls=True, default_acl_style=style)
    share = make_share(AclXattrModule(options), settings=VolumeSettings(file_mode=0o777))
    folder = share.open("folder", c.FILE_CREATE, options=c.FILE_DIRECTORY_FILE)
    put(share, folder, Ace(0, 0, FULL, EVERYONE))
    made = got(share, share.open("folder\\file", c.FILE_CREATE))
    assert made.dacl is not None
    assert len(made.dacl.aces) == count
    assert made.dacl.aces[0].sid == (EVERYONE if style == "everyone" else made.owner)


@pytest.mark.parametrize("canonicalizes", [True, False])
def test_a_list_that_claims_to_be_inherited(make_share, canonicalizes):
    share = make_share(AclXattrModule(AclXattrOptions(canonicalize_inherited=canonicalizes)))
    opened = share.open("file", c.FILE_CREATE)
    put(share, opened, Ace(0, 0, FULL, EVERYONE), control=SE_DACL_AUTO_INHERITED)
    assert bool(got(share, opened).control & SE_DACL_AUTO_INHERITED) is not canonicalizes


def test_options_by_the_names_that_samba_has_for_them():
    given = {"acl_xattr:default acl style": "everyone", "acl flag inherited canonicalization": False}
    assert AclXattrOptions.model_validate(given) == AclXattrOptions(
        default_acl_style="everyone", canonicalize_inherited=False
    )
