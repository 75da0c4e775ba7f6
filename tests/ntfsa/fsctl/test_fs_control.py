"""Whatever a client sends with a control code, it is answered or refused with a status."""

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.reparse import parse_reparse_data, parse_symbolic_link
from lamina.ntfsa.fsctl.fs_control import CODES, fs_control
from lamina.ntfsa.status import NtStatus, NtStatusError

numbers = st.sampled_from([0, 1, 2, 8, 16, 24, 32, 512, 544, 4096, (1 << 31) - 1, (1 << 63) - 1, (1 << 64) - 1])
structures = st.lists(st.tuples(numbers, st.sampled_from([2, 4, 8])), max_size=12).map(
    lambda fields: b"".join((value & (1 << 8 * size) - 1).to_bytes(size, "little") for value, size in fields)
)
inputs = st.one_of(st.binary(max_size=80), structures, structures.map(lambda data: data.ljust(544, b"\0")))


@pytest.mark.parametrize("code", CODES, ids=hex)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(input_=inputs, room=st.integers(0, 600), directory=st.booleans())
def test_every_input_is_answered_or_refused(share, code, input_, room, directory):
    kind = c.FILE_DIRECTORY_FILE if directory else 0
    opened = share.open(f"{kind}", c.FILE_OPEN_IF, options=kind | c.FILE_OPEN_REPARSE_POINT)
    with contextlib.suppress(NtStatusError):
        answer = fs_control(share.context, opened, code, memoryview(input_), room)
        assert answer.status in {NtStatus.SUCCESS, NtStatus.BUFFER_OVERFLOW}
        assert len(answer.data) <= room
    share.close(opened)


@given(inputs)
def test_reparse_buffers_are_read_or_refused(data):
    with contextlib.suppress(NtStatusError):
        parse_symbolic_link(parse_reparse_data(data).data)
