"""Clients of two workers do what they like to a few files, while others watch: `python -m tests.core.workers.stress`.

Runs for `--seconds`, in rounds with a seed each, until something is wrong, and says what. What must be so: only
statuses that such clients must expect; whoever watches is told of each name that comes and goes once, and in an order
in which it can have happened, so that he knows at the end what is there; and at the end nothing is open, locked or
cached any more. `--kill`: a worker is killed now and then, whose clients come again; nobody watches then.
"""

import argparse
import random
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lamina.core.wire import constants as smb
from lamina.core.wire.change_notify import decode_change_notify_response
from lamina.core.wire.oplock_break import OplockBreak, encode_oplock_break
from lamina.ntfsa.constants import FILE_DELETE_ON_CLOSE, FILE_DIRECTORY_FILE
from lamina.ntfsa.fscc import notify_information as n
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH, OPLOCK_LEVEL_NONE
from lamina.ntfsa.status import NtStatus as S
from tests.support.crew import Crew, worker
from tests.support.processes import Folder, Layout, empty, owned_folder, serving, shared_scratch, two_users
from tests.support.served import FILE_OPEN_IF, GENERIC_ALL, new_file
from tests.support.wire_client import ConnectionClosedError, Open, StatusError, WireClient

NAMES = ("a", "b", "c", "one\\a", "one\\b", "two\\a")
DIRECTORIES = ("one", "two", "three")
END = "end"
EXPECTED = {
    S.DELETE_PENDING,
    S.DIRECTORY_NOT_EMPTY,
    S.OBJECT_NAME_COLLISION,
    S.OBJECT_NAME_NOT_FOUND,
    S.OBJECT_PATH_NOT_FOUND,
    S.SHARING_VIOLATION,
    S.LOCK_NOT_GRANTED,
    S.FILE_LOCK_CONFLICT,
    S.END_OF_FILE,
    S.ACCESS_DENIED,
    S.FILE_IS_A_DIRECTORY,
    S.NOT_A_DIRECTORY,
    S.OBJECT_NAME_INVALID,
    S.CANNOT_DELETE,
}
_FILTER = (
    n.FILE_NOTIFY_CHANGE_FILE_NAME
    | n.FILE_NOTIFY_CHANGE_DIR_NAME
    | n.FILE_NOTIFY_CHANGE_SIZE
    | n.FILE_NOTIFY_CHANGE_LAST_WRITE
)
_AT_ONCE = smb.LOCKFLAG_EXCLUSIVE_LOCK | smb.LOCKFLAG_FAIL_IMMEDIATELY
_OPLOCK_BREAK = 0xFFFF_FFFF_FFFF_FFFF


def rename(client: WireClient, file: Open, name: str, replace: bool = True) -> None:
    """Give an open file or directory another name."""
    data = name.encode("utf-16-le")
    client.set_info(file, 1, 10, struct.pack("<B7xQI", replace, 0, len(data)) + data)


class Player:
    """One client and what it does. `seen`: how often each status came."""

    def __init__(self, client: WireClient, seed: int, caches: bool) -> None:
        self.client = client
        self.seen: Counter[int] = Counter()
        self._random = random.Random(seed)
        self._caches = caches

    def play(self, rounds: int) -> None:
        """Open, change and close files and directories at random."""
        for _ in range(rounds):
            try:
                self._in_directory() if self._random.randrange(6) == 0 else self._in_file()
            except StatusError as error:
                self.seen[error.status] += 1

    def _in_directory(self) -> None:
        name = self._random.choice(DIRECTORIES)
        options = FILE_DIRECTORY_FILE | self._random.choice((0, 0, FILE_DELETE_ON_CLOSE))
        folder = self.client.create(name, access=GENERIC_ALL, disposition=FILE_OPEN_IF, options=options, share=7)
        try:
            if self._random.randrange(3) == 0:
                other = self._random.choice([other for other in DIRECTORIES if other != name])
                rename(self.client, folder, other, replace=False)
        finally:
            self.client.close(folder)

    def _in_file(self) -> None:
        chosen = self._random
        name = chosen.choice(NAMES)
        stream = ":stream" if chosen.randrange(8) == 0 else ""
        file = self.client.create(
            name + stream,
            access=GENERIC_ALL,
            disposition=chosen.choice((1, 2, 3, 5)),
            share=chosen.choice((0, 7, 7)),
            options=chosen.choice((0, 0, FILE_DELETE_ON_CLOSE)),
            oplock_level=OPLOCK_LEVEL_BATCH if self._caches and chosen.randrange(4) == 0 else OPLOCK_LEVEL_NONE,
        )
        try:
            for _ in range(chosen.randrange(3)):
                self._change(file, name, bool(stream))
        finally:
            self.client.close(file)

    def _change(self, file: Open, name: str, stream: bool) -> None:
        chosen, client = self._random, self.client
        match chosen.randrange(5):
            case 0:
                client.write(file, b"x" * 100)
            case 1:
                client.read(file, 10)
            case 2:
                client.lock(file, [(0, 10, _AT_ONCE)])
            case 3:
                client.set_info(file, 1, 20, struct.pack("<Q", chosen.randrange(200)))
            case _:
                if not stream:
                    rename(client, file, chosen.choice([other for other in NAMES if other != name]))


class Answering(WireClient):
    """A client that gives up what it caches as soon as it is asked to."""

    def recv_chain(self) -> list:  # type: ignore[type-arg]
        while True:
            chain = super().recv_chain()
            if chain[0].header.message_id != _OPLOCK_BREAK:
                # The answers to its own acknowledgements are nobody's.
                chain = [one for one in chain if one.header.command != smb.Command.OPLOCK_BREAK]
                if chain:
                    return chain
                continue
            message = chain[0].message
            persistent, volatile = struct.unpack_from("<QQ", message, 64 + 8)
            body = encode_oplock_break(OplockBreak(persistent, volatile, OPLOCK_LEVEL_NONE))
            self.send(smb.Command.OPLOCK_BREAK, body)


class Watching:
    """A client that watches the whole share, and believes what it is told. `faults`: what cannot have happened."""

    def __init__(self, client: WireClient) -> None:
        self.client = client
        self.there: set[str] = set()
        self.faults: list[str] = []
        self.told: list[tuple[int, str]] = []
        self._old = ""
        self._folder = client.create("", access=GENERIC_ALL, options=FILE_DIRECTORY_FILE)
        self._asked = self._ask()
        client.wait_interim(self._asked)

    def _ask(self) -> int:
        return self.client.send_change_notify(self._folder, _FILTER, 1, 1 << 16)

    def watch(self) -> None:
        """Until the file that says that it is over comes."""
        while END not in self.there:
            answer = self.client.wait(self._asked)
            self._asked = self._ask()
            if answer.status != S.SUCCESS:
                self.faults.append(f"told nothing but {answer.status:#x}")
                return
            for action, name in _records(bytes(decode_change_notify_response(answer.message))):
                self._believe(action, name)
        self.client.cancel(self._asked)

    def _believe(self, action: int, name: str) -> None:
        self.told.append((action, name))
        is_there = name in self.there
        if action in {n.FILE_ACTION_ADDED, n.FILE_ACTION_RENAMED_NEW_NAME}:
            if is_there:
                self._fault(f"{name} comes a second time")
            self.there.add(name)
            if action == n.FILE_ACTION_RENAMED_NEW_NAME:
                self._move(self._old, name)
        elif action in {n.FILE_ACTION_REMOVED, n.FILE_ACTION_RENAMED_OLD_NAME}:
            if not is_there:
                self._fault(f"{name} goes and was not there")
            self.there.discard(name)
            self._old = name
            if action == n.FILE_ACTION_REMOVED:
                self.there = {other for other in self.there if not other.startswith(name + "\\")}

    def _move(self, old: str, new: str) -> None:
        beneath = {name for name in self.there if name.startswith(old + "\\")}
        self.there = (self.there - beneath) | {new + name[len(old) :] for name in beneath}

    def _fault(self, what: str) -> None:
        self.faults.append(f"{what} (record {len(self.told)}); before it: {self.told[-8:]}")


def _records(data: bytes) -> Iterator[tuple[int, str]]:
    at = 0
    while True:
        after, action, length = struct.unpack_from("<III", data, at)
        yield action, data[at + 12 : at + 12 + length].decode("utf-16-le")
        if not after:
            return
        at += after


def on_disk(folder: Path) -> set[str]:
    """What is there, as clients call it."""
    return {str(path.relative_to(folder)).replace("/", "\\") for path in folder.rglob("*")}


def one_round(crew: Crew, seed: int, rounds: int) -> list[str]:
    """Let four clients play while one of each worker watches; what was wrong."""
    watching = [Watching(client) for client in crew.in_each()]
    players = [
        Player(client, seed * 100 + at, caches=at < 2)
        for at, client in enumerate([*crew.in_each(kind=Answering), *crew.in_each(kind=Answering)])
    ]
    with ThreadPoolExecutor(len(players) + len(watching)) as pool:
        watched = [pool.submit(one.watch) for one in watching]
        for played in [pool.submit(player.play, rounds) for player in players]:
            played.result()
        players[0].client.close(new_file(players[0].client, END))
        for one in watched:
            one.result()
    faults = [fault for one in watching for fault in one.faults]
    seen = sum((player.seen for player in players), Counter[int]())
    there = on_disk(crew.folder)
    mistaken = [one for one in watching if one.there != there]
    faults += [f"worker {worker(one.client)} was told {sorted(one.there)}, not {sorted(there)}" for one in mistaken]
    return faults + unexpected(seen) + left_over(players[0].client, there)


def unexpected(seen: Counter[int]) -> list[str]:
    """The statuses that may not come."""
    return [f"status {status:#x}, {count} times" for status, count in seen.items() if status not in EXPECTED]


def left_over(client: WireClient, there: set[str]) -> list[str]:
    """Delete everything; what somebody still has open."""
    faults = []
    for name in sorted(there, reverse=True):
        try:
            client.close(client.create(name, access=GENERIC_ALL, share=0, options=FILE_DELETE_ON_CLOSE))
        except StatusError as error:
            faults.append(f"{name} is left over: {error}")
    return faults


def kill_now_and_then(crew: Crew, over: threading.Event, seed: int) -> None:
    """Kill a worker every second or so."""
    chosen = random.Random(seed)
    while not over.wait(0.5 + chosen.random()):
        crew.kill(chosen.choice((1, 2)))


def one_round_of_kills(crew: Crew, seed: int, rounds: int) -> list[str]:
    """Let four clients play, who connect again when they are lost, while workers are killed; what was wrong."""

    def play(at: int) -> Counter[int]:
        seen: Counter[int] = Counter()
        for part in range(rounds // 10):
            try:
                player = Player(crew.client(kind=Answering), seed * 1000 + at * 100 + part, caches=True)
                player.play(10)
                seen += player.seen
            except (ConnectionClosedError, OSError):
                continue
        return seen

    over = threading.Event()
    with ThreadPoolExecutor(5) as pool:
        killing = pool.submit(kill_now_and_then, crew, over, seed)
        played = [pool.submit(play, at) for at in range(4)]
        try:
            seen = sum((one.result() for one in played), Counter[int]())
        finally:
            over.set()
        killing.result()
    crew.disconnect()
    return unexpected(seen) + left_over(crew.client(), on_disk(crew.folder))


def main() -> int:
    """Go on until the time is over or something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.core.workers.stress", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill", action="store_true")
    options = parser.parse_args()
    deadline, seed = time.monotonic() + options.seconds, options.seed
    with shared_scratch() as scratch:
        users = two_users("lamina")
        folder = Folder(str(owned_folder(scratch / "share", users[0])))
        with serving(Layout({"share": folder}, users, workers=options.workers), scratch / "state", "lamina") as server:
            crew = Crew(server)
            while time.monotonic() < deadline:
                faults = (one_round_of_kills if options.kill else one_round)(crew, seed, options.rounds)
                crew.disconnect()
                sys.stdout.write(f"seed {seed}: {'; '.join(faults) or 'nothing is wrong'}\n")
                if faults:
                    sys.stdout.write(server.log.read_text()[-4000:])
                    return 1
                empty(crew.folder)
                seed += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
