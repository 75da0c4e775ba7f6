"""The quick way and the long way of an open come to the same, whatever is asked of whatever is there."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from lamina.ntfsa import constants as c
from lamina.ntfsa.context import NtContext
from lamina.ntfsa.grants.grant_holders import LeaseRequest
from lamina.ntfsa.opening import create as opening
from lamina.ntfsa.opening.create import CreateParameters
from lamina.ntfsa.opening.quick_open import names_of, quick_open, shape_of
from lamina.ntfsa.status import NtStatusError
from lamina.ntfsa.volume import VolumeSettings
from lamina.vfs_modules.operations import DosAttributes
from lamina.vfs_modules.testing import make_token

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
    assert quick_open(share.context, share.volume, parameters) == "missing"


def test_what_is_remembered_is_bounded():
    assert shape_of.cache_info().maxsize == 1024
    assert names_of.cache_info().maxsize == 4096
