"""NtContext: who an operation of the NT level is done for."""

from dataclasses import dataclass, field

from lamina.ntfsa.constants import FILE_ALL_ACCESS
from lamina.vfs_modules.extensions import Client
from lamina.vfs_modules.token import ImpersonationToken


@dataclass(frozen=True, slots=True)
class NtContext:
    """Who asks: one per session and tree, made again when the session authenticates again.

    `client_guid` (MS-SMB2 3.3.1.7) and `session_id` identify the client to caching grants; `client_address` is
    for people. `share_access`: all that the share's own access list lets the user do (MS-SMB2 3.3.5.7, MaximalAccess).
    `client`: what modules have agreed on with the client; it stays when the session authenticates again.
    """

    token: ImpersonationToken
    client_guid: bytes = bytes(16)
    session_id: int = 0
    client_address: str = ""
    share_access: int = FILE_ALL_ACCESS
    client: Client = field(default_factory=Client)
