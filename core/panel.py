"""What `lamina serve` tells first: where it serves, as whom, and commands to paste, for each kind of client.

Pure: a description in, text out. The commands stand alone on their lines, without a frame, so that they can be copied.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lamina.core.ports import SMB_PORT

_SPECIAL = frozenset('"$`\\!%')
_OLD_WINDOWS = "Windows 11 24H2, Windows Server 2025 or newer; older ones reach port 445 only: start lamina as root"


@dataclass(frozen=True, slots=True)
class Described:
    """A running server as its panel shows it. `password` is "" where the person has chosen one and need not be told.

    `others` are further users with their passwords, in the same way; `owner` is whose the files are, if not the
    person's own.
    """

    shares: Mapping[str, str]
    addresses: Sequence[str]
    port: int
    user: str
    password: str
    read_only: bool = False
    encrypt: bool = False
    guest: bool = False
    others: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""


def facts(server: Described) -> list[tuple[str, str]]:
    """The panel's lines: a title and its text."""
    rows = [("share", f"{name}  →  {folder}") for name, folder in server.shares.items()]
    rows.append(("address", f"{', '.join(server.addresses)}   port {server.port}"))
    for user, password in ((server.user, server.password), *server.others.items()):
        rows += [("user", user), ("password", password or "as you gave it")]
    if server.owner:
        rows.append(("files", f"belong to {server.owner}"))
    flags = [("read-only", server.read_only), ("encrypted", server.encrypt), ("guests admitted", server.guest)]
    if notes := ", ".join(text for text, is_so in flags if is_so):
        rows.append(("mode", notes))
    return rows


def commands(server: Described) -> list[tuple[str, str]]:
    """For each kind of client what to paste there, for the first share and address."""
    host, share = server.addresses[0], next(iter(server.shares))
    bare = f"[{host}]" if ":" in host else host
    return [
        ("smbclient", _smbclient(server, host, share)),
        ("Linux", _mount(server, host, share)),
        (f"Windows ({_OLD_WINDOWS})" if server.port != SMB_PORT else "Windows", _net_use(server, host, share)),
        ("macOS, Finder ⌘K", f"smb://{server.user}@{bare}{_suffix(server.port)}/{_url(share)}"),
        ("Python (pip install smbprotocol)", _python(server, host, share)),
    ]


def _suffix(port: int) -> str:
    return "" if port == SMB_PORT else f":{port}"


def _url(text: str) -> str:
    return text.replace("%", "%25").replace(" ", "%20")


def _smbclient(server: Described, host: str, share: str) -> str:
    user = f"{server.user}%{server.password}" if server.password else server.user
    port = "" if server.port == SMB_PORT else f" -p {server.port}"
    return f"smbclient {shlex.quote(f'//{host}/{share}')}{port} -U {shlex.quote(user)}"


def _mount(server: Described, host: str, share: str) -> str:
    options = [f"username={server.user}"]
    if server.password:
        options.append(f"password={server.password}")
    if server.port != SMB_PORT:
        options.append(f"port={server.port}")
    if server.encrypt:
        options.append("seal")
    return f"sudo mount -t cifs {shlex.quote(f'//{host}/{share}')} /mnt -o {shlex.quote(','.join(options))}"


def _net_use(server: Described, host: str, share: str) -> str:
    # Windows takes an IPv6 address in a UNC only in this spelling.
    name = host.replace(":", "-").replace("%", "s") + ".ipv6-literal.net" if ":" in host else host
    unc = rf"\\{name}\{share}"
    quoted = f'"{unc}"' if " " in unc else unc
    port = "" if server.port == SMB_PORT else f" /TCPPORT:{server.port}"
    return f"net use Z: {quoted} {server.password or '*'} /user:{server.user}{port}"


def _python(server: Described, host: str, share: str) -> str:
    password = repr(server.password) if server.password else "input('password: ')"
    port = "" if server.port == SMB_PORT else f", port={server.port}"
    path = f"//{host}/{share}"
    program = (
        f"import smbclient; print(smbclient.listdir({path!r}, username={server.user!r}, password={password}{port}))"
    )
    # Double quotes are everybody's; only what they do not hold goes into those of a Unix shell.
    return f"python3 -c {shlex.quote(program) if set(program) & _SPECIAL else chr(34) + program + chr(34)}"
