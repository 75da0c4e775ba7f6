"""Thousands of writes over several channels of which some are lost: no error, and no write lost, doubled or late."""

import struct
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lamina.vfs_modules.engine import offload
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.token import ImpersonationToken
from tests.support.multichannel_writer import MultichannelWriter
from tests.support.proxy import Chaos, Fate, Link, Proxy, Way
from tests.support.served import PASSWORD, USER, Served, new_file
from tests.support.wire_client import ALL_DIALECTS, WireClient

SLOTS = 61
"""Writes go round these places, so that one that is done too late undoes what was written since."""

SIZE = 512
HANGING = range(100, 116)
NUMBER = struct.Struct(">Q")


class Recorder(VfsModule):
    """Remembers in which order the writes to each place were done."""

    done: dict[int, list[int]]

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        self.done[offset].append(NUMBER.unpack_from(data)[0])
        return self.next.pwrite(token, handle, data, offset)


class Straggler(Recorder):
    """Some writes hang in a system call the first time, and nothing can stop them."""

    seen: set[int]

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        number = NUMBER.unpack_from(data)[0]
        if number in HANGING and number not in self.seen:
            self.seen.add(number)
            offload(token, time.sleep, 0.3)
        return super().pwrite(token, handle, data, offset)


@pytest.fixture
def recorder(request: pytest.FixtureRequest) -> Recorder:
    recorder: Recorder = getattr(request, "param", Recorder)()
    if isinstance(recorder, Straggler):
        recorder.seen = set()
    recorder.done = defaultdict(list)
    return recorder


@pytest.fixture
def recording(serve: Callable[..., Served], recorder: Recorder) -> Served:
    return serve(chain=[recorder, "dos_attributes", "posix"])


@pytest.fixture
def proxy(recording: Served) -> Iterator[Proxy]:
    with Proxy(recording.server.port) as proxy:
        yield proxy


class Network:
    """One session, its first channel straight to the server and others through the proxy."""

    def __init__(self, served: Served, proxy: Proxy) -> None:
        self.first = served.connected()
        self.file = new_file(self.first)
        self._proxy = proxy

    def channel(self) -> WireClient:
        """One more channel, through the proxy."""
        client = WireClient("127.0.0.1", self._proxy.port, 20.0)
        client.negotiate(ALL_DIALECTS)
        client.session_setup(USER, PASSWORD, bind=self.first.session)
        client.tree_id = self.first.tree_id
        return client


def writes(count: int) -> Iterator[tuple[int, bytes]]:
    """`count` numbered writes, round the places."""
    for number in range(count):
        yield number % SLOTS * SIZE, NUMBER.pack(number) + bytes([number % 251]) * (SIZE - NUMBER.size)


def check(count: int, recorder: Recorder, folder: Path) -> None:
    """Each write was done, none after one to its place that came later, and the file is what the last ones say."""
    for offset, numbers in recorder.done.items():
        assert numbers == sorted(numbers), f"a write to {offset} was done too late"
        assert set(numbers) == set(range(offset // SIZE, count, SLOTS)), f"writes to {offset} are missing"
    expected = bytearray(SLOTS * SIZE)
    for offset, data in writes(count):
        expected[offset : offset + SIZE] = data
    assert (folder / "file").read_bytes() == expected


def test_one_of_two_channels_is_cut_in_the_middle_of_10000_writes(
    recording: Served, proxy: Proxy, recorder: Recorder
) -> None:
    network = Network(recording, proxy)
    writer = MultichannelWriter(network.file, [network.first, network.channel()])

    def cut(begun: int) -> None:
        if begun == 5000:
            proxy.cut_all()

    assert writer.write(writes(10_000), cut) == 10_000
    assert writer.lost == 1
    check(10_000, recorder, recording.folder)
    network.first.write(network.file, b"and the session lives", channel_sequence=writer.sequence)


@pytest.mark.parametrize("fate", [Fate.CUT, Fate.TEAR, Fate.CUT_AFTER])
@pytest.mark.parametrize("way", [Way.REQUEST, Way.REPLY])
def test_a_channel_is_cut_at_any_point_of_an_exchange(
    recording: Served, proxy: Proxy, recorder: Recorder, way: Way, fate: Fate
) -> None:
    network = Network(recording, proxy)
    writer = MultichannelWriter(network.file, [network.first, network.channel()])

    def rule(link: Link, going: Way, frame: bytes) -> Fate:
        return fate if going is way and link.frames > 200 else Fate.PASS

    proxy.rule = rule
    assert writer.write(writes(1000)) == 1000
    assert writer.lost == 1
    check(1000, recorder, recording.folder)


def test_what_comes_late_from_a_channel_that_the_client_gave_up_is_not_done_any_more(
    recording: Served, proxy: Proxy, recorder: Recorder
) -> None:
    network = Network(recording, proxy)
    slow = network.channel()
    writer = MultichannelWriter(network.file, [network.first, slow])

    def disturb(begun: int) -> None:
        if begun == 500:
            proxy.links[0].stall()
        if begun == 508:
            writer.give_up(slow)
        if begun == 900:
            proxy.links[0].resume()
            assert proxy.links[0].closed.wait(10)

    assert writer.write(writes(1000), disturb) == 1000
    assert writer.replayed
    check(1000, recorder, recording.folder)


@pytest.mark.parametrize("recorder", [Straggler], indirect=True)
def test_what_is_sent_again_waits_for_what_is_still_being_done(
    recording: Served, proxy: Proxy, recorder: Recorder
) -> None:
    network = Network(recording, proxy)
    other = network.channel()
    writer = MultichannelWriter(network.file, [other, network.first])

    def lose(begun: int) -> None:
        if begun == 112:
            writer.give_up(other)

    assert writer.write(writes(1000), lose) == 1000
    assert writer.replayed > writer.ahead
    check(1000, recorder, recording.folder)


@pytest.mark.parametrize("seed", range(3))
def test_channels_come_and_go(recording: Served, proxy: Proxy, recorder: Recorder, seed: int) -> None:
    network = Network(recording, proxy)
    writer = MultichannelWriter(network.file, [network.first, network.channel(), network.channel()])
    writer.on_loss = network.channel
    proxy.rule = Chaos(seed, cut=0.01, delay=0.02, longest=0.01)
    assert writer.write(writes(2000)) == 2000
    assert writer.lost > 3
    check(2000, recorder, recording.folder)
