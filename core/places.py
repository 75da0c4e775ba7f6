"""Shares whose folder depends on who connects: `path = "/srv/home/%U"`. One volume for each folder that is in use.

Those who come to the same folder share its volume, so that they see each other's opens and locks. A folder is opened
when somebody connects to it, and given up some time after the last one has left. No more than so many are open at a
time: what a client says of itself may be part of a path, and must not become the server's memory.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from time import monotonic
from typing import Final

from lamina.core.plan import ShareSpec
from lamina.core.share import Share
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.volume import NtVolume
from lamina.vfs_modules import engine
from lamina.vfs_modules.substitution import UnfitValueError, letters_of, substitute_path
from lamina.vfs_modules.token import ImpersonationToken

log = logging.getLogger(__name__)

IDLE_SECONDS: Final = 30.0
"""How long a folder that nobody is connected to stays open."""

OpenPlace = Callable[[str, Mapping[str, str]], NtVolume]
"""Open the folder at a path, made with these substitutions. Raises NtStatusError; may wait."""


class Places:
    """The folders of one share that are open."""

    def __init__(
        self, name: str, spec: ShareSpec, open_place: OpenPlace, clock: Callable[[], float] = monotonic
    ) -> None:
        self._name = name
        self._template = spec.template
        self._letters = letters_of(spec.template)
        self._limit = spec.places
        self._open_place = open_place
        self._clock = clock
        self._volumes: dict[str, NtVolume] = {}
        self._used: dict[NtVolume, float] = {}
        self._opening: dict[str, asyncio.Future[None]] = {}

    def volumes(self) -> Collection[NtVolume]:
        """The volumes that are open."""
        return list(self._volumes.values())

    def share_for(self, share: Share, token: ImpersonationToken) -> Share:
        """What `token` uses of the share, with a volume. May wait.

        Raises NtStatusError: BAD_NETWORK_NAME for a folder that cannot be, INSUFFICIENT_RESOURCES for one too many.
        """
        values = self._values(token)
        try:
            path = substitute_path(self._template, values)
        except UnfitValueError as error:
            raise NtStatusError(NtStatus.BAD_NETWORK_NAME, f"share {self._name}: {error}") from None
        volume = self._volume(path, values)
        self._used[volume] = self._clock()
        # The time of a logon is another one when a user proves himself anew; he stays where he is.
        own = {letter: value for letter, value in values.items() if letter != "T"}
        return replace(share, volume=volume, place=None, fits=lambda other: own.items() <= self._values(other).items())

    def _values(self, token: ImpersonationToken) -> dict[str, str]:
        values = {"U": token.user_name, "u": token.user_name, **token.substitutions, "S": self._name}
        return {letter: values.get(letter, "") for letter in self._letters}

    def _volume(self, path: str, values: Mapping[str, str]) -> NtVolume:
        while path in self._opening:
            # Somebody else is opening it; whether that works or not is seen then.
            engine.wait(asyncio.shield(self._opening[path]))
        known = self._volumes.get(path)
        if known is not None:
            return known
        if len(self._volumes) + len(self._opening) >= self._limit:
            raise NtStatusError(NtStatus.INSUFFICIENT_RESOURCES, f"share {self._name}: {self._limit} folders are open")
        opening = self._opening[path] = asyncio.get_running_loop().create_future()
        try:
            volume = self._volumes[path] = self._open_place(path, values)
            self._used[volume] = self._clock()
            return volume
        finally:
            del self._opening[path]
            opening.set_result(None)

    def take_idle(self, in_use: Collection[NtVolume]) -> list[NtVolume]:
        """Forget the volumes that nobody has used for a while; they are the caller's to close."""
        now = self._clock()
        self._used |= {volume: now for volume in self._volumes.values() if volume in in_use}
        idle = {path: one for path, one in self._volumes.items() if now - self._used[one] >= IDLE_SECONDS}
        for path, volume in idle.items():
            del self._volumes[path], self._used[volume]
        return list(idle.values())
