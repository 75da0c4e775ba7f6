"""The backend `ceph` for shares of Lamina: CephFS through libcephfs."""

from lamina_ceph.backend import CephBackend
from lamina_ceph.options import CephLayout, CephOptions
from lamina_ceph.snapshots import CephSnapshots

__all__ = ["CephBackend", "CephLayout", "CephOptions", "CephSnapshots"]
