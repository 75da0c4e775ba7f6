"""What is malformed is refused, and the error says why."""

import struct

import pytest

from lamina.core.wire.create import CreateRequest, decode_create_request, encode_create_request
from lamina.core.wire.create_contexts import decode_allocation_size, decode_create_contexts, decode_sd_buffer
from lamina.core.wire.errors import WireError
from lamina.core.wire.lock import LockRequest, decode_lock_request, encode_lock_request
from lamina.core.wire.negotiate import (
    EncryptionCapabilities,
    NegotiateRequest,
    RawContext,
    decode_negotiate_request,
    encode_negotiate_request,
)
from lamina.core.wire.transform import decode_transform_header
from lamina.core.wire.write import WriteRequest, decode_write_request, encode_write_request
from tests.support.wire_samples import message


def changed(body, *changes):
    data = bytearray(message(body))
    for layout, at, value in changes:
        struct.pack_into(layout, data, 64 + at, value)
    return memoryview(data)


WRITE = encode_write_request(WriteRequest(1, 2, 3, b"data"))
CREATE = encode_create_request(CreateRequest("name", contexts={b"MxAc": b""}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("<H", 0, 48), "StructureSize 48 instead of 49"),
        (("<H", 2, 111), "inside the fixed part"),
        (("<H", 2, 113), "behind the end"),
        (("<I", 4, 5), "behind the end"),
        (("<I", 4, 0xFFFFFFFF), "behind the end"),
    ],
)
def test_write_whose_data_is_not_in_the_message(change, said):
    with pytest.raises(WireError, match=said):
        decode_write_request(changed(WRITE, change))


def test_the_offset_of_empty_data_does_not_matter():
    assert bytes(decode_write_request(changed(WRITE, ("<I", 4, 0), ("<H", 2, 0xFFFF))).data) == b""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("<H", 46, 7), "odd number of bytes"),
        (("<H", 44, 64), "inside the fixed part"),
        (("<H", 46, 200), "behind the end"),
        (("<I", 48, 100), "inside the fixed part"),
        (("<I", 52, 200), "behind the end"),
    ],
)
def test_create_with_a_name_or_contexts_elsewhere(change, said):
    with pytest.raises(WireError, match=said):
        decode_create_request(changed(CREATE, change))


def context(following=0, name_at=16, name_length=4, data_at=24, data_length=8):
    head = struct.pack("<IHHHHI", following, name_at, name_length, 0, data_at, data_length)
    return memoryview(head + b"AlSi" + bytes(4) + bytes(8))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"following": 4}, "Next 4"),
        ({"following": 8}, "Next 8"),
        ({"following": 32}, "Next 32"),
        ({"following": 0xFFFFFFF8}, "Next 4294967288"),
        ({"name_at": 8}, "its name from 8"),
        ({"name_length": 3}, "its name from 16 to 19"),
        ({"name_length": 17}, "its name"),
        ({"data_at": 16}, "data at 16"),
        ({"data_at": 28, "data_length": 4}, "data at 28"),
        ({"data_length": 9}, "9 bytes of data"),
    ],
)
def test_a_malformed_create_context(wrong, said):
    assert decode_create_contexts(context()) == {b"AlSi": bytes(8)}
    with pytest.raises(WireError, match=said):
        decode_create_contexts(context(**wrong))


def test_of_two_create_contexts_with_one_tag_the_first_counts():
    first = bytearray(context(following=32))
    first[24] = 1
    assert decode_create_contexts(memoryview(bytes(first) + bytes(context()))) == {b"AlSi": b"\1" + bytes(7)}


def test_create_contexts_with_senseless_data():
    with pytest.raises(WireError, match="negative"):
        decode_allocation_size(b"\xff" * 8)
    with pytest.raises(WireError, match="without a security descriptor"):
        decode_sd_buffer(b"")


def test_a_lock_request_without_an_element():
    with pytest.raises(WireError, match="without an element"):
        decode_lock_request(memoryview(message(encode_lock_request(LockRequest(1, 2, ())))))


@pytest.mark.parametrize(
    ("contexts", "said"),
    [
        ([EncryptionCapabilities((1,)), EncryptionCapabilities((2,))], "two negotiate contexts"),
        ([EncryptionCapabilities(())], "names no algorithm"),
        ([RawContext(2, b"\x05\0\1\0")], "cut short"),
        ([RawContext(5, b"odd")], "odd number"),
        ([RawContext(1, b"\1\0\x20\0\1\0")], "salt"),
    ],
)
def test_negotiate_contexts_that_are_known_but_malformed(contexts, said):
    with pytest.raises(WireError, match=said):
        decode_negotiate_request(memoryview(message(encode_negotiate_request(NegotiateRequest((0x311,)), contexts))))


def test_without_dialect_311_there_are_no_negotiate_contexts():
    body = encode_negotiate_request(NegotiateRequest((0x302,)), [RawContext(2, b"")])
    assert decode_negotiate_request(memoryview(message(body))).encryption is None


@pytest.mark.parametrize(
    ("at", "value", "said"), [(0, 0xFE, "ProtocolId"), (36, 4, "OriginalMessageSize"), (42, 2, "Flags")]
)
def test_a_wrong_transform_header(at, value, said):
    data = bytearray(b"\xfdSMB" + bytes(32) + struct.pack("<IHHQ", 3, 0, 1, 9) + b"abc")
    data[at] = value
    with pytest.raises(WireError, match=said):
        decode_transform_header(memoryview(data))
