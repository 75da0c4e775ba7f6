"""The log daemons of a system, journald and rsyslogd, each with a socket and a log of its own for a test."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

JOURNALD = next((path for path in ("/usr/lib/systemd/systemd-journald", "/lib/systemd/systemd-journald")
                 if os.access(path, os.X_OK)), None)  # fmt: skip
RSYSLOGD = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin:/sbin")

NO_JOURNALD = "needs root and systemd-journald: apt install systemd"
NO_RSYSLOGD = "rsyslogd is not installed: apt install rsyslog"

_RSYSLOG = """
global(workDirectory="{folder}" maxMessageSize="64k")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{folder}/log")
template(name="all" type="string" string="%syslogfacility-text%.%syslogseverity-text% %programname%:%msg%\\n")
action(type="omfile" file="{folder}/out" template="all")
"""


def can_run_journald() -> bool:
    """Whether a journald of our own can be started."""
    return os.geteuid() == 0 and JOURNALD is not None and shutil.which("journalctl") is not None


class Journal:
    """The journal of a running journald."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self.socket = f"/run/systemd/journal.{namespace}/socket"

    def records(self, count: int) -> list[dict[str, Any]]:
        """The first `count` records of Lamina's, when they are there."""
        command = ["journalctl", f"--namespace={self._namespace}", "-o", "json", "--all", "--no-pager"]
        command += ["-t", "lamina_audit"]
        end = time.monotonic() + 20
        while True:
            lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
            if len(lines) >= count or time.monotonic() > end:
                return [json.loads(line) for line in lines]
            time.sleep(0.05)


@contextlib.contextmanager
def journald() -> Iterator[Journal]:
    """A journald of its own namespace, that keeps everything in memory."""
    assert JOURNALD is not None
    namespace = f"lamina{os.getpid()}x{time.monotonic_ns() % 100_000}"
    settings = Path(f"/run/systemd/journald@{namespace}.conf.d")
    settings.mkdir(parents=True)
    (settings / "test.conf").write_text("[Journal]\nStorage=volatile\nRateLimitBurst=0\n")
    journal = Journal(namespace)
    process = subprocess.Popen([JOURNALD, namespace], stderr=subprocess.DEVNULL)
    try:
        _wait_for(Path(journal.socket), process)
        yield journal
    finally:
        _end(process)
        left = [settings, Path(journal.socket).parent, *Path("/run/log/journal").glob(f"*.{namespace}")]
        for path in left:
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def rsyslogd(folder: Path) -> Iterator[tuple[str, Path]]:
    """A running rsyslogd: its socket, and the file that it writes to."""
    assert RSYSLOGD is not None
    configuration = folder / "rsyslog.conf"
    configuration.write_text(_RSYSLOG.format(folder=folder))
    with (folder / "stdout").open("wb") as log:
        command = [RSYSLOGD, "-n", "-f", str(configuration), "-i", str(folder / "pid")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_for(folder / "log", process)
        yield str(folder / "log"), folder / "out"
    finally:
        _end(process)


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"{process.args!r} does not start")
        time.sleep(0.02)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(20)
