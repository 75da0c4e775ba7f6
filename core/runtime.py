"""A plan brought to life: chains, volumes, shares and the SMB server, on the event loop of the calling thread.

The one place that knows how the layers fit together; the command line, `lamina.Server` and reload all go through it.
Everything is built and connected before the first socket accepts, so a fault never leaves half a server.
"""

import asyncio
import contextlib
import itertools
import logging
import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from lamina.core.audit_trail import AuditTrail
from lamina.core.auth.accounts import AccountStore
from lamina.core.auth.authenticator import Authenticator
from lamina.core.auth.settings import AuthSettings
from lamina.core.blame import raised_by
from lamina.core.composition import make_chain
from lamina.core.event_queue import EventQueue
from lamina.core.events import ServerEvents
from lamina.core.identity.identities import Identities
from lamina.core.places import Places
from lamina.core.plan import Listener, ServerPlan, ShareSpec
from lamina.core.recovery import recover
from lamina.core.request import Exchange
from lamina.core.server_core import SmbServer
from lamina.core.share import Share
from lamina.core.share_security import ShareSecurity
from lamina.core.tracing import Tracing
from lamina.ntfsa.durability.keeping import StoreError, keeps_opens
from lamina.ntfsa.grants.grant_holders import LeaseTable
from lamina.ntfsa.naming.names import fold
from lamina.ntfsa.registry import MemoryRegistry, Registry
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.volume import NtVolume, VolumeSettings
from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.engine import Engine
from lamina.vfs_modules.hooks import HookBus, listener_name
from lamina.vfs_modules.loader import LoadError
from lamina.vfs_modules.module import ModuleError, VfsModule
from lamina.vfs_modules.services.surroundings import Surroundings
from lamina.vfs_modules.token import SERVER_TOKEN

if TYPE_CHECKING:
    from lamina.core.workers.crew import Crew

log = logging.getLogger(__name__)

_SWEEP_SECONDS = 5.0


class StartError(Exception):
    """The server cannot be started as it is planned; the message is for the person who planned it."""


class _OpenShare:
    """A share that is connected: what it was made from, and its volume until nobody uses it any more.

    `places`: instead of the one volume, for a share whose folder depends on who connects.
    """

    __slots__ = ("places", "share", "spec")

    def __init__(self, spec: ShareSpec, share: Share, places: Places | None = None) -> None:
        self.spec = spec
        self.share = share
        self.places = places

    def volumes(self) -> Collection[NtVolume]:
        """All that are open."""
        if self.places is not None:
            return self.places.volumes()
        return [self.share.volume] if self.share.volume is not None else []


class _Retired(NamedTuple):
    """A volume that nobody is to open anything in any more, and the messages that were worked on when it became one."""

    volume: NtVolume
    exchanges: Collection[Exchange]


class Runtime:
    """A running server. Made by `start`, changed by `apply`, ended by `close`; all on one event loop."""

    def __init__(
        self,
        engine: Engine,
        server: SmbServer,
        accounts: AccountStore,
        plan: ServerPlan,
        crew: "Crew | None" = None,
    ) -> None:
        """`crew`: the other workers, where several processes are one server."""
        self.engine = engine
        self.server = server
        self.accounts = accounts
        self.plan = plan
        self.crew = crew
        self.registry: Registry = MemoryRegistry() if crew is None else crew.registry
        if crew is not None:
            crew.join(server)
        self.leases = LeaseTable()
        self._listening: dict[Listener, Listener] = {}
        self._open: dict[str, _OpenShare] = {}
        self._unserved: dict[str, ShareSpec] = {}
        self.hooks = HookBus()
        self._audit = AuditTrail(self.hooks.event)
        self._events = EventQueue("events of modules")
        self.surroundings = Surroundings(self._announce, str(plan.state or ""))
        self.tracing = Tracing(server)
        self._retired: list[_Retired] = []
        self._generations = itertools.count(1)
        self._sweeper: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        engine: Engine,
        plan: ServerPlan,
        accounts: AccountStore,
        auth: AuthSettings,
        events: ServerEvents,
        *,
        forgiving: bool = False,
        crew: "Crew | None" = None,
    ) -> "Runtime":
        """Open every share of `plan`, then listen. Raises StartError or OSError, with everything given back.

        `forgiving`: a share that cannot be opened is told of and left out, as long as another one can. `crew`: where
        this is one of several workers.
        """
        authenticator = Authenticator(accounts, auth)
        runtime = cls(engine, SmbServer(engine, plan.settings, authenticator, {}, events), accounts, plan, crew)
        try:
            await runtime._open_shares(plan.shares, plan.shares if forgiving else {})
            runtime.server.set_shares(runtime.shares())
            await runtime._listen(plan.listeners)
            runtime.hooks.server_started(tuple(map(str, runtime.bound)))
        except BaseException:
            await runtime.close()
            raise
        return runtime

    def authenticator_for(self, auth: AuthSettings) -> Authenticator:
        """What logons with other settings would be decided by; the failures of guessers stay counted. Raises OSError.

        `authenticate_by` puts it into effect.
        """
        old = self.server.authenticator
        old.identities.prepare(auth.identity)
        return Authenticator(self.accounts, auth, old.throttle, old.identities)

    def authenticate_by(self, authenticator: Authenticator) -> None:
        """Decide who logs on from now on with this one."""
        self.identities.apply(authenticator.settings.identity)
        self.server.authenticator = authenticator

    @property
    def identities(self) -> Identities:
        """Who a SID, a uid or a name is on this server."""
        return self.server.authenticator.identities

    def _announce(self, kind: str, details: Mapping[str, Any]) -> None:
        self._events.put(self.hooks.event, kind, details)

    @property
    def bound(self) -> list[Listener]:
        """Where connections are accepted, with the ports that were found for those planned as 0."""
        return list(self._listening.values())

    def shares(self) -> Mapping[str, Share]:
        """The shares that new tree connects find, by name."""
        return {name: open_share.share for name, open_share in self._open.items()}

    async def apply(self, plan: ServerPlan) -> None:
        """Serve `plan` from now on, without dropping a connection. Raises StartError, and nothing has changed then.

        Shares apply to new tree connects; whoever is connected to a share that changed or went keeps it as it was. Of
        one that only has another chain he opens files through the new chain, and what he has open stays in the old one.
        """
        before = dict(self._open)
        try:
            await self._open_shares(plan.shares, self._unserved)
            await self._listen(plan.listeners)
        except BaseException:
            failed, self._open = self._open, before
            await self._close_unused(_volumes(failed))
            raise
        self._stop_listening(set(self._listening) - set(plan.listeners))
        self.plan = plan
        # Who the server is does not change while it runs: its GUID was negotiated with every client.
        guid = self.server.settings.server_guid
        self.server.apply(replace(plan.settings, server_guid=guid))
        self.server.set_shares(self.shares())
        self._retire(before)
        await self.sweep()
        if self._retired:
            self._keep_sweeping()

    def _keep_sweeping(self) -> None:
        if self._sweeper is None:
            self._sweeper = self.engine.loop.create_task(self._sweep_until_idle())

    def _retire(self, before: Mapping[str, _OpenShare]) -> None:
        retired = [volume for volume in _volumes(before) if volume not in _volumes(self._open)]
        now = {name: item for name, item in self._open.items() if name in before}
        successors = {
            old: now[name].share.volume
            for name, item in before.items()
            if (old := item.share.volume) is not None and name in now and _same_place(item.spec, now[name].spec)
        }
        self.server.replace_volumes({old: new for old, new in successors.items() if new is not None})
        # A CREATE that is being worked on has looked up its volume, and nothing shows yet what it opens.
        exchanges = self.server.exchanges()
        self._retired += [_Retired(volume, exchanges) for volume in retired]

    async def _sweep_until_idle(self) -> None:
        while self._retired or any(item.places is not None and item.places.volumes() for item in self._open.values()):
            await asyncio.sleep(_SWEEP_SECONDS)
            await self.sweep()
        self._sweeper = None

    async def _listen(self, listeners: Sequence[Listener]) -> None:
        """Listen on these too; on all of them, or on an error on none more than before."""
        new = [listener for listener in listeners if listener not in self._listening]
        try:
            for listener in new:
                port = await self.server.listen(listener.address, listener.port)
                self._listening[listener] = replace(listener, port=port)
        except BaseException:
            self._stop_listening(self._listening.keys() & new)
            raise

    def _stop_listening(self, listeners: Collection[Listener]) -> None:
        for listener in listeners:
            bound = self._listening.pop(listener)
            self.server.stop_listening(bound.address, bound.port)

    async def _open_shares(self, specs: Mapping[str, ShareSpec], forgiven: Mapping[str, ShareSpec]) -> None:
        """Open the shares; those that are `forgiven` as they are may fail, unless all do."""
        previous, self._open = self._open, {}
        unserved, failure = {}, None
        for name, spec in specs.items():
            try:
                await self._open_share(name, spec, previous.get(name))
            except StartError as error:
                if forgiven.get(name) != spec:
                    raise
                log.error("%s; it is not served", error)
                unserved[name], failure = spec, error
                failed = self._open.pop(name, None)
                await self._close_unused(_volumes({name: failed} if failed is not None else {}))
        if failure is not None and not self._open:
            raise failure
        self._unserved = unserved

    def volumes_of(self, name: str) -> Collection[NtVolume]:
        """The volumes of a share that are open: one, or those of the folders that are in use."""
        return self._open[name].volumes()

    async def _open_share(self, name: str, spec: ShareSpec, old: _OpenShare | None) -> None:
        if spec.template:
            places = old.places if old is not None and _same_volume(old.spec, spec) else None
            self._open[name] = await self.engine.run(self._open_places, name, spec, places)
            return
        volume = old.share.volume if old is not None and _same_volume(old.spec, spec) else None
        volume = volume or await self._open_volume(name, spec, old.share.volume if old is not None else None)
        # As a request: whom an access list means may be a question to a name service.
        self._open[name] = _OpenShare(spec, await self.engine.run(_make_share, name, spec, volume, self.identities))
        if old is None:
            await self._recover(self._open[name])

    def _open_places(self, name: str, spec: ShareSpec, known: Places | None) -> _OpenShare:
        if any(
            isinstance(link, VfsModule) or isinstance(getattr(link, "module", None), VfsModule) for link in spec.chain
        ):
            raise StartError(
                f"share {name!r}: each folder of {spec.template} has a chain: name modules or their classes"
            )

        def open_place(path: str, values: Mapping[str, str]) -> NtVolume:
            return self._open_place(opened, replace(spec, path=Path(path)), values)

        places = known or Places(name, spec, open_place)
        share = replace(_make_share(name, spec, None, self.identities), place=places.share_for)
        opened = _OpenShare(spec, share, places)
        return opened

    def _open_place(self, opened: _OpenShare, spec: ShareSpec, values: Mapping[str, str]) -> NtVolume:
        """Open the folder of somebody who connects; as a request, which may wait. Raises NtStatusError."""
        name = opened.share.name
        try:
            chain = make_chain(name, spec, self.surroundings, values)
            volume = self._connect(name, spec, chain, None)
        except (Exception, SystemExit) as error:  # as above
            log.warning("share %s: %s cannot be served: %s", name, spec.path, _reason(error))
            raise NtStatusError(NtStatus.BAD_NETWORK_NAME, f"{spec.path}: {_reason(error)}") from error
        if keeps_opens(volume):
            self._close_volume(volume)
            log.error("share %s: persistent opens need one folder, and %s is many", name, spec.template)
            raise NtStatusError(NtStatus.BAD_NETWORK_NAME, "persistent opens in a share of many folders")
        now = self._open.get(name)
        if now is None or now.places is not opened.places:
            # The configuration was read again meanwhile.
            self._retired.append(_Retired(volume, self.server.exchanges()))
        self._keep_sweeping()
        return volume

    async def _open_volume(self, name: str, spec: ShareSpec, previous: NtVolume | None) -> NtVolume:
        try:
            chain = make_chain(name, spec, self.surroundings)
            return await self.engine.run(self._connect, name, spec, chain, previous)
        except (Exception, SystemExit) as error:  # modules are anybody's code: whatever it raises is told
            raise StartError(f"share {name!r} ({spec.path}): {_reason(error)}") from error

    async def _recover(self, open_share: _OpenShare) -> None:
        try:
            work = recover if self.crew is None else self.crew.recover
            await self.engine.run(work, self.server, open_share.share)
        except StoreError as error:
            raise StartError(f"share {open_share.share.name!r} ({open_share.spec.path}): {error}") from error

    def _connect(self, name: str, spec: ShareSpec, chain: Chain, previous: NtVolume | None) -> NtVolume:
        chain.connect(SERVER_TOKEN)
        try:
            if previous is not None:
                chain.take_over(previous.whole_chain)
            # While clients keep a share as it was before a reload, two chains have its name.
            generation = next(self._generations)
            for module in chain.modules:
                self.hooks.register(module, f"{listener_name(module)}#{generation}")
            self.hooks.share_connected(chain.share)
            volume = NtVolume(name, chain, self.registry, self.identities, _volume_settings(spec), self.leases)
            volume.audit = self._audit.add
            self.tracing.volume_opened(volume)
            if self.crew is not None:
                self.crew.volumes.enter(volume)
            return volume
        except BaseException:
            self._disconnect(chain)
            raise

    def _disconnect(self, chain: Chain) -> None:
        self.tracing.chain_ends(chain)
        self.hooks.share_disconnected(chain.share)
        for module in chain.modules:
            self.hooks.unregister(module)
        chain.disconnect(SERVER_TOKEN)

    async def sweep(self) -> None:
        """Close the volumes of shares that are gone and that no client is connected to any more."""
        in_use, running = self.server.volumes_in_use(), self.server.exchanges()
        given_up = [volume for item in self._open.values() if item.places for volume in item.places.take_idle(in_use)]
        self._retired += [_Retired(volume, running) for volume in given_up]
        waiting, self._retired = self._retired, []
        idle = [item for item in waiting if item.volume not in in_use and running.isdisjoint(item.exchanges)]
        self._retired += [item for item in waiting if item not in idle]
        await self._close_unused([item.volume for item in idle])

    async def _close_unused(self, volumes: Collection[NtVolume]) -> None:
        serving = _volumes(self._open)
        for volume in dict.fromkeys(volumes):
            if volume not in serving:
                await self.engine.run(self._close_volume, volume)

    def _close_volume(self, volume: NtVolume) -> None:
        if self.crew is not None:
            self.crew.volumes.leave(volume)
        with contextlib.suppress(OSError):
            volume.close()
        self._disconnect(volume.whole_chain)

    async def close(self) -> None:
        """Stop accepting, end the connections, close the volumes, and let the chains disconnect."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self.hooks.server_stopping()
        await self.server.close()
        volumes = [*_volumes(self._open), *(item.volume for item in self._retired)]
        self._open, self._retired = {}, []
        await self._close_unused(volumes)
        await asyncio.to_thread(self._audit.close)
        await asyncio.to_thread(self._events.close)
        await asyncio.to_thread(self.surroundings.stores.close)
        await asyncio.to_thread(self.identities.close)


def _volumes(shares: Mapping[str, _OpenShare]) -> list[NtVolume]:
    return [volume for item in shares.values() for volume in item.volumes()]


def _same_volume(old: ShareSpec, new: ShareSpec) -> bool:
    return _same_place(old, new) and tuple(old.chain) == tuple(new.chain)


def _same_place(old: ShareSpec, new: ShareSpec) -> bool:
    places = [(spec.path, spec.template, spec.places, _volume_settings(spec)) for spec in (old, new)]
    return places[0] == places[1]


def _volume_settings(spec: ShareSpec) -> VolumeSettings:
    return VolumeSettings(
        read_only=spec.read_only,
        access_based_enumeration=spec.access_based_enumeration,
        hidden_names=frozenset(map(fold, spec.hide_files)),
        write_time_delay_ns=round(spec.write_time_delay * 1_000_000_000),
        follow_symlinks=spec.follow_symlinks,
        file_mode=spec.file_mode,
        directory_mode=spec.directory_mode,
        change_notify=spec.change_notify,
        oplocks=spec.oplocks,
        directory_leases=spec.directory_leases,
        durable_handles=spec.durable_handles,
        posix_extensions=spec.posix_extensions,
    )


def _make_share(name: str, spec: ShareSpec, volume: NtVolume | None, identities: Identities) -> Share:
    security = ShareSecurity(spec.access, spec.allow, spec.deny, identities.sid_of_name, identities.sid_of_uid)
    for unknown in security.unknown_names():
        log.warning("share %s: nobody is called %r: what its access list says of him has no effect yet", name, unknown)
    return Share(
        name=name,
        volume=volume,
        comment=spec.comment,
        read_only=spec.read_only,
        encrypt=spec.encrypt,
        hidden=spec.hidden,
        guest=spec.guest,
        security=security,
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    place = None if isinstance(error, OSError | ModuleError | LoadError | ValidationError) else raised_by(error)
    if place is None:
        return str(error)
    what = traceback.format_exception_only(error)[-1].strip()
    return f"module {place.module.title!r} failed in {place.function} ({place.file}:{place.line}): {what}"
