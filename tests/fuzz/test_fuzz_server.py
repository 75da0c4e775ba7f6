import logging

import pytest

from tests.fuzz import fuzz_server


def test_a_live_server_survives_mutated_exchanges():
    assert fuzz_server.run(seed=21, iterations=600) == 600


@pytest.mark.provokes_bugs
def test_a_logged_bug_is_found(tmp_path):
    with fuzz_server.ServerFuzzer(3, tmp_path) as fuzzer:
        fuzzer.step()
        logging.getLogger("lamina.core").error("this is a bug in Lamina")
        with pytest.raises(fuzz_server.FindingError, match="this is a bug in Lamina"):
            fuzzer.step()
