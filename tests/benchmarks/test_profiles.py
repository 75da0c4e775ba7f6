"""What perf, strace and the sampler write is read rightly."""

import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cases import Case, Sample
from benchmarks.profile_table import Profile, as_markdown, show
from benchmarks.profiles import (
    OTHERS,
    counted_by_perf,
    counted_by_strace,
    functions_of,
    layer_of,
    layers_of,
    rarely_left_out,
    samples_of,
    shared_out,
)
from benchmarks.sampler import END, START, STOP, Sampler
from lamina.vfs_modules import engine

PERF_STAT = """# started on Sat Nov 21 17:44:52 2026

2,,syscalls:sys_enter_setfsgid,199807933,100.00,,
0,,syscalls:sys_enter_dup,199807933,100.00,,
928,,syscalls:sys_enter_openat,199807933,100.00,,
<not counted>,,syscalls:sys_enter_fork,0,100.00,,
"""
STRACE = """% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 51.39    0.001234          12       928           openat
 48.61    0.001167           2       500         3 newfstatat
------ ----------- ----------- --------- --------- ----------------
100.00    0.002401           5      1428         3 total
"""
PERF_SCRIPT = """
    ffffffff816b4791 do_dentry_open ([kernel.kallsyms])
    ffffffff816b795d __x64_sys_openat ([kernel.kallsyms])
    ffffffff821ef691 do_syscall_64 ([kernel.kallsyms])
    ffffffff81000130 entry_SYSCALL_64_after_hwframe ([kernel.kallsyms])
               f8218 __libc_openat64 (/usr/lib/x86_64-linux-gnu/libc.so.6)

    ffffffff816b4791 tcp_sendmsg ([kernel.kallsyms])
    ffffffff816b795d do_writev ([kernel.kallsyms])
    ffffffff821ef691 do_syscall_64 ([kernel.kallsyms])

    ffffffff821ef691 do_syscall_64 ([kernel.kallsyms])
    ffffffff81000130 entry_SYSCALL_64_after_hwframe ([kernel.kallsyms])

    ffffffff816b4791 clear_page ([kernel.kallsyms])
    ffffffff816b795d asm_exc_page_fault ([kernel.kallsyms])
               fda56 _PyEval_EvalFrameDefault (/lib/libpython3.11.so.1.0)

               fda56 _PyEval_EvalFrameDefault (/lib/libpython3.11.so.1.0)
        7fcd7e2fc600 [unknown] ([unknown])

               abcde operator()(int) const (/lib/libcrypto.so.3)

        7fcd7e2fc600 [unknown] ([unknown])
"""


def test_system_calls_are_counted_from_either_program() -> None:
    assert counted_by_perf(PERF_STAT) == {"setfsgid": 2, "openat": 928}
    assert counted_by_strace(STRACE) == {"openat": 928, "newfstatat": 500}


def test_samples_in_the_kernel_belong_to_system_calls_and_others_to_programs() -> None:
    samples = samples_of(PERF_SCRIPT)
    assert samples.system == {"openat": 1, "writev": 1, "entry and exit": 1, "page faults": 1}
    assert samples.user == {"interpreter": 1, "cryptography": 1, "[unknown]": 1}
    assert samples.total == 7


@pytest.mark.parametrize(
    ("path", "layer"),
    [
        ("core/wire/header.py", "wire"),
        ("core/connection.py", "connection"),
        ("core/commands/create.py", "commands"),
        ("vfs_modules/syscalls/paths.py", "system calls on files"),
        ("vfs_modules/stock/posix/data.py", "chain"),
        ("ntfsa/opening/quick_open.py", "ntfsa"),
        ("-", OTHERS),
    ],
)
def test_every_file_has_a_layer(path: str, layer: str) -> None:
    assert layer_of(path) == layer


def test_every_source_of_the_layers_belongs_to_one() -> None:
    top = Path(__file__).parents[2]
    files = [path for layer in ("core", "ntfsa", "vfs_modules") for path in (top / layer).rglob("*.py")]
    assert OTHERS not in {layer_of(str(path.relative_to(top))) for path in files}


def test_time_is_shared_out_by_samples() -> None:
    functions = functions_of("30 core/wire/a.py A.b\n10 core/wire/c.py d.<locals>.<lambda>\n60 - -\n")
    assert layers_of(functions) == {"wire": 40, OTHERS: 60}
    assert shared_out(10.0, layers_of(functions)) == {OTHERS: 6.0, "wire": 4.0}
    assert list(shared_out(10.0, functions))[1:] == [
        ("core/wire/a.py", "A.b"),
        ("core/wire/c.py", "d.<locals>.<lambda>"),
    ]
    assert shared_out(10.0, Counter[str]()) == {}
    assert rarely_left_out({"a": 0.1, "b": 2.0, "c": 1.0}, 1.0) == {"b": 2.0, "c": 1.0}


@pytest.fixture
def handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[int, Any]:
    """What a sampler does at each signal."""
    found: dict[int, Any] = {}
    monkeypatch.setattr(signal, "signal", found.__setitem__)
    monkeypatch.setattr(signal, "setitimer", lambda *_: None)
    Sampler(tmp_path / "found").install()
    return found


def test_the_sampler_names_the_innermost_function_of_ours(tmp_path: Path, handlers: dict[int, Any]) -> None:
    where = engine.__file__
    code = compile("def work():\n    look()\n\nclass Any: call = staticmethod(work)\n\nAny.call()", where, "exec")
    handlers[START](START, None)
    frames = []

    def look() -> None:
        frames.append(sys._getframe())

    exec(code, {"look": look})
    handlers[signal.SIGPROF](signal.SIGPROF, frames[0])
    handlers[signal.SIGPROF](signal.SIGPROF, None)
    handlers[STOP](STOP, None)
    assert (tmp_path / "found").read_text() == f"1 vfs_modules/engine.py work\n1 - -\n{END}"


def test_what_was_before_a_function_is_not_that_functions(tmp_path: Path, handlers: dict[int, Any]) -> None:
    source = "def begins():\n    pass\n\ndef calls():\n    begins()\n\ncalls()"
    code = compile(source, engine.__file__, "exec")
    handlers[START](START, None)

    def look(frame: Any, event: str, _argument: Any) -> None:
        if event == "call" and frame.f_code.co_name == "begins":
            handlers[signal.SIGPROF](signal.SIGPROF, frame)

    before = sys.gettrace()
    sys.settrace(look)
    try:
        exec(code, {})
    finally:
        sys.settrace(before)
    handlers[STOP](STOP, None)
    assert (tmp_path / "found").read_text() == f"1 vfs_modules/engine.py calls\n{END}"


def test_a_profile_is_shown_as_text_and_as_tables() -> None:
    functions = Counter({("core/wire/a.py", "A.b"): 1, ("-", "-"): 3})
    sample = Sample(1000.0, 20.0, 0.5, 500)
    calls = {"preadv2": 1.0, "writev": 0.125, "futex": 0.001}
    found = Profile(Case("read4k", "plain", 8), "lamina", sample, 12.0, calls, samples_of(PERF_SCRIPT), functions)
    told = show(found)
    assert "lamina: read4k, plain, 1 × 8: 20.0 µs (user 12.0, system 8.0), 1,000 operations a second" in told
    assert "5.0 µs A.b (core/wire/a.py)" in told
    assert "futex" not in told
    table = as_markdown([found])
    assert "| read4k | 20.0 | 12.0 | 8.0 | 5.0 |" in table
    assert "preadv2 1, writev 0.12 (22.9)" in table
    assert len({line.count("|") for line in table.splitlines()[:3]}) == 1
