"""A share: what a tree connect finds under a name (MS-SMB2 3.3.1.6 Per Share)."""

from dataclasses import dataclass

from lamina.ntfsa.volume import NtVolume
from lamina.vfs_modules.token import ImpersonationToken


@dataclass(slots=True)
class Share:
    """A name that clients connect to. `volume` is None for IPC$, which holds named pipes and no files.

    `allow` and `deny` are user names or SIDs (lower case names); an empty `allow` admits every authenticated user.
    """

    name: str
    volume: NtVolume | None
    comment: str = ""
    read_only: bool = False
    encrypt: bool = False
    hidden: bool = False
    guest: bool = False
    allow: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()

    def admits(self, token: ImpersonationToken) -> bool:
        """Whether the user of `token` may connect: `deny` wins over `allow`; an empty `allow` admits all."""
        names = {token.user_name.lower(), token.user_sid, *token.group_sids}
        if names & self.deny:
            return False
        return not self.allow or bool(names & self.allow)
