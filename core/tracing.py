"""Tracing a share: each request as a tree, from the SMB command down to what each module of the chain did.

While nobody traces, nothing of this is in anybody's way: requests are executed by `dispatch.execute`, chains are as
they were built. Who traces gets records through a bounded queue; what he is too slow for is dropped and counted.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from lamina.core import dispatch
from lamina.core.control import Command, Say
from lamina.core.request import Reply, Request
from lamina.core.request_text import command_name, described
from lamina.ntfsa.status import NtStatus
from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.token import ImpersonationToken
from lamina.vfs_modules.tracing import Follower, Gathering, Root

if TYPE_CHECKING:
    from lamina.core.server_core import SmbServer
    from lamina.ntfsa.volume import NtVolume

log = logging.getLogger(__name__)

Record = dict[str, Any]
"""One request, as JSON has it: time, share, user, client, command, details, path, status, us, steps, left_out."""

QUEUE_LENGTH: Final = 1_000
MAX_QUEUE_LENGTH: Final = 100_000
MAX_QUEUED_STEPS: Final = 50_000

_FAILURE: Final = 0x80000000
_ENDS: Final = frozenset({NtStatus.NO_MORE_FILES, NtStatus.NO_MORE_EAS, NtStatus.NO_MORE_ENTRIES})
SERVER: Final = "(server)"
"""The command of what the server does of its own accord."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which requests somebody wants to see; all that is given must be so.

    `user` (with or without his domain), `client` and `path` are patterns (`*`, `?`), whatever their case; paths have
    "/" between names. `operation`: the SMB command, or an operation that a module did. `module`: one that took part.
    `failures`: only what the client was refused. `slower_us`: only what took so many microseconds or more.
    """

    user: str = ""
    client: str = ""
    path: str = ""
    operation: str = ""
    module: str = ""
    failures: bool = False
    slower_us: float = 0

    def admits(self, record: Record, root: Root) -> bool:
        """Whether a request is one of those."""
        fast = record["us"] < self.slower_us
        if fast or not (self._is_user(record["user"]) and _fits(self.client, record["client"])):
            return False
        if not _fits(self.path, record["path"]):
            return False
        wanted = self.operation.lower()
        if wanted and wanted != record["command"].lower() and not any(one.operation == wanted for one in root.all()):
            return False
        if self.module and not any(step.module == self.module for step in root.all()):
            return False
        return not self.failures or record["failed"]

    def _is_user(self, user: str) -> bool:
        return _fits(self.user, user) or _fits(self.user, user.rpartition("\\")[2])


def _fits(pattern: str, text: str) -> bool:
    return not pattern or fnmatchcase(text.lower(), pattern.lower())


class Viewer:
    """Somebody who traces a share. `dropped`: the records that there was no room for since they were last taken."""

    def __init__(self, share: str, wanted: Filter = Filter(), limit: int = QUEUE_LENGTH) -> None:
        self.share = share.lower()
        self.wanted = wanted
        self.dropped = 0
        self._limit = limit
        self._records: deque[Record] = deque()
        self._steps = 0
        self._come = asyncio.Event()

    def put(self, record: Record, root: Root) -> None:
        """Take a record if it is wanted; never waits."""
        if not self.wanted.admits(record, root):
            return
        if len(self._records) >= self._limit or self._steps + root.count > MAX_QUEUED_STEPS:
            self.dropped += 1
            return
        self._steps += root.count
        self._records.append(record | {"steps": [step.as_record() for step in root.steps]})
        self._come.set()

    def take(self) -> tuple[list[Record], int]:
        """The records that are there, and how many more were dropped."""
        records, self._records = list(self._records), deque()
        dropped, self.dropped = self.dropped, 0
        self._steps = 0
        self._come.clear()
        return records, dropped

    async def wait(self) -> None:
        """Return when there is something to take."""
        await self._come.wait()


class Tracing:
    """All tracing on one server. Belongs to the thread of its event loop."""

    def __init__(self, server: "SmbServer") -> None:
        self._server = server
        self._viewers: list[Viewer] = []
        self._volumes: dict[Chain, NtVolume] = {}
        self._followers: dict[Chain, Follower] = {}
        self._gathering = Gathering()

    def volume_opened(self, volume: "NtVolume") -> None:
        """A share has a chain, perhaps beside the one that it had before."""
        self._volumes[volume.whole_chain] = volume
        self._follow()

    def chain_ends(self, chain: Chain) -> None:
        """A chain is about to be disconnected."""
        self._volumes.pop(chain, None)
        self._follow()

    def attach(self, viewer: Viewer) -> None:
        """Let `viewer` have the records of his share from now on. Raises LookupError where there is no such share."""
        if not any(volume.name.lower() == viewer.share for volume in self._volumes.values()):
            names = ", ".join(sorted({volume.name for volume in self._volumes.values()})) or "none"
            raise LookupError(f"there is no share {viewer.share!r}; there are: {names}")
        self._viewers.append(viewer)
        self._follow()
        if not any(chain.share.name.lower() == viewer.share for chain in self._followers):
            self.detach(viewer)
            raise LookupError("a module of the chain does not let itself be traced: the server's log says which")

    def detach(self, viewer: Viewer) -> None:
        """Let him have no more."""
        if viewer in self._viewers:
            self._viewers.remove(viewer)
            self._follow()

    def _follow(self) -> None:
        """Follow the chains of the shares that somebody looks at, and no others."""
        wanted = {viewer.share for viewer in self._viewers}
        chains = {chain for chain, volume in self._volumes.items() if volume.name.lower() in wanted}
        for chain in self._followers.keys() - chains:
            self._followers.pop(chain).stop()
            if chain in self._volumes:
                self._volumes[chain].extensions = chain.extensions
        for chain in chains - self._followers.keys():
            follower = Follower(chain, self._gathering, _opened(self._volumes[chain]), self._alone(chain))
            try:
                follower.start()
            except Exception:  # a module's `around` is anybody's code
                log.exception("share %s cannot be traced", chain.share.name)
            else:
                self._followers[chain] = follower
                self._volumes[chain].extensions = follower.extensions()
        self._server.execute_by(self._execute if self._viewers else dispatch.execute)

    def _execute(self, request: Request) -> Reply:
        task = request.exchange.task
        details = described(request)
        root = self._gathering.begin(task)
        begun = time.perf_counter_ns()
        status = "CANCELLED"
        try:
            reply = dispatch.execute(request)
            status = _status_name(reply.status)
            return reply
        finally:
            root.nanoseconds = time.perf_counter_ns() - begun
            self._gathering.end(task)
            self._tell_request(request, details, status, root)

    def _tell_request(self, request: Request, details: Mapping[str, Any], status: str, root: Root) -> None:
        tree, session = request.tree, request.session
        if tree is None or tree.share.volume is None:
            return
        nt = request.open.nt if request.open is not None else _just_opened(request)
        path = nt.path if nt is not None else str(details.get("name", ""))
        record = _record(tree.share.name, command_name(request), root)
        record |= {"user": session.user if session is not None else "", "client": request.connection.peer_address}
        record |= {"details": details, "path": path.replace("\\", "/"), "status": status, "failed": _is_failure(status)}
        self._put(record, root)

    def _alone(self, chain: Chain) -> Callable[[ImpersonationToken, Root], None]:
        def tell(token: ImpersonationToken, root: Root) -> None:
            record = _record(chain.share.name, SERVER, root)
            path = next((str(step.arguments.get("path", "")) for step in root.steps), "")
            record |= {"user": token.user_name, "client": "", "details": {}, "path": path, "status": ""}
            record["failed"] = any(step.error for step in root.steps)
            self._put(record, root)

        return tell

    def _put(self, record: Record, root: Root) -> None:
        share = record["share"].lower()
        for viewer in self._viewers:
            if viewer.share == share:
                viewer.put(record, root)


def _record(share: str, command: str, root: Root) -> Record:
    microseconds = round(root.nanoseconds / 1000, 1)
    return {
        "time": round(time.time(), 6), "share": share, "command": command, "us": microseconds, "left_out": root.left_out
    }  # fmt: skip


def _opened(volume: "NtVolume") -> Iterator[tuple[Any, str]]:
    yield volume.root, ""
    for open_ in volume.all_opens():
        yield open_.handle, open_.vfs_path
        if open_.data is not open_.handle:
            yield open_.data, f"{open_.vfs_path}:{open_.stream}"


def _just_opened(request: Request) -> Any:
    session, file_id = request.session, request.file_id
    open_ = session.opens.get(file_id) if session is not None and file_id is not None else None
    return open_.nt if open_ is not None else None


def _status_name(status: int) -> str:
    return NtStatus(status).name if status in NtStatus.__members__.values() else f"{status:#010x}"


def _is_failure(status: str) -> bool:
    number = NtStatus[status] if status in NtStatus.__members__ else int(status, 16)
    return number >= _FAILURE and number not in _ENDS


def trace_command(tracing: Tracing) -> Command:
    """What the control socket does when it is asked to trace: {"share": …, "filter": {…}, "limit": …}."""

    async def answer(request: Mapping[str, Any], say: Say) -> None:
        try:
            limit = min(int(request.get("limit", QUEUE_LENGTH)), MAX_QUEUE_LENGTH)
            viewer = Viewer(str(request["share"]), Filter(**request.get("filter", {})), limit)
            tracing.attach(viewer)
        except (KeyError, TypeError, ValueError, LookupError) as error:
            await say({"errors": [str(error.args[0]) if error.args else "this cannot be traced"]})
            return
        try:
            await say({"tracing": viewer.share})
            while True:
                await viewer.wait()
                records, dropped = viewer.take()
                for record in records:
                    await say(record)
                if dropped:
                    await say({"dropped": dropped})
        finally:
            tracing.detach(viewer)

    return answer
