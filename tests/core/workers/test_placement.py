"""Which worker a client's connections go to."""

import pytest

from lamina.core.workers import placement
from lamina.core.workers.first_message import NO_GUID
from lamina.core.workers.placement import Placement

ADA, BOB, CYD = (letter * 16 for letter in (b"a", b"b", b"c"))


@pytest.fixture
def three() -> Placement:
    made = Placement()
    made.workers |= {1, 2, 3}
    return made


def test_new_clients_are_spread_and_stay_where_they_are(three: Placement) -> None:
    homes = {guid: three.place(guid) for guid in (ADA, BOB, CYD)}
    assert sorted(map(int, filter(None, homes.values()))) == [1, 2, 3]
    for _ in range(5):
        assert {guid: three.place(guid) for guid in homes} == homes


def test_who_comes_back_is_known(three: Placement) -> None:
    home = three.place(ADA)
    assert home is not None
    three.leave(ADA, home)
    three.place(BOB)
    assert three.place(ADA) == home


def test_without_a_guid_each_connection_goes_where_the_fewest_are(three: Placement) -> None:
    assert sorted(filter(None, (three.place(NO_GUID) for _ in range(6)))) == [1, 1, 2, 2, 3, 3]


def test_a_client_waits_for_its_worker_to_come_back_and_new_ones_go_elsewhere(three: Placement) -> None:
    home = three.place(ADA)
    assert home is not None
    three.ended(home)
    assert three.place(ADA) == home
    assert home not in {three.place(bytes([number] * 16)) for number in range(1, 9)}


def test_there_may_be_nobody() -> None:
    assert Placement().place(ADA) is None


def test_not_all_that_have_ever_been_there_are_remembered(three: Placement, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "REMEMBERED", 10)
    for number in range(100):
        guid = number.to_bytes(16, "big")
        home = three.place(guid)
        if number != 1 and home is not None:
            three.leave(guid, home)
    assert len(three._homes) <= 12
    assert three.place((1).to_bytes(16, "big")) is not None
