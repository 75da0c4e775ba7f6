"""The rules of the NT level know nothing of files, clocks, threads and sockets."""

import ast
from pathlib import Path

import pytest

import lamina.ntfsa

ROOT = Path(lamina.ntfsa.__path__[0])
PURE = [
    "access_check",
    "ace_condition",
    "acl_inheritance",
    "admission",
    "audit",
    "breaking",
    "byte_range",
    "caching",
    "claims",
    "constants",
    "delete",
    "filetime",
    "granting",
    "identities",
    "lock_cover",
    "lock_table",
    "names",
    "posix_acl_mapping",
    "posix_security",
    "record",
    "record_form",
    "registry",
    "security_descriptor",
    "sharing",
    "sid",
    "status",
    "wildcard",
]
FORBIDDEN = {"asyncio", "os", "socket", "threading", "time", "logging", "pathlib", "random", "subprocess", "datetime"}


@pytest.mark.parametrize(
    "path", [*(ROOT / f"{name}.py" for name in PURE), *sorted((ROOT / "fscc").glob("*.py"))], ids=lambda path: path.stem
)
def test_rules_import_nothing_that_acts(path: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    assert not {name.split(".")[0] for name in imported} & FORBIDDEN
    below = {name for name in imported if name.startswith("lamina.vfs_modules")}
    assert below <= {"lamina.vfs_modules.token", "lamina.vfs_modules.outside", "lamina.vfs_modules.posix_acl"}
