"""The optional compiled build: `LAMINA_COMPILE=1 pip install .` makes machine code of what pays (mypyc).

mypyc compiles the very files that Python runs otherwise; these are installed beside, for tracebacks and for reading.
Without the variable this file does nothing: all else about the package stands in pyproject.toml. What it gives, and
what a compiled module does differently, stands in docs/admin/compiled.md.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from itertools import chain
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MYPYC = "mypy>=2.4,<3"
"""The package with the compiler."""

COMPILED = (
    "core/wire/*.py",
    "core/channel_sequence.py",
    "core/credit_window.py",
    "core/crypto/sealing.py",
    "core/crypto/signing.py",
    "core/outgoing.py",
    "core/short_files.py",
    "core/short_way.py",
    "ntfsa/constants.py",
    "ntfsa/fscc/*.py",
    "ntfsa/locks/byte_range.py",
    "ntfsa/naming/wildcard.py",
    "ntfsa/security/access.py",
    "ntfsa/security/access_check.py",
    "ntfsa/security/acl_inheritance.py",
    "ntfsa/security/security_descriptor.py",
    "ntfsa/security/sid.py",
    "ntfsa/times/filetime.py",
)
"""Pure rules and formats, and the short way of the requests that clients send most: files that inherit from nobody
else, and whose callers need not be compiled."""

_OPTIONS = ("--config-file=", "--explicit-package-bases", "--ignore-missing-imports", "--disable-error-code=has-type")
# No warning of any compiler about C that nobody wrote.
_C_OPTIONS = ("-w",)


def sources() -> list[str]:
    """The files to compile, from the root of the repository."""
    return sorted(chain.from_iterable(glob(f"src/lamina/{pattern}") for pattern in COMPILED))


class ParallelBuild(build_ext):
    """Compiles as many files at once as there are processors: the C of the one library is a file for each module."""

    def build_extensions(self) -> None:
        """Called by setuptools."""
        compile_in_turn = self.compiler.compile

        def compile_at_once(sources: Sequence[str], **options: Any) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return list(chain.from_iterable(pool.map(lambda one: compile_in_turn([one], **options), sources)))

        self.compiler.compile = compile_at_once
        super().build_extensions()


def _extensions() -> list[Extension]:
    """The compiled modules; none while setuptools only asks what the build needs."""
    try:
        from mypyc.build import mypycify
        from mypyc.ir.rtypes import object_rprimitive
        from mypyc.primitives.registry import builtin_names
    except ModuleNotFoundError:
        return []
    # A type that fields of named tuples have, and that mypyc does not know as a value.
    builtin_names["builtins.memoryview"] = (object_rprimitive, "PyMemoryView_Type")
    os.environ["MYPYPATH"] = "src"
    extensions: list[Extension] = mypycify(
        [*_OPTIONS, *sources()], opt_level="2", debug_level="0", multi_file=True, group_name="lamina"
    )
    for extension in extensions:
        extension.extra_compile_args += _C_OPTIONS
    return extensions


if os.environ.get("LAMINA_COMPILE", "") not in {"", "0"}:
    extensions = _extensions()
    # Where there is no compiler, pip is told to get one and asks again.
    setup(setup_requires=[] if extensions else [MYPYC], ext_modules=extensions, cmdclass={"build_ext": ParallelBuild})
else:
    setup()
