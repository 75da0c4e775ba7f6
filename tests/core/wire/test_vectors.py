"""Messages written byte by byte from the specification, so that encoder and decoder cannot be wrong together."""

import struct

from lamina.core.wire.create import CreateRequest, decode_create_request, encode_create_request
from lamina.core.wire.create_contexts import decode_create_contexts, encode_create_contexts
from lamina.core.wire.error import SymbolicLinkError, encode_error_for, encode_symbolic_link_error
from lamina.core.wire.header import decode_header, pack_header_into
from lamina.core.wire.negotiate import (
    EncryptionCapabilities,
    NegotiateRequest,
    PreauthIntegrityCapabilities,
    RawContext,
    SigningCapabilities,
    decode_negotiate_request,
    encode_negotiate_request,
)
from lamina.core.wire.network_interface import NetworkInterfaceInfo, encode_network_interfaces
from lamina.core.wire.read import encode_read_response, pack_read_response_into
from lamina.core.wire.smb1 import decode_smb1_negotiate_request
from lamina.core.wire.write import decode_write_request
from tests.support.wire_samples import message


def view(text: str) -> memoryview:
    return memoryview(bytes.fromhex(text))


# MS-SMB2 4.3 Connecting to a Share by Using an SMB2 Negotiate, step 1: each field that is listed there.
NEGOTIATE = (
    "fe534d42 4000 0000 00000000 0000 7e00 00000000 00000000 0000000000000000 00000000 00000000 0000000000000000"
    "00000000000000000000000000000000"
    "2400 0100 0100 0000 00000000 00000000000000000000000000000000 0000000000000000 0202"
)


def test_the_negotiate_request_of_the_specifications_example():
    header = decode_header(view(NEGOTIATE))
    assert (header.command, header.credits, header.credit_charge, header.flags, header.message_id) == (0, 126, 0, 0, 0)
    assert decode_negotiate_request(view(NEGOTIATE)) == NegotiateRequest((0x0202,), 1)


def test_the_negotiate_request_of_the_specifications_example_is_encoded():
    packed = bytearray(64)
    pack_header_into(packed, 0, command=0, message_id=0, credits=126)
    assert packed + encode_negotiate_request(NegotiateRequest((0x0202,), 1)) == view(NEGOTIATE)


def test_the_dialects_of_the_multi_protocol_negotiate_of_the_specifications_example():
    # MS-SMB2 4.1, step 1: Flags 0x18, Flags2 0xC853, TID 0xFFFF, PID 0xFEFF, and seven dialects.
    names = ["PC NETWORK PROGRAM 1.0", "LANMAN1.0", "Windows for Workgroups 3.1a", "LM1.2X002", "LANMAN2.1",
             "NT LM 0.12", "SMB 2.002"]  # fmt: skip
    data = b"".join(b"\x02" + name.encode() + b"\0" for name in names)
    header = bytes.fromhex("ff534d42 72 00000000 18 53c8 0000 0000000000000000 0000 ffff fffe 0000 0000")
    assert decode_smb1_negotiate_request(memoryview(header + b"\0" + struct.pack("<H", len(data)) + data)) == names


def test_the_contexts_of_a_negotiate_request_are_eight_byte_aligned():
    request = NegotiateRequest((0x0311,), 1, 0x7F, bytes(16))
    contexts = [
        PreauthIntegrityCapabilities((1,), b"\xaa\xbb"),
        RawContext(0x0200, b"?"),
        EncryptionCapabilities((2, 1)),
        SigningCapabilities((2,)),
    ]
    body = encode_negotiate_request(request, contexts)
    assert body[28:36] == bytes.fromhex("68000000 0400 0000")
    assert body[36:] == bytes.fromhex(
        "1103 0000"
        "0100 0800 00000000 0100 0200 0100 aabb"
        "0002 0100 00000000 3f 00000000000000"
        "0200 0600 00000000 0200 0200 0100 0000"
        "0800 0400 00000000 0100 0200"
    )
    decoded = decode_negotiate_request(memoryview(message(body)))
    assert decoded.preauth == contexts[0]
    assert decoded.encryption == contexts[2]
    assert decoded.signing == contexts[3]


# The CREATE of MS-SMB2 4.6 Writing to a Remote File, step 1: header, oplock level, impersonation level and name as
# there; the access, and a context behind it, are this test's.
CREATE = (
    "fe534d42 4000 0000 00000000 0500 6f00 00000000 00000000 0a00000000000000 00000000 01000000 1500000000040000"
    "00000000000000000000000000000000"
    "3900 00 09 02000000 0000000000000000 0000000000000000 96011200 80000000 01000000 05000000 60000000"
    "7800 1000 88000000 18000000"
    "7400650073007400 2e00640061007400"
    "00000000 1000 0400 0000 0000 00000000 4d784163 00000000"
)


def test_a_create_request_written_by_hand():
    header = decode_header(view(CREATE))
    assert (header.command, header.message_id, header.tree_id, header.session_id) == (5, 10, 1, 0x40000000015)
    asked = decode_create_request(view(CREATE))
    assert asked == CreateRequest("test.dat", 0x120196, 0x80, 1, 5, 0x60, 9, 2, {b"MxAc": b""})


def test_a_create_request_is_encoded_as_by_hand():
    asked = CreateRequest("test.dat", 0x120196, 0x80, 1, 5, 0x60, 9, 2, {b"MxAc": b""})
    assert encode_create_request(asked) == view(CREATE)[64:]


def test_a_list_of_create_contexts_written_by_hand():
    listed = view(
        "20000000 1000 0400 0000 1800 08000000 416c5369 00000000 0010000000000000"
        "00000000 1000 0400 0000 0000 00000000 51466964"
    )
    assert decode_create_contexts(listed) == {b"AlSi": struct.pack("<Q", 4096), b"QFid": b""}


def test_create_contexts_begin_at_multiples_of_eight():
    packed = encode_create_contexts({b"MxAc": b"12345", b"QFid": b""})
    assert struct.unpack_from("<I", packed)[0] == 32
    assert packed[32 + 16 : 32 + 20] == b"QFid"


def test_a_write_request_written_by_hand():
    body = "3100 7000 03000000 0700000000000000 0100000000000000 0200000000000000 00000000 00000000 0000 0000 01000000"
    asked = decode_write_request(memoryview(message(bytes.fromhex(body) + b"abc")))
    assert (asked.persistent, asked.volatile, asked.offset, bytes(asked.data), asked.flags) == (1, 2, 7, b"abc", 1)


def test_data_behind_a_packed_read_response_is_the_encoded_one():
    buffer = bytearray(16) + b"abc"
    pack_read_response_into(buffer, 0, 3)
    assert buffer == encode_read_response(b"abc") == bytes.fromhex("1100 50 00 03000000 00000000 00000000") + b"abc"


def test_the_data_of_an_error_is_wrapped_for_dialect_311():
    assert encode_error_for(False, b"\4\0\0\0") == bytes.fromhex("0900 00 00 04000000 04000000")
    assert encode_error_for(True, b"\4\0\0\0") == bytes.fromhex("0900 01 00 0c000000 04000000 00000000 04000000")
    assert encode_error_for(True, b"") == bytes.fromhex("0900 00 00 00000000 00")


def test_a_symbolic_link_error_written_by_hand():
    expected = "1e000000 53594d4c 0c0000a0 1200 0800 0000 0400 0400 0200 01000000"
    packed = encode_symbolic_link_error(SymbolicLinkError(8, "ab", "c", True))
    assert packed == bytes.fromhex(expected) + "abc".encode("utf-16-le")


def test_a_network_interface_has_its_address_in_network_order():
    packed = encode_network_interfaces([NetworkInterfaceInfo(3, "192.0.2.1", 1_000_000_000)])
    assert len(packed) == 152
    assert packed[:32] == bytes.fromhex("00000000 03000000 00000000 00000000 00ca9a3b00000000 0200 0000 c0000201")
