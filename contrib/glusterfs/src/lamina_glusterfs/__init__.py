"""The backend `glusterfs` for shares of Lamina."""

from lamina_glusterfs.module import GlusterBackend
from lamina_glusterfs.options import GlusterOptions

__all__ = ["GlusterBackend", "GlusterOptions"]
