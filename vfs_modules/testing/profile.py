"""The profile: all that a vendor says of a module or a backend, so that the conformance suite can judge it.

    profile = Profile("glusterfs", lambda folder: [GlusterBackend(Options(volume=start_volume(folder)))])

Everything else follows: the chain itself says what it can do, with the flags that the server uses at run time, and the
suite is strict in both directions about it.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from enum import Flag, auto
from pathlib import Path
from types import MappingProxyType

from lamina.vfs_modules.chain import Chain, build_chain
from lamina.vfs_modules.module import ShareInfo, VfsModule
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.services.surroundings import Surroundings
from lamina.vfs_modules.token import ImpersonationToken

Modules = Sequence[VfsModule]
"""New instances for one chain, from the top to the backend."""

Make = Callable[[Path], "Modules | AbstractContextManager[Modules]"]
"""Makes the modules of a chain over a folder; with a context manager also what they need for as long as they live."""

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Feature(Flag):
    """What a profile brings along beside capabilities, so that more can be tried."""

    USERS = auto()
    SECOND_CLIENT = auto()
    CRASH = auto()
    PROCESSES = auto()


@dataclass(frozen=True, slots=True)
class Profile:
    """One module or backend as it is to be tried.

    `make` gives new modules for an empty scratch folder each time; a folder that it is given twice is the same share.
    `capabilities`: what the chain must claim, no more and no less; None takes what it claims.
    `known_failures`: the name of a case, and why it fails; one that passes, or that names no case, is a failure.
    `users`: two users that files are made by and kept from, where the backend tells users apart; the root is made
    accessible to both with `fchmod`.
    `second_client`: makes another chain over the same folder, as another program or machine would have it.
    `crash`: where a new process finds this profile, "package.module:name"; claims that what was acknowledged by
    `fsync` outlives the process. `time_limit`: seconds after which a case that waits has failed.
    `processes`: where new processes find this profile, or a module's class, likewise; claims that several processes of
    one server may each have this chain over one folder, where all of its modules say so (`VfsModule.one_process`).
    """

    name: str
    make: Make
    capabilities: Capability | None = None
    known_failures: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    users: tuple[ImpersonationToken, ImpersonationToken] | None = None
    second_client: Make | None = None
    crash: str = ""
    time_limit: float = 60.0
    processes: str = ""

    def features(self) -> Feature:
        """What of the optional is there."""
        has = {
            Feature.USERS: self.users,
            Feature.SECOND_CLIENT: self.second_client,
            Feature.CRASH: self.crash,
            Feature.PROCESSES: self.processes,
        }
        found = Feature(0)
        for one, given in has.items():
            found |= one if given else Feature(0)
        return found


@contextmanager
def connected(make: Make, folder: Path, *beneath: VfsModule) -> Iterator[Chain]:
    """A connected chain over `folder`, with `beneath` put between its backend and the others.

    What modules keep for themselves is kept beside `folder`, and found again by the next chain over it.
    """
    made = make(folder)
    if isinstance(made, AbstractContextManager):
        with made as modules:
            yield from _serve(modules, folder, beneath)
    else:
        yield from _serve(made, folder, beneath)


def _serve(modules: Modules, folder: Path, beneath: Sequence[VfsModule]) -> Iterator[Chain]:
    around = Surroundings(state_folder=f"{folder}.state")
    chain = build_chain([*modules[:-1], *beneath, modules[-1]], ShareInfo("test", str(folder), surroundings=around))
    chain.connect()
    try:
        yield chain
    finally:
        chain.disconnect()
        around.stores.close()


def find_profile(place: str) -> Profile:
    """The profile at "package.module:name". Raises LookupError with what is wrong."""
    module, colon, name = place.partition(":")
    if not colon or not module or not name:
        raise LookupError(f"{place!r} is no place of a profile: write package.module:name")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise LookupError(f"there is no profile {place!r}: {error}") from error
    if not isinstance(found, Profile):
        raise LookupError(f"{place!r} is no Profile but a {type(found).__name__}")
    return found


__all__ = ["Feature", "Make", "Modules", "Profile", "connected", "find_profile"]
