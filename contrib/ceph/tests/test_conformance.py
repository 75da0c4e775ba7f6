"""It conforms to Lamina's contract: the whole conformance suite, a test for each case."""

from pathlib import Path

import pytest
from lamina.vfs_modules.testing.conformance import Case, cases

from lamina_ceph.conformance import profile


@pytest.mark.parametrize("case", cases(profile), ids=str)
def test_conforms(case: Case, tmp_path: Path, root: str) -> None:
    case(tmp_path)
