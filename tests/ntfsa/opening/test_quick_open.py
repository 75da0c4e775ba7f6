"""The quick way and the long way of an open come to the same, whatever is asked of whatever is there."""

import os
import time
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from lamina.ntfsa import constants as c
from lamina.ntfsa.context import NtContext
from lamina.ntfsa.grants.grant_holders import LeaseRequest
from lamina.ntfsa.information import set_security
from lamina.ntfsa.opening import create as opening
from lamina.ntfsa.opening.create import CreateParameters
from lamina.ntfsa.opening.first_try import FirstTry
from lamina.ntfsa.opening.quick_open import names_of, quick_open, shape_of
from lamina.ntfsa.security.security_descriptor import (
    SE_DACL_PRESENT,
    SE_SELF_RELATIVE,
    Ace,
    Acl,
    SecurityDescriptor,
    pack_security_descriptor,
)
from lamina.ntfsa.security.sid import EVERYONE
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.volume import VolumeSettings
from lamina.vfs_modules import known_attributes
from lamina.vfs_modules.credentials import server_identity
from lamina.vfs_modules.operations import Access, DosAttributes, OpenHow
from lamina.vfs_modules.stock.acl_xattr import AclXattrModule, AclXattrOptions
from lamina.vfs_modules.stock.count import CountModule, CountOptions
from lamina.vfs_modules.stock.dos_attributes import XATTR
from lamina.vfs_modules.testing import make_token
from lamina.vfs_modules.token import SERVER_TOKEN

NAMES = (
    "", "file", "FILE", "hidden", "readonly", "mark\uf02ax", ".dot", "folder", "folder\\inner", "folder/inner",
    "folder\\", "folder\\missing", "missing\\file", "file\\below", "missing", "link", "astray", "file::$DATA",
    "file:stream", "file.", "a\\..\\file", "..\\file", "bad|name", "$Extend", "folder::$INDEX_ALLOCATION", "pipe",
)  # fmt: skip
ACCESS = (
    c.FILE_READ_DATA, c.FILE_WRITE_DATA, c.FILE_APPEND_DATA, c.FILE_EXECUTE, c.FILE_READ_ATTRIBUTES, c.FILE_READ_EA,
    c.FILE_WRITE_ATTRIBUTES, c.DELETE, c.READ_CONTROL, c.WRITE_DAC, c.WRITE_OWNER, c.SYNCHRONIZE, c.GENERIC_READ,
    c.GENERIC_WRITE, c.GENERIC_ALL, c.MAXIMUM_ALLOWED, c.ACCESS_SYSTEM_SECURITY, 0x0020_0000,
)  # fmt: skip
OPTIONS = (
    c.FILE_DIRECTORY_FILE, c.FILE_NON_DIRECTORY_FILE, c.FILE_WRITE_THROUGH, c.FILE_SEQUENTIAL_ONLY,
    c.FILE_OPEN_REPARSE_POINT, c.FILE_NO_EA_KNOWLEDGE, c.FILE_OPEN_FOR_BACKUP_INTENT, 0x8000_0000,
)  # fmt: skip


def any_of(flags):
    return some.lists(some.sampled_from(flags), max_size=3).map(lambda chosen: sum(set(chosen)))


asked = some.builds(
    CreateParameters,
    path=some.sampled_from(NAMES),
    desired_access=any_of(ACCESS),
    file_attributes=some.sampled_from((0, c.FILE_ATTRIBUTE_NORMAL, 0x8000_0000)),
    share_access=some.integers(0, 8),
    disposition=some.sampled_from((c.FILE_OPEN, c.FILE_OPEN, c.FILE_OPEN_IF, 9)),
    options=any_of(OPTIONS),
    want_maximal_access=some.booleans(),
    oplock_level=some.sampled_from((0, 0, 1, 8, 9)),
    lease=some.none() | some.builds(LeaseRequest, some.just(b"k" * 16), some.sampled_from((0, 3, 7)), some.just(2)),
)


def fill(share):
    (share.path / "folder").mkdir()
    for name in ("file", "hidden", "readonly", "mark*x", ".dot", "folder/inner"):
        (share.path / name).write_bytes(b"content")
    (share.path / "link").symlink_to("folder/inner")
    (share.path / "astray").symlink_to("/etc/passwd")
    os.mkfifo(share.path / "pipe")
    for name, attributes in (("hidden", c.FILE_ATTRIBUTE_HIDDEN), ("readonly", c.FILE_ATTRIBUTE_READONLY)):
        with_attributes = share.open(name)
        share.chain.set_dos_attributes(share.context.token, with_attributes.handle, DosAttributes(attributes, None))
        share.close(with_attributes)


def described(share, context, parameters):
    """All that an open comes to."""
    try:
        result = opening.create(context, share.volume, parameters)
    except NtStatusError as error:
        return error.status
    open_ = result.open
    share.close(open_)
    kept = (
        "path", "vfs_path", "file_key", "file_id", "granted_access", "share_access", "options", "mode", "unarchived",
        "is_directory", "delete_on_close", "posix", "stream", "parent_key",
    )  # fmt: skip
    return *result[1:], *(getattr(open_, name) for name in kept)


def both(share, context, parameters, monkeypatch):
    quick = described(share, context, parameters)
    with monkeypatch.context() as patch:
        patch.setattr(opening, "quick_open", lambda *_: None)
        return quick, described(share, context, parameters)


def calls_of_open(share, counting, parameters):
    counting.reset()
    described(share, share.context, parameters)
    return counting.counts().get("open")


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(parameters=asked)
def test_modules_are_asked_for_an_open_as_often_on_both_ways(opens_counted, parameters):
    share, counting = opens_counted
    parameters.disposition = c.FILE_OPEN
    described(share, share.context, parameters)  # what is learnt of a directory is learnt now
    quick = calls_of_open(share, counting, parameters)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "quick_open", lambda *_: None)
        careful = calls_of_open(share, counting, parameters)
    assert quick == careful


@pytest.fixture
def opens_counted(make_share):
    """A share, in which somebody has a file open, and the module that counts its opens."""
    counting = CountModule(CountOptions(operations=frozenset({"open"}), log=False))
    share = make_share(counting)
    fill(share)
    share.open("hidden", share_access=0)
    return share, counting


@pytest.mark.parametrize("who", [(0, 0), (4321, 4321)], ids=["root", "somebody"])
@pytest.mark.parametrize("read_only", [False, True])
def test_both_ways_come_to_the_same(make_share, monkeypatch, who, read_only):
    share = make_share(settings=VolumeSettings(read_only=read_only))
    if not read_only:
        fill(share)
    context = NtContext(make_token(*who))

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(parameters=asked)
    def check(parameters):
        parameters.disposition = c.FILE_OPEN if read_only else parameters.disposition
        quick, careful = both(share, context, parameters, monkeypatch)
        made = isinstance(quick, tuple) and quick[0] == c.FILE_CREATED
        assert made or quick == careful

    check()


@pytest.mark.parametrize("beside", [0, c.FILE_SHARE_READ, c.FILE_SHARE_ALL])
def test_both_ways_meet_the_others_that_have_the_file_open(share, monkeypatch, beside):
    fill(share)
    holder = share.open("file", share_access=beside)
    parameters = CreateParameters("file", c.FILE_READ_DATA, 0, c.FILE_SHARE_ALL, c.FILE_OPEN, 0)
    quick, careful = both(share, share.context, parameters, monkeypatch)
    assert quick == careful
    share.close(holder)


def test_both_ways_meet_a_pending_deletion(share, monkeypatch):
    fill(share)
    holder = share.open("file")
    share.dispose(holder)
    parameters = CreateParameters("file", c.FILE_READ_DATA, 0, c.FILE_SHARE_ALL, c.FILE_OPEN, 0)
    quick, careful = both(share, share.context, parameters, monkeypatch)
    assert quick == careful
    share.close(holder)


def test_a_plain_open_goes_the_quick_way(share):
    fill(share)
    parameters = CreateParameters("folder\\inner", c.GENERIC_READ, 0, c.FILE_SHARE_ALL, c.FILE_OPEN, 0)
    admitted = quick_open(share.context, share.volume, parameters)
    assert isinstance(admitted, tuple)
    assert admitted[0].path == "folder\\inner"
    share.close(admitted[0])


def test_a_missing_name_is_told_apart(share):
    parameters = CreateParameters("missing", c.GENERIC_READ, 0, c.FILE_SHARE_ALL, c.FILE_OPEN, 0)
    tried = quick_open(share.context, share.volume, parameters)
    assert isinstance(tried, FirstTry)
    with pytest.raises(FileNotFoundError):
        tried.open(share.volume, share.context.token, "missing", OpenHow(Access.READ))
    assert share.status("missing") is NtStatus.OBJECT_NAME_NOT_FOUND


def test_what_is_remembered_is_bounded():
    assert shape_of.cache_info().maxsize == 1024
    assert names_of.cache_info().maxsize == 4096


MODES = (0o000, 0o400, 0o600, 0o644, 0o640, 0o066, 0o777, 0o4755, 0o1777)
OWNERS = ((0, 0), (4321, 4321), (4321, 0), (0, 4321), (5555, 4321))
LISTS = (
    ((0, c.FILE_ALL_ACCESS, EVERYONE),),
    ((0, c.FILE_GENERIC_READ, EVERYONE),),
    ((1, c.FILE_READ_DATA, EVERYONE), (0, c.FILE_ALL_ACCESS, EVERYONE)),
    (),
)


def changes(name):
    """What other programs, or other clients, may do to a file between two opens of it."""
    return some.one_of(
        some.builds(partial, some.just(os.chmod), some.just(name), some.sampled_from(MODES)),
        some.builds(lambda ids: partial(os.chown, name, *ids), some.sampled_from(OWNERS)),
        some.builds(
            lambda value: partial(os.setxattr, name, XATTR, b"0x%x\0" % value), some.sampled_from((0, 1, 2, 7))
        ),
        some.just(partial(_replaced, name)),
        some.just(partial(_gone_and_back, name)),
    )


def _replaced(name):
    with open(f"{name}.new", "wb") as new:
        os.fchmod(new.fileno(), 0o604)
    os.replace(f"{name}.new", name)


def _gone_and_back(name):
    os.unlink(name)
    with open(name, "xb") as new:
        os.fchmod(new.fileno(), 0o622)


def _with_list(share, aces):
    control = SE_SELF_RELATIVE | SE_DACL_PRESENT
    acl = Acl(tuple(Ace(kind, 0, mask, sid) for kind, mask, sid in aces))
    packed = pack_security_descriptor(SecurityDescriptor(None, None, acl, None, control))
    # Who may restore files may change their lists, whatever those say.
    before, share.context = share.context, NtContext(SERVER_TOKEN)
    opened = share.open("file", desired_access=c.WRITE_DAC, options=c.FILE_OPEN_FOR_BACKUP_INTENT)
    set_security(share.context, opened, c.DACL_SECURITY_INFORMATION, packed)
    share.close(opened)
    share.context = before


def _next_tick():
    """The clock that file systems stamp with goes on by itself every few milliseconds."""
    began = time.clock_gettime_ns(5)
    while time.clock_gettime_ns(5) == began:
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="run as root: other users cannot be impersonated otherwise")
@pytest.mark.parametrize("with_lists", [False, True])
def test_nothing_that_is_remembered_outlives_a_change(make_share, monkeypatch, with_lists):
    lists = [AclXattrModule(AclXattrOptions(attribute="user.NTACL", ignore_system_acls=True))] if with_lists else []
    share = make_share(*lists)
    monkeypatch.setattr(known_attributes, "SETTLED_NS", -(10**15))
    path = str(share.path / "file")
    contexts = [
        NtContext(make_token(*ids, groups, privileges=privileges), share_access=access)
        for ids, groups, privileges in (
            ((0, 0), (), ()),
            ((4321, 4321), (), ()),
            ((5555, 5555), (4321,), ()),
            ((6666, 6666), (), ("SeTakeOwnershipPrivilege", "SeSecurityPrivilege", "SeBackupPrivilege")),
        )
        for access in (c.FILE_ALL_ACCESS, c.FILE_GENERIC_READ)
    ]
    lasting = some.builds(
        CreateParameters,
        path=some.just("file"),
        desired_access=some.sampled_from(ACCESS[:-3]),
        file_attributes=some.just(0),
        share_access=some.just(c.FILE_SHARE_ALL),
        disposition=some.just(c.FILE_OPEN),
        options=some.just(0),
        want_maximal_access=some.booleans(),
    )
    listed = some.sampled_from(LISTS).map(lambda aces: partial(_with_list, share, aces))

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        some.lists(changes(path) | listed if with_lists else changes(path), max_size=6),
        some.lists(lasting, min_size=1, max_size=4),
    )
    def check(made, asked_for):
        with server_identity():
            if os.path.lexists(path):
                os.unlink(path)
        share.make("file")
        for change in (lambda: None, *made):
            _next_tick()
            with server_identity():
                change()
            for context in contexts:
                for parameters in asked_for:
                    quick, careful = both(share, context, parameters, monkeypatch)
                    assert quick == careful

    check()
