"""Lamina: an SMB2/3 file server made of layers.

The public names are `Server`, to embed a real SMB server in a program or a test, and `__version__`.
Module writers import from `lamina.vfs_modules`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.core.server import Server

__version__ = "0.1.0"
__all__ = ["Server", "__version__"]


def __getattr__(name: str) -> object:
    # Lazily: a vendor's module imports lamina.vfs_modules and must not pay for the protocol layer.
    if name == "Server":
        from lamina.core.server import Server

        return Server
    raise AttributeError(f"module 'lamina' has no attribute {name!r}")
