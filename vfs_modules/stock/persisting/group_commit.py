"""Commits of many requests at once: whoever waits for a commit shares the next one with all that wait by then.

A commit costs what the disk takes to say that it is done, whatever is in it. The first request commits at once; those
that come meanwhile wait and go together.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from lamina.vfs_modules import engine
from lamina.vfs_modules.stock.persisting.record_store import Change
from lamina.vfs_modules.token import SERVER_TOKEN

MAX_CHANGES: Final = 512
"""Changes of one commit; more wait for the next, so that nobody waits for a flood."""


class GroupCommit:
    """Takes changes to `apply`, a function that makes them durable, on a worker thread and never two at a time."""

    def __init__(self, apply: Callable[[Sequence[Change]], None]) -> None:
        self._apply = apply
        self._waiting: list[tuple[list[Change], asyncio.Future[None]]] = []
        self._committing = False
        self.commits = 0

    def commit(self, changes: Iterable[Change]) -> None:
        """Return when the changes are on stable storage, in the order of the calls. Raises what `apply` raises.

        A request that is cancelled meanwhile leaves its changes to be made. Outside a request they are made at once.
        """
        if engine.current_task() is None:
            self._apply(list(changes))
            self.commits += 1
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((list(changes), done))
        if not self._committing:
            # Said before it runs: whoever comes between must not begin a second one.
            self._committing = True
            engine.aside(self._commit_all)
        engine.wait(done)

    def _commit_all(self) -> None:
        try:
            while self._waiting:
                self._commit_batch(self._next_batch())
        finally:
            self._committing = False

    def _next_batch(self) -> list[tuple[list[Change], asyncio.Future[None]]]:
        size = count = 0
        for changes, _ in self._waiting:
            size += len(changes)
            if count and size > MAX_CHANGES:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    def _commit_batch(self, batch: list[tuple[list[Change], asyncio.Future[None]]]) -> None:
        failure: Exception | None = None
        try:
            engine.offload(SERVER_TOKEN, self._apply, [change for changes, _ in batch for change in changes])
        except Exception as error:
            # Whatever it is: those who wait must hear of it.
            failure = error
        self.commits += 1
        for _, done in batch:
            if done.done():
                continue
            if failure is None:
                done.set_result(None)
            else:
                done.set_exception(failure)
