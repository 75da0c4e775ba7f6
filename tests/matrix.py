"""Each stock module above and below each other one that the declarations allow: the two together still conform.

`python -m tests.matrix` runs every case, above `memory` and above `posix`; the tests run those that are quick, above
`memory`. A case that one of the two is known to fail may fail.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lamina.vfs_modules.loader import all_installed, load_module
from lamina.vfs_modules.module import Backend, VfsModule
from lamina.vfs_modules.order import declared, judge
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.testing.conformance import Outcome, Profile, Result, cases
from lamina.vfs_modules.testing.stock import IN_THE_BIN
from lamina.vfs_modules.testing.subject import default_users

Kind = type[VfsModule]
Options = Callable[[Path], Mapping[str, Any]]

OPTIONS: dict[str, Options] = {
    "audit": lambda folder: {"file": f"{folder}.audit.log", "success": ("all",), "failure": ("all",)},
    "readonly": lambda folder: {"period": ("tomorrow", "tomorrow 1:00")},
    "transparent": lambda folder: {"operations": {"all"}},
    "rate_limit": lambda folder: {"user_bandwidth": 1 << 40, "share_operations": 1 << 30},
}
"""What a module is made with, where its defaults would not let the suite do anything, or the module nothing."""

KNOWN: dict[str, Mapping[str, str]] = {"recycle": IN_THE_BIN}

QUICK = frozenset(
    {
        "what_is_written_is_read",
        "rename_replaces_only_when_told",
        "rename_moves_directories",
        "a_handle_outlives_its_name",
        "hostile_names_are_kept_or_refused",
        "times_are_set_one_by_one",
        "extended_attributes_are_kept",
        "nt_attributes_are_kept",
        "a_security_descriptor_is_kept",
        "a_range_is_copied_or_refused",
        "streams_of_one_file_are_kept_apart",
        "a_stream_grows_with_zeros",
        "streams_are_removed_and_renamed",
        "streams_go_with_their_file",
        "streams_are_no_extended_attributes",
        "files_and_directories_do_not_replace_each_other",
        "writes_to_different_places_are_all_kept",
        "every_operation_answers_or_raises_oserror",
        "a_cancelled_request_leaves_nothing_behind",
    }
)
"""The cases that the tests run: where two modules may be in each other's way."""


def filters() -> list[Kind]:
    """The stock modules that stand above others."""
    kinds = [load_module(found.name) for found in all_installed() if found.distribution == "lamina"]
    return [kind for kind in kinds if not issubclass(kind, Backend)]


def pairs() -> Iterator[tuple[Kind, Kind]]:
    """Those two of them that may stand so, the first above the second."""
    for upper, lower in itertools.permutations(filters(), 2):
        if not judge([declared(upper), declared(lower), declared(MemoryBackend)]).faults:
            yield upper, lower


def profile_of_pair(upper: Kind, lower: Kind, backend: Kind = MemoryBackend) -> Profile:
    """The profile of two modules above a backend."""

    def make(folder: Path) -> list[VfsModule]:
        return [_made(upper, folder / "upper"), _made(lower, folder / "lower"), backend()]

    users = default_users() if backend is PosixBackend else None
    return Profile(f"{upper.name} above {lower.name}", make, users=users, time_limit=60.0)


def _made(kind: Kind, place: Path) -> VfsModule:
    options = OPTIONS.get(kind.name)
    beside = place.parent.parent / f"{place.parent.name}-{place.name}"
    return kind(kind.Options(**options(beside))) if options else kind()


def failures(profile: Profile, kinds: tuple[Kind, Kind], *, quick: bool) -> list[Result]:
    """The cases that fail, but for those that one of the two is known to fail by itself."""
    known = {name for kind in kinds for name in KNOWN.get(kind.name, ())}
    found = []
    with tempfile.TemporaryDirectory(prefix="lamina-matrix-") as folder:
        for number, case in enumerate(cases(profile)):
            if quick and str(case) not in QUICK:
                continue
            place = Path(folder) / str(number)
            place.mkdir()
            result = case.result(place)
            if result.outcome is Outcome.FAILED and str(case) not in known:
                found.append(result)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the whole matrix; 1 where something does not conform."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("names", nargs="*", help="only pairs with one of these modules")
    parser.add_argument("--quick", action="store_true", help="only what the tests run")
    chosen = parser.parse_args(arguments)
    bad = 0
    for upper, lower in pairs():
        if chosen.names and not {upper.name, lower.name} & set(chosen.names):
            continue
        for backend in (MemoryBackend,) if chosen.quick else (MemoryBackend, PosixBackend):
            profile = profile_of_pair(upper, lower, backend)
            found = failures(profile, (upper, lower), quick=chosen.quick)
            bad += bool(found)
            sys.stdout.write(f"{profile.name} above {backend.name}: {'FAILED' if found else 'conforms'}\n")
            sys.stdout.writelines(f"    {one.check}: {one.reason.splitlines()[0]}\n" for one in found)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
