"""The open files of a running server, for its administrator: a plain value for each, and closing one.

Beside those that clients are using there are the ones that wait for clients that have lost their connections
(`durable_opens`).
"""

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from lamina.core.control import Command, Say
from lamina.ntfsa.durability.lasting import grant_of
from lamina.ntfsa.durability.rules import HeldGrant
from lamina.ntfsa.grants.caching import (
    ANY_CACHING,
    HANDLE_CACHING,
    READ_CACHING,
    WRITE_CACHING,
)

if TYPE_CHECKING:
    from lamina.core.runtime import Runtime
    from lamina.core.server_core import SmbServer
    from lamina.core.session import SmbOpen
    from lamina.ntfsa.open_state import NtOpen

OpenFile = dict[str, Any]

_OPLOCKS: Final = {READ_CACHING: "level II", READ_CACHING | WRITE_CACHING: "exclusive", ANY_CACHING: "batch"}
_LETTERS: Final = ((READ_CACHING, "R"), (WRITE_CACHING, "W"), (HANDLE_CACHING, "H"))


def every_open(server: "SmbServer") -> "Iterator[SmbOpen]":
    """All opens, those without a client last."""
    for session in list(server.sessions.values()):
        yield from list(session.opens.values())
    yield from server.durables.waiting()


def shown(open_: "SmbOpen") -> OpenFile:
    """What an administrator is told of an open. Times in seconds; `left`: how long it waits for its client."""
    nt, state, tree = open_.nt, open_.durable, open_.tree
    left = state.seconds_left() if state is not None else None
    return {
        "id": open_.file_id,
        "share": tree.share.name,
        "path": nt.path if nt is not None else _pipe_name(open_),
        "user": tree.session.token.user_name,
        "client": tree.context.client_address,
        "access": nt.granted_access if nt is not None else 0,
        "durability": state.kind.value if state is not None and state.kind is not None else "none",
        "caching": _caching(nt),
        "locks": open_.lock_count,
        "age": round(time.monotonic() - open_.opened_at, 3),
        "left": None if left is None else round(left, 3),
    }


def _pipe_name(open_: "SmbOpen") -> str:
    return open_.pipe.name if open_.pipe is not None else ""


def _caching(nt: "NtOpen | None") -> str:
    grant = grant_of(nt) if nt is not None else None
    if grant is None or not grant.state:
        return ""
    held = _lease(grant) if grant.is_lease else f"{_OPLOCKS.get(grant.state, 'oplock')}"
    return f"{held}, breaking" if grant.breaking else held


def _lease(grant: HeldGrant) -> str:
    return "lease " + "".join(letter for right, letter in _LETTERS if grant.state & right)


def handle_commands(runtime: "Runtime") -> dict[str, Command]:
    """What the control socket answers to, by name."""
    return {"handles": _list_command(runtime), "close handles": _close_command(runtime)}


def _list_command(runtime: "Runtime") -> Command:
    """A line for each open, of one share if that is asked."""

    async def answer(request: Mapping[str, Any], say: Say) -> None:
        share = str(request.get("share", "")).lower()
        for open_ in every_open(runtime.server):
            if not share or open_.tree.share.name.lower() == share:
                await say(shown(open_))

    return answer


def _close_command(runtime: "Runtime") -> Command:
    """Those of the request's `ids` that were closed."""

    async def answer(request: Mapping[str, Any], say: Say) -> None:
        wanted = request.get("ids")
        ids = {number for number in wanted if isinstance(number, int)} if isinstance(wanted, list) else set()
        found = [open_ for open_ in every_open(runtime.server) if open_.file_id in ids]
        for open_ in found:
            await runtime.engine.run(_close, runtime.server, open_)
        await say({"closed": [open_.file_id for open_ in found]})

    return answer


def _close(server: "SmbServer", open_: "SmbOpen") -> None:
    """Server Application Requests Closing an Open (MS-SMB2 3.3.4.17), whether its client is there or not."""
    if not server.durables.end_now(open_):
        server.close_for_certain(open_)


def as_line(listed: OpenFile) -> str:
    """An open for people to read."""
    parts = [f"{listed['id']:<12} {listed['user'] or 'nobody'}@{listed['client']}  {listed['share']}\\{listed['path']}"]
    parts.append(f"open for {_seconds(listed['age'])}")
    if listed["durability"] != "none":
        parts.append(listed["durability"])
    if listed["caching"]:
        parts.append(listed["caching"])
    if listed["locks"]:
        parts.append(f"{listed['locks']} lock{'' if listed['locks'] == 1 else 's'}")
    if listed["left"] is not None:
        parts.append(f"its client is gone, kept for {_seconds(listed['left'])} more")
    return ", ".join(parts)


def _seconds(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
