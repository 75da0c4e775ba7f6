"""The rules of the NT level know nothing of files, clocks, threads and sockets."""

import ast
from pathlib import Path

import pytest

import lamina.ntfsa

ROOT = Path(lamina.ntfsa.__path__[0])
PURE = [
    "constants",
    "grants/admission",
    "grants/breaking",
    "grants/caching",
    "grants/granting",
    "locks/byte_range",
    "locks/lock_cover",
    "locks/lock_table",
    "naming/names",
    "naming/wildcard",
    "opening/delete",
    "opening/sharing",
    "record",
    "record_form",
    "registry",
    "security/access_check",
    "security/ace_condition",
    "security/acl_inheritance",
    "security/audit",
    "security/claims",
    "security/default_lists",
    "security/identities",
    "security/posix_acl_mapping",
    "security/posix_security",
    "security/security_descriptor",
    "security/sid",
    "status",
    "times/filetime",
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
    assert below <= {
        "lamina.vfs_modules.token",
        "lamina.vfs_modules.outside",
        "lamina.vfs_modules.forms.posix_acl",
        "lamina.vfs_modules.operations.capability",
    }
