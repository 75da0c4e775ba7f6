"""Requests with any values in their fields come out as they went in."""

from hypothesis import given
from hypothesis import strategies as st

from lamina.core.wire.create import CreateRequest, decode_create_request, encode_create_request
from lamina.core.wire.create_contexts import decode_create_contexts, encode_create_contexts
from lamina.core.wire.ioctl import IoctlRequest, decode_ioctl_request, encode_ioctl_request
from lamina.core.wire.lock import LockRequest, WireLock, decode_lock_request, encode_lock_request
from lamina.core.wire.negotiate_contexts import (
    EncryptionCapabilities,
    NegotiateContexts,
    NetnameContext,
    PosixExtensions,
    PreauthIntegrityCapabilities,
    decode_negotiate_contexts,
    encode_negotiate_contexts,
)
from lamina.core.wire.query_directory import (
    QueryDirectoryRequest,
    decode_query_directory_request,
    encode_query_directory_request,
)
from lamina.core.wire.read import ReadRequest, decode_read_request, encode_read_request
from lamina.core.wire.write import WriteRequest, decode_write_request, encode_write_request
from tests.support.wire_samples import message


def u(bits):
    return st.integers(0, (1 << bits) - 1)


# UTF-16 units, so that surrogates come paired and alone.
names = st.lists(u(16), max_size=40).map(
    lambda units: b"".join(unit.to_bytes(2, "little") for unit in units).decode("utf-16-le", "surrogatepass")
)
tags = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)
contexts = st.dictionaries(tags, st.binary(max_size=40), max_size=5)
algorithms = st.lists(u(16), min_size=1, max_size=6).map(tuple)


def again(decode, body):
    return decode(memoryview(message(body)))


@given(st.builds(CreateRequest, names, u(32), u(32), u(32), u(32), u(32), u(8), u(32), contexts))
def test_create(request):
    assert again(decode_create_request, encode_create_request(request)) == request


@given(contexts)
def test_create_contexts_keep_their_order(listed):
    decoded = decode_create_contexts(memoryview(encode_create_contexts(listed)))
    assert list(decoded.items()) == list(listed.items())


@given(st.builds(ReadRequest, u(64), u(64), u(64), u(32), u(32), u(8), st.just(0), u(32), st.just(b"")))
def test_read(request):
    assert again(decode_read_request, encode_read_request(request)) == request


@given(
    st.builds(
        WriteRequest, u(64), u(64), u(64), st.binary(max_size=99), u(32), st.just(1), u(32), st.binary(max_size=9)
    )
)
def test_write(request):
    assert again(decode_write_request, encode_write_request(request)) == request


@given(st.builds(IoctlRequest, u(32), u(64), u(64), st.binary(max_size=99), u(32), u(32), u(32), st.binary(max_size=9)))
def test_ioctl(request):
    assert again(decode_ioctl_request, encode_ioctl_request(request)) == request


@given(st.builds(QueryDirectoryRequest, u(64), u(64), u(8), names, u(32), u(8), u(32)))
def test_query_directory(request):
    assert again(decode_query_directory_request, encode_query_directory_request(request)) == request


@given(st.lists(st.builds(WireLock, u(64), u(64), u(32)), min_size=1, max_size=5), u(32))
def test_lock(locks, sequence):
    request = LockRequest(1, 2, tuple(locks), sequence)
    decoded = again(decode_lock_request, encode_lock_request(request))
    assert decoded == request
    assert decoded.sequence_index << 4 | decoded.sequence_number == sequence


@given(st.builds(
    NegotiateContexts,
    preauth=st.builds(PreauthIntegrityCapabilities, algorithms, st.binary(max_size=64)),
    encryption=st.none() | st.builds(EncryptionCapabilities, algorithms),
    netname=st.none() | st.builds(NetnameContext, names),
    compression=st.none(),
    transport=st.none(),
    signing=st.none(),
    posix=st.none() | st.builds(PosixExtensions, st.tuples(st.binary(min_size=16, max_size=16))),
))  # fmt: skip
def test_negotiate_contexts(contexts):
    listed = contexts.listed()
    assert decode_negotiate_contexts(memoryview(encode_negotiate_contexts(listed)), len(listed)) == contexts
