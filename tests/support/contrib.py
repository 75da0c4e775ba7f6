"""The distributions in `contrib/` as if pip had installed them, for the servers that tests start.

Python finds an installed distribution by its metadata: a folder beside its packages with what the entry points are. So
these are written, and nothing that is installed changes.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path

from tests.support.processes import REPOSITORY

CONTRIB = REPOSITORY / "contrib"


def install(distribution: str, folder: Path) -> Sequence[str]:
    """Make the distribution contrib/`distribution` importable; what `PYTHONPATH` must have, with `folder` in it."""
    source = CONTRIB / distribution
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    metadata = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join([*lines, ""]))
    return [str(folder), str(source / "src")]
