"""Histories of operations, made up by Hypothesis, on two chains at once: both must answer the same all the way.

Each history has a directory of its own in both shares. What is compared: results, error numbers (those that file
systems agree on), and at the end the whole tree with its data, attributes and streams.
"""

import errno
import itertools
import stat as st
from collections.abc import Callable
from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, Capability, OpenHow
from lamina.vfs_modules.testing.hand import LIST, PATH, READ, Hand

_ALIKE: Final = (
    frozenset({errno.EISDIR, errno.EPERM}),
    frozenset({errno.ENOTEMPTY, errno.EEXIST}),
    frozenset({errno.ENOTSUP, errno.EPERM}),
)
"""Errors of which a file system may take either."""

PATHS: Final = some.sampled_from(["a", "b", "a/a", "a/b", "c"])
_DATA = some.binary(max_size=12)
_OFFSETS = some.integers(0, 20)
_ATTRIBUTES = some.sampled_from(["user.one", "user.two"])
_STREAMS = some.sampled_from(["one", "two"])
_HANDLES = some.integers(0, 3)

EXAMPLES: Final = 20
STEPS: Final = 30


def compare(subject: Hand, reference: Hand, examples: int = EXAMPLES, steps: int = STEPS) -> None:
    """Raise AssertionError where two chains answer differently; its notes tell the shortest history that shows it."""
    numbers = itertools.count()

    class History(Histories):
        def __init__(self) -> None:
            super().__init__(subject, reference, f"history{next(numbers)}")

    run_state_machine_as_test(
        History,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=True,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


class Histories(RuleBasedStateMachine):
    """One history on both chains. It begins with a few names, so that there is something to do from the start."""

    def __init__(self, subject: Hand, reference: Hand, base: str) -> None:
        super().__init__()
        self.both = (subject, reference)
        self.base = base
        self.has = subject.chain.capabilities & reference.chain.capabilities
        self.handles: list[tuple[VfsHandle, VfsHandle]] = []
        for hand in self.both:
            hand.mkdir(base)
            hand.mkdir(self._path("a"))
            for path in ("b", "a/a"):
                _write(hand, self._path(path), OpenHow(Access.WRITE, create=True), b"data", 0)

    def _path(self, path: str) -> str:
        return f"{self.base}/{path}"

    def _same(self, act: Callable[[Hand], Any], exact: bool = True) -> None:
        ours, theirs = (_outcome(act, hand) for hand in self.both)
        failed = isinstance(ours, OSError), isinstance(theirs, OSError)
        if failed == (True, True):
            assert not exact or _alike(ours.errno, theirs.errno), f"{ours}, with the reference {theirs}"
        else:
            assert ours == theirs, f"{ours!r}, with the reference {theirs!r}"

    @rule(path=PATHS)
    def make_a_directory(self, path: str) -> None:
        """`mkdir`."""
        self._same(lambda hand: hand.mkdir(self._path(path)))

    @rule(path=PATHS, data=_DATA, exclusive=some.booleans())
    def write_a_file(self, path: str, data: bytes, exclusive: bool) -> None:
        """`open` with create, and `pwrite`."""
        how = OpenHow(Access.READ_WRITE, create=True, exclusive=exclusive)
        self._same(lambda hand: _write(hand, self._path(path), how, data, 0))

    @rule(path=PATHS, data=_DATA, offset=_OFFSETS)
    def write_into_a_file(self, path: str, data: bytes, offset: int) -> None:
        """`pwrite` somewhere in a file that may be there."""
        self._same(lambda hand: _write(hand, self._path(path), OpenHow(Access.WRITE), data, offset))

    @rule(path=PATHS, length=_OFFSETS)
    def set_the_end(self, path: str, length: int) -> None:
        """`ftruncate`."""
        self._same(lambda hand: _with(hand, self._path(path), OpenHow(Access.WRITE), _truncated(length)))

    @rule(path=PATHS)
    def read_a_file(self, path: str) -> None:
        """`pread`."""
        self._same(lambda hand: _with(hand, self._path(path), READ, _content))

    @rule(path=PATHS)
    def remove_a_file(self, path: str) -> None:
        """`unlink`."""
        self._same(lambda hand: hand.chain.unlink(hand.token, hand.root, self._path(path)))

    @rule(path=PATHS)
    def remove_a_directory(self, path: str) -> None:
        """`rmdir`."""
        self._same(lambda hand: hand.chain.rmdir(hand.token, hand.root, self._path(path)))

    @rule(source=PATHS, new=PATHS, replace=some.booleans())
    def rename(self, source: str, new: str, replace: bool) -> None:
        """`rename`; in which order file systems look for what speaks against it is theirs."""
        self._same(lambda hand: hand.rename(self._path(source), self._path(new), replace), exact=False)

    @precondition(lambda self: Capability.HARD_LINKS in self.has)
    @rule(source=PATHS, new=PATHS)
    def link(self, source: str, new: str) -> None:
        """`link`."""
        self._same(
            lambda hand: _with(
                hand,
                self._path(source),
                PATH,
                lambda hand, file: hand.chain.link(hand.token, file, hand.root, self._path(new)),
            ),
            exact=False,
        )

    @precondition(lambda self: Capability.SYMLINKS in self.has)
    @rule(path=PATHS, holds=some.sampled_from(["a", "../a", "b/a", "nothing"]))
    def link_symbolically(self, path: str, holds: str) -> None:
        """`symlink`, and `readlink` of whatever has the name then."""
        self._same(lambda hand: hand.chain.symlink(hand.token, holds, hand.root, self._path(path)))
        self._same(lambda hand: hand.chain.readlink(hand.token, hand.root, self._path(path)))

    @precondition(lambda self: Capability.XATTRS in self.has)
    @rule(path=PATHS, name=_ATTRIBUTES, value=some.none() | _DATA)
    def set_an_attribute(self, path: str, name: str, value: bytes | None) -> None:
        """`setxattr`, or `removexattr`."""
        self._same(lambda hand: _with(hand, self._path(path), PATH, _attribute(name, value)))

    @precondition(lambda self: Capability.STREAMS in self.has)
    @rule(path=PATHS, name=_STREAMS, data=some.none() | _DATA)
    def write_a_stream(self, path: str, name: str, data: bytes | None) -> None:
        """`open_stream` and `pwrite`, or `remove_stream`."""
        self._same(lambda hand: _with(hand, self._path(path), PATH, _stream(name, data)), exact=False)

    @rule(path=PATHS)
    def keep_open(self, path: str) -> None:
        """A handle that outlives what happens to its name."""
        ours, theirs = (_outcome(lambda hand: hand.open(self._path(path), _BOTH), hand) for hand in self.both)
        assert isinstance(ours, OSError) == isinstance(theirs, OSError), f"{ours!r}, with the reference {theirs!r}"
        if not isinstance(ours, OSError):
            self.handles.append((ours, theirs))

    @precondition(lambda self: self.handles)
    @rule(number=_HANDLES, data=_DATA, offset=_OFFSETS)
    def use_what_is_open(self, number: int, data: bytes, offset: int) -> None:
        """`pwrite`, `pread` and `fstat` through it."""
        pair = self.handles[number % len(self.handles)]

        def use(hand: Hand) -> Any:
            file = pair[self.both.index(hand)]
            hand.chain.pwrite(hand.token, file, memoryview(data), offset)
            status = hand.chain.fstat(hand.token, file)
            return _content(hand, file), status.size, status.nlink if Capability.HARD_LINKS in self.has else None

        self._same(use)

    def teardown(self) -> None:
        """Compare all that there is, and give back what is open."""
        try:
            ours, theirs = (tree(hand, self.base, self.has) for hand in self.both)
            assert ours == theirs, f"{ours!r}, with the reference {theirs!r}"
        finally:
            self.handles.clear()


_BOTH = OpenHow(Access.READ_WRITE)


def _outcome(act: Callable[[Hand], Any], hand: Hand) -> Any:
    try:
        return act(hand)
    except OSError as error:
        return error


def _alike(one: int | None, other: int | None) -> bool:
    return one == other or any({one, other} <= alike for alike in _ALIKE)


def _with(hand: Hand, path: str, how: OpenHow, act: Callable[[Hand, VfsHandle], Any]) -> Any:
    file = hand.chain.open(hand.token, hand.root, path, how)
    try:
        return act(hand, file)
    finally:
        hand.chain.close(hand.token, file)


def _write(hand: Hand, path: str, how: OpenHow, data: bytes, offset: int) -> Any:
    return _with(hand, path, how, lambda hand, file: hand.chain.pwrite(hand.token, file, memoryview(data), offset))


def _truncated(length: int) -> Callable[[Hand, VfsHandle], Any]:
    return lambda hand, file: hand.chain.ftruncate(hand.token, file, length)


def _content(hand: Hand, file: VfsHandle) -> bytes:
    return hand.read(file, 100)


def _attribute(name: str, value: bytes | None) -> Callable[[Hand, VfsHandle], Any]:
    def act(hand: Hand, file: VfsHandle) -> Any:
        if value is None:
            hand.chain.removexattr(hand.token, file, name)
        else:
            hand.chain.setxattr(hand.token, file, name, value)
        return None

    return act


def _stream(name: str, data: bytes | None) -> Callable[[Hand, VfsHandle], Any]:
    def act(hand: Hand, file: VfsHandle) -> Any:
        if data is None:
            return hand.chain.remove_stream(hand.token, file, name)
        stream = hand.chain.open_stream(hand.token, file, name, OpenHow(Access.READ_WRITE, create=True))
        try:
            return hand.chain.pwrite(hand.token, stream, memoryview(data), 0), hand.read(stream, 99)
        finally:
            hand.chain.close(hand.token, stream)

    return act


def tree(hand: Hand, path: str, has: Capability) -> dict[str, Any]:
    """All that is beneath a directory: for each path its kind, and what it holds."""
    found: dict[str, Any] = {}
    directory = hand.chain.open(hand.token, hand.root, path, LIST)
    entries = sorted(entry.name for entry in hand.chain.readdir(hand.token, directory))
    hand.chain.close(hand.token, directory)
    for name in entries:
        below = f"{path}/{name}"
        mode = hand.chain.stat(hand.token, hand.root, below).mode
        if st.S_ISLNK(mode):
            found[below] = hand.chain.readlink(hand.token, hand.root, below)
        elif st.S_ISDIR(mode):
            found[below] = _with(hand, below, PATH, lambda hand, file: _beside(hand, file, has))
            found |= tree(hand, below, has)
        else:
            found[below] = _with(
                hand, below, READ, lambda hand, file: (_content(hand, file), *_beside(hand, file, has))
            )
    return found


def _beside(hand: Hand, file: VfsHandle, has: Capability) -> tuple[Any, ...]:
    attributes: dict[str, bytes] = {}
    if Capability.XATTRS in has:
        names = [name for name in hand.chain.listxattr(hand.token, file) if name in {"user.one", "user.two"}]
        attributes = {name: hand.chain.getxattr(hand.token, file, name) for name in names}
    streams = set(hand.chain.list_streams(hand.token, file)) if Capability.STREAMS in has else set()
    return attributes, {(stream.name, stream.size) for stream in streams}


__all__ = ["EXAMPLES", "STEPS", "Histories", "compare", "tree"]
