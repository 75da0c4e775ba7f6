"""`python -m tests.compiled [arguments for pytest]`: the same tests, against a compiled build of Lamina.

The build (setup.py) goes into `.cache/compiled`, where it is made again when a compiled file has changed. Beside each
compiled module stands its source, as in an installation, and all other files; Python prefers what is compiled. Without
arguments all tests are run; `--selection` runs those that take the compiled code through all it is used for.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.processes import REPOSITORY

SELECTION = (
    "tests/core/wire",
    "tests/core/crypto",
    "tests/core/server/test_encryption.py",
    "tests/core/server/test_reply_buffers.py",
    "tests/core/server/test_short_files.py",
    "tests/core/server/test_short_way.py",
    "tests/core/server/test_short_way_rules.py",
    "tests/core/server/test_signing.py",
    "tests/core/test_credit_window.py",
    "tests/ntfsa/fscc",
    "tests/ntfsa/locks",
    "tests/ntfsa/naming",
    "tests/ntfsa/security",
    "tests/vfs_modules/test_conformance.py",
    "tests/clients/test_smbclient.py",
    "tests/clients/test_smbprotocol.py",
    "tests/test_compiled_library.py",
    # Of the conformance one chain, with all that Windows needs.
    "-k",
    "not test_conforms or acl_xattr-dos_attributes-posix",
)
"""What uses the formats and rules that are compiled: their own tests, the conformance of a chain, real clients."""

_SOURCE = ("core", "ntfsa", "vfs_modules", "src", "pyproject.toml", "setup.py", "README.md", "LICENSE")
_CACHE = REPOSITORY / ".cache" / "compiled"


class BuildError(Exception):
    """The compiler refused; its last lines."""


def library() -> Path:
    """The folder with the compiled package, made where it is not there. Raises BuildError."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = _CACHE / _fingerprint()
        if not made.is_dir():
            for old in _CACHE.glob("build-*"):
                shutil.rmtree(old)
            _build(made)
        _lay_sources_beside(made)
    return made


def _fingerprint() -> str:
    """A name for what is compiled: the compiler, the Python, the sources."""
    summed = hashlib.sha256(sys.version.encode())
    for path in sorted([REPOSITORY / "setup.py", *compiled_sources()]):
        summed.update(path.read_bytes())
    return f"build-{summed.hexdigest()[:16]}"


def compiled_sources() -> list[Path]:
    """The files that are compiled (setup.py)."""
    code = "import setuptools; setuptools.setup = lambda **_: None; import setup; print(*setup.sources(), sep='\\n')"
    environment = {**os.environ, "LAMINA_COMPILE": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, check=True, text=True, capture_output=True
    )
    return [REPOSITORY / line for line in done.stdout.split()]


def _build(target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="lamina-compiled-") as copy:
        # The build writes beside the source.
        for name in _SOURCE:
            subprocess.run(["cp", "-a", str(REPOSITORY / name), copy], check=True)
        command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", f"{copy}/made"]
        environment = {**os.environ, "LAMINA_COMPILE": "1"}
        done = subprocess.run(command, cwd=copy, env=environment, check=False, text=True, capture_output=True)
        if done.returncode:
            raise BuildError((done.stdout + done.stderr)[-8000:])
        shutil.copytree(f"{copy}/made", target)


def _lay_sources_beside(made: Path) -> None:
    """A link to each file of the package, so that what is not compiled is always what stands in the repository."""
    package = made / "lamina"
    for link in [path for path in package.rglob("*") if path.is_symlink()]:
        link.unlink()
    top = REPOSITORY / "src" / "lamina"
    for folder, folders, files in os.walk(top, followlinks=True):
        folders[:] = [name for name in folders if name != "__pycache__"]
        place = package / Path(folder).relative_to(top)
        place.mkdir(parents=True, exist_ok=True)
        for name in files:
            if not name.endswith((".pyc", ".so")):
                (place / name).symlink_to((Path(folder) / name).resolve())


def main(words: Sequence[str]) -> int:
    """Build, and run pytest with `words`; its exit status."""
    made = str(library())
    path = os.pathsep.join(part for part in (made, os.environ.get("PYTHONPATH", "")) if part)
    environment = {**os.environ, "PYTHONPATH": path, "LAMINA_TEST_LIBRARY": made}
    chosen = [word for word in words if word != "--selection"]
    if "--selection" in words:
        chosen = [*SELECTION, *chosen]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
