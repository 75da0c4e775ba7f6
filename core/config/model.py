"""What may stand in the configuration file: one model per table, strict, immutable, unknown keys refused.

The models are the reference: types, defaults and descriptions; docs/admin/configuration.md tells the same in prose.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictInt, StrictStr

from lamina.core.auth.settings import AuthSettings
from lamina.core.config.table import Table
from lamina.core.identity.settings import IdentitySettings
from lamina.core.interface_rules import parse_entry
from lamina.core.plan import DEFAULT_CHAIN, Listener
from lamina.core.settings import Dialect, EncryptionPolicy, Limits, ServerSettings
from lamina.core.share_security import ShareAccess

DialectName = Literal["2.0.2", "2.1", "3.0", "3.0.2", "3.1.1"]
_DIALECTS = dict(zip(("2.0.2", "2.1", "3.0", "3.0.2", "3.1.1"), Dialect, strict=True))
_SIZE = re.compile(r"(\d+) ?(KiB|MiB)?", re.IGNORECASE)
_UNITS = {None: 1, "kib": 1024, "mib": 1024 * 1024}
DEFAULT_ACCOUNTS = Path("/var/lib/lamina/accounts.db")
DEFAULT_STATE = Path("/var/lib/lamina/state")


def parse_size(value: object) -> int:
    """Bytes of a size: a number, or a string with KiB or MiB. Raises ValueError."""
    match = _SIZE.fullmatch(str(value)) if isinstance(value, int | str) and not isinstance(value, bool) else None
    if match is None:
        raise ValueError('must be a size in bytes, such as 65536, "512 KiB" or "8 MiB"')
    unit = match[2]
    return int(match[1]) * _UNITS[unit.lower() if unit else None]


def parse_listener(text: str) -> Listener:
    """The listener that "address:port" means; "*" or nothing is every address. Raises ValueError."""
    address, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise ValueError(f'must be "address:port" with a port from 0 to 65535, such as "*:445", not "{text}"')
    if ":" in address and not (address.startswith("[") and address.endswith("]")):
        raise ValueError(f'must have its IPv6 address in brackets, such as "[::1]:445", not "{text}"')
    return Listener("" if address == "*" else address.strip("[]"), int(port))


def check_interface(text: str) -> str:
    """An entry of the lists of interfaces, if it is one. Raises ValueError."""
    parse_entry(text)
    return text


_Interface = Annotated[StrictStr, AfterValidator(check_interface)]
_Size = Annotated[StrictInt, BeforeValidator(parse_size)]


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


_Count = Annotated[StrictInt, Field(gt=0)]
_Mode = Annotated[StrictInt, Field(ge=0, le=0o777)]
_LIMITS = Limits()


class LimitsTable(Table):
    """`[server.limits]`: what one client can make the server hold. The fields of `core.settings.Limits`."""

    connections: _Count = _LIMITS.connections
    connections_per_address: _Count = _LIMITS.connections_per_address
    sessions_per_connection: _Count = _LIMITS.sessions_per_connection
    channels_per_session: _Count = _LIMITS.channels_per_session
    logons_in_progress: _Count = _LIMITS.logons_in_progress
    trees_per_session: _Count = _LIMITS.trees_per_session
    opens_per_session: _Count = _LIMITS.opens_per_session
    opens_without_client: _Count = _LIMITS.opens_without_client
    locks_per_session: _Count = _LIMITS.locks_per_session
    pending_requests: _Count = _LIMITS.pending_requests
    credits: _Count = _LIMITS.credits
    compound_depth: _Count = _LIMITS.compound_depth
    unauthenticated_message: _Count = _LIMITS.unauthenticated_message
    seconds_to_authenticate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = _LIMITS.seconds_to_authenticate
    seconds_in_chain: Annotated[float, Field(ge=0, allow_inf_nan=False)] = _LIMITS.seconds_in_chain
    seconds_blocking: Annotated[float, Field(ge=0, allow_inf_nan=False)] = _LIMITS.seconds_blocking


class ServerTable(Table):
    """`[server]`: what holds for all the shares."""

    name: StrictStr = Field("LAMINA", pattern=r"^[^\x00-\x1f\"/\\\[\]:;|=,+*?<>. ]{1,15}$")
    comment: StrictStr = Field("", max_length=255)
    listen: tuple[Annotated[StrictStr, Field(min_length=1)], ...] = Field(("*:445",), min_length=1)
    min_dialect: DialectName = "2.0.2"
    max_dialect: DialectName = "3.1.1"
    signing: Literal["required", "desired"] = "required"
    encryption: Literal["off", "offered", "desired", "required"] = "desired"
    keepalive: Annotated[StrictInt, Field(ge=0, le=32767)] = 300
    multichannel: StrictBool = True
    interfaces: tuple[_Interface, ...] = ()
    interfaces_denied: tuple[_Interface, ...] = ()
    posix_extensions: StrictBool = True
    max_io: _Size = Field(8 * 1024 * 1024, ge=65536, le=8 * 1024 * 1024)
    guest: StrictBool = False
    anonymous: StrictBool = False
    guest_account: StrictStr = ""
    keytab: Annotated[tuple[Path, ...], BeforeValidator(_listed)] = ()
    realm: StrictStr = ""
    ntlm: StrictBool = True
    accounts: Path = DEFAULT_ACCOUNTS
    state: Path = DEFAULT_STATE
    workers: Annotated[StrictInt, Field(ge=1, le=64)] = 1
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    limits: LimitsTable = LimitsTable()

    def settings(self) -> ServerSettings:
        """These settings as the protocol layer sees them."""
        return ServerSettings(
            name=self.name,
            comment=self.comment,
            min_dialect=_DIALECTS[self.min_dialect],
            max_dialect=_DIALECTS[self.max_dialect],
            require_signing=self.signing == "required",
            encryption=EncryptionPolicy(self.encryption),
            keepalive=self.keepalive,
            multichannel=self.multichannel,
            interfaces=self.interfaces,
            interfaces_denied=self.interfaces_denied,
            posix_extensions=self.posix_extensions,
            max_io=self.max_io,
            limits=Limits(**self.limits.model_dump()),
        )

    def authentication(self, folder: Path, identity: IdentitySettings) -> AuthSettings:
        """These settings as authentication sees them; relative paths start from `folder`."""
        return AuthSettings(
            server_name=self.name,
            allow_anonymous=self.anonymous,
            allow_guest=self.guest,
            guest_account=self.guest_account,
            keytab=os.pathsep.join(str(folder / path) for path in self.keytab),
            realm=self.realm,
            allow_ntlm=self.ntlm,
            identity=identity,
        )

    def listeners(self) -> tuple[Listener, ...]:
        """The addresses to listen on; they have been checked."""
        return tuple(parse_listener(text) for text in self.listen)


class ShareTable(Table):
    """`[share.NAME]`: one share. The options of a module of its chain stand in `[share.NAME.MODULE]`."""

    path: Annotated[StrictStr, Field(min_length=1)]
    comment: StrictStr = Field("", max_length=255)
    read_only: StrictBool = False
    encrypt: StrictBool = False
    hidden: StrictBool = False
    guest: StrictBool = False
    allow: frozenset[StrictStr] = frozenset()
    deny: frozenset[StrictStr] = frozenset()
    access: dict[Annotated[str, Field(min_length=1)], ShareAccess] = Field(default_factory=dict)
    access_based_enumeration: StrictBool = False
    hide_files: frozenset[Annotated[StrictStr, Field(pattern=r"^[^/\\]+$")]] = frozenset()
    change_notify: Literal["all", "share", "off"] = "all"
    oplocks: StrictBool = True
    directory_leases: StrictBool = True
    durable_handles: StrictBool = True
    posix_extensions: StrictBool = True
    places: _Count = 1000
    write_time_delay: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 2.0
    follow_symlinks: StrictBool = True
    file_mode: _Mode = 0o744
    directory_mode: _Mode = 0o755
    chain: tuple[StrictStr, ...] = Field(DEFAULT_CHAIN, min_length=1)


def dialect_order(name: str) -> Any:
    """Something that sorts dialect names by age."""
    return _DIALECTS[name]
