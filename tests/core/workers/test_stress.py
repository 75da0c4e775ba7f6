"""A moment of what `python -m tests.core.workers.stress` does for as long as is wanted."""

import pytest

from tests.core.workers.stress import one_round, one_round_of_kills
from tests.support.crew import Crew


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_who_watches_knows_what_is_there_whichever_worker_changes_it(crew: Crew) -> None:
    assert one_round(crew, 1, 40) == []


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_nothing_is_left_of_workers_that_are_killed(crew: Crew) -> None:
    assert one_round_of_kills(crew, 1, 20) == []
