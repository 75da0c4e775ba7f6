"""Telling what happens on a server: a line for people, or one JSON object per line for programs.

Every event is first a plain dictionary, so both say the same. This is the `ServerEvents` of the command line.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lamina.core.events import ServerEvents
from lamina.core.settings import Dialect
from lamina.core.wire import constants

if TYPE_CHECKING:
    from lamina.core.connection import Connection
    from lamina.core.session import SmbSession, SmbTree

Event = Mapping[str, Any]
Sink = Callable[[Event], None]

_DIALECTS = {
    Dialect.SMB_2_0_2: "2.0.2",
    Dialect.SMB_2_1: "2.1",
    Dialect.SMB_3_0: "3.0",
    Dialect.SMB_3_0_2: "3.0.2",
    Dialect.SMB_3_1_1: "3.1.1",
}
_SIGNING = {
    constants.SIGNING_HMAC_SHA256: "HMAC-SHA256",
    constants.SIGNING_AES_CMAC: "AES-CMAC",
    constants.SIGNING_AES_GMAC: "AES-GMAC",
}
_CIPHERS = {
    constants.ENCRYPTION_AES128_CCM: "AES-128-CCM",
    constants.ENCRYPTION_AES128_GCM: "AES-128-GCM",
    constants.ENCRYPTION_AES256_CCM: "AES-256-CCM",
    constants.ENCRYPTION_AES256_GCM: "AES-256-GCM",
}


class Reporter(ServerEvents):
    """Turns what happens into events and hands each to `sink`."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._users: dict[Connection, str] = {}

    def emit(self, event: str, **fields: Any) -> None:
        """Tell that `event` happened."""
        self._sink({"event": event, "time": round(time.time(), 3), **fields})

    def connection_opened(self, connection: "Connection") -> None:
        """See ServerEvents."""
        self.emit("connection_opened", client=connection.peer_address)

    def session_started(self, connection: "Connection", session: "SmbSession") -> None:
        """See ServerEvents."""
        self._users[connection] = session.user
        self.emit("session_started", guest=session.is_guest, **_who(connection, session))

    def tree_connected(self, connection: "Connection", tree: "SmbTree") -> None:
        """See ServerEvents."""
        session = tree.session
        sealed = session.encrypt_data or tree.share.encrypt
        self.emit(
            "tree_connected",
            share=tree.share.name,
            **_who(connection, session),
            signing=_SIGNING.get(connection.signing_algorithm, "") if not sealed else "",
            encryption=_CIPHERS.get(connection.cipher_id, "") if sealed else "",
        )

    def connection_closed(self, connection: "Connection") -> None:
        """See ServerEvents."""
        self.emit(
            "connection_closed",
            client=connection.peer_address,
            user=self._users.pop(connection, ""),
            seconds=round(time.monotonic() - connection.opened_at, 3),
            requests=connection.requests,
            bytes_received=connection.transport.bytes_received,
            bytes_sent=connection.transport.bytes_sent,
        )


def _who(connection: "Connection", session: "SmbSession") -> dict[str, Any]:
    dialect = _DIALECTS.get(Dialect(session.dialect), "?") if session.dialect in set(Dialect) else "?"
    return {"user": session.user, "client": connection.peer_address, "dialect": dialect}


def json_sink(event: Event) -> None:
    """One JSON object on one line of stdout."""
    sys.stdout.write(json.dumps(event, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def text_sink(event: Event) -> None:
    """A line for people on stdout, if the event is worth one."""
    line = describe(event)
    if line:
        sys.stdout.write(f"{time.strftime('%H:%M:%S', time.localtime(event['time']))} {line}\n")
        sys.stdout.flush()


def describe(event: Event) -> str:
    """The line that tells an event to people; "" for one that would only be noise."""
    teller = _TELLERS.get(event["event"])
    return teller(event) if teller else ""


def _tell_tree(event: Event) -> str:
    if event["share"].upper() == "IPC$":
        return ""
    protection = f"encrypted {event['encryption']}" if event["encryption"] else f"signed {event['signing']}"
    who = printable(event["user"]) or "anonymous"
    return f"{who} from {event['client']} connected to {event['share']} (SMB {event['dialect']}, {protection})"


def _tell_closed(event: Event) -> str:
    if not event["user"]:
        return ""
    traffic = f"{size(event['bytes_received'])} in, {size(event['bytes_sent'])} out"
    lasted = f"{event['seconds']:.0f} s"
    return f"{printable(event['user'])} from {event['client']} left after {lasted}: {traffic}"


def _tell_stopped(event: Event) -> str:
    counts = ", ".join(_count(event[key], word) for key, word in (("connections", "connection"), ("opens", "file")))
    return f"served {counts} opened, {size(event['bytes_received'])} in, {size(event['bytes_sent'])} out"


def _tell_reload(event: Event) -> str:
    if event["errors"]:
        return "\n".join(["not reloaded, nothing has changed:", *event["errors"]])
    return "reloaded: " + ("; ".join(event["changes"]) or "nothing has changed")


_TELLERS: Mapping[str, Callable[[Event], str]] = {
    "tree_connected": _tell_tree,
    "connection_closed": _tell_closed,
    "stopped": _tell_stopped,
    "reloaded": _tell_reload,
}


def printable(text: str) -> str:
    """What a client calls itself, without what could play tricks on a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def size(count: int) -> str:
    """Bytes for people: 0 bytes, 1.5 MiB."""
    value = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")
