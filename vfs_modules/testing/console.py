"""Running the suite on a profile and telling it as it goes: what the two commands have in common."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from lamina.vfs_modules.chain import title
from lamina.vfs_modules.engine import Engine
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.testing.conformance import in_request, run
from lamina.vfs_modules.testing.profile import Profile, connected
from lamina.vfs_modules.testing.report import Report, line_of


def examine(
    profile: Profile, write: Callable[[str], object], folder: Path | None = None, as_json: bool = False
) -> Report:
    """Run all cases, each in a new folder beneath `folder`, and write what comes of them. Raises what modules do."""
    # What modules log of failures that the suite makes up would stand between its lines.
    quiet = logging.NullHandler()
    logging.getLogger().addHandler(quiet)
    try:
        return _examine(profile, write, folder, as_json)
    finally:
        logging.getLogger().removeHandler(quiet)


def _examine(profile: Profile, write: Callable[[str], object], folder: Path | None, as_json: bool) -> Report:
    names, capabilities = _introduce(profile, folder)
    if not as_json:
        write(" → ".join(names))
    results = []
    for result in run(profile, folder):
        results.append(result)
        if not as_json:
            write(line_of(result))
    report = Report(profile, names, capabilities, results)
    if as_json:
        write(json.dumps(report.data(), ensure_ascii=False))
    else:
        for line in report.lines():
            write(line)
    return report


def _introduce(profile: Profile, folder: Path | None) -> tuple[tuple[str, ...], Capability]:
    with TemporaryDirectory(prefix="lamina-conformance-", dir=folder) as empty:

        def ask(_: Engine) -> tuple[tuple[str, ...], Capability]:
            with connected(profile.make, Path(empty)) as chain:
                return tuple(map(title, chain.modules)), chain.capabilities

        return in_request(ask, profile.time_limit)


__all__ = ["examine"]
