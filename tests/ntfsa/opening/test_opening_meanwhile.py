"""Opens that wait in the middle while what they open is renamed: in the end they know what it is called."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.ntfsa import constants as c
from lamina.ntfsa.status import NtStatusError
from lamina.vfs_modules.engine import Engine, Task
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from tests.ntfsa.conftest import Share
from tests.ntfsa.notify.test_name_changes import Parking

SLOW = frozenset({"open", "fstat", "stat", "get_dos_attributes", "rename", "list_streams", "open_stream"})


def meanwhile(share, parking, requests, order):
    """Run requests at once; whoever waits goes on in this order."""
    outcomes = []

    def answer(request):
        try:
            outcomes.append(request())
        except NtStatusError as error:
            outcomes.append(error.status)

    async def main():
        engine = Engine(asyncio.get_running_loop(), threads=1)
        parking.on = True
        for request in requests:
            engine.spawn(Task(), answer, request)
        steps = iter(order)
        while engine.running:
            parking.go_on(next(steps, 0))
            await asyncio.sleep(0)
        parking.on = False
        engine.close()

    asyncio.run(main())
    return outcomes


@pytest.mark.parametrize("name", ["d\\a", "d\\a:stream"])
@settings(max_examples=60, deadline=None)
@given(order=st.lists(st.integers(0, 3), max_size=40), moved=st.sampled_from(["d\\a", "d"]))
def test_an_open_knows_the_name_that_the_file_has_in_the_end(tmp_path_factory, name, order, moved):
    parking = Parking(SLOW)
    share = Share(tmp_path_factory.mktemp("share"), parking, StreamsXattrModule())
    share.make("d", options=c.FILE_DIRECTORY_FILE)
    share.make("d\\a")
    share.make("d\\a:stream")
    source = share.open(moved)
    opened = []
    meanwhile(
        share,
        parking,
        [lambda: opened.append(share.open(name, desired_access=c.FILE_READ_DATA)), lambda: share.rename(source, "new")],
        order,
    )
    for each in opened:
        found = share.chain.stat(share.context.token, share.volume.root, each.vfs_path)
        assert found.ino == each.file_key[1]
    share.end()
