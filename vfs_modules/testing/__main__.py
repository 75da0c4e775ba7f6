"""The conformance suite without a test file: `python -m lamina.vfs_modules.testing package.module:profile`."""

import argparse
import sys
from pathlib import Path

from lamina.vfs_modules.testing.console import examine
from lamina.vfs_modules.testing.profile import find_profile


def main(arguments: list[str] | None = None) -> int:
    """Run the suite; the exit status is 0 where the profile conforms, 1 where it does not, 2 where it is not found."""
    parser = argparse.ArgumentParser(prog="python -m lamina.vfs_modules.testing", description=__doc__)
    parser.add_argument("profile", help="where the profile is: package.module:name")
    parser.add_argument("--folder", type=Path, help="where the cases make their folders, to try another file system")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    chosen = parser.parse_args(arguments)
    sys.path.insert(0, "")
    try:
        profile = find_profile(chosen.profile)
    except LookupError as error:
        parser.error(str(error.args[0]))
    report = examine(profile, lambda line: sys.stdout.write(f"{line}\n"), chosen.folder, chosen.json)
    return 0 if report.conforms else 1


if __name__ == "__main__":
    sys.exit(main())
