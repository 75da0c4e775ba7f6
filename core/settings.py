"""Settings of a running server, as the protocol layer sees them; the application makes them from its configuration."""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from uuid import uuid4


class Dialect(IntEnum):
    """Dialect revisions (MS-SMB2 2.2.3)."""

    SMB_2_0_2 = 0x0202
    SMB_2_1 = 0x0210
    SMB_3_0 = 0x0300
    SMB_3_0_2 = 0x0302
    SMB_3_1_1 = 0x0311


class EncryptionPolicy(StrEnum):
    """Whether messages are encrypted (MS-SMB2 3.3.1.5 EncryptData, RejectUnencryptedAccess).

    off: not even announced. offered: where a share or the client asks. desired: every session of a client that
    can. required: and a client that cannot is refused.
    """

    OFF = "off"
    OFFERED = "offered"
    DESIRED = "desired"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client can make the server hold. Every number bounds memory that a peer could otherwise claim."""

    connections: int = 10_000
    connections_per_address: int = 1_000
    sessions_per_connection: int = 1_024
    channels_per_session: int = 32
    logons_in_progress: int = 16
    trees_per_session: int = 4_096
    opens_per_session: int = 65_536
    opens_without_client: int = 16_384
    locks_per_session: int = 262_144
    pending_requests: int = 8_192
    credits: int = 8_192
    compound_depth: int = 128
    unauthenticated_message: int = 65_536
    seconds_to_authenticate: float = 45.0
    seconds_in_chain: float = 300.0
    seconds_blocking: float = 10.0


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Global settings. `max_io` bounds one read, write or transact in bytes (8 MiB is what Windows offers).

    `interfaces` and `interfaces_denied` are entries of `interface_rules`: which addresses clients are told to open
    further channels to. `keepalive`: seconds of silence after which TCP asks a client whether it is there; 0 leaves
    that to the kernel, which usually waits for two hours.
    """

    name: str = "LAMINA"
    comment: str = ""
    server_guid: bytes = field(default_factory=lambda: uuid4().bytes_le)
    min_dialect: Dialect = Dialect.SMB_2_0_2
    max_dialect: Dialect = Dialect.SMB_3_1_1
    require_signing: bool = True
    encryption: EncryptionPolicy = EncryptionPolicy.OFFERED
    keepalive: int = 300
    multichannel: bool = True
    interfaces: tuple[str, ...] = ()
    interfaces_denied: tuple[str, ...] = ()
    posix_extensions: bool = True
    max_io: int = 8 * 1024 * 1024
    limits: Limits = field(default_factory=Limits)
