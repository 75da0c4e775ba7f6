"""The record of an open that survives the server: whatever goes in comes out, and what is none is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.ntfsa.durability.open_record import FORM, LeaseState, OpenRecord, OpenState, Promise, decode, encode
from lamina.ntfsa.durability.rules import Kind
from lamina.ntfsa.record import LockRange

NUMBERS = st.integers(0, 2**64 - 1)
GUIDS = st.binary(min_size=16, max_size=16)
# Names may hold what UTF-8 cannot: bytes of another encoding come as lone surrogates.
NAMES = st.text(st.characters(), max_size=20)

PROMISES = st.builds(
    Promise,
    open_id=NUMBERS,
    share=NAMES,
    kind=st.sampled_from(Kind),
    version=st.integers(1, 2),
    seconds=st.floats(0, 300),
    owner=NAMES,
    client_guid=GUIDS,
    create_guid=GUIDS,
    app_instance=st.just(b"") | GUIDS,
    app_version=st.none() | st.tuples(NUMBERS, NUMBERS),
    lock_sequences=st.lists(st.tuples(st.integers(1, 64), st.integers(0, 15))).map(tuple),
    since=st.none() | st.floats(0, 1e10),
)
LEASES = st.builds(LeaseState, GUIDS, st.integers(1, 2), st.integers(0, 7), st.integers(0, 65535), st.just(b"") | GUIDS)
STATES = st.builds(
    OpenState,
    path=NAMES,
    vfs_path=NAMES,
    stream=NAMES,
    file=st.tuples(NUMBERS, NUMBERS),
    cookie=st.binary(),
    granted_access=NUMBERS,
    share_access=st.integers(0, 7),
    options=NUMBERS,
    mode=NUMBERS,
    position=NUMBERS,
    reserved=NUMBERS,
    delete_on_close=st.booleans(),
    delete_pending=st.booleans(),
    posix=st.booleans(),
    posix_delete=st.booleans(),
    has_written=st.booleans(),
    unarchived=st.booleans(),
    oplock=st.integers(0, 7),
    lease=st.none() | LEASES,
    locks=st.lists(st.builds(LockRange, NUMBERS, NUMBERS, st.booleans())).map(tuple),
)
RECORDS = st.builds(OpenRecord, PROMISES, STATES)
ONE = OpenRecord(
    Promise(7, "data", Kind.PERSISTENT, 2, 60.0, "S-1-5-21-1", b"c" * 16),
    OpenState("a\\b", "a/b", "", (1, 2), b"cookie", 3, 7, 0, 0),
)


@given(RECORDS)
def test_whatever_goes_in_comes_out(record):
    again = decode(encode(record))
    assert again == record
    assert type(again.state.lease) is type(record.state.lease)
    assert type(again.promise.kind) is Kind


@given(RECORDS, st.data())
def test_a_torn_record_is_refused(record, data):
    form = encode(record)
    with pytest.raises(ValueError, match=r"."):
        decode(form[: data.draw(st.integers(0, len(form) - 1))])


@given(st.binary())
def test_what_is_none_is_refused(form):
    with pytest.raises(ValueError, match=r"."):
        decode(form)


def test_a_newer_form_is_refused_and_says_so():
    plain = json.loads(encode(ONE))
    with pytest.raises(ValueError, match=f"form {FORM + 1}; this release reads forms 1 to {FORM}"):
        decode(json.dumps([FORM + 1, *plain[1:]]).encode())


def test_fields_of_a_newer_release_are_passed_over_and_missing_ones_have_their_defaults():
    form, promise, state = json.loads(encode(ONE))
    state["news"] = 1
    for name in ("locks", "lease", "oplock", "position"):
        del state[name]
    for name in ("create_guid", "app_version", "since"):
        del promise[name]
    assert decode(json.dumps([form, promise, state]).encode()) == ONE


@pytest.mark.parametrize("missing", ["path", "cookie", "file"])
def test_a_record_without_what_it_cannot_do_without_is_refused(missing):
    form, promise, state = json.loads(encode(ONE))
    del state[missing]
    with pytest.raises(ValueError, match=missing):
        decode(json.dumps([form, promise, state]).encode())
