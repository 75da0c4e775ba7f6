"""The distribution that `lamina module new` writes: a module that does something small, with all that belongs to it.

What is written passes its own tests, lint and types as it is. Its files are the texts in `skeletons`.
"""

import keyword
import re
from pathlib import Path
from typing import Final

from lamina import __version__
from lamina.core.cli.skeletons import backend as backend_skeleton
from lamina.core.cli.skeletons import filter as filter_skeleton
from lamina.core.cli.skeletons import project
from lamina.vfs_modules.operations import API_VERSION

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,29}")


def distribution_files(name: str, backend: bool = False) -> dict[str, str]:
    """The files of a new distribution with a module, or a `backend`, by path. Raises ValueError for what is no name."""
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ValueError(
            f"{name!r} cannot be the name of a module: at most 30 lower-case letters, digits and underscores"
        )
    kind = backend_skeleton if backend else filter_skeleton
    words = kind.WORDS | {
        "@name@": name,
        "@package@": f"lamina_{name}",
        "@distribution@": f"lamina-{name.replace('_', '-')}",
        "@Class@": "".join(map(str.capitalize, name.split("_"))) + ("Backend" if backend else "Module"),
        "@lamina@": __version__,
        "@api@": str(API_VERSION),
    }
    return {_filled(path, words): _filled(text, words) for path, text in (kind.FILES | project.FILES).items()}


def _filled(text: str, words: dict[str, str]) -> str:
    for mark, word in words.items():
        text = text.replace(mark, word)
    return text


def write_distribution(name: str, folder: Path, backend: bool = False) -> tuple[str, ...]:
    """Write a new distribution into `folder`, which must not be there, or be empty; the files that were written.

    Raises ValueError for what is no name, OSError where the folder cannot be written.
    """
    files = distribution_files(name, backend)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there already")
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return tuple(files)
