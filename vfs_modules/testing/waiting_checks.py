"""Checks of all operations at once: what each answers, and what is left of one that its client cancels or that fails.

A layer right above the backend (`Underneath`) waits, or fails, at each call that a module makes, one after the other;
what a backend does by itself is cancelled wherever it waits.
"""

import asyncio
import errno
import os
from collections.abc import Callable
from typing import Any

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.engine import RequestCancelled, wait
from lamina.vfs_modules.testing.calls import (
    DATA,
    LOSES,
    NEW,
    Scene,
    callable_operations,
    give_back,
    lay_out,
    prepared,
    waiting_operations,
)
from lamina.vfs_modules.testing.hand import hand_of
from lamina.vfs_modules.testing.trial import Trial, trial
from lamina.vfs_modules.testing.underneath import Underneath

_MOST = 300
"""Waits or calls of one operation after which it is taken for endless."""

_TURNS = 4

Attempt = Callable[[Callable[[], Any], int], tuple[bool, Any]]
"""Makes a call so that something happens to it at its step of that number: whether it came so far, and its end."""


@trial()
def every_operation_answers_or_raises_oserror(subject: Trial) -> None:
    """What a chain cannot do is an OSError as well, and no operation changes more than it is there for."""
    with subject.chain() as chain:
        for name in callable_operations():
            _attempt(chain, subject, name, _plainly, 0)


@trial()
def a_cancelled_request_leaves_nothing_behind(subject: Trial) -> None:
    """Wherever it waits, in every operation: what was open is closed, and names and data are as before or after it."""
    layer = Underneath()
    with subject.chain(layer) as chain:

        def attempt(call: Callable[[], Any], step: int) -> tuple[bool, Any]:
            layer.happen = lambda name: _rest()
            try:
                return subject.cancelled(call, step)
            finally:
                layer.happen = None

        for name in waiting_operations():
            _sweep(chain, subject, name, attempt)
    _nothing_is_open(layer)


@trial()
def a_failure_underneath_leaves_nothing_behind(subject: Trial) -> None:
    """Whichever call fails, in every operation: an OSError comes of it or none, and nothing half done stays."""
    layer = Underneath()
    with subject.chain(layer) as chain:

        def attempt(call: Callable[[], Any], step: int) -> tuple[bool, Any]:
            failure = _Failure(step)
            layer.happen = failure.happen
            try:
                return failure.result_of(call)
            finally:
                layer.happen = None

        for name in waiting_operations():
            _sweep(chain, subject, name, attempt)
    _nothing_is_open(layer)


def _rest() -> None:
    """Wait a few turns of the loop, so that whoever cancels meanwhile comes first."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def turn(left: int) -> None:
        if left:
            loop.call_soon(turn, left - 1)
        elif not future.done():
            future.set_result(None)

    turn(_TURNS)
    wait(future)


class _Failure:
    """EIO at the call of a number."""

    def __init__(self, step: int) -> None:
        self._left, self._struck = step, False

    def happen(self, name: str) -> None:
        """An operation is called."""
        if self._left == 0:
            self._struck = True
        self._left -= 1
        if self._left == -1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def result_of(self, call: Callable[[], Any]) -> tuple[bool, Any]:
        """Whether it came to the failure, and how it ended."""
        try:
            result = call()
        except Exception as error:
            result = error
        return self._struck, result


def _plainly(call: Callable[[], Any], step: int) -> tuple[bool, Any]:
    try:
        return False, call()
    except Exception as error:
        return False, error


def _sweep(chain: Chain, subject: Trial, name: str, attempt: Attempt) -> None:
    for step in range(_MOST):
        if not _attempt(chain, subject, name, attempt, step):
            return
    raise AssertionError(f"{name} still waits, or calls what is below, after {_MOST} times")


def _attempt(chain: Chain, subject: Trial, name: str, attempt: Attempt, step: int) -> bool:
    """Whether the call came to `step`. Raises AssertionError for what is not as it should be afterwards."""
    with hand_of(chain, subject.token) as hand:
        scene = lay_out(hand, f"{name}-{step}")
        before = scene.names()
        reached, result = attempt(prepared(scene, name), step)
        where = f"{name}, step {step}"
        assert not isinstance(result, BaseException) or isinstance(result, OSError | RequestCancelled), (
            f"{where}: {type(result).__name__}: {result}"
        )
        _is_as_before_or_after(scene, name, before, result, where)
        if not isinstance(result, BaseException):
            give_back(scene, result)
        elif name != "close":
            _can_be_asked_again(scene, name, where)
    return reached


def _is_as_before_or_after(scene: Scene, name: str, before: set[str], result: Any, where: str) -> None:
    names = scene.names()
    lost = {LOSES[name]} if name in LOSES else set()
    assert before - lost <= names <= before | {NEW}, f"{where}: {sorted(before)} became {sorted(names)}"
    if name == "rename":
        assert (NEW in names) != ("file" in names), f"{where}: {sorted(names)}"
    for one in names & ({"file", NEW} if name in {"rename", "link"} else {"file"}):
        assert scene.data(one) == DATA, f"{where}: {one} holds {scene.data(one)!r}"
    done = not isinstance(result, BaseException)
    assert not done or not lost & names, f"{where}: {lost} is still there"


def _can_be_asked_again(scene: Scene, name: str, where: str) -> None:
    try:
        give_back(scene, prepared(scene, name)())
    except OSError:
        return
    except Exception as error:
        raise AssertionError(f"{where}, and then once more: {type(error).__name__}: {error}") from error


def _nothing_is_open(layer: Underneath) -> None:
    assert not layer.opened, f"{len(layer.opened)} handles of the backend were not given back"


__all__ = [
    "a_cancelled_request_leaves_nothing_behind",
    "a_failure_underneath_leaves_nothing_behind",
    "every_operation_answers_or_raises_oserror",
]
