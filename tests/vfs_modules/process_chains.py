"""Chains of stock modules that several processes may have, as many as go together: profiles, where they find them."""

from pathlib import Path

from lamina.vfs_modules.stock.acl_xattr import AclXattrModule
from lamina.vfs_modules.stock.audit import AuditModule, AuditOptions
from lamina.vfs_modules.stock.catia import CatiaModule
from lamina.vfs_modules.stock.delay import DelayModule
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.fruit import FruitModule
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.stock.quota import QuotaModule
from lamina.vfs_modules.stock.rate_limit import RateLimitModule, RateLimitOptions
from lamina.vfs_modules.stock.recycle import RecycleModule
from lamina.vfs_modules.stock.recycling.options import RecycleOptions
from lamina.vfs_modules.stock.scanning.options import VirusScanOptions
from lamina.vfs_modules.stock.shadow_copy import ShadowCopyModule
from lamina.vfs_modules.stock.short_names import ShortNamesModule
from lamina.vfs_modules.stock.streams_depot import StreamsDepotModule, StreamsDepotOptions
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.stock.transparent import TransparentModule, TransparentOptions
from lamina.vfs_modules.stock.virus_scan import VirusScanModule
from lamina.vfs_modules.stock.worm import WormModule
from lamina.vfs_modules.testing.profile import Modules, Profile


def _for_macs(folder: Path) -> Modules:
    log = str(folder.parent / "audit.log")
    return [
        CatiaModule(),
        AuditModule(AuditOptions(file=log, success=("all",), failure=("all",))),
        WormModule(),
        FruitModule(),
        StreamsXattrModule(),
        AclXattrModule(),
        DosAttributesModule(),
        QuotaModule(),
        PosixBackend(),
    ]


def _guarded(folder: Path) -> Modules:
    return [
        VirusScanModule(VirusScanOptions(socket_path=str(folder / "no-scanner"), scan_on_close=True)),
        RecycleModule(RecycleOptions(quota=1 << 30)),
        RateLimitModule(RateLimitOptions(user_operations=1 << 20, share_bandwidth=1 << 40)),
        ShortNamesModule(),
        ShadowCopyModule(),
        StreamsDepotModule(StreamsDepotOptions(check_valid=False)),
        DosAttributesModule(),
        DelayModule(),
        TransparentModule(TransparentOptions(operations={"all"})),
        PosixBackend(),
    ]


for_macs = Profile("for-macs", _for_macs, processes=f"{__name__}:for_macs")
guarded = Profile("guarded", _guarded, processes=f"{__name__}:guarded")
