"""`lamina audit verify`: whether an audit file is as it was written."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from lamina.core.cli.errors import CliError
from lamina.core.cli.foreground import write
from lamina.vfs_modules.stock.auditing.hash_chain import verify as verify_lines

app = App(name="audit", help="The files that the module audit writes.")


@app.command
def verify(
    *files: Annotated[Path, Parameter(help="The file; if it was rotated, all its parts from the oldest on.")],
    key_file: Annotated[Path | None, Parameter(help="The key, where the module has one.")] = None,
) -> None:
    """Say whether records were changed, added or taken away since they were written.

    What was cut off at the end does not show by itself: compare the number and the hash of the last record with those
    that the server's log has.
    """
    if not files:
        raise CliError("which file? lamina audit verify FILE...")
    try:
        key = key_file.read_bytes().strip() if key_file is not None else b""
        verdict = verify_lines(itertools.chain.from_iterable(_lines(file) for file in files), key)
    except OSError as error:
        raise CliError(f"{error.filename}: {error.strerror}") from error
    if verdict.problems:
        raise CliError("\n".join(["the records are not as they were written:", *verdict.problems]))
    write(f"{verdict.records} records, {verdict.first} to {verdict.last}, are as they were written")
    write(f"the last one's hash: {verdict.last_hash}")


def _lines(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        yield from opened
