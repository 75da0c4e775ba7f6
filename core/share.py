"""A share: what a tree connect finds under a name (MS-SMB2 3.3.1.6 Per Share)."""

from collections.abc import Callable
from dataclasses import dataclass, field

from lamina.core.share_security import READ_ONLY_ACCESS, ShareSecurity
from lamina.ntfsa.constants import FILE_ALL_ACCESS
from lamina.ntfsa.volume import NtVolume
from lamina.vfs_modules.token import ImpersonationToken


@dataclass(slots=True)
class Share:
    """A name that clients connect to. `volume` is None for IPC$, which holds named pipes and no files.

    `security` says who may connect, and limits what he may do. Of a share whose folder depends on who connects,
    `place` gives each the share that he then uses, with a volume; and `fits` says whose that one is.
    """

    name: str
    volume: NtVolume | None
    comment: str = ""
    read_only: bool = False
    encrypt: bool = False
    hidden: bool = False
    guest: bool = False
    security: ShareSecurity = field(default_factory=ShareSecurity)
    place: "Callable[[Share, ImpersonationToken], Share] | None" = None
    fits: Callable[[ImpersonationToken], bool] | None = None

    @property
    def is_pipe(self) -> bool:
        """Whether it is IPC$."""
        return self.volume is None and self.place is None

    def admits(self, is_guest: bool, is_anonymous: bool) -> bool:
        """Whether somebody of that kind may connect at all: the anonymous reach no files, guests those for guests."""
        return self.is_pipe or not (is_anonymous or (is_guest and not self.guest))

    def maximal_access(self, token: ImpersonationToken) -> int:
        """All that `token` may do in this share (MS-SMB2 3.3.5.7, MaximalAccess); 0 is no right to connect."""
        if self.is_pipe:
            return FILE_ALL_ACCESS
        if self.fits is not None and not self.fits(token):
            return 0
        granted = self.security.maximal_access(token)
        return granted & READ_ONLY_ACCESS if self.read_only else granted
