"""What the documents promise: links lead somewhere, examples are the tested ones, lists are complete."""

import importlib.util
import re
import runpy
import tomllib
from pathlib import Path

import pytest
from smbprotocol.exceptions import SMBOSError

from tests.support.processes import REPOSITORY

PAGES = sorted([REPOSITORY / "README.md", REPOSITORY / "contrib/README.md", *(REPOSITORY / "docs").rglob("*.md")])
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0].lower() for requirement in requirements}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_to_files_that_are_there(page: Path):
    targets = [link.split("#")[0] for link in LINK.findall(FENCE.sub("", page.read_text()))]
    local = [target for target in targets if target and "://" not in target and not target.startswith("mailto:")]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_page_is_in_the_navigation():
    navigation = (REPOSITORY / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    listed = set(re.findall(r"[\w/-]+\.md", navigation))
    assert listed == {str(page.relative_to(REPOSITORY / "docs")) for page in (REPOSITORY / "docs").rglob("*.md")}


def test_every_dependency_has_its_reason():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = _names(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted |= _names(extra)
    table = (REPOSITORY / "docs/dependencies.md").read_text()
    explained = {name.lower() for name in re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)}
    assert explained == wanted


def test_every_dependency_is_really_imported_or_run():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    imports = {"pyspnego": "spnego"}
    source = "\n".join(
        path.read_text() for layer in ("core", "ntfsa", "vfs_modules") for path in (REPOSITORY / layer).rglob("*.py")
    )
    for name in _names(project["dependencies"]):
        module = imports.get(name, name)
        assert re.search(rf"^\s*(import|from) {module}\b", source, re.MULTILINE), f"nothing imports {module}"


def test_the_readme_shows_the_module_that_is_tested():
    example = (REPOSITORY / "docs/examples/block_names.py").read_text()
    assert f"```python\n{example}```" in (REPOSITORY / "README.md").read_text()


def test_the_example_module_is_what_the_readme_says_it_is(lamina_server_factory, tmp_path):
    from tests.clients.test_smbprotocol import Session
    from tests.support.processes import User

    path = REPOSITORY / "docs/examples/block_names.py"
    spec = importlib.util.spec_from_file_location("block_names", path)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    server = lamina_server_factory(chain=[example.BlockNames, "dos_attributes", "posix"])
    session = Session(_Address(server), "share", User(server.username, server.password), encrypt=False)
    session.write(session.path("letter.txt"), b"welcome")
    with pytest.raises(SMBOSError):
        session.write(session.path("virus.EXE"), b"not welcome")
    session.close()
    assert [entry.name for entry in (tmp_path / "share").iterdir()] == ["letter.txt"]
    assert len(path.read_text().splitlines()) <= 30


def test_the_module_that_keeps_streams_is_one_that_does():
    from lamina.vfs_modules.operations import Capability
    from lamina.vfs_modules.stock.memory import MemoryBackend
    from lamina.vfs_modules.testing import local_chain, make_token
    from lamina.vfs_modules.testing.hand import NEEDS
    from lamina.vfs_modules.testing.suite import checks

    path = REPOSITORY / "docs/examples/streams_in_memory.py"
    assert f"```python\n{path.read_text()}```" in (REPOSITORY / "docs/modules/streams.md").read_text()
    example = runpy.run_path(str(path))
    about_streams = [check for check in checks() if Capability.STREAMS in NEEDS[check]]
    assert len(about_streams) >= 9
    for check in about_streams:
        chain = local_chain("/nowhere", example["StreamsInMemory"](), MemoryBackend())
        check(chain, make_token())
        chain.disconnect()


class _Address:
    """The two attributes that the client helpers want of a server."""

    def __init__(self, server):
        self.host = server.address
        self.port = server.port
