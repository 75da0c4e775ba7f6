"""The virtual machine itself: QEMU with the host's files read-only, a scratch disk, and nothing of a network but `lo`.

Needs no rights: who runs it decides which of the host's files the guest's root can read.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.guest.initramfs import initramfs
from tests.guest.kernel import Kernel, kernel

_QEMU, _BUSYBOX = "qemu-system-x86_64", "busybox"
_WHY_NOT = "needs a virtual machine: on x86-64, apt install qemu-system-x86 busybox-static e2fsprogs"

_BASE = ("virtio_pci", "virtio_console", "virtio_blk", "9p", "9pnet_virtio", "overlay", "crc32c_generic", "ext4")
_STORAGE = ("loop", "quota_v2", "xfs")
_CRYPTO = (
    "ecb",
    "hmac",
    "md5",
    "sha256_generic",
    "sha512_generic",
    "cmac",
    "ctr",
    "ghash_generic",
    "ccm",
    "gcm",
    "aes_generic",
)
_SMB = (*_CRYPTO, "nls_utf8", "cifs")
_MODULES = (*_BASE, *_STORAGE, *_SMB)

_DISK = 4 << 30
_BOOT_SECONDS = 10.0
"""How long a machine with KVM may take until its kernel runs: nested ones were seen to hang for ever."""


class Size(NamedTuple):
    """How large a machine is (`memory` in MiB), and how long it may run (seconds)."""

    memory: int = 1024
    processors: int = 1
    seconds: float = 480.0


USUAL = Size()


class GuestError(Exception):
    """The machine did not come to the end of its command; holds the end of its console."""


def what_is_missing() -> str | None:
    """Why there can be no machine here; None where there can."""
    programs = (_QEMU, _BUSYBOX, "mkfs.ext4")
    there = os.uname().machine == "x86_64" and all(map(shutil.which, programs)) and _needs_nothing(_busybox())
    return None if there else _WHY_NOT


def _busybox() -> bytes:
    return Path(shutil.which(_BUSYBOX) or "").read_bytes()


def _needs_nothing(program: bytes) -> bool:
    """Whether it can run where there are no libraries: it names no program that is to load them."""
    return b"ld-linux-x86-64" not in program[:4096]


def run_in_guest(command: str, say: Callable[[str], object], size: Size = USUAL) -> int:
    """Run a shell script as root in a new machine; its exit status. `say` is called with all that it prints, by lines.

    With KVM where that works, else with QEMU's emulation. Raises GuestError, NoKernelError.
    """
    found = kernel()
    with tempfile.TemporaryDirectory(prefix="lamina-guest-") as name:
        folder = Path(name)
        _prepare(folder, found, command)
        for accelerator in _accelerators():
            marks = _run(folder, [*_command(folder, found, size), "-accel", accelerator], say)
            if marks[-1:] and marks[-1].startswith("ended "):
                return int(marks[-1].removeprefix("ended "))
            if marks:
                break
        raise GuestError(f"the machine ended early:\n{(folder / 'console').read_text(errors='replace')[-3000:]}")


def _prepare(folder: Path, found: Kernel, command: str) -> None:
    """The files of a machine: what it begins with, and its disk."""
    (folder / "initramfs").write_bytes(initramfs(_busybox(), found.load_order(_MODULES), command))
    with (folder / "disk").open("wb") as disk:
        disk.truncate(_DISK)
    make = ["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=1", folder / "disk"]
    subprocess.run(make, check=True, capture_output=True)


def _accelerators() -> list[str]:
    return [*(["kvm"] if os.access("/dev/kvm", os.R_OK | os.W_OK) else []), "tcg,thread=multi"]


def _command(folder: Path, found: Kernel, size: Size) -> list[str]:
    shared = "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"
    return [
        # Ends also where nobody is left to end it.
        *(
            "timeout",
            "--signal=KILL",
            str(size.seconds),
            _QEMU,
            "-cpu",
            "max",
            "-m",
            str(size.memory),
            "-smp",
            str(size.processors),
        ),
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none"),
        *("-kernel", str(found.image), "-initrd", str(folder / "initramfs")),
        *("-append", "console=ttyS0 panic=-1 mitigations=off"),
        *("-serial", f"file:{folder / 'console'}", "-virtfs", shared),
        *("-drive", f"file={folder / 'disk'},format=raw,if=virtio,cache=unsafe"),
        *("-device", "virtio-serial", "-object", "rng-random,id=random,filename=/dev/urandom"),
        *("-device", "virtio-rng,rng=random"),
        *("-chardev", "file,id=output,path=/dev/fd/1", "-device", "virtserialport,chardev=output,name=output"),
        *("-chardev", f"file,id=status,path={folder / 'status'}"),
        *("-device", "virtserialport,chardev=status,name=status"),
    ]


def _run(folder: Path, command: list[str], say: Callable[[str], object]) -> list[str]:
    """Run the machine to its end; what it told of its state: "started", and "ended" with a status."""
    status = folder / "status"
    status.write_text("")
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace"
        )
    with process, _ended_unless_started(process, "kvm" in command, status):
        assert process.stdout is not None
        for line in process.stdout:
            say(line)
    return status.read_text().splitlines()


@contextlib.contextmanager
def _ended_unless_started(process: subprocess.Popen[str], hurried: bool, status: Path) -> Iterator[None]:
    """End a process that is `hurried` and has told nothing of its state when the time for that has passed."""
    timer = threading.Timer(_BOOT_SECONDS, lambda: status.stat().st_size or process.terminate())
    if hurried:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
