"""The same tests, with what pays compiled: the optional build works, and behaves as the source does."""

import ast
import subprocess
import sys

import pytest

from tests.compiled import compiled_sources
from tests.support.processes import REPOSITORY, compiled_library


def _calls_in_slices(source: str) -> list[str]:
    bounds = [
        (part, bound)
        for part in ast.walk(ast.parse(source))
        if isinstance(part, ast.Slice)
        for bound in (part.lower, part.upper, part.step)
        if bound is not None
    ]
    return [
        ast.unparse(part)
        for part, bound in bounds
        for call in ast.walk(bound)
        if isinstance(call, ast.NamedExpr | ast.Call) and not ast.unparse(call).startswith("len(")
    ]


def test_no_bound_of_a_slice_does_something_as_the_compiler_may_do_it_twice():
    found = {path.name: calls for path in compiled_sources() if (calls := _calls_in_slices(path.read_text()))}
    assert not found
    assert _calls_in_slices("x[f(1) : len(y)]") == ["f(1):len(y)"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_selection_of_the_tests_passes_against_the_compiled_build():
    if compiled_library():
        return  # it is what runs here already
    command = [sys.executable, "-m", "tests.compiled", "--selection", "-n", "2", "--dist", "worksteal"]
    done = subprocess.run(command, cwd=REPOSITORY, check=False, text=True, capture_output=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
