"""What holds for every decoder: it reads what its encoder wrote, and refuses everything cut short or senseless."""

import contextlib
import importlib
import inspect
import pkgutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lamina.core.wire
from lamina.core.wire.errors import WireError
from tests.support.wire_samples import SAMPLES, Sample, message

samples = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)


def only_wire_errors(sample: Sample, data: bytes) -> None:
    with contextlib.suppress(WireError):
        sample.decode(memoryview(data))


@samples
def test_what_was_encoded_is_decoded(sample):
    assert sample.decode(memoryview(sample.data)) == sample.value


@samples
def test_every_truncation_is_refused_with_a_reason(sample):
    for length in range(sample.shortest, len(sample.data) - sample.spare):
        with pytest.raises(WireError, match=r"\w+ \w+"):
            sample.decode(memoryview(sample.data[:length]))


@samples
def test_every_single_byte_may_be_wrong(sample):
    for at in range(len(sample.data)):
        for value in (0, 1, 0x7F, 0xFF):
            only_wire_errors(sample, sample.data[:at] + bytes((value,)) + sample.data[at + 1 :])


@given(sample=st.sampled_from(SAMPLES), data=st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_wire_errors(sample, data):
    only_wire_errors(sample, data)
    only_wire_errors(sample, message(data))


@given(sample=st.sampled_from(SAMPLES), data=st.data())
def test_mutated_messages_raise_nothing_but_wire_errors(sample, data):
    mutated = bytearray(sample.data)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(mutated) - 1, 0)))
        mutated[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=8))
    only_wire_errors(sample, bytes(mutated))


# Shared by the commands, and so tested with each of them.
HELPERS = {"decode_empty", "decode_buffer_response", "decode_name", "decode_header", "decode_oplock_break",
           "decode_lease_break", "decode_negotiate_contexts", "decode_error_contexts"}  # fmt: skip


def test_there_is_a_sample_for_every_decoder():
    found = set()
    for module in pkgutil.iter_modules(lamina.core.wire.__path__):
        members = inspect.getmembers(importlib.import_module(f"lamina.core.wire.{module.name}"), inspect.isfunction)
        found |= {name for name, _ in members if name.startswith("decode_")}
    assert found - {sample.decode.__name__ for sample in SAMPLES} - HELPERS == set()
