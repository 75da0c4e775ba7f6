"""For development: `python -m tests.smbtorture smb2.lock smb2.read` runs those tests and prints a table.

Starts a server of its own (`--server smbd` for the oracle, `--port` for one that runs already), runs `--jobs` tests at
a time on a share each, and says at the end what is not as `expected.tsv` has it. `--logs DIR` keeps what was printed.
"""

import argparse
import contextlib
import queue
import re
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.smbtorture import setup
from tests.smbtorture.catalogue import TortureTest, load, promote, select, surprise
from tests.smbtorture.runner import Outcome, Target, Verdict, run
from tests.support.loop_filesystem import btrfs
from tests.support.processes import ServerProcess, empty, serving, shared_scratch


def main() -> int:
    """Run what the command line asks for; 1 where anything is not as expected."""
    options = _options()
    tests = select(load(), [*options.tests, *options.families.split()])
    wanted = [test for test in tests if test.expect in options.expect.split(",")]
    print(f"{len(wanted)} tests", file=sys.stderr)
    with _server(options) as (target, clean):
        outcomes = _run_all(wanted, target, clean, options)
    if options.promote:
        promote({name for name, outcome in outcomes.items() if outcome.verdict is Verdict.PASS})
    return _summary(wanted, outcomes)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.smbtorture", description=__doc__)
    parser.add_argument("tests", nargs="*", help="names, or the beginning of names up to a dot (smb2.lock)")
    parser.add_argument("--families", default="", help="the same in one argument, spaces between")
    parser.add_argument("--expect", default="pass,fail,skip", help="only tests with these expectations")
    parser.add_argument("--server", default="lamina", choices=("lamina", "smbd"))
    parser.add_argument("--port", type=int, help="use a server that runs already: --share, --user must fit")
    parser.add_argument("--share", default="share")
    parser.add_argument("--user", default="", help="name%%password")
    parser.add_argument("--clean", type=Path, help="with --port: the share's folder, to be emptied between tests")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1, help="how many processes Lamina is")
    parser.add_argument("--timeout", type=float, default=setup.TIMEOUT, help="seconds for one test")
    parser.add_argument("--logs", type=Path, help="a folder for what each test printed, and the server's log")
    parser.add_argument("--option", action="append", default=[], help="an argument for smbtorture itself")
    parser.add_argument("--promote", action="store_true", help="move known failures that pass to `pass` in the list")
    parser.add_argument("--show", action="store_true", help="print the whole output of tests that do not pass")
    return parser.parse_args()


@contextlib.contextmanager
def _server(options: argparse.Namespace) -> Iterator[tuple[Target, Callable[[str], None]]]:
    """The target to test, and what empties a share between two tests."""
    arguments = tuple(options.option)
    if options.port:
        name, _, password = options.user.partition("%")
        yield (
            Target(options.port, name, password, arguments=arguments),
            lambda _share: empty(options.clean) if options.clean else None,
        )
        return
    with shared_scratch() as scratch, btrfs(scratch / "btrfs"):
        layout = setup.layout(scratch, options.jobs, options.server, options.workers)
        with serving(layout, scratch / "state", options.server) as server:
            yield setup.target(server, arguments), lambda share: setup.fresh(server, share)
        _keep_log(server, options.logs)


def _keep_log(server: ServerProcess, logs: Path | None) -> None:
    if logs is not None and server.log.exists():
        logs.mkdir(parents=True, exist_ok=True)
        (logs / "server.log").write_text(server.log.read_text())


def _run_all(
    tests: Sequence[TortureTest], target: Target, clean: Callable[[str], None], options: argparse.Namespace
) -> dict[str, Outcome]:
    shares: queue.SimpleQueue[str] = queue.SimpleQueue()
    jobs = 1 if options.port else options.jobs
    for number in range(jobs):
        shares.put(options.share if number == 0 else f"share{number}")
    printing = threading.Lock()
    # One test at a time on a share that tests ask for by name.
    turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def run_one(test: TortureTest) -> Outcome:
        borrowed = shares.get()
        try:
            share = test.share if test.share and not options.port else borrowed
            timeout = max(options.timeout, setup.SLOW_TIMEOUT) if test.slow else options.timeout
            with turns[share]:
                clean(share)
                outcome = run(test.name, share, target, timeout, test.options)
        finally:
            shares.put(borrowed)
        with printing:
            _print_line(test, outcome, options)
        return outcome

    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(run_one, test): test for test in tests}
        return {futures[future].name: future.result() for future in as_completed(futures)}


def _print_line(test: TortureTest, outcome: Outcome, options: argparse.Namespace) -> None:
    mark = "!" if surprise(test, outcome) else " "
    print(f"{mark} {outcome.verdict.value:8}{outcome.seconds:6.1f}s  {test.name}  {outcome.reason}", flush=True)
    if options.show and outcome.verdict is not Verdict.PASS:
        print(outcome.output)
    if options.logs:
        options.logs.mkdir(parents=True, exist_ok=True)
        (options.logs / (re.sub(r"[^\w.-]+", "_", test.name) + ".log")).write_text(outcome.output)


def _summary(tests: Sequence[TortureTest], outcomes: dict[str, Outcome]) -> int:
    families: dict[str, Counter[str]] = {}
    for test in tests:
        families.setdefault(test.family, Counter())[outcomes[test.name].verdict.value] += 1
    print(f"\n{'family':32}" + "".join(f"{verdict.value:>9}" for verdict in Verdict))
    for family, counts in [*families.items(), ("total", sum(families.values(), Counter()))]:
        print(f"{family:32}" + "".join(f"{counts[verdict.value] or '':>9}" for verdict in Verdict))
    surprises = [line for test in tests if (line := surprise(test, outcomes[test.name]))]
    seconds = sum(outcome.seconds for outcome in outcomes.values())
    print(f"\n{len(surprises)} not as expected; {seconds:.0f} s of tests")
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main())
