"""Times that a client has set or frozen through an open, and that its own reads and writes leave as they are.

MS-FSA 2.1.4.17 Algorithm for Noting That a File Has Been Modified: not while Open.UserSetModificationTime.
"""

from typing import TYPE_CHECKING

from lamina.vfs_modules.operations import Times

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.token import ImpersonationToken


def restore_times(token: "ImpersonationToken", open_: "NtOpen", modified: bool) -> None:
    """Put the sticky times back after the file was read, or `modified`, through `open_`."""
    write_ns = open_.sticky_write_ns if modified else None
    if write_ns is None and open_.sticky_access_ns is None:
        return
    open_.volume.chain.set_times(token, open_.handle, Times(open_.sticky_access_ns, write_ns))
