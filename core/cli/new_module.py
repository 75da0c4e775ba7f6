"""The distribution that `lamina module new` writes: a module that does something small, with all that belongs to it.

What is written passes its own tests, lint and types as it is. The texts below are its files; "@name@" and its kin stand
for what the person chose.
"""

import keyword
import re
from pathlib import Path
from typing import Final

from lamina import __version__

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")

MODULE: Final = '''"""Refuses new names that match a pattern. Begin here: change what this does."""

from errno import EACCES
from fnmatch import fnmatchcase
from typing import ClassVar

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ModuleOptions, VfsModule
from lamina.vfs_modules.operations import OpenHow
from lamina.vfs_modules.token import ImpersonationToken
from pydantic import Field


class @Class@Options(ModuleOptions):
    """What the administrator may say in [share.NAME.@name@]."""

    patterns: tuple[str, ...] = Field(default=(), description="names that nothing may be given, such as *.exe")


class @Class@(VfsModule):
    """Refuses new names that match a pattern."""

    Options = @Class@Options
    name: ClassVar[str] = "@name@"
    before: ClassVar[tuple[str, ...]] = ("streams", "security", "dos_attributes")

    options: @Class@Options

    def _check(self, path: str) -> None:
        name = path.rpartition("/")[2].lower()
        if any(fnmatchcase(name, pattern.lower()) for pattern in self.options.patterns):
            raise PermissionError(EACCES, "a name that is not wanted here", path)

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Make no file under such a name."""
        if how.create:
            self._check(path)
        return self.next.open(token, directory, path, how)

    def mkdir(self, token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> None:
        """Make no folder under such a name."""
        self._check(path)
        self.next.mkdir(token, directory, path, mode)

    def rename(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
        replace: bool,
    ) -> None:
        """Give nothing such a name."""
        self._check(target)
        self.next.rename(token, source_directory, source, target_directory, target, replace)
'''

INIT: Final = '''"""The module `@name@` for shares of Lamina."""

from @package@.module import @Class@, @Class@Options

__all__ = ["@Class@", "@Class@Options"]
'''

CONFORMANCE: Final = '''"""The module leaves everything else as it was: Lamina's conformance suite."""

from lamina.vfs_modules.testing.conformance import conformance_test, profile_of

from @package@ import @Class@

profile = profile_of(@Class@)
test_conforms = conformance_test(profile)
'''

TESTS: Final = '''"""What the module does."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lamina import Server
from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.loader import load_module
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.testing import local_chain, make_token

from @package@ import @Class@, @Class@Options

CREATE = OpenHow(Access.READ_WRITE, create=True)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    """The module over a folder."""
    chain = local_chain(tmp_path, @Class@(@Class@Options(patterns=("*.exe",))))
    yield chain
    chain.disconnect()


def test_such_a_file_cannot_be_made(chain: Chain, tmp_path: Path) -> None:
    token = make_token()
    root = chain.open_root(token)
    chain.close(token, chain.open(token, root, "letter.txt", CREATE))
    with pytest.raises(PermissionError):
        chain.open(token, root, "Setup.EXE", CREATE)
    with pytest.raises(PermissionError):
        chain.rename(token, root, "letter.txt", root, "letter.exe", False)
    chain.close(token, root)
    assert [entry.name for entry in tmp_path.iterdir()] == ["letter.txt"]


def test_shares_find_the_module_by_its_name() -> None:
    assert load_module("@name@") is @Class@


def test_a_server_takes_it(lamina_server_factory: Callable[..., Server]) -> None:
    server = lamina_server_factory(chain=["@name@", "streams_xattr", "dos_attributes", "posix"])
    assert server.port
'''

PROJECT: Final = """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "@distribution@"
version = "0.1.0"
description = "The module @name@ for shares of Lamina"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["lamina>=@lamina@", "pydantic>=2.9"]

[project.optional-dependencies]
test = ["import-linter>=2.1", "mypy>=1.15", "pytest>=8", "ruff>=0.12"]

[project.entry-points."lamina.vfs_modules"]
@name@ = "@package@:@Class@"

[tool.setuptools.packages.find]
where = ["src"]

[tool.setuptools.package-data]
"*" = ["py.typed"]

[tool.pytest.ini_options]
testpaths = ["tests"]

[tool.mypy]
files = ["src", "tests"]
strict = true

[tool.ruff]
line-length = 120

[tool.ruff.lint]
select = ["E", "F", "I", "B", "UP", "SIM"]

[tool.ruff.lint.isort]
known-first-party = ["@package@"]

# Lamina's contract with modules is lamina.vfs_modules; what is above it may change at any time.
[tool.importlinter]
root_package = "@package@"
include_external_packages = true

[[tool.importlinter.contracts]]
name = "nothing but the public contract is used"
type = "forbidden"
source_modules = ["@package@"]
forbidden_modules = ["lamina.core", "lamina.ntfsa"]
allow_indirect_imports = true
"""

README: Final = """# @distribution@

The module `@name@` for shares of [Lamina](https://pypi.org/project/lamina/). It refuses new names that match a pattern.

```sh
pip install @distribution@
```

```toml
[share.data]
path = "/srv/data"
chain = ["@name@", "streams_xattr", "dos_attributes", "posix"]

[share.data.@name@]
patterns = ["*.exe", "*.scr"]
```

| Option | Default | What it does |
| --- | --- | --- |
| `patterns` | none | names that nothing may be given, whatever their case |

`lamina module info @name@` and `lamina module options @name@` say the same of what is installed.

## Changing it

```sh
pip install -e '.[test]'
pytest                        # what it does, and Lamina's conformance suite
lamina module test @name@     # the suite, as a report
ruff check . && mypy && lint-imports
```

The code is `src/@package@/module.py`.
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
"""

CHANGES: Final = """# Changes

## 0.1.0

The first version.
"""

_FILES: Final = {
    "src/@package@/module.py": MODULE,
    "src/@package@/__init__.py": INIT,
    "src/@package@/py.typed": "",
    "tests/test_@name@.py": TESTS,
    "tests/test_conformance.py": CONFORMANCE,
    "pyproject.toml": PROJECT,
    "README.md": README,
    "CHANGELOG.md": CHANGES,
    ".github/workflows/tests.yml": WORKFLOW,
    ".gitignore": "__pycache__/\n*.egg-info/\n.venv/\ndist/\nbuild/\n",
}


def distribution_files(name: str) -> dict[str, str]:
    """The files of a new distribution with a module `name`, by path. Raises ValueError for what is no name."""
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ValueError(f"{name!r} cannot be the name of a module: lower-case letters, digits and underscores only")
    words = {
        "@name@": name,
        "@package@": f"lamina_{name}",
        "@distribution@": f"lamina-{name.replace('_', '-')}",
        "@Class@": "".join(map(str.capitalize, name.split("_"))) + "Module",
        "@lamina@": __version__,
    }
    return {_filled(path, words): _filled(text, words) for path, text in _FILES.items()}


def _filled(text: str, words: dict[str, str]) -> str:
    for mark, word in words.items():
        text = text.replace(mark, word)
    return text


def write_distribution(name: str, folder: Path) -> tuple[str, ...]:
    """Write a new distribution into `folder`, which must not be there, or be empty; the files that were written.

    Raises ValueError for what is no name, OSError where the folder cannot be written.
    """
    files = distribution_files(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there already")
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return tuple(files)
