"""Talking to the other workers of the server: telling them of something, and asking all of them.

Who asks is a request that waits until every worker has answered or is known to be gone. What is told or asked on one
worker after another's step arrives after what that step has told (see `shared_state`).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from lamina.ntfsa.workers.numbers import WORKER_BITS, worker_of
from lamina.ntfsa.workers.shared_state import Letter, SharedState
from lamina.vfs_modules import engine
from lamina.vfs_modules.engine import Engine, Task

log = logging.getLogger(__name__)

QUESTION: Final = "question"
ANSWER: Final = "answer"
WORD: Final = "word"
GONE: Final = "gone"
BACK: Final = "back"
"""Kinds of letters: id, topic and arguments; id and answer; topic and arguments; a worker; a worker."""

Handler = Callable[..., Any]
"""What is done about a topic; its result, of plain values, is the answer. It runs as a request and may wait."""


class _Question:
    """A question that not all have answered."""

    __slots__ = ("answers", "awaited", "future")

    def __init__(self, awaited: set[int]) -> None:
        self.awaited = awaited
        self.answers: list[Any] = []
        self.future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    def settled_by(self, worker: int) -> None:
        """One will answer no more."""
        self.awaited.discard(worker)
        if not self.awaited and not self.future.done():
            self.future.set_result(self.answers)


class Peers:
    """The other workers, as one of them sees them. `count`: how many workers there are, this one included."""

    def __init__(self, state: SharedState, engine_: Engine, count: int) -> None:
        self._state = state
        self._engine = engine_
        self._others = set(range(1, count + 1)) - {state.number}
        self._handlers: dict[str, Handler] = {}
        self._questions: dict[int, _Question] = {}
        self._next = time.monotonic_ns() // 1000
        self.lost: list[Callable[[int], None]] = []
        """Called with the number of a worker that is gone."""

    @property
    def number(self) -> int:
        """The number of this worker itself."""
        return self._state.number

    @property
    def others(self) -> frozenset[int]:
        """The numbers of the others that are there."""
        return frozenset(self._others)

    def handle(self, topic: str, handler: Handler) -> None:
        """Have this done about a topic."""
        self._handlers[topic] = handler

    def tell(self, topic: str, *arguments: Any, to: Iterable[int] | None = None) -> None:
        """Tell the others, or some of them."""
        self._state.post(self._others if to is None else to, (WORD, topic, arguments))

    def ask(self, topic: str, *arguments: Any, to: Iterable[int] | None = None, for_certain: bool = False) -> list[Any]:
        """Ask the others, or those of some that are there, and wait; the answers of those who gave one.

        Raises RequestCancelled, and what was asked goes on. `for_certain`: the answers are waited for all the same,
        and whoever asks is cancelled where he waits next.
        """
        awaited = self._others & set(to) if to is not None else set(self._others)
        if not awaited:
            return []
        self._next += 1
        number = self._next << WORKER_BITS | self.number
        question = self._questions[number] = _Question(awaited)
        try:
            self._state.post(awaited, (QUESTION, number, topic, arguments))
            return list(self._waited(question) if for_certain else engine.wait(question.future))
        finally:
            del self._questions[number]

    def _waited(self, question: _Question) -> list[Any]:
        cancelled = None
        while not question.future.done():
            try:
                engine.wait(asyncio.shield(question.future))
            except engine.RequestCancelled as reason:
                if self._engine.closed:
                    raise
                cancelled = reason
        task = engine.current_task()
        if cancelled is not None and task is not None:
            task.cancel(cancelled)
        return question.future.result()

    def receive(self, letter: Letter) -> None:
        """Do what a letter says that is no message of the registry."""
        kind = letter[0]
        if kind == ANSWER:
            self._answered(*letter[1:])
        elif kind == GONE:
            self._gone(letter[1])
        elif kind == BACK:
            self._others.add(letter[1])
        elif kind == QUESTION:
            self._engine.spawn(Task(), self._answer, *letter[1:])
        else:
            self._engine.spawn(Task(), self._do, letter[1], letter[2])

    def _answer(self, number: int, topic: str, arguments: tuple[Any, ...]) -> None:
        answer = None
        try:
            answer = self._do(topic, arguments)
        finally:
            self._state.post((worker_of(number),), (ANSWER, number, self.number, answer))

    def _do(self, topic: str, arguments: tuple[Any, ...]) -> Any:
        return self._handlers[topic](*arguments)

    def _answered(self, number: int, worker: int, answer: Any) -> None:
        question = self._questions.get(number)
        if question is not None and worker in question.awaited:
            if answer is not None:
                question.answers.append(answer)
            question.settled_by(worker)

    def _gone(self, worker: int) -> None:
        self._others.discard(worker)
        for question in list(self._questions.values()):
            question.settled_by(worker)
        for lost in self.lost:
            lost(worker)
