"""The connection's own rules, over mounts that are none."""

import asyncio
import errno
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lamina.vfs_modules.engine import Engine

from lamina_ceph import connection
from lamina_ceph.connection import Connection, Key
from lamina_ceph.mount import Settings

SETTINGS = Settings("user", "/nowhere", (), "", "/", "")
PATIENCE = 30.0


class FakeMount:
    """A mount that is reached, or not."""

    made: list["FakeMount"] = []
    refuses = 0

    def __init__(self, settings: Settings) -> None:
        FakeMount.made.append(self)
        self.lost = self.unmounted = self.given_up = False
        self.running = 0
        if FakeMount.refuses:
            FakeMount.refuses -= 1
            raise OSError(errno.ETIMEDOUT, "nobody answers")

    def sync(self) -> None:
        """Nothing is to be written."""

    def unmount(self) -> None:
        self.unmounted = True

    def give_up(self) -> None:
        self.given_up = True


@pytest.fixture(autouse=True)
def mounts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FakeMount]]:
    monkeypatch.setattr(connection, "Mount", FakeMount)
    monkeypatch.setattr(connection, "beside", lambda function: function())
    FakeMount.made.clear()
    FakeMount.refuses = 0
    yield FakeMount.made
    assert not Connection._all


def at_once(*functions: Callable[[], object]) -> list[Any]:
    """What each returns or raises, as requests at the same time."""

    async def work() -> list[Any]:
        engine = Engine(asyncio.get_running_loop())
        found = await asyncio.gather(*map(engine.run, functions), return_exceptions=True)
        engine.close()
        return found

    return asyncio.run(work())


def test_who_waits_for_a_mount_that_fails_is_told_with_the_first(mounts: list[FakeMount]) -> None:
    one = Connection.join(Key(SETTINGS, 2, PATIENCE, None))
    mounts[0].lost = True
    FakeMount.refuses = 1
    errors = at_once(*[one.mounted] * 5)
    assert [error.errno for error in errors] == [errno.ETIMEDOUT] * 5
    assert len(mounts) == 2
    assert at_once(*[one.mounted] * 5) == [mounts[2]] * 5
    assert mounts[0].given_up
    one.leave()
    assert mounts[2].unmounted


def test_a_lost_mount_is_replaced_by_the_call_after_the_one_that_noticed(mounts: list[FakeMount]) -> None:
    one = Connection.join(Key(SETTINGS, 2, PATIENCE, None))

    def put_out(mount: FakeMount) -> None:
        raise OSError(errno.ESHUTDOWN, "put out")

    with pytest.raises(OSError, match="put out"):
        one.call(put_out)
    assert mounts[0].lost
    assert one.call(lambda mount: mount) is mounts[1]
    one.leave()


def test_where_every_thread_hangs_nobody_waits_and_one_that_comes_back_is_used_again() -> None:
    one = Connection.join(Key(SETTINGS, 2, 0.05, None))
    gate = threading.Event()

    def hang(mount: FakeMount) -> bool:
        return gate.wait(PATIENCE)

    errors = at_once(*[lambda: one.call(hang)] * 2)
    assert [error.errno for error in errors] == [errno.ETIMEDOUT] * 2
    assert one.hanging == 2
    (error,) = at_once(lambda: one.call(hang))
    assert error.errno == errno.EHOSTDOWN
    gate.set()
    while one.hanging:
        pass
    assert one.call(lambda mount: 1) == 1
    one.leave()


def test_what_is_discarded_is_closed_before_the_mount_is_left(mounts: list[FakeMount]) -> None:
    one = Connection.join(Key(SETTINGS, 2, PATIENCE, None))
    closed: list[bool] = []

    def request() -> None:
        one.discard(lambda: closed.append(mounts[0].unmounted))
        one.leave()

    at_once(request)
    assert closed == [False]
    assert mounts[0].unmounted


def test_nobody_mounts_again_after_the_end(mounts: list[FakeMount]) -> None:
    one = Connection.join(Key(SETTINGS, 2, PATIENCE, None))
    one.leave()
    with pytest.raises(OSError, match="shutdown"):
        one.call(lambda mount: mount)
    assert len(mounts) == 1


def test_a_share_that_cannot_be_mounted_leaves_nothing_behind() -> None:
    FakeMount.refuses = 1
    with pytest.raises(TimeoutError):
        Connection.join(Key(SETTINGS, 2, PATIENCE, None))


def test_same_settings_are_one_connection_until_the_last_leaves(mounts: list[FakeMount]) -> None:
    first, second = (Connection.join(Key(SETTINGS, 2, PATIENCE, None)) for _ in range(2))
    assert first is second
    other = Connection.join(Key(SETTINGS, 3, PATIENCE, None))
    assert other is not first
    first.leave()
    assert not mounts[0].unmounted
    second.leave()
    assert mounts[0].unmounted
    other.leave()
