"""smbtorture on a store: `python -m tests.contrib.torture ceph smb2.lock` prints a table; without names all that apply.

What must come of a test is what `tests/smbtorture/expected.tsv` says, unless `expected-STORE.tsv` beside this file says
otherwise: both are strict in both directions. Left out is what needs a share of a kind of its own.
"""

import argparse
import contextlib
import queue
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.contrib import stores
from tests.contrib.stores import Store
from tests.smbtorture import setup
from tests.smbtorture.catalogue import TortureTest, load, select, surprise
from tests.smbtorture.runner import Outcome, Verdict, run
from tests.support.processes import ServerProcess

ABOVE = setup.CHAIN[:-1]
"""Those above the backend in the chain that the list was made with."""

# Each worker of the tests has the server to itself, so that one share is enough.
FAMILIES = (
    "smb2.rw",
    "smb2.read",
    "smb2.create",
    "smb2.getinfo",
    "smb2.setinfo",
    "smb2.rename",
    "smb2.dir",
    "smb2.streams",
    "smb2.acls",
    "smb2.delete-on-close-perms",
    "smb2.mkdir",
    "smb2.openattr",
    "smb2.winattr",
    "smb2.sharemode",
    "smb2.ea",
    "smb2.fileid",
    "smb2.durable-open",
    "smb2.timestamps",
)
"""What the tests run of it, but for slow ones: what a backend is asked for, rather than the protocol above it."""

_OTHER_SHARES = ("smb2.acls.ACCESSBASED", "smb2.ioctl.bug14788")
# The last renames as fast as it can: GlusterFS 10 sometimes finds a directory by its old number then.
_MEASURING = ("smb2.bench", "smb2.rename.rename_dir_bench")
_LEFT_OUT = ("rpc.", "vfs.", "smb2.notify-inotify", "smb2.kernel-oplocks", *_MEASURING, *_OTHER_SHARES)
"""What asks for a folder of this machine, for other shares or for no files at all, or measures."""


def listed_for(name: str) -> list[TortureTest]:
    """All tests that apply to the store called `name`, with what must come of them there."""
    own = Path(__file__).with_name(f"expected-{name}.tsv")
    other = {test.name: test for test in load(own)} if own.exists() else {}
    usual = [test for test in load() if not test.share and not test.name.startswith(_LEFT_OUT)]
    unknown = other.keys() - {test.name for test in usual}
    if unknown:
        raise ValueError(f"{own.name}: no such tests: {', '.join(sorted(unknown))}")
    return [other.get(test.name, test) for test in usual]


@contextlib.contextmanager
def serving(store: Store, folder: Path, shares: int = 1) -> Iterator[tuple[ServerProcess, dict[str, str]]]:
    """A server for smbtorture with so many shares, and their folders on the store."""
    roots = {f"share{number}": store.new_folder("torture") for number in range(shares)}
    # smbtorture speaks unsigned and as nobody here and there, and uses wrong passwords on purpose.
    how = {
        "auth": {"allow_anonymous": True, "throttle": False},
        "settings": {"require_signing": False},
        "torture": True,
    }
    layout = {name: store.folder(root, ABOVE) for name, root in roots.items()}
    with store.serving(layout, folder, **how) as server:
        yield server, roots


def run_test(test: TortureTest, store: Store, server: ServerProcess, share: str, root: str) -> Outcome:
    """Run one on an empty share."""
    store.view.empty(root)
    target = setup.target(server)
    timeout = setup.SLOW_TIMEOUT if test.slow else setup.TIMEOUT
    return run(test.name, share, target, timeout, test.options)


def main() -> int:
    """Run what the command line asks for; 1 where anything is not as expected."""
    parser = argparse.ArgumentParser(prog="python -m tests.contrib.torture", description=__doc__)
    parser.add_argument("store", choices=("ceph", "glusterfs", "posix"))
    parser.add_argument("tests", nargs="*", help="names, or the beginning of names up to a dot (smb2.lock)")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--logs", type=Path, help="a folder for what each test printed")
    options = parser.parse_intermixed_args()
    tests = select(listed_for(options.store), options.tests)
    with (
        tempfile.TemporaryDirectory(prefix="lamina-torture-") as scratch,
        stores.running(options.store, "torture") as store,
    ):
        Path(scratch).chmod(0o755)
        with serving(store, Path(scratch) / "state", options.jobs) as (server, roots):
            found = _run_all(tests, store, server, roots, options.logs)
    said = [line for test, outcome in zip(tests, found, strict=True) if (line := surprise(test, outcome))]
    passed = sum(outcome.verdict is Verdict.PASS for outcome in found)
    seconds = sum(outcome.seconds for outcome in found)
    sys.stdout.write(
        "\n".join([*said, f"{len(tests)} tests, {passed} pass, {len(said)} not as expected, {seconds:.0f} s", ""])
    )
    return 1 if said else 0


def _run_all(
    tests: Sequence[TortureTest], store: Store, server: ServerProcess, roots: dict[str, str], logs: Path | None
) -> list[Outcome]:
    shares: queue.SimpleQueue[str] = queue.SimpleQueue()
    for share in roots:
        shares.put(share)

    def run_one(test: TortureTest) -> Outcome:
        share = shares.get()
        try:
            outcome = run_test(test, store, server, share, roots[share])
        finally:
            shares.put(share)
        mark = "!" if surprise(test, outcome) else " "
        sys.stdout.write(f"{mark} {outcome.verdict.value:8}{outcome.seconds:6.1f}s  {test.name}  {outcome.reason}\n")
        sys.stdout.flush()
        if logs is not None:
            logs.mkdir(parents=True, exist_ok=True)
            (logs / f"{test.name}.log").write_text(outcome.output)
        return outcome

    with ThreadPoolExecutor(len(roots)) as pool:
        return list(pool.map(run_one, tests))


if __name__ == "__main__":
    sys.exit(main())
