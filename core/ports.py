"""Which port to serve on when nobody said, and what a failed bind means in words."""

import errno
import socket

SMB_PORT = 445
FIRST_UNPRIVILEGED = 4445
_TRIES = 100


def probe(address: str, port: int) -> OSError | None:
    """Why `address` and `port` cannot be bound now; None if they can."""
    try:
        for family, host in _hosts(address):
            with socket.socket(family, socket.SOCK_STREAM) as candidate:
                candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    candidate.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                candidate.bind((host, port))
                candidate.listen(1)
    except OSError as error:
        return error
    return None


def choose_port(address: str, wanted: int | None) -> tuple[int, str]:
    """The port to serve on, and what to tell about the choice ("" if nothing).

    445 where that is allowed and free, else 4445, else the next free one. A port that was asked for is taken or
    refused: raises OSError.
    """
    if wanted is not None:
        return _wanted(address, wanted), ""
    if probe(address, SMB_PORT) is None:
        return SMB_PORT, ""
    for port in range(FIRST_UNPRIVILEGED, FIRST_UNPRIVILEGED + _TRIES):
        error = probe(address, port)
        if error is None:
            note = "" if port == FIRST_UNPRIVILEGED else f"port {FIRST_UNPRIVILEGED} is in use; took {port}"
            return port, note
        if error.errno != errno.EADDRINUSE:
            raise error
    raise OSError(errno.EADDRINUSE, f"ports {FIRST_UNPRIVILEGED} to {FIRST_UNPRIVILEGED + _TRIES - 1} are all in use")


def bind_message(address: str, port: int, error: OSError) -> str:
    """Why listening failed and what to do about it, for a person."""
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"this machine has no address {address!r}"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use by another program"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} needs root (ports below 1024 do); {FIRST_UNPRIVILEGED} does not"
    return f"cannot listen on port {port}: {error.strerror or error}"


def _wanted(address: str, port: int) -> int:
    if port == 0 and not address:
        # All the machine's addresses are several sockets, which must get the same number.
        with socket.create_server(("", 0)) as free:
            return int(free.getsockname()[1])
    error = probe(address, port)
    if error is not None:
        raise error
    return port


def _hosts(address: str) -> list[tuple[socket.AddressFamily, str]]:
    if address:
        found = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)
        return [(socket.AddressFamily(family), str(name[0])) for family, _, _, _, name in found]
    hosts = [(socket.AF_INET, "0.0.0.0")]  # noqa: S104 - every address is what was asked for
    return [*hosts, (socket.AF_INET6, "::")] if _has_ipv6() else hosts


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as candidate:
            candidate.bind(("::1", 0))
    except OSError:
        return False
    return True
