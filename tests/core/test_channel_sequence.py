"""Channel sequence numbers by themselves (MS-SMB2 3.3.5.2.10)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.core.channel_sequence import ChannelSequence

numbers = st.integers(0, 0xFFFF)


def done(sequence: ChannelSequence, number: int, replay: bool = False) -> bool:
    """A request that is over before the next one comes."""
    counted = sequence.admit(number, replay)
    if counted:
        sequence.finished(number)
    return counted


@pytest.mark.parametrize("replay", [False, True])
@pytest.mark.parametrize(
    ("number", "admitted"),
    [(0x1234, True), (0x1235, True), (0x1234 + 0x7FFF, True), (0x1234 + 0x8000, False), (0x1233, False), (0, False)],
)
def test_a_number_is_newer_up_to_half_of_them_ahead(number: int, admitted: bool, replay: bool) -> None:
    assert done(ChannelSequence(0x1234), number, replay) is admitted


def test_numbers_go_round() -> None:
    sequence = ChannelSequence(0xFFFF)
    assert done(sequence, 0)
    assert not done(sequence, 0xFFFF)


def test_a_request_of_an_older_number_does_not_set_it_back() -> None:
    sequence = ChannelSequence(5)
    assert not done(sequence, 4)
    assert sequence.current == 5


def test_a_new_request_does_not_wait_for_those_of_a_lost_channel() -> None:
    sequence = ChannelSequence()
    assert sequence.admit(0, False)
    assert done(sequence, 1)
    assert sequence.earlier == 1


def test_what_is_sent_again_waits_for_those_of_the_lost_channel() -> None:
    sequence = ChannelSequence()
    assert sequence.admit(0, False)
    assert sequence.admit(0, False)
    assert not done(sequence, 1, replay=True)
    sequence.finished(0)
    assert not done(sequence, 1, replay=True)
    sequence.finished(0)
    assert done(sequence, 1, replay=True)


def test_what_is_sent_again_waits_for_those_of_every_lost_channel() -> None:
    sequence = ChannelSequence()
    assert sequence.admit(0, False)
    assert sequence.admit(1, False)
    assert not done(sequence, 2, replay=True)
    sequence.finished(0)
    assert not done(sequence, 2, replay=True)
    sequence.finished(1)
    assert done(sequence, 2, replay=True)


def test_what_is_sent_again_does_not_wait_for_others_that_are() -> None:
    sequence = ChannelSequence()
    assert sequence.admit(1, True)
    assert sequence.admit(1, True)


def test_in_another_session_a_lower_number_is_as_good() -> None:
    sequence = ChannelSequence(9)
    assert sequence.admit(9, False)
    sequence.begin_anew(0)
    assert not done(sequence, 0, replay=True)
    sequence.finished(9)
    assert done(sequence, 0, replay=True)


@given(st.lists(st.tuples(numbers, st.booleans(), st.booleans())))
def test_counts_are_those_of_the_requests_under_way(requests: list[tuple[int, bool, bool]]) -> None:
    sequence = ChannelSequence()
    under_way: list[int] = []
    for number, replay, one_ends in requests:
        if sequence.admit(number, replay):
            under_way.append(number)
        if one_ends and under_way:
            sequence.finished(under_way.pop(0))
        assert sequence.outstanding + sequence.earlier == len(under_way)
        assert min(sequence.outstanding, sequence.earlier) >= 0
    for number in under_way:
        sequence.finished(number)
    assert (sequence.outstanding, sequence.earlier) == (0, 0)
