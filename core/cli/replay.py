"""`lamina replay`: play a recording of the module `record` to a chain, and say what that does otherwise."""

import asyncio
import json as json_text
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import Parameter

from lamina.core.cli.foreground import write
from lamina.core.composition import make_chain
from lamina.core.config.diagnostics import ConfigurationError
from lamina.core.config.loading import load
from lamina.core.plan import ShareSpec
from lamina.core.server import new_event_loop
from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.engine import Engine
from lamina.vfs_modules.recording.form import Recording, RecordingError
from lamina.vfs_modules.testing.replay import Replay
from lamina.vfs_modules.testing.replay import replay as play

DEFAULT_CONFIG = Path("/etc/lamina/lamina.toml")


def replay(
    file: Path,
    share: str = "",
    /,
    *,
    chain: str = "",
    config: Annotated[Path, Parameter(name=["--config", "-c"])] = DEFAULT_CONFIG,
    folder: Path | None = None,
    as_recorded: Annotated[bool, Parameter(negative=())] = False,
    ignore: str = "",
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Play a recording to a chain and show what that does otherwise; 0 if nothing, 1 if something, 2 if it cannot be.

    Nothing that is served is touched: it is played in a new folder, or in the one that you give.

    Parameters
    ----------
    file
        What the module record has written.
    share
        The share whose chain, with its options, to play to.
    chain
        The chain to play to instead: modules with commas, the backend last.
    config
        The configuration file that the share is in.
    folder
        A folder to play in, such as a copy of what was there when the recording began. It is changed.
    as_recorded
        Do everything as the users that were recorded, which takes root; otherwise as you.
    ignore
        Operations whose results do not matter, with commas.
    json
        Print one JSON object instead of text.
    """
    if bool(share) == bool(chain):
        _cannot("name a share or a chain: lamina replay FILE SHARE, or lamina replay FILE --chain MODULE,…,BACKEND")
    name, spec = (share, _spec(share, config)) if share else ("replay", _spec_of_chain(chain))
    try:
        recording = Recording.load(str(file))
        with _place(folder, as_recorded) as place:
            made = make_chain(name, replace(spec, path=place))
            done = _run(recording, made, as_recorded, tuple(part.strip() for part in ignore.split(",") if part))
    except (OSError, RecordingError) as error:
        _cannot(f"{file}: {error}")
    except Exception as error:  # a module is anybody's code
        _cannot(f"{type(error).__name__}: {error}")
    _tell(recording, done, json)
    if done.differences:
        sys.exit(1)


def _spec(share: str, config: Path) -> ShareSpec:
    try:
        shares = load(config).plan.shares
    except ConfigurationError as error:
        _cannot("\n".join(map(str, error.problems)))
    if share not in shares:
        _cannot(f"there is no share {share!r} in {config}; there are: {', '.join(shares)}")
    return shares[share]


def _spec_of_chain(chain: str) -> ShareSpec:
    return ShareSpec(Path("/"), chain=tuple(part.strip() for part in chain.split(",")))


@contextmanager
def _place(folder: Path | None, for_anybody: bool) -> Iterator[Path]:
    if folder is not None:
        yield folder.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="lamina-replay-") as made:
        if for_anybody:
            Path(made).chmod(0o777)
        yield Path(made)


def _run(recording: Recording, chain: Chain, as_recorded: bool, ignore: tuple[str, ...]) -> Replay:
    """Play it as the server would: where modules may wait."""

    def work() -> Replay:
        chain.connect()
        try:
            return play(recording, chain, as_recorded=as_recorded, ignore=ignore)
        finally:
            chain.disconnect()

    async def run() -> Replay:
        engine = Engine(asyncio.get_running_loop())
        try:
            return await engine.run(work)
        finally:
            engine.close()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(run())


def _tell(recording: Recording, done: Replay, as_json: bool) -> None:
    doubts = [*recording.problems]
    if recording.lost:
        doubts.append(f"{recording.lost} calls are not in the recording: they came faster than they were written")
    if recording.end not in ("closed", ""):
        doubts.append(f"the recording is not whole: {recording.end}")
    if as_json:
        differences = [asdict(one) for one in done.differences]
        told = {"made": done.made, "skipped": done.skipped, "differences": differences, "doubts": doubts}
        write(json_text.dumps(told))
        return
    for difference in done.differences:
        write(str(difference))
    for doubt in doubts:
        write(f"({doubt})")
    skipped = f", {done.skipped} could not be made" if done.skipped else ""
    write(f"{done.made} calls{skipped}: {len(done.differences) or 'no'} differences")


def _cannot(reason: str) -> NoReturn:
    sys.stderr.write(f"lamina: {reason}\n")
    sys.exit(2)
