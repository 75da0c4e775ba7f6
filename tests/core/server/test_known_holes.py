"""Holes that were found in Samba in 2025 and 2026: each as its finder used it, and that it is none here.

What stands behind each is tested where it lives; here a client tries.
"""

import ast
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

import lamina
from lamina.core.plan import ShareSpec
from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.reparse import ReparseData, SymbolicLink, pack_reparse_data, pack_symbolic_link
from lamina.ntfsa.status import NtStatus
from lamina.vfs_modules.stock.worm import WormModule
from tests.support.served import GENERIC_ALL, SECOND_PASSWORD, SECOND_USER, Served, new_file
from tests.support.wire_client import StatusError, WireClient

FILE_OPEN_REPARSE_POINT = 0x200000
FILE_CREATE, FILE_OPEN_IF = 2, 3
PACKAGE = Path(next(iter(lamina.__path__)))
LAYERS = ("core", "ntfsa", "vfs_modules")


def status_of(call: Callable[[], object]) -> NtStatus:
    with pytest.raises(StatusError) as caught:
        call()
    return NtStatus(caught.value.status)


class TestStaleMemory:
    """CVE-2025-9640: a gap in a stream was filled with whatever was in the server's memory."""

    @pytest.fixture(params=["streams_xattr", "streams_depot"])
    def client(self, request: pytest.FixtureRequest, serve: Callable[..., Served], tmp_path: Path) -> WireClient:
        folder = tmp_path / "holes"
        folder.mkdir()
        return serve(shares={"data": ShareSpec(folder, chain=(request.param, "dos_attributes", "posix"))}).connected()

    def test_a_gap_reads_as_zeros(self, client: WireClient) -> None:
        for name in ("file", "file:stream"):
            file = new_file(client, name)
            client.write(file, b"secret" * 200)  # what memory may hold afterwards
            client.set_info(file, 1, c.FILE_END_OF_FILE_INFORMATION, struct.pack("<q", 10))
            client.write(file, b"end", 1500)
            assert client.read(file, 2000) == b"secretsecr" + bytes(1490) + b"end", name
            client.close(file)

    def test_an_end_of_file_that_is_set_reads_as_zeros(self, client: WireClient) -> None:
        file = new_file(client, "file:stream")
        client.set_info(file, 1, c.FILE_END_OF_FILE_INFORMATION, struct.pack("<q", 3000))
        assert client.read(file, 4000) == bytes(3000)


class TestReparsePoints:
    """CVE-2026-1933: whoever could open a file could make a reparse point of it, or take one away."""

    CODES = (c.FSCTL_SET_REPARSE_POINT, c.FSCTL_DELETE_REPARSE_POINT)
    DATA = pack_reparse_data(ReparseData(0x80000025, b"data"))
    LINK = pack_reparse_data(pack_symbolic_link(SymbolicLink("elsewhere", "elsewhere", True)))

    @pytest.mark.parametrize("access", [c.FILE_READ_ATTRIBUTES, c.FILE_READ_DATA, c.DELETE | c.READ_CONTROL], ids=hex)
    def test_it_takes_the_right_to_write(self, client: WireClient, access: int) -> None:
        client.close(new_file(client, "file"))
        file = client.create("file", access=access, options=FILE_OPEN_REPARSE_POINT)
        for code in self.CODES:
            for data in (self.DATA, self.LINK):
                assert status_of(lambda code=code, data=data: client.ioctl(code, data, file)) is NtStatus.ACCESS_DENIED

    def test_a_read_only_share_has_none_made(self, serve: Callable[..., Served], tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        client = serve(shares={"data": ShareSpec(tmp_path, read_only=True)}).connected()
        file = client.create("file", access=c.FILE_READ_ATTRIBUTES, options=FILE_OPEN_REPARSE_POINT)
        assert status_of(lambda: client.ioctl(self.CODES[0], self.DATA, file)) is NtStatus.ACCESS_DENIED


@pytest.mark.skipif(os.geteuid() != 0, reason="tells users apart: run as root")
def test_who_left_a_group_and_logs_on_again_is_no_member(serve: Callable[..., Served], tmp_path: Path) -> None:
    """CVE-2025-0620: a session that authenticated again kept the groups that it had before."""
    folder = tmp_path / "groups"
    folder.mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    (folder / "file").write_text("x")
    os.chown(folder / "file", 0, 4321)
    os.chmod(folder / "file", 0o640)
    served = serve(shares={"data": folder})
    accounts: Any = served.server.runtime.accounts
    accounts.add(SECOND_USER, SECOND_PASSWORD, uid=1234, gid=4321)
    client = served.logged_on(user=SECOND_USER, password=SECOND_PASSWORD)
    client.tree_connect("data")
    client.close(client.create("file", access=c.FILE_READ_DATA))
    accounts.add(SECOND_USER, SECOND_PASSWORD, uid=1234, gid=1234)
    client.session_setup(SECOND_USER, SECOND_PASSWORD, reauthenticate=True)
    assert status_of(lambda: client.create("file", access=c.FILE_READ_DATA)) is NtStatus.ACCESS_DENIED


def test_nothing_is_renamed_over_what_is_to_be_kept(serve: Callable[..., Served], tmp_path: Path) -> None:
    """CVE-2026-2340: a file that was to be kept was replaced by renaming another over it."""
    later = WormModule(clock=lambda: time.time_ns() + 7200 * 1_000_000_000)
    (tmp_path / "kept").write_text("kept")
    chain = (later, "dos_attributes", "posix")
    client = serve(shares={"data": ShareSpec(tmp_path, chain=chain)}).connected()
    (tmp_path / "other").write_text("other")
    refused = []
    for source in ("other", "kept"):
        name = ("kept" if source == "other" else "gone").encode("utf-16-le")
        renaming = struct.pack("<B7xQI", 1, 0, len(name)) + name
        try:
            file = client.create(source, access=c.DELETE)
            client.set_info(file, 1, c.FILE_RENAME_INFORMATION, renaming)
        except StatusError as error:
            refused.append(NtStatus(error.status))
    assert refused == [NtStatus.ACCESS_DENIED] * 2
    assert (tmp_path / "kept").read_text() == "kept"


class TestShells:
    """CVE-2026-4408, CVE-2026-4480: what a client sent was put into a command that a shell ran."""

    MODULES = frozenset({"os", "posix", "asyncio"})
    STARTERS = ("system", "popen", "exec", "spawn", "posix_spawn", "fork", "create_subprocess")
    PROCESSES = frozenset({"subprocess", "pty", "commands", "multiprocessing"})
    OWN_PROGRAMS: ClassVar = {
        "crash_checks.py": "the conformance suite kills a process of its own; no server imports it",
        "crew.py": "the conformance suite's processes, which are Python with its own work; no server imports it",
        "process_work.py": "what these do; it starts none itself",
        "supervisor.py": "its workers are Lamina itself, without a word of a client",
    }

    def starts(self, tree: ast.AST) -> list[str]:
        """Everything in a module that could start a program, by line."""
        found = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in self.MODULES:
                found += [f"{node.lineno}: {node.attr}"] * node.attr.startswith(self.STARTERS)
            elif isinstance(node, ast.keyword) and node.arg == "shell":
                found.append(f"{node.value.lineno}: shell=")
            elif isinstance(node, ast.Import):
                found += [one.name for one in node.names if one.name.split(".")[0] in self.PROCESSES]
            elif isinstance(node, ast.ImportFrom):
                taken = [one.name for one in node.names if one.name.startswith(self.STARTERS)]
                found += taken if node.module in self.MODULES else []
                found += [str(node.module)] if str(node.module).split(".")[0] in self.PROCESSES else []
        return found

    @pytest.mark.parametrize("layer", LAYERS)
    def test_lamina_starts_no_program(self, layer: str) -> None:
        modules = sorted((PACKAGE / layer).resolve().rglob("*.py"))
        assert modules
        found = {path.name: starts for path in modules if (starts := self.starts(ast.parse(path.read_text())))}
        assert found.keys() <= self.OWN_PROGRAMS.keys()

    @pytest.mark.parametrize(
        "source",
        [
            "os.system(x)",
            "os.popen(x)",
            "os.execvp(x, y)",
            "os.posix_spawn(x, y, z)",
            "os.fork()",
            "from os import system",
            "import subprocess",
            "from subprocess import run",
            "run(x, shell=True)",
            "asyncio.create_subprocess_shell(x)",
        ],
    )
    def test_one_that_did_would_be_found(self, source: str) -> None:
        assert self.starts(ast.parse(source))

    def test_names_are_names(self, client: WireClient, served: Served) -> None:
        name = "$(touch owned);`touch owned`;'touch owned'&"
        client.close(client.create(name, access=GENERIC_ALL, disposition=FILE_CREATE))
        assert os.listdir(served.folder) == [name]
        with pytest.raises(StatusError):
            served.logged_on(user="$(touch owned)", password="'; touch owned")
