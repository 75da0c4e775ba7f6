"""The documents: generated pages are fresh, and every example on a page is run."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lamina.core.cli.new_module import distribution_files
from lamina.vfs_modules.operations import Capability
from tests.support.contract import MODULES
from tests.support.processes import REPOSITORY
from tests.support.reference import PAGES, stale

DOCS = REPOSITORY / "docs"
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples(page: Path) -> str:
    """The python of a page, in order: one program, as whoever reads on would have it."""
    return "\n\n".join(PYTHON.findall(page.read_text(encoding="utf-8")))


def test_generated_pages_are_what_the_source_says():
    assert [str(page) for page in stale()] == [], "write them anew: python -m tests.support.reference"
    assert len(PAGES) == 3


@pytest.mark.timeout(300)
def test_the_examples_of_all_pages_run_and_their_tests_pass(tmp_path):
    pytest.importorskip("smbclient", reason="needs smbprotocol: pip install -e '.[test]'")
    pages = [page for page in DOCS.rglob("*.md") if examples(page)]
    assert len(pages) >= 20
    for page in pages:
        name = "_".join(page.relative_to(DOCS).with_suffix("").parts).replace("-", "_")
        (tmp_path / f"test_{name}.py").write_text(examples(page), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", str(tmp_path)]
    # As a module writer has it: an installed Lamina with its pytest plugin, and nothing of this repository's settings.
    result = subprocess.run(
        [*command, "-c", os.devnull, "--rootdir", str(tmp_path)],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]


def imported(program: str) -> set[tuple[str, str]]:
    """What a program imports from Lamina's modules for module writers: module and name."""
    statements = [one for one in ast.walk(ast.parse(program)) if isinstance(one, ast.ImportFrom)]
    return {
        ((one.module or "").removeprefix("lamina.vfs_modules."), alias.name)
        for one in statements
        if (one.module or "").startswith("lamina.vfs_modules.")
        for alias in one.names
    }


def test_what_the_guide_uses_is_part_of_the_contract():
    used = set().union(*(imported(examples(page)) for page in (DOCS / "modules").glob("*.md")))
    used |= set().union(*(imported(text) for text in distribution_files("x").values() if text.startswith('"""')))
    # What only tests of modules use is promised by the pages that show it.
    for_tests = {("chain", "Chain"), ("engine", "Engine"), ("loader", "check_version"), ("loader", "load_module")}
    used = {one for one in used - for_tests if not one[0].startswith(("stock.", "testing"))}
    promised = {module.replace("/", "."): names for module, names in MODULES.items()}
    strangers = [
        f"{module}.{name}"
        for module, name in sorted(used)
        if module not in promised or (promised[module] and name not in promised[module])
    ]
    assert strangers == []


def test_every_capability_is_explained():
    page = (REPOSITORY / "docs/modules/capabilities.md").read_text()
    assert [one.name for one in Capability if f"`{one.name}`" not in page] == []


def test_a_filter_that_passes_everything_but_one_thing_has_at_most_ten_lines():
    text = next(
        text for text in PYTHON.findall((REPOSITORY / "docs/modules/index.md").read_text()) if "NoLinks" in text
    )
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) <= 10
