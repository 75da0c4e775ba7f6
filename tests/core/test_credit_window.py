"""The sequence window: what is granted may be used once, in any order, and nothing else may."""

from hypothesis import given
from hypothesis import strategies as st

from lamina.core.credit_window import CreditWindow


def test_a_new_connection_may_send_message_zero_only() -> None:
    window = CreditWindow(limit=8)
    assert not window.consume(1, 1)
    assert window.consume(0, 1)
    assert not window.consume(0, 1)


def test_granted_ids_may_be_used_out_of_order_but_once() -> None:
    window = CreditWindow(limit=8)
    window.consume(0, 1)
    assert window.grant(4) == 4
    assert window.consume(3, 1)
    assert not window.consume(3, 1)
    assert window.consume(1, 2)
    assert not window.consume(2, 1)
    assert window.consume(4, 1)
    assert window.low == 5


def test_a_charge_that_reaches_beyond_the_window_or_over_a_used_id_is_refused_whole() -> None:
    window = CreditWindow(limit=8)
    window.consume(0, 1)
    window.grant(4)
    assert not window.consume(3, 3)
    assert window.consume(2, 1)
    assert not window.consume(1, 2)
    assert window.consume(1, 1)


def test_no_more_than_the_limit_is_ever_granted() -> None:
    window = CreditWindow(limit=8)
    assert window.grant(100) == 7
    assert window.grant(1) == 0


def test_a_request_for_no_credits_is_granted_one() -> None:
    window = CreditWindow(limit=8)
    window.consume(0, 1)
    assert window.grant(0) == 1


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 4), st.integers(0, 5)), max_size=60))
def test_an_id_is_accepted_if_and_only_if_granted_and_unused(steps: list[tuple[int, int, int]]) -> None:
    window = CreditWindow(limit=16)
    granted, used = {0}, set[int]()
    for message_id, charge, ask in steps:
        ids = set(range(message_id, message_id + charge))
        allowed = ids <= granted and not ids & used
        assert window.consume(message_id, charge) == allowed
        if allowed:
            used |= ids
        count = window.grant(ask)
        granted |= set(range(max(granted) + 1, max(granted) + 1 + count))
