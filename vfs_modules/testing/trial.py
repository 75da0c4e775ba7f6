"""What a check of the conformance suite that needs more than one chain works with: the trial of one profile.

Checks that are about a chain and nothing else take `(chain, token)` and are entered with `hand.check`; the others take
a `Trial` and are entered with `trial`. All of them run as a request on an event loop of their own.
"""

from asyncio import gather
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.engine import Engine, RequestCancelled, Task, wait
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.testing.hand import NEEDS
from lamina.vfs_modules.testing.profile import Feature, Profile, connected
from lamina.vfs_modules.token import ImpersonationToken

_NO_CAPABILITY = Capability(0)
_NO_FEATURE = Feature(0)


class LeftOut(Exception):  # noqa: N818 - it is no error
    """The check cannot be made here; the message says why, or what to install."""


class NotClaimed(Exception):  # noqa: N818 - it is no error
    """The check is about something that the chain or the profile does not claim."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One profile over one empty folder. `folder` is used by no chain until one is asked for."""

    profile: Profile
    folder: Path
    token: ImpersonationToken
    engine: Engine

    @contextmanager
    def chain(self, *beneath: VfsModule) -> Iterator[Chain]:
        """The chain, with `beneath` put between its backend and the others."""
        with connected(self.profile.make, self.folder, *beneath) as chain:
            yield chain

    @contextmanager
    def second_chain(self) -> Iterator[Chain]:
        """The chain that another client has over the same folder."""
        assert self.profile.second_client is not None
        with connected(self.profile.second_client, self.folder) as chain:
            yield chain

    def at_once(self, *functions: Callable[[], Any]) -> list[Any]:
        """Run each as a request of its own, all at the same time; what each returned or raised."""
        return wait(_all(self.engine, functions))

    def cancelled(self, function: Callable[[], Any], park: int) -> tuple[bool, Any]:
        """Run as a request that its client cancels when it waits for the `park`th time, from 0.

        Whether it came to wait so often; and what it returned or raised, RequestCancelled among that.
        """
        stop = _Stop(self.engine, park)
        outcome = self.engine.loop.create_future()

        def body() -> None:
            try:
                result: Any = function()
            except (Exception, RequestCancelled) as error:
                result = error
            outcome.set_result(result)

        stop.task = Task(stop.parked)
        self.engine.spawn(stop.task, body)
        result = wait(outcome)
        return stop.reached, result


class _Stop:
    """Cancels a request at one of its waits, a turn of the loop after it has begun to wait, as a client would."""

    def __init__(self, engine: Engine, park: int) -> None:
        self.reached = False
        self.task = Task()
        self._engine, self._left = engine, park

    def parked(self, indefinite: bool) -> None:
        """It begins to wait."""
        if self._left == 0:
            self.reached = True
            self._engine.loop.call_soon(self.task.cancel)
        self._left -= 1


async def _all(engine: Engine, functions: tuple[Callable[[], Any], ...]) -> list[Any]:
    return await gather(*(engine.run(one) for one in functions), return_exceptions=True)


Examination = Callable[[Trial], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One check of the suite: what it is called, what for, what a profile must have for it, and how it is made."""

    name: str
    meaning: str
    needs: Capability
    feature: Feature
    run: Examination


_ENTRIES: dict[str, Entry] = {}


def trial(needs: Capability = _NO_CAPABILITY, feature: Feature = _NO_FEATURE) -> Callable[[Examination], Examination]:
    """Enter a function of a trial among the checks, for chains and profiles that have this."""

    def enter(function: Examination) -> Examination:
        _ENTRIES[function.__name__] = Entry(function.__name__, _meaning(function), needs, feature, function)
        return function

    return enter


def entries() -> tuple[Entry, ...]:
    """All checks of the suite, in their order: those of a chain, then those of a trial."""
    of_chains = (Entry(one.__name__, _meaning(one), needs, _NO_FEATURE, _on_chain(one)) for one, needs in NEEDS.items())
    return (*of_chains, *_ENTRIES.values())


def _on_chain(check: Callable[[Chain, ImpersonationToken], None]) -> Examination:
    def examine(subject: Trial) -> None:
        with subject.chain() as chain:
            check(chain, subject.token)

    return examine


def _meaning(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").strip().partition("\n")[0]


__all__ = ["Entry", "Examination", "LeftOut", "NotClaimed", "Trial", "entries", "trial"]
