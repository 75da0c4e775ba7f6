"""What the client asks for while an operation of a chain is done for it: the NT view, for modules that need it.

The operations say all that most modules need, in the terms of a file system. This is the rest: the name and the rights
as the client has sent them, from where and as whom. It is put together from the request when it is asked for; nothing
is recorded in advance, and who does not ask pays nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from lamina.vfs_modules.engine import current_task


class OpenView(NamedTuple):
    """The open that a request is about (MS-SMB2 2.2.13). Numbers are as in MS-SMB2 and MS-FSCC.

    `name`: from the share's root, with "\\\\" between components and ":" before a stream, "" for the root. While it is
    being opened it is as the client has sent it; afterwards as the file is called. `desired_access` and `disposition`
    (FILE_OPEN …) are known while it is being opened, `granted_access` from then on; the others are None. `options`
    are FILE_DIRECTORY_FILE, FILE_DELETE_ON_CLOSE … and `share_access` FILE_SHARE_*.
    """

    name: str
    share_access: int
    options: int
    desired_access: int | None = None
    disposition: int | None = None
    granted_access: int | None = None


class RequestView(NamedTuple):
    """A request. `command`: its name in MS-SMB2 2.2.1 ("CREATE"). `user`: the name of the session's account.

    `dialect` is "2.0.2" to "3.1.1"; `client_address` the peer's without its port. `session_id` tells sessions of one
    user apart, and is no secret to them. `encrypted`, `signed`: how the request came. `open` is None where it is about
    none.
    """

    command: str
    share: str
    user: str
    session_id: int
    client_address: str
    dialect: str
    encrypted: bool
    signed: bool
    open: OpenView | None


_pretended: list[RequestView] = []


def current_request() -> RequestView | None:
    """The request that is being done, or None: for what the server does of its own accord, and on a worker thread.

    Ask before `offload`, not in what is offloaded. Costs some microseconds: keep it in `self.set_state` rather than
    ask for each read.
    """
    task = current_task()
    runner: Any = getattr(task.on_park, "__self__", None) if task is not None else None
    look = getattr(runner, "view", None)
    if look is not None:
        found: RequestView | None = look()
        return found
    return _pretended[-1] if _pretended else None


@contextmanager
def pretend(view: RequestView) -> Iterator[None]:
    """Let `current_request()` answer `view` inside; for tests of modules."""
    _pretended.append(view)
    try:
        yield
    finally:
        _pretended.pop()
