"""The four times of a file as smbclient sets and shows them."""

import os
from pathlib import Path

import pytest

from tests.support.processes import ServerProcess, give_to
from tests.support.smbclient import SmbClient, installed

pytestmark = pytest.mark.skipif(not installed(), reason="smbclient is not installed: apt install smbclient")

NAMES = ("create_time", "access_time", "write_time", "change_time")


@pytest.fixture
def client(server: ServerProcess, place: Path) -> SmbClient:
    (place / "file").write_text("data")
    give_to(place, server.user)
    return SmbClient(server, directory=place.name)


def years(client: SmbClient) -> list[int]:
    """The years of the four times."""
    lines = dict(line.split(":", 1) for line in client.do("allinfo file").check().splitlines() if ":" in line)
    return [next(int(word) for word in lines[name].split() if word.isdecimal() and len(word) == 4) for name in NAMES]


def test_each_time_is_what_was_set(client: SmbClient, place: Path) -> None:
    client.do("utimes file 2001:06:01-12:00:00 2002:06:01-12:00:00 2003:06:01-12:00:00 2004:06:01-12:00:00").check()
    shown = years(client)
    assert shown[:3] == [2001, 2002, 2003]
    if client.server.kind == "smbd":
        return  # it keeps no change time
    assert shown[3] == 2004
    # Whoever changes the file afterwards ends it; within a tick of the clock that cannot be seen.
    for mode in (0o600, 0o640) * 100:
        os.chmod(place / "file", mode)
        if years(client)[3] != 2004:
            break
    assert years(client)[:3] == [2001, 2002, 2003]
    assert years(client)[3] > 2004


def test_times_that_are_not_named_stay(client: SmbClient) -> None:
    client.do("utimes file 2001:06:01-12:00:00 2002:06:01-12:00:00 2003:06:01-12:00:00 -1").check()
    client.do("utimes file -1 -1 2005:06:01-12:00:00 -1").check()
    assert years(client)[:3] == [2001, 2002, 2005]
