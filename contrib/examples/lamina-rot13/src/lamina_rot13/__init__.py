"""The module `rot13` for shares of Lamina."""

from lamina_rot13.module import Rot13Module

__all__ = ["Rot13Module"]
