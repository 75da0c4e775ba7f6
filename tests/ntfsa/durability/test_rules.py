"""What outlives a connection, who gets it back, and what ends it: the rules as tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.ntfsa.durability.reconnect_rules import Claim, Kept, refusal
from lamina.ntfsa.durability.rules import (
    HeldGrant,
    Kind,
    carries,
    durable_seconds,
    ended_by_break,
    held_grant,
    outlives_connection,
    resilient_seconds,
)
from lamina.ntfsa.grants.caching import ANY_CACHING, HANDLE_CACHING, LEASE_STATES, READ_CACHING, WRITE_CACHING
from lamina.ntfsa.record import FileRecord, Grant
from lamina.ntfsa.status import NtStatus as S

R, RH, RW, RWH = READ_CACHING, READ_CACHING | HANDLE_CACHING, READ_CACHING | WRITE_CACHING, ANY_CACHING
GUID, OTHER_GUID, KEY, OTHER_KEY = b"g" * 16, b"o" * 16, b"k" * 16, b"K" * 16
KEPT = Kept(Kind.DURABLE, "S-1-5-21-1", GUID, b"", "folder\\file")
KEPT_V2 = KEPT._replace(create_guid=GUID)
LEASED = KEPT_V2._replace(lease=KEY, lease_version=2)
CLAIM_V1 = Claim(1, "S-1-5-21-1", GUID, "folder\\file")
CLAIM = CLAIM_V1._replace(version=2, create_guid=GUID)
LEASED_CLAIM = CLAIM._replace(lease=KEY, lease_version=2)


@pytest.mark.parametrize(
    ("is_lease", "state", "carried"),
    [
        (False, 0, False),
        (False, R, False),
        (False, RW, False),
        (False, RWH, True),
        (True, 0, False),
        (True, R, False),
        (True, RW, False),
        (True, RH, True),
        (True, RWH, True),
    ],
)
def test_a_batch_oplock_and_a_lease_on_handles_carry_a_durable_open(is_lease, state, carried):
    grant = HeldGrant(state, is_lease, False)
    assert carries(grant) is carried
    assert outlives_connection(Kind.DURABLE, grant) is carried
    assert not outlives_connection(Kind.DURABLE, grant._replace(breaking=True))


@given(st.builds(HeldGrant, st.integers(0, 7), st.booleans(), st.booleans()))
def test_the_others_need_nothing(grant):
    assert outlives_connection(Kind.RESILIENT, grant)
    assert outlives_connection(Kind.PERSISTENT, grant)


@pytest.mark.parametrize(
    ("held", "to", "ended"),
    [(RWH, RH, True), (RWH, R, True), (RWH, 0, True), (RH, R, True), (RH, 0, True), (R, 0, False)],
)
def test_a_durable_open_ends_when_somebody_must_answer(held, to, ended):
    assert ended_by_break(Kind.DURABLE, held, to) is ended


@given(st.sampled_from([Kind.RESILIENT, Kind.PERSISTENT]), st.sampled_from(sorted(LEASE_STATES)))
def test_the_others_are_ended_by_nothing(kind, to):
    assert not ended_by_break(kind, RWH, to)


def test_the_grant_of_an_open_is_found_by_its_owner():
    grants = (Grant((1, 3), 9, RWH, b"lease"), Grant((2,), 8, RWH, breaking_to=0, deadline=1.0))
    record = FileRecord(grants=grants)
    assert held_grant(record, 3) == (RWH, True, False)
    assert held_grant(record, 2) == (RWH, False, True)
    assert held_grant(record, 4) == (0, False, False)


@pytest.mark.parametrize(("asked", "given"), [(0, 60), (1, 0.001), (300_000, 300), (300_001, 300), (2**32 - 1, 300)])
def test_durable_opens_are_kept_as_long_as_is_asked_within_bounds(asked, given):
    assert durable_seconds(asked) == given


@pytest.mark.parametrize(("asked", "given"), [(0, 120), (1, 0.001), (300_000, 300), (300_001, None)])
def test_resilient_opens_are_not_kept_shorter_than_asked(asked, given):
    assert resilient_seconds(asked) == given


@pytest.mark.parametrize(
    ("kept", "claim", "status"),
    [
        (KEPT, CLAIM_V1, None),
        (KEPT_V2, CLAIM, None),
        (LEASED, LEASED_CLAIM, None),
        # Either version may be asked back by the context of the other.
        (KEPT_V2, CLAIM_V1, None),
        (KEPT, CLAIM._replace(create_guid=b""), None),
        (KEPT, CLAIM, S.OBJECT_NAME_NOT_FOUND),
        (KEPT_V2, CLAIM._replace(create_guid=OTHER_GUID), S.OBJECT_NAME_NOT_FOUND),
        (KEPT._replace(connected=True), CLAIM_V1, S.OBJECT_NAME_NOT_FOUND),
        # Without a lease it is neither the client nor the name that counts.
        (KEPT, CLAIM_V1._replace(client_guid=OTHER_GUID, path="other"), None),
        (LEASED, LEASED_CLAIM._replace(client_guid=OTHER_GUID), S.OBJECT_NAME_NOT_FOUND),
        (LEASED, LEASED_CLAIM._replace(path="other"), S.INVALID_PARAMETER),
        (LEASED, LEASED_CLAIM._replace(path="FOLDER\\FILE"), None),
        (LEASED._replace(deleted_at_close=True), LEASED_CLAIM._replace(path="other"), None),
        (LEASED, CLAIM, S.OBJECT_NAME_NOT_FOUND),
        (KEPT_V2, LEASED_CLAIM, S.OBJECT_NAME_NOT_FOUND),
        (LEASED, LEASED_CLAIM._replace(lease=OTHER_KEY), S.OBJECT_NAME_NOT_FOUND),
        (LEASED, LEASED_CLAIM._replace(lease_version=1), S.OBJECT_NAME_NOT_FOUND),
        (KEPT, CLAIM_V1._replace(user="S-1-5-21-2"), S.ACCESS_DENIED),
        # What is wrong first is what the client is told.
        (LEASED, LEASED_CLAIM._replace(path="other", user="S-1-5-21-2"), S.INVALID_PARAMETER),
        (LEASED, LEASED_CLAIM._replace(lease=OTHER_KEY, path="other"), S.OBJECT_NAME_NOT_FOUND),
        (KEPT._replace(kind=Kind.RESILIENT), CLAIM_V1, None),
        (KEPT_V2._replace(kind=Kind.PERSISTENT), CLAIM._replace(persistent=True), None),
        (KEPT_V2._replace(kind=Kind.PERSISTENT), CLAIM, S.OBJECT_NAME_NOT_FOUND),
        (KEPT_V2._replace(kind=Kind.PERSISTENT), CLAIM_V1, S.OBJECT_NAME_NOT_FOUND),
        (KEPT_V2, CLAIM._replace(persistent=True), S.OBJECT_NAME_NOT_FOUND),
    ],
)
def test_who_gets_an_open_back(kept, claim, status):
    assert refusal(kept, claim) is status
