"""The profile that the conformance suite judges this by: `lamina module test deny_names`."""

from pathlib import Path

from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.testing.profile import Profile

from lamina_deny_names.module import DenyNamesModule, DenyNamesModuleOptions


def make(folder: Path) -> list[VfsModule]:
    """The module with a pattern that no case of the suite meets, so that nothing is denied, but looked at."""
    return [DenyNamesModule(DenyNamesModuleOptions(patterns=("*.denied",))), MemoryBackend()]


profile = Profile("deny_names", make)
