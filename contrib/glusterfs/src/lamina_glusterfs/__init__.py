"""The backend `glusterfs` for shares of Lamina, and the snapshots of volumes for its `shadow_copy`."""

from lamina_glusterfs.module import GlusterBackend
from lamina_glusterfs.options import GlusterOptions
from lamina_glusterfs.snapshots import GlusterSnapshots

__all__ = ["GlusterBackend", "GlusterOptions", "GlusterSnapshots"]
