"""What the first bytes of a connection tell, however many there are and whatever they are."""

from hypothesis import given
from hypothesis import strategies as st

from lamina.core.workers.first_message import NO_GUID, glance
from tests.support.negotiates import GUID, framed, negotiate


@given(st.integers(0, len(negotiate())))
def test_no_guess_is_made_before_the_guid_is_there(length: int) -> None:
    seen = glance(negotiate()[:length])
    if seen.needed:
        assert length < seen.needed <= len(negotiate())
    else:
        assert seen.guid == GUID


def test_it_takes_two_looks() -> None:
    first = glance(b"")
    second = glance(negotiate()[: first.needed])
    assert glance(negotiate()[: second.needed]).guid == GUID


@given(st.binary(max_size=200))
def test_anything_else_may_go_anywhere_and_needs_no_more_than_a_negotiate(received: bytes) -> None:
    seen = glance(received)
    assert seen.needed <= 96
    if received[4:8] != b"\xfeSMB":
        assert seen.guid == NO_GUID


def test_a_message_that_is_too_short_for_a_guid_is_not_waited_for() -> None:
    assert glance(framed(b"\xfeSMB" + bytes(60))).needed == 0
    assert glance(framed(b"\xffSMBr" + bytes(30))) == (0, NO_GUID)
