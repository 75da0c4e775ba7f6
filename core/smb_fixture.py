"""What the pytest fixture `smb_server` is: a server that shares are added to, each of which can be told to fail."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lamina.core.plan import DEFAULT_CHAIN, ChainLink, ShareSpec
from lamina.core.server import Server
from lamina.core.tracing import Filter, Record
from lamina.vfs_modules.stock.faults import Fault, FaultsModule, FaultsOptions


@dataclass(frozen=True, slots=True)
class SharedFolder:
    """One share of a test. `folder` is what is in it; `faults` makes what clients do in it fail.

    `faults.inject("pwrite", error="ENOSPC", times=1)` adds a fault, `faults.set_faults()` ends all, and
    `faults.injected` are those that have happened.
    """

    name: str
    folder: Path
    faults: FaultsModule
    server: "SmbServerFixture"

    @property
    def unc(self) -> str:
        """Its address as Windows writes it; the port is not part of it."""
        return self.server.server.unc(self.name)

    @property
    def url(self) -> str:
        """Its address as smb://host:port/name."""
        return self.server.server.url(self.name)

    def trace(self, wanted: Filter | None = None) -> AbstractContextManager[Callable[[], list[Record]]]:
        """See what is done for each request: `Server.trace`."""
        return self.server.server.trace(self.name, wanted)


class SmbServerFixture:
    """A running server whose shares come as a test asks for them. `base`: where their folders are made."""

    def __init__(self, base: Path, **arguments: Any) -> None:
        """`arguments`: those of `lamina.Server` but `shares`."""
        self._base = base
        self._specs: dict[str, ShareSpec] = {}
        self.server = Server({}, **arguments).start()

    @property
    def address(self) -> str:
        """Where it listens."""
        return self.server.address

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self.server.port

    @property
    def username(self) -> str:
        """The user's name."""
        return self.server.username

    @property
    def password(self) -> str:
        """The user's password."""
        return self.server.password

    def share(
        self,
        name: str = "share",
        *,
        folder: Path | None = None,
        faults: Iterable[Fault] = (),
        seed: int = 0,
        chain: Sequence[ChainLink] = DEFAULT_CHAIN,
        **options: Any,
    ) -> SharedFolder:
        """Share one more folder, by default a new one, through `chain`; at its top stand the `faults`.

        `seed`: what their chance starts from. `options`: further fields of `ShareSpec`. Raises StartError for what
        cannot be shared, ValueError where there is a share of that name.
        """
        if name in self._specs:
            raise ValueError(f"there is a share {name!r} already")
        place = folder if folder is not None else self._base / name
        place.mkdir(exist_ok=True)
        module = FaultsModule(FaultsOptions(seed=seed, faults=tuple(faults), changeable=True))
        specs = self._specs | {name: replace(ShareSpec(place, chain=(module, *chain)), **options)}
        self.server.set_shares(specs)
        self._specs = specs
        return SharedFolder(name, place, module, self)

    def close(self) -> None:
        """End every connection and the server."""
        self.server.close()
