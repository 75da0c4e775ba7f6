import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.core.wire.constants import FLAGS_ASYNC_COMMAND, Command
from lamina.core.wire.errors import WireError
from lamina.core.wire.header import Header, decode_header, pack_header_into, split_compound
from tests.support.wire_samples import message


def u(bits):
    return st.integers(0, (1 << bits) - 1)


@given(fields=st.fixed_dictionaries({
    "command": u(16), "message_id": u(64), "status": u(32), "credits": u(16), "flags": u(32), "next_command": u(32),
    "session_id": u(64), "tree_id": u(32), "async_id": u(64), "credit_charge": u(16),
}))  # fmt: skip
def test_a_packed_header_is_decoded(fields):
    buffer = bytearray(b"\xff" * 80)
    pack_header_into(buffer, 8, **fields)
    header = decode_header(memoryview(buffer)[8:])
    fields["tree_id" if fields["flags"] & FLAGS_ASYNC_COMMAND else "async_id"] = 0
    assert {name: getattr(header, name) for name in fields} == fields
    assert buffer[:8] + buffer[72:] == b"\xff" * 16
    assert buffer[56:72] == bytes(16), "the signature is not zero"


def test_a_request_has_a_channel_sequence_where_a_response_has_its_status():
    buffer = bytearray(64)
    pack_header_into(buffer, 0, command=Command.WRITE, message_id=1, channel_sequence=0xABCD)
    assert decode_header(memoryview(buffer)).channel_sequence == 0xABCD
    assert buffer[8:12] == b"\xcd\xab\0\0"


def test_the_header_of_an_smb1_negotiate_asks_for_one_credit():
    header = Header.for_smb1_negotiate()
    assert (header.command, header.message_id, header.credits, header.session_id) == (Command.NEGOTIATE, 0, 1, 0)


@pytest.mark.parametrize(("at", "value", "said"), [(0, 0xFF, "ProtocolId"), (4, 63, "StructureSize 63")])
def test_what_is_no_header_is_refused_with_the_reason(at, value, said):
    data = bytearray(message(b""))
    data[at] = value
    with pytest.raises(WireError, match=said):
        decode_header(memoryview(data))


@pytest.mark.parametrize(
    ("following", "said"),
    [
        (68, "multiple of 8"),
        (56, "into the header"),
        (8, "into the header"),
        (136, "no room"),
        (0xFFFFFFF8, "no room"),
    ],
)
def test_a_wrong_next_command_is_refused_with_the_reason(following, said):
    with pytest.raises(WireError, match=said):
        split_compound(memoryview(message(bytes(64), next_command=following) + message(b"")), 10)


def test_a_chain_that_is_deeper_than_allowed_is_refused():
    chain = message(b"", next_command=64) * 3 + message(b"")
    assert len(split_compound(memoryview(chain), 4)) == 4
    with pytest.raises(WireError, match="more than 3"):
        split_compound(memoryview(chain), 3)


def test_a_part_of_a_chain_has_its_padding():
    parts = split_compound(memoryview(message(b"12345\0\0\0", next_command=72) + message(b"end")), 2)
    assert [bytes(part[64:]) for part in parts] == [b"12345\0\0\0", b"end"]
