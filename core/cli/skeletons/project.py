"""The files around the module, which are the same for every kind of it."""

from typing import Final

INIT: Final = '''\
"""The @kind@ `@name@` for shares of Lamina."""

from @package@.module import (
    @Class@,
    @Class@Options,
)

__all__ = ["@Class@", "@Class@Options"]
'''

PROFILE: Final = '''\
"""The profile that the conformance suite judges this by: `lamina module test @name@`."""

from lamina.vfs_modules.testing.conformance import profile_of

from @package@.module import @Class@

profile = profile_of(@Class@)
'''

CONFORMANCE: Final = '''\
"""It conforms to Lamina's contract: the whole conformance suite, a test for each case."""

from lamina.vfs_modules.testing.conformance import conformance_test

from @package@.conformance import profile

test_conforms = conformance_test(profile)
'''

PROJECT: Final = """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "@distribution@"
version = "0.1.0"
description = "The @kind@ @name@ for shares of Lamina"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["lamina>=@lamina@", "pydantic>=2.9"]

[project.optional-dependencies]
test = ["hypothesis>=6.100", "import-linter>=2.1", "mypy>=1.15", "pytest>=8", "ruff>=0.12", "smbprotocol>=1.15"]

[project.entry-points."lamina.vfs_modules"]
@name@ = "@package@:@Class@"

# What `lamina module test @name@` tries it as.
[project.entry-points."lamina.conformance"]
@name@ = "@package@.conformance:profile"

[tool.setuptools.packages.find]
where = ["src"]

[tool.setuptools.package-data]
"*" = ["py.typed"]

[tool.pytest.ini_options]
testpaths = ["tests"]

[tool.mypy]
files = ["src", "tests"]
strict = true

# A client for tests (`pip install smbprotocol`) that has no types.
[[tool.mypy.overrides]]
module = ["smbclient.*"]
ignore_missing_imports = true

[tool.ruff]
line-length = 120

[tool.ruff.lint]
select = ["E", "F", "I", "B", "UP", "SIM"]

[tool.ruff.lint.isort]
known-first-party = ["@package@"]

# Lamina's contract with modules is lamina.vfs_modules; what is above it may change at any time.
[tool.importlinter]
root_packages = ["@package@", "lamina"]

[[tool.importlinter.contracts]]
name = "nothing but the public contract is used"
type = "forbidden"
source_modules = ["@package@"]
forbidden_modules = ["lamina.core", "lamina.ntfsa"]
allow_indirect_imports = true
"""

README: Final = """# @distribution@

The @kind@ `@name@` for shares of [Lamina](https://pypi.org/project/lamina/). @does@

```sh
pip install @distribution@
```

```toml
[share.data]
path = "/srv/data"
chain = [@chain@]

[share.data.@name@]
@option@
```

| Option | Default | What it does |
| --- | --- | --- |
@options@

`lamina module info @name@` and `lamina module options @name@` say the same of what is installed.

## Changing it

```sh
pip install -e '.[test]'
pytest                        # what it does, and Lamina's conformance suite
lamina module test @name@     # the suite, as a report
ruff check . && mypy && lint-imports
```

The code is `src/@package@/module.py`. `lamina trace SHARE` shows what it does in a share, and in what time.
"""

WORKFLOW: Final = """name: tests
on: [push, pull_request]

jobs:
  test:
    runs-on: ubuntu-latest
    strategy:
      matrix:
        python: ["3.11", "3.12", "3.13"]
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: ${{ matrix.python }}
      - run: pip install -e '.[test]'
      - run: ruff check .
      - run: mypy
      - run: lint-imports
      - run: pytest
      - run: lamina module test @name@
      - run: pip install build && python -m build
"""

CHANGES: Final = """# Changes

## 0.1.0

The first version.
"""

FILES: Final = {
    "src/@package@/__init__.py": INIT,
    "src/@package@/conformance.py": PROFILE,
    "src/@package@/py.typed": "",
    "tests/test_conformance.py": CONFORMANCE,
    "pyproject.toml": PROJECT,
    "README.md": README,
    "CHANGELOG.md": CHANGES,
    ".github/workflows/test.yml": WORKFLOW,
    ".gitignore": "__pycache__/\n*.egg-info/\n.venv/\ndist/\nbuild/\n",
}
"""The files by their paths."""
