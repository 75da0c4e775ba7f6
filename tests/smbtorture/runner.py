"""Runs leaf tests of smbtorture (Debian: samba-testsuite), each in a process of its own, and reads the verdicts.

A leaf test is named suite.case as `smbtorture --list` gives it, with a doubled last part written once. One process per
test keeps a crash or a hang of the client, which does happen, from taking other tests along.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

SMBTORTURE = "smbtorture"


class Verdict(StrEnum):
    """How one run of a test ended. CRASH is smbtorture ending without a verdict."""

    PASS = "pass"
    FAIL = "fail"
    SKIP = "skip"
    TIMEOUT = "timeout"
    CRASH = "crash"


class Outcome(NamedTuple):
    """A verdict, how long it took, the first line that says why, and all that smbtorture printed."""

    verdict: Verdict
    seconds: float
    reason: str
    output: str


@dataclass(frozen=True)
class Target:
    """The server that is tested. `arguments` go to smbtorture as they are; `folders` are those behind the shares.

    `through` is a command that runs the one behind it.
    """

    port: int
    user: str
    password: str
    other_user: str = ""
    other_password: str = ""
    host: str = "127.0.0.1"
    arguments: tuple[str, ...] = ()
    through: tuple[str, ...] = ()
    folders: Mapping[str, str] = field(default_factory=dict)


class Report(NamedTuple):
    """One verdict of the subunit stream with the details that came with it."""

    word: str
    name: str
    details: str


_VERDICT_LINE = re.compile(r"(success|failure|error|skip): (.*)")
_WORTH_QUOTING = re.compile(r"NT_STATUS_|\.c:\d+|[Ff]ail|wrong|incorrect|ERROR")
_STREAM_NOISE = ("time: ", "test: ", "progress: ", "success: ", "smbtorture 4", "Using seed")
_CLIENT_CONF = """[global]
\tnetbios name = TORTURECLI
\tclient min protocol = SMB2_02
\tclient max protocol = SMB3_11
\tprivate dir = {0}
\tlock directory = {0}
\tstate directory = {0}
\tcache directory = {0}
"""


def installed() -> bool:
    """Whether smbtorture is there."""
    return shutil.which(SMBTORTURE) is not None


def run(name: str, share: str, target: Target, timeout: float, options: tuple[str, ...] = ()) -> Outcome:
    """Run the leaf test `name` on `share`; `options` are smbtorture's own, as name=value. `timeout` in seconds.

    @FOLDER@ in an option stands for the folder behind the share.
    """
    with tempfile.TemporaryDirectory(prefix="torture-") as scratch:
        command = _command(name, share, target, options, Path(scratch))
        started = time.monotonic()
        output, status = _communicate(command, timeout)
    return judge(output, status, time.monotonic() - started)


def _command(name: str, share: str, target: Target, options: tuple[str, ...], scratch: Path) -> list[str]:
    configuration = scratch / "client.conf"
    configuration.write_text(_CLIENT_CONF.format(scratch))
    folder = target.folders.get(share, "")
    settings = ["torture:progress=no", *(option.replace("@FOLDER@", folder) for option in options)]
    if target.other_user:
        settings += [f"torture:user2name={target.other_user}", f"torture:user2password={target.other_password}"]
    return [
        *target.through,
        SMBTORTURE,
        f"//{target.host}/{share}",
        f"--smb-ports={target.port}",
        f"--configfile={configuration}",
        f"--basedir={scratch}",
        f"--user={target.user}%{target.password}",
        "--format=subunit",
        *(f"--option={setting}" for setting in settings),
        *target.arguments,
        name,
    ]


def _communicate(command: list[str], timeout: float) -> tuple[str, int | None]:
    """All that a command prints, and its exit status: None where it was ended after `timeout` seconds."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return output, None
    return output, process.returncode


def judge(output: str, status: int | None, seconds: float) -> Outcome:
    """The verdict on one run from what it printed and its exit status (None: it was ended for taking too long)."""
    if status is None:
        return Outcome(Verdict.TIMEOUT, seconds, _complaint(output), output)
    reports = list(read_reports(output))
    for words, verdict in ((("failure", "error"), Verdict.FAIL), (("skip",), Verdict.SKIP)):
        chosen = [report for report in reports if report.word in words]
        if chosen:
            return Outcome(verdict, seconds, _first_line(chosen[0].details) or _complaint(output), output)
    if reports and status == 0:
        return Outcome(Verdict.PASS, seconds, "", output)
    return Outcome(Verdict.CRASH, seconds, f"exit status {status}: {_complaint(output)}", output)


def read_reports(output: str) -> Iterator[Report]:
    """The verdicts of a subunit stream (version 1, text): `word: name`, or with details in brackets."""
    lines = iter(output.splitlines())
    for line in lines:
        match = _VERDICT_LINE.match(line)
        if match is None:
            continue
        word, name = match.groups()
        if not name.endswith(" ["):
            yield Report(word, name, "")
            continue
        details = []
        for detail in lines:
            if detail == "]":
                break
            details.append(detail)
        yield Report(word, name[:-2], "\n".join(details))


def _first_line(details: str) -> str:
    useful = [line.strip() for line in details.splitlines() if line.strip() and "Unknown error/failure" not in line]
    return _shortened(useful[0]) if useful else ""


def _complaint(output: str) -> str:
    """The first line of all that was printed that reads like a reason, or the last line."""
    lines = [line for line in output.splitlines() if line.strip() and not line.startswith(_STREAM_NOISE)]
    for line in lines:
        if _WORTH_QUOTING.search(line) and not _VERDICT_LINE.match(line):
            return _shortened(line)
    return _shortened(lines[-1]) if lines else "nothing was printed"


def _shortened(line: str) -> str:
    return " ".join(re.sub(r"(\.\./)+(source4/torture/)?", "", line).split())[:300]
