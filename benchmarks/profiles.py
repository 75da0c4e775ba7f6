"""What perf, strace and the sampler write, as numbers: reading their output, and whose code a sample is in."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

LAYERS: Final = (
    ("wire", ("core/wire/",)),
    ("protection", ("core/crypto/",)),
    ("transport", ("core/transport", "core/accepted_transport", "core/buffers", "core/outgoing")),
    ("logon", ("core/auth/", "core/identity/")),
    ("commands", ("core/commands/", "core/short_files")),
    ("connection", ("core/",)),
    ("ntfsa", ("ntfsa/",)),
    ("system calls on files", ("vfs_modules/syscalls/",)),
    ("engine", ("vfs_modules/engine",)),
    ("chain", ("vfs_modules/",)),
)
"""Which files are which layer: the first that fits. A function of anybody else's is its caller's."""
OTHERS: Final = "event loop"
"""Where no function of Lamina's is on the stack."""

_FRAME: Final = re.compile(r"^\s+[0-9a-f]+ (?P<symbol>.*) \((?P<file>[^()]*|\[[^]]*\][^()]*)\)$")
_GATES: Final = ("do_syscall_64", "x64_sys_call", "invoke_syscall", "el0_svc")
_PREFIXES: Final = ("__x64_sys_", "__arm64_sys_", "__se_sys_", "__do_sys_", "__sys_", "ksys_", "do_")
_COUNTED: Final = re.compile(r"^(?P<count>\d+),[^,]*,syscalls:sys_enter_(?P<name>\w+),", re.MULTILINE)
_TRACED: Final = re.compile(
    r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(?P<count>\d+)\s+(?:\d+\s+)?(?P<name>[a-z]\w*)$", re.MULTILINE
)
_SHORTER: Final = (
    (re.compile(r"python"), "interpreter"),
    (re.compile(r"uvloop"), "event loop (uvloop)"),
    (re.compile(r"greenlet"), "greenlets"),
    (re.compile(r"crypto|_rust"), "cryptography"),
    (re.compile(r"^libc[.-]"), "C library (memory, copies)"),
    (re.compile(r"^(smbd|libsmbd|libsamba|libsmb|libndr|libtevent|libtalloc|libtdb)"), "samba"),
)


Name = TypeVar("Name")


class Samples(NamedTuple):
    """How many samples were in the kernel, by system call, and how many outside, by program or library."""

    system: Counter[str]
    user: Counter[str]

    @property
    def total(self) -> int:
        return self.system.total() + self.user.total()


def counted_by_perf(text: str) -> Counter[str]:
    """The system calls that `perf stat -x, -e 'syscalls:sys_enter_*'` has counted."""
    return Counter({found["name"]: int(found["count"]) for found in _COUNTED.finditer(text) if int(found["count"])})


def counted_by_strace(text: str) -> Counter[str]:
    """The system calls that `strace -c` has counted."""
    return Counter({found["name"]: int(found["count"]) for found in _TRACED.finditer(text) if found["name"] != "total"})


def samples_of(text: str) -> Samples:
    """The samples that `perf script -F ip,sym,dso` tells of, each a paragraph, the innermost function first."""
    samples = Samples(Counter(), Counter())
    for paragraph in text.split("\n\n"):
        frames = [(found["symbol"], found["file"]) for line in paragraph.splitlines() if (found := _FRAME.match(line))]
        if not frames:
            continue
        if frames[0][1].startswith("[kernel"):
            samples.system[_system_call([symbol for symbol, _ in frames])] += 1
        else:
            samples.user[_program(frames[0][1])] += 1
    return samples


def _system_call(symbols: Sequence[str]) -> str:
    """What the kernel was asked for, or what it does by itself. The entry's own function may be a part of the gate."""
    inner = ""
    for symbol in symbols:
        if symbol.startswith(_GATES):
            return _without_prefix(inner) or "entry and exit"
        if "page_fault" in symbol:
            return "page faults"
        if symbol.startswith(("asm_sysvec", "asm_common_interrupt")):
            return "interrupts"
        inner = symbol
    return "entry and exit"


def _without_prefix(symbol: str) -> str:
    prefix = next((prefix for prefix in _PREFIXES if symbol.startswith(prefix)), "")
    return symbol.removeprefix(prefix)


def _program(path: str) -> str:
    name = path.rpartition("/")[2]
    return next((short for pattern, short in _SHORTER if pattern.search(name)), name or path)


def functions_of(sampled: str) -> Counter[tuple[str, str]]:
    """The samples of each function of ours, by path and name, as the sampler has written them; `-` is no function."""
    found: Counter[tuple[str, str]] = Counter()
    for line in sampled.splitlines():
        count, path, name = line.split(" ", 2)
        found[path, name] += int(count)
    return found


def layers_of(functions: Mapping[tuple[str, str], int]) -> Counter[str]:
    """The samples of each layer."""
    found: Counter[str] = Counter()
    for (path, _), count in functions.items():
        found[layer_of(path)] += count
    return found


def layer_of(path: str) -> str:
    """The layer of a file of ours, by its path from the package on."""
    return next((name for name, beginnings in LAYERS if path.startswith(beginnings)), OTHERS)


def shared_out(whole: float, samples: Mapping[Name, int]) -> dict[Name, float]:
    """`whole` (µs), in the proportion of the samples, the largest first."""
    total = sum(samples.values())
    return {name: whole * count / total for name, count in sorted(samples.items(), key=lambda item: -item[1])}


def rarely_left_out(numbers: Mapping[str, float], least: float) -> dict[str, float]:
    """Those that are at least `least`, the largest first."""
    return {name: number for name, number in sorted(numbers.items(), key=lambda item: -item[1]) if number >= least}
