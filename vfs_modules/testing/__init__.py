"""For tests of modules, backends and the layers above: a chain over a folder, tokens, the conformance suite."""

import os
from collections.abc import Iterable

from lamina.vfs_modules.chain import Chain, build_chain
from lamina.vfs_modules.module import Backend, ShareInfo, VfsModule
from lamina.vfs_modules.services.surroundings import Surroundings
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.token import ImpersonationToken

_DOMAIN = "S-1-5-21-1-2-3"


def local_chain(
    path: os.PathLike[str] | str,
    *modules: VfsModule,
    name: str = "test",
    read_only: bool = False,
    follow_symlinks: bool = True,
    state: os.PathLike[str] | str = "",
) -> Chain:
    """A connected chain: `modules` from the top, then `dos_attributes` and `posix` over the folder `path`.

    A backend given as the last of `modules` is used as it is, with nothing added below. `state`: an absolute path, the
    folder in which modules keep what is their own; without one it goes with the chain. Disconnect it when done.
    """
    pieces = list(modules)
    if not pieces or not isinstance(pieces[-1], Backend):
        pieces += [DosAttributesModule(), PosixBackend()]
    around = Surroundings(state_folder=os.fspath(state))
    info = ShareInfo(name, os.fspath(path), read_only, follow_symlinks=follow_symlinks, surroundings=around)
    chain = build_chain(pieces, info)
    chain.connect()
    return chain


def make_token(
    uid: int | None = None,
    gid: int | None = None,
    groups: Iterable[int] = (),
    *,
    user_name: str = "",
    user_sid: str | None = None,
    group_sids: Iterable[str] = (),
    privileges: Iterable[str] = (),
) -> ImpersonationToken:
    """A token for a test: by default for whoever runs it, with made-up SIDs derived from uid and gid."""
    uid = os.geteuid() if uid is None else uid
    gid = (os.getegid() if uid == os.geteuid() else uid) if gid is None else gid
    return ImpersonationToken(
        user_sid=user_sid or f"{_DOMAIN}-{1000 + 2 * uid}",
        group_sids=frozenset({f"{_DOMAIN}-{1001 + 2 * gid}", "S-1-1-0", "S-1-5-11", *group_sids}),
        uid=uid,
        gid=gid,
        groups=tuple(groups),
        privileges=frozenset(privileges),
        user_name=user_name or f"user{uid}",
    )
