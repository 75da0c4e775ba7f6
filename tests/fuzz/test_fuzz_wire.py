import random

import pytest

from tests.fuzz import fuzz_wire
from tests.support.wire_samples import SAMPLES


def test_mutated_messages_give_a_value_or_a_wire_error():
    assert fuzz_wire.run(seed=20, iterations=20_000) == 20_000


def test_the_same_seed_makes_the_same_inputs():
    first, second = (random.Random(3) for _ in range(2))
    assert [fuzz_wire.mutate(s.data, first) for s in SAMPLES] == [fuzz_wire.mutate(s.data, second) for s in SAMPLES]


def test_a_decoder_that_raises_something_else_is_found():
    broken = SAMPLES[0]._replace(decode=lambda data: data[len(data)])
    with pytest.raises(fuzz_wire.FindingError, match="IndexError for 78"):
        fuzz_wire.check(broken, b"x")
