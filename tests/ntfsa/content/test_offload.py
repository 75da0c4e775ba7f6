"""Offloaded reads and writes: tokens, what they are good for, and for whom."""

import dataclasses
import struct
import time

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.content.offload_tokens import ZERO_TOKEN, OffloadedRange, OffloadTokens
from lamina.ntfsa.fsctl import offload
from lamina.ntfsa.fsctl.fs_control import fs_control
from lamina.ntfsa.locks.lock import LockElement, lock
from lamina.ntfsa.status import NtStatus as S
from lamina.vfs_modules.testing import make_token

EXCLUSIVE = c.SMB2_LOCKFLAG_EXCLUSIVE_LOCK | c.SMB2_LOCKFLAG_FAIL_IMMEDIATELY
CONTENT = bytes(range(256)) * 16


def read(share, opened, offset=0, length=4096, *, milliseconds=0, context=None, room=528, size=32):
    asked = struct.pack("<IIIIQQ", size, 0, milliseconds, 0, offset, length)
    output = fs_control(context or share.context, opened, c.FSCTL_OFFLOAD_READ, memoryview(asked), room).data
    told, flags, transferred, token = struct.unpack("<IIQ512s", output)
    assert told == 528
    return flags, transferred, token


def write(share, opened, token, offset=0, length=4096, transfer=0, *, context=None, room=16, size=544):
    asked = struct.pack("<IIQQQ512s", size, 0, offset, length, transfer, token)
    output = fs_control(context or share.context, opened, c.FSCTL_OFFLOAD_WRITE, memoryview(asked), room).data
    told, flags, written = struct.unpack("<IIQ", output)
    assert (told, flags) == (16, 0)
    return written


@pytest.fixture
def files(share):
    """A file, and an empty one of the same size."""
    share.make("source", CONTENT)
    share.make("target", bytes(4096))
    return share.open("source"), share.open("target")


def test_what_was_read_is_written(share, files):
    source, target = files
    flags, transferred, token = read(share, source)
    assert (flags, transferred, len(token)) == (0, 4096, 512)
    assert write(share, target, token) == 4096
    assert share.read(target, 9999) == CONTENT
    assert write(share, target, token, 512, 1024, 2048) == 1024
    assert share.read(target, 9999) == CONTENT[:512] + CONTENT[2048:3072] + CONTENT[1536:]


def test_less_is_transferred_at_the_ends(share, files, monkeypatch):
    source, target = files
    monkeypatch.setattr(offload, "MAX_TRANSFER", 1536)
    assert read(share, source, 0, 4096)[1] == 1536
    assert read(share, source, 3584, 4096)[1] == 512
    token = read(share, source, 0, 1024)[2]
    assert write(share, target, token, 0, 4096, 512) == 512
    assert write(share, target, token, 3584, 1024) == 512
    assert len(share.read(target, 9999)) == 4096


def test_tokens_cannot_be_guessed_and_differ(share, files):
    tokens = {read(share, files[0])[2] for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(set(token[8:40])) > 10 for token in tokens)


@pytest.mark.parametrize("offset", [0, 4, 8, 39, 40, 511])
def test_a_token_that_was_altered(share, files, refused, offset):
    token = bytearray(read(share, files[0])[2])
    token[offset] ^= 1
    refused(S.INVALID_TOKEN, write, share, files[1], bytes(token))


def test_a_token_is_for_one_session_and_user(share, files, refused):
    token = read(share, files[0])[2]
    for other in (
        dataclasses.replace(share.context, session_id=77),
        dataclasses.replace(share.context, token=make_token(0, 0, user_sid="S-1-5-21-9-9-9-9")),
    ):
        refused(S.INVALID_TOKEN, write, share, files[1], token, context=other)
    assert write(share, files[1], token) == 4096


def test_a_token_ends_with_its_open_its_time_and_its_data(share, files, refused, monkeypatch):
    source, target = files
    token = read(share, source)[2]
    share.write(share.open("source"), b"changed")
    refused(S.INVALID_TOKEN, write, share, target, token)
    token = read(share, source, milliseconds=1000)[2]
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 1.1)
    refused(S.INVALID_TOKEN, write, share, target, token)
    token = read(share, source)[2]
    share.close(source)
    refused(S.INVALID_TOKEN, write, share, target, token)


def test_time_that_a_client_asks_for_is_limited(share, files, refused, monkeypatch):
    token = read(share, files[0], milliseconds=0xFFFFFFFF)[2]
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + offload.MAX_SECONDS)
    refused(S.INVALID_TOKEN, write, share, files[1], token)


def test_a_volume_keeps_so_many_tokens():
    class Open:
        closed = False

    tokens, alive, gone = OffloadTokens(3), Open(), Open()
    made = [tokens.add(OffloadedRange(gone, 0, 1, (), 1, "S-1", 10), 0) for _ in range(2)]
    gone.closed = True
    made += [tokens.add(OffloadedRange(alive, 0, 1, (), 1, "S-1", 10), 0) for _ in range(5)]
    assert len(tokens) == 3
    assert [tokens.find(token, 1, "S-1", 5) is not None for token in made] == [False] * 4 + [True] * 3
    tokens.add(OffloadedRange(alive, 0, 1, (), 1, "S-1", 99), 10)
    assert len(tokens) == 1


def test_zeros_need_no_token_of_their_own(share, files):
    _, target = files
    sparse = share.open("sparse", c.FILE_CREATE)
    fs_control(share.context, sparse, c.FSCTL_SET_SPARSE, memoryview(b""), 0)
    share.write(sparse, b"x", 4 << 20)
    assert read(share, sparse, 0, 4096) == (0, 4096, ZERO_TOKEN)
    share.write(target, CONTENT)
    assert write(share, target, ZERO_TOKEN, 512, 1024) == 1024
    assert share.read(target, 9999) == CONTENT[:512] + bytes(1024) + CONTENT[1536:]


@pytest.mark.parametrize(("offset", "length"), [(1, 512), (512, 1), (1 << 63, 512), ((1 << 63) - 512, 512)])
def test_whole_sectors_only(share, files, refused, offset, length):
    refused(S.INVALID_PARAMETER, read, share, files[0], offset, length)
    refused(S.INVALID_PARAMETER, write, share, files[1], ZERO_TOKEN, offset, length)


def test_what_makes_no_sense(share, files, refused):
    source, target = files
    token = read(share, source)[2]
    refused(S.END_OF_FILE, read, share, source, 4096)
    refused(S.END_OF_FILE, write, share, target, token, 4096)
    refused(S.INVALID_PARAMETER, write, share, target, token, transfer=4096)
    refused(S.INVALID_PARAMETER, write, share, target, token, transfer=1)
    refused(S.INVALID_PARAMETER, write, share, source, token, 0, 2048, 512)
    refused(S.INVALID_PARAMETER, read, share, source, size=31)
    refused(S.INVALID_PARAMETER, write, share, target, token, size=31)
    refused(S.BUFFER_TOO_SMALL, read, share, source, room=527)
    refused(S.BUFFER_TOO_SMALL, write, share, target, token, room=15)
    refused(S.INVALID_DEVICE_REQUEST, read, share, share.open(""))
    for code in (c.FSCTL_OFFLOAD_READ, c.FSCTL_OFFLOAD_WRITE):
        refused(S.INVALID_PARAMETER, fs_control, share.context, source, code, memoryview(bytes(31)), 9999)
    assert read(share, source, 0, 0) == (0, 0, bytes(512))
    assert write(share, target, token, 0, 0) == 0


def test_access_and_locks(share, files, refused):
    source, target = files
    token = read(share, source)[2]
    refused(S.ACCESS_DENIED, read, share, share.open("source", desired_access=c.FILE_WRITE_DATA))
    refused(S.ACCESS_DENIED, write, share, share.open("target", desired_access=c.FILE_READ_DATA), token)
    lock(share.context, share.open("target"), [LockElement(0, 1, EXCLUSIVE)])
    refused(S.FILE_LOCK_CONFLICT, write, share, target, token)
    refused(S.FILE_LOCK_CONFLICT, write, share, target, ZERO_TOKEN)
    lock(share.context, share.open("source"), [LockElement(0, 1, EXCLUSIVE)])
    refused(S.FILE_LOCK_CONFLICT, read, share, source)
