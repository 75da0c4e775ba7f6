"""Which Lamina the tests try: the source, or where `python -m tests.compiled` runs them, what it has compiled."""

import importlib
import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from lamina.core.compiled import by_package, compiled_modules, in_short
from lamina.core.status import as_text
from tests.support.processes import Folder, Layout, compiled_library, start_lamina

LIBRARY = compiled_library()


def test_without_a_compiled_library_all_is_python_and_with_one_it_is_what_is_tried():
    files = [Path(importlib.import_module(f"lamina.{name}").__file__) for name in compiled_modules()]
    assert bool(files) is bool(LIBRARY)
    for file in files:
        assert file.name.endswith(tuple(EXTENSION_SUFFIXES))
        assert file.is_relative_to(LIBRARY[0])


def test_the_formats_and_rules_are_among_what_is_compiled():
    expected = {"core.wire.header", "core.short_way", "ntfsa.fscc.directory_information", "ntfsa.security.access_check"}
    assert expected & set(compiled_modules()) == (expected if LIBRARY else set())


def test_a_server_of_the_tests_is_of_the_same_build(tmp_path):
    (tmp_path / "share").mkdir()
    (tmp_path / "state").mkdir()
    server = start_lamina(Layout({"share": Folder(str(tmp_path / "share"))}, ()), tmp_path / "state")
    try:
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    finally:
        server.stop()
    assert ("/lamina/core/wire/header." in maps) is bool(LIBRARY)


def test_the_version_says_so():
    command = [sys.executable, "-m", "lamina.core.cli", "--version"]
    said = subprocess.run(command, check=True, text=True, capture_output=True, env=os.environ).stdout
    assert said.strip() == f"0.1.0{in_short()}"
    assert ("modules compiled" in said) is bool(LIBRARY)


def test_packages_are_told_with_how_many_of_their_modules_are_compiled():
    assert by_package(["core.wire.read", "core.credit_window", "core.wire.write"]) == "core 1, core.wire 2"


def test_the_status_tells_what_is_compiled_where_something_is():
    shown = {"version": "1", "uptime": 1, "connections": 0, "sessions": 0, "waiting": 0, "shares": []}
    assert list(as_text({**shown, "compiled": ["core.wire.read"]}))[1:] == ["compiled: core.wire 1"]
    assert list(as_text({**shown, "compiled": []}))[1:] == []
