"""Samba's smbclient as a test driver: one call is one process with the commands to carry out."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from tests.support.processes import ServerProcess, User

SMBCLIENT = "smbclient"

DIALECTS = ("SMB2_02", "SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11")
"""Samba's names of the dialects, oldest first."""

_CONFIGURATION = """[global]
\tnetbios name = CLIENT
\tclient min protocol = SMB2_02
\tclient max protocol = SMB3_11
\tprivate dir = {0}
\tlock directory = {0}
\tstate directory = {0}
\tcache directory = {0}
"""


def installed() -> bool:
    """Whether smbclient is there."""
    return shutil.which(SMBCLIENT) is not None


@dataclass(frozen=True)
class Answer:
    """What smbclient printed and how it ended."""

    status: int
    output: str

    def check(self) -> str:
        """The output of a run without a single error; AssertionError otherwise."""
        assert self.status == 0, self.output
        assert "NT_STATUS_" not in self.output, self.output
        return self.output


@dataclass(frozen=True)
class SmbClient:
    """Who connects to what, and how. `directory` is where commands start, within the share."""

    server: ServerProcess
    share: str = "share"
    user: User | None = None
    directory: str = ""
    arguments: Sequence[str] = field(default_factory=tuple)

    def speaking(self, dialect: str) -> Self:
        """The same with one dialect and no other."""
        return self.with_arguments(f"--option=client min protocol={dialect}", f"--option=client max protocol={dialect}")

    def protected(self, how: str) -> Self:
        """The same with `off`, `sign` or `encrypt`."""
        return self.with_arguments(f"--client-protection={how}")

    def with_arguments(self, *arguments: str) -> Self:
        """The same with further arguments for smbclient."""
        return replace(self, arguments=(*self.arguments, *arguments))

    def do(self, *commands: str, local: Path | None = None) -> Answer:
        """Carry out smbclient's commands, in the local folder `local`."""
        target = [f"//{self.server.host}/{self.share}", "-c", "; ".join(commands)]
        return self._run(target, local)

    def list_shares(self) -> Answer:
        """The shares as `smbclient -L` prints them, for a program: kind|name|comment."""
        return self._run(["-g", "-L", self.server.host], None)

    def tar(self, flags: str, archive: Path, *names: str) -> Answer:
        """Create (`c`) an archive from, or extract (`x`) it to, the share."""
        return self._run([f"//{self.server.host}/{self.share}", f"-T{flags}", str(archive), *names], None)

    def _run(self, target: Sequence[str], local: Path | None) -> Answer:
        user = self.user or self.server.user
        with tempfile.TemporaryDirectory(prefix="smbclient-") as scratch:
            configuration = Path(scratch, "client.conf")
            configuration.write_text(_CONFIGURATION.format(scratch))
            place = ["-D", self.directory] if self.directory else []
            command = [
                SMBCLIENT,
                *target[:1],
                f"--configfile={configuration}",
                f"--port={self.server.port}",
                f"--user={user.name}%{user.password}",
                *self.arguments,
                *place,
                *target[1:],
            ]
            result = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                cwd=local,
                timeout=90,
                check=False,
            )
        return Answer(result.returncode, result.stdout)
