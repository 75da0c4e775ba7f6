"""Many clients of two workers do what they like to a few files: nothing fails that may not, and nothing is left."""

import random
import struct
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from lamina.core.wire import constants as smb
from lamina.ntfsa.constants import FILE_DELETE_ON_CLOSE
from lamina.ntfsa.status import NtStatus as S
from tests.support.crew import Crew
from tests.support.served import FILE_OPEN_IF, GENERIC_ALL
from tests.support.wire_client import Open, StatusError, WireClient

NAMES = "abcd"
ROUNDS = 60
EXPECTED = {
    S.DELETE_PENDING,
    S.OBJECT_NAME_COLLISION,
    S.OBJECT_NAME_NOT_FOUND,
    S.SHARING_VIOLATION,
    S.LOCK_NOT_GRANTED,
    S.FILE_LOCK_CONFLICT,
    S.END_OF_FILE,
    S.ACCESS_DENIED,
}


def rename(client: WireClient, file: Open, name: str) -> None:
    data = name.encode("utf-16-le")
    client.set_info(file, 1, 10, struct.pack("<B7xQI", 1, 0, len(data)) + data)


def change(client: WireClient, file: Open, chosen: random.Random) -> None:
    match chosen.randrange(4):
        case 0:
            client.write(file, b"x" * 100)
        case 1:
            client.read(file, 10)
        case 2:
            client.lock(file, [(0, 10, smb.LOCKFLAG_EXCLUSIVE_LOCK | smb.LOCKFLAG_FAIL_IMMEDIATELY)])
        case _:
            rename(client, file, chosen.choice(NAMES))


def play(client: WireClient, seed: int) -> Counter[int]:
    """Open, change and close files at random; how often each status came."""
    chosen, seen = random.Random(seed), Counter[int]()
    for _ in range(ROUNDS):
        try:
            file = client.create(
                chosen.choice(NAMES),
                access=GENERIC_ALL,
                disposition=chosen.choice((1, 2, 3, 5)),
                share=chosen.choice((0, 7, 7)),
                options=chosen.choice((0, 0, FILE_DELETE_ON_CLOSE)),
            )
        except StatusError as error:
            seen[error.status] += 1
            continue
        try:
            for _ in range(chosen.randrange(3)):
                change(client, file, chosen)
        except StatusError as error:
            seen[error.status] += 1
        client.close(file)
    return seen


def test_many_clients(crew: Crew) -> None:
    clients = [*crew.in_each(), *crew.in_each()]
    with ThreadPoolExecutor(len(clients)) as pool:
        seen = sum(pool.map(play, clients, range(len(clients))), Counter[int]())
    assert set(seen) <= EXPECTED
    for name in NAMES:
        clients[0].close(
            clients[0].create(name, access=GENERIC_ALL, disposition=FILE_OPEN_IF, share=0, options=FILE_DELETE_ON_CLOSE)
        )
    assert list(crew.folder.iterdir()) == []
