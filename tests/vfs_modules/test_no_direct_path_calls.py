"""The project's own rule: only `syscalls` touches a path. Everything else would act as whoever the thread last was."""

import ast
import os
from pathlib import Path

import pytest

import lamina.vfs_modules

ROOT = Path(next(iter(lamina.vfs_modules.__path__)))
EXEMPT = {"credentials.py"}
# The conformance kit makes folders for what it tests, as whoever runs it.
EXEMPT_FOLDERS = {"syscalls", "testing"}
# Calls of `os` that work on a descriptor, on the process or on a string; anything else of `os` may name a path.
ALLOWED_OF_OS = {
    "close", "fdatasync", "fsdecode", "fsencode", "fspath", "fstat", "fsync", "ftruncate", "getegid", "geteuid",
    "getgroups", "getpid", "preadv", "pwrite", "read", "strerror", "PathLike",
}  # fmt: skip
FORBIDDEN_MODULES = {"pathlib", "shutil", "tempfile", "glob", "io"}


def violations(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            if node.attr not in ALLOWED_OF_OS and not isinstance(getattr(os, node.attr), int):
                found.append(f"{node.lineno}: os.{node.attr}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            found.append(f"{node.lineno}: open()")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"{node.lineno}: {name}" for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
            if isinstance(node, ast.ImportFrom) and node.module == "os":
                found.append(f"{node.lineno}: from os import")
    return found


def modules() -> list[Path]:
    return [
        path
        for path in sorted(ROOT.rglob("*.py"))
        if EXEMPT_FOLDERS.isdisjoint(path.parts) and path.name not in EXEMPT
    ]  # fmt: skip


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_call_no_path_call_directly(path: Path) -> None:
    assert violations(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    ["import os\nos.unlink('x')", "open('x')", "import shutil", "from pathlib import Path", "from os import stat"],
)
def test_the_rule_sees_each_kind_of_violation(source: str) -> None:
    assert violations(source) != []


def test_the_rule_lets_descriptor_calls_pass() -> None:
    assert violations("import os\nos.close(3)\nos.preadv(3, [b], 0, os.RWF_NOWAIT)") == []
